"""Makes fragments anew that are not where they should be.

They were on disks that were lost, have rotted, were not written as only a quorum is waited for, or have another place
since the layout changed.

Each container's index has one replica that is responsible: the first that can be reached. It goes through the bytes
that its entries need, asks the disks that should have them, and mends first what has lost most.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence

from node.plugins.object.store.coder import coder
from node.plugins.object.store.data_source import ExtentSource
from node.plugins.object.store.disk_answers import DiskAnswers
from node.plugins.object.store.fragment import Hasher
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.layout import Places
from node.plugins.object.store.node_access import Sink
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.pace import Pace
from node.plugins.object.store.scheme import SEGMENT_BYTES, Extent, Scheme, parse
from node.sdk import NodeError

log = logging.getLogger("hedgerow.object")

TASK = "repair"
_BATCH = 500
_STEP_BYTES = 1 << 20


class Lack(Exception):
    """It cannot be mended now."""


class Repairer:
    """Mends for the disks of this node."""

    def __init__(self, nodes: Nodes, host: DiskHost, answers: DiskAnswers, pace: Pace) -> None:
        self._nodes = nodes
        self._host = host
        self._answers = answers
        self._pace = pace
        self.looked_at = 0
        self.mended = 0
        self.lacking = 0
        """How many objects were less redundant than they should be when they were last looked at."""
        self.worst = 0
        """How many fragments the worst of them lacked."""

    def run(self) -> None:
        """Go through everything once."""
        looked_at = lacking = worst = 0
        for disk_id in self._host.disks():
            for batch in self._batches(disk_id):
                self._pace.check(TASK)
                places = self._nodes.map_file.places()
                missing = self._missing(places, batch)
                looked_at += len(batch)
                for extent, homes in sorted(missing.items(), key=lambda pair: -len(pair[1])):
                    left = self._mend(places, extent, homes)
                    if left:
                        lacking, worst = lacking + 1, max(worst, left)
        self.looked_at, self.lacking, self.worst = looked_at, lacking, worst

    def _batches(self, disk_id: str) -> Iterator[list[Extent]]:
        """Yield the bytes that this disk is responsible for."""
        after = ""
        while True:
            places = self._nodes.map_file.places()
            rows = (
                self._answers.reader(disk_id)
                .db.execute(
                    "SELECT id, scheme, size, container FROM refs WHERE id>? ORDER BY id LIMIT ?",
                    (after, _BATCH),
                )
                .fetchall()
            )
            if not rows:
                return
            after = rows[-1][0]
            found = {}
            for bytes_id, scheme, size, container in rows:
                if self._is_responsible(places, container, disk_id):
                    found[bytes_id] = Extent(scheme=parse(scheme), id=bytes_id, size_bytes=size)
            yield list(found.values())

    def _is_responsible(self, places: Places, container_id: str, disk_id: str) -> bool:
        for candidate in places.read_set(container_id):
            node_id = self._nodes.node_of(places, candidate)
            if node_id == places.map.node_id:
                if candidate in self._host.disks():
                    return candidate == disk_id
            elif self._nodes.is_likely(places, node_id):
                return False
        return True

    def _missing(
        self, places: Places, batch: Sequence[Extent]
    ) -> Mapping[Extent, Sequence[tuple[int, str]]]:
        """Return which fragments are not on the disk where they should be."""
        asked: dict[str, list[tuple[Extent, int]]] = {}
        for extent in batch:
            for number, home in places.fragment_homes(extent.id, extent.scheme):
                asked.setdefault(home.id, []).append((extent, number))
        missing: dict[Extent, list[tuple[int, str]]] = {}
        for disk_id, some in asked.items():
            names = [f"{extent.id}.{number}" for extent, number in some]
            try:
                there: Sequence[bool] = self._nodes.ask(disk_id, "has", names)
            except NodeError as error:
                log.debug("disk %s cannot be asked: %s", disk_id, error)
                there = [False] * len(some)
            for (extent, number), is_there in zip(some, there, strict=True):
                if not is_there:
                    missing.setdefault(extent, []).append((number, disk_id))
        return missing

    def _mend(self, places: Places, extent: Extent, homes: Sequence[tuple[int, str]]) -> int:
        """Make fragments anew; return how many are still missing."""
        left = 0
        for number, disk_id in homes:
            if not self._nodes.is_likely(places, self._nodes.node_of(places, disk_id)):
                left += 1
                continue
            try:
                self._make(extent, number, disk_id)
                self.mended += 1
                log.info("fragment %s.%d is made anew on disk %s", extent.id, number, disk_id)
            except (NodeError, Lack) as error:
                log.info("fragment %s.%d cannot be made anew: %s", extent.id, number, error)
                left += 1
        return left

    def _make(self, extent: Extent, number: int, disk_id: str) -> None:
        name = f"{extent.id}.{number}"
        source = ExtentSource(self._nodes, extent)
        try:
            sink = self._nodes.create_fragment(disk_id, name)
            try:
                self._copy(extent, number, source, sink)
                sink.commit()
            finally:
                sink.abort()
        finally:
            source.close()

    def _copy(self, extent: Extent, number: int, source: ExtentSource, sink: Sink) -> None:
        hasher = Hasher()
        for part in self._parts(extent, number, source):
            self._pace.spend(TASK, len(part) * (extent.scheme.data + 1))
            hasher.update(part)
            sink.write(part)
        sink.write(
            hasher.footer(f"{extent.id}.{number}", extent.scheme.text, extent.size_bytes)
        )

    def _parts(self, extent: Extent, number: int, source: ExtentSource) -> Iterator[bytes]:
        scheme: Scheme = extent.scheme
        if not scheme.is_coded:
            yield from source.read(0, extent.size_bytes)
            return
        for segment in range(-(-extent.size_bytes // SEGMENT_BYTES)):
            parts = source.fragments(segment)
            if number in parts:
                yield parts[number]
            else:
                yield coder(scheme).rebuild(list(parts.values()), number)
