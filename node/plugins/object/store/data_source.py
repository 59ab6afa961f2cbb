"""Bytes on their way back: of whole copies, or of as many fragments as are needed.

What fails in the middle (a disk, a node, a rotten block) is replaced by another copy or fragment, and the reader
notices nothing while enough are left.
"""

import logging
from collections.abc import Iterator

from node.plugins.object.store.coder import coder
from node.plugins.object.store.fragment import Rotten
from node.plugins.object.store.node_access import Source
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.scheme import SEGMENT_BYTES, Extent
from node.sdk import NodeError, NotFound, Unavailable

log = logging.getLogger("hedgerow.object")

_STEP_BYTES = 1 << 20


class Lost(Unavailable):
    """Too few fragments can be found."""


class ExtentSource:
    """Reads one extent."""

    def __init__(self, nodes: Nodes, extent: Extent) -> None:
        self._nodes = nodes
        self._extent = extent
        self._open: dict[int, tuple[str, Source]] = {}
        self._candidates = self._order()
        self.unreachable = 0
        """How many disks did not answer."""

    def _order(self) -> Iterator[tuple[str, int]]:
        """Yield (disk, fragment number) in the order in which to look for them: where they should be, then anywhere."""
        places = self._nodes.map_file.places()
        scheme = self._extent.scheme
        homes = places.fragment_homes(self._extent.id, scheme)
        own = places.map.node_id
        first = [(home.id, number) for number, home in homes]

        def rank(pair: tuple[str, int]) -> tuple[bool, bool, int]:
            node_id = self._nodes.node_of(places, pair[0])
            likely = self._nodes.is_likely(places, node_id)
            if scheme.is_coded:
                return not likely, pair[1] >= scheme.data, pair[1]
            return not likely, node_id != own, pair[1]

        first.sort(key=rank)
        yield from first
        known = set(first)
        for disk_id in self._nodes.likely_first(
            places, [disk.id for disk in places.data_disks(self._extent.id)]
        ):
            for number in range(scheme.fragments if scheme.is_coded else 1):
                if (disk_id, number) not in known:
                    yield disk_id, number

    def _fill(self) -> None:
        """Open fragments until there are enough."""
        while len(self._open) < self._extent.scheme.data:
            pair = next(self._candidates, None)
            if pair is None:
                raise Lost(
                    f"Too few fragments can be read: {len(self._open)} of {self._extent.scheme.data}"
                )
            disk_id, number = pair
            if number in self._open:
                continue
            name = f"{self._extent.id}.{number}"
            try:
                source = self._nodes.attempt(disk_id, lambda a: a.open_fragment(disk_id, name))  # noqa: B023
            except NotFound:
                continue
            except Rotten as error:
                self._report(disk_id, name, error)
                continue
            except NodeError:
                self.unreachable += 1
                continue
            self._open[number] = disk_id, source

    def _report(self, disk_id: str, name: str, error: Exception) -> None:
        """Have a rotten fragment set aside and made anew."""
        log.warning("fragment %s on disk %s is rotten: %s", name, disk_id, error)
        try:
            self._nodes.of_disk(disk_id).ask(disk_id, "rotten", name)
        except NodeError as refused:
            log.info("the rotten fragment %s stays for the scrubber: %s", name, refused)

    def _drop(self, number: int, error: Exception) -> None:
        disk_id, source = self._open.pop(number)
        source.close()
        if isinstance(error, Rotten):
            self._report(disk_id, f"{self._extent.id}.{number}", error)
        else:
            log.info("fragment %s.%d on disk %s: %s", self._extent.id, number, disk_id, error)

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes.

        Raises:
            Lost: 503, too few fragments are left.
        """
        end = min(offset + length, self._extent.size_bytes)
        step = SEGMENT_BYTES if self._extent.scheme.is_coded else _STEP_BYTES
        while offset < end:
            stop = min(end, offset - offset % step + step)
            yield self._coded(offset, stop) if self._extent.scheme.is_coded else self._whole(
                offset, stop - offset
            )
            offset = stop

    def _whole(self, offset: int, length: int) -> bytes:
        while True:
            self._fill()
            number, (_disk, source) = next(iter(self._open.items()))
            try:
                data = source.read(offset, length)
            except (NodeError, Rotten, OSError) as error:
                self._drop(number, error)
                continue
            if len(data) == length:
                return data
            self._drop(number, Rotten("it is too short"))

    def _coded(self, offset: int, stop: int) -> bytes:
        segment = offset // SEGMENT_BYTES
        parts = self.fragments(segment)
        data = coder(self._extent.scheme).decode(list(parts.values()))
        start = segment * SEGMENT_BYTES
        if (offset, stop) == (start, start + len(data)):
            return data
        return data[offset - start : stop - start]

    def fragments(self, segment: int) -> dict[int, bytes]:
        """Return enough fragments of one segment, by number."""
        full = coder(self._extent.scheme).full_bytes
        parts: dict[int, bytes] = {}
        while len(parts) < self._extent.scheme.data:
            self._fill()
            for number, (_disk, source) in list(self._open.items()):
                if number in parts:
                    continue
                try:
                    parts[number] = source.read(segment * full, full)
                except (NodeError, Rotten, OSError) as error:
                    self._drop(number, error)
        return parts

    def close(self) -> None:
        """Close what is open."""
        for _disk, source in self._open.values():
            source.close()
        self._open.clear()
