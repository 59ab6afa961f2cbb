"""Bytes on their way to several disks: whole copies, or erasure-coded fragments.

A fragment whose disk fails on the way is given up; the write goes on while enough are left, and is acknowledged when a
quorum is durable. The repairer makes up for the rest.
"""

import logging
from collections.abc import Iterator, Sequence

from node.plugins.object.store.coder import coder
from node.plugins.object.store.fragment import Hasher
from node.plugins.object.store.layout import Places
from node.plugins.object.store.node_access import Sink
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.scheme import SEGMENT_BYTES, Scheme, pointer
from node.sdk import DiskFull, NodeError, Unavailable

log = logging.getLogger("hedgerow.object")


class DataSink:
    """Takes the bytes of one extent."""

    def __init__(self, nodes: Nodes, scheme: Scheme, id: str) -> None:
        """Begin its fragments.

        Raises:
            DiskFull: 507.
            Unavailable: 503, too few disks can be written.
        """
        self._nodes = nodes
        self._scheme = scheme
        self._id = id
        self._size = 0
        self._full: DiskFull | None = None
        self._sinks: dict[int, Sink] = {}
        self._hashers = [Hasher() for _ in range(scheme.fragments if scheme.is_coded else 1)]
        self._segment = bytearray()
        self._numbers: dict[int, int] = {}
        """The number of the fragment in each place."""
        self._quorum = 1
        self._begin(nodes.map_file.places())

    def _begin(self, places: Places) -> None:
        homes = places.fragment_homes(self._id, self._scheme)
        self._quorum = self._scheme.quorum(len(homes))
        self._numbers = {place: number for place, (number, _disk) in enumerate(homes)}
        used = {disk.id for _number, disk in homes}
        spare: Iterator[str] = iter(
            [disk.id for disk in places.data_disks(self._id) if disk.id not in used]
        )
        for number, (_number, home) in enumerate(homes):
            candidates = [home.id] if self._nodes.is_likely(places, home.node_id) else []
            while number not in self._sinks:
                disk_id = candidates.pop() if candidates else next(spare, None)
                if disk_id is None:
                    break
                try:
                    self._sinks[number] = self._nodes.create_fragment(
                        disk_id, self._name(number)
                    )
                except NodeError as error:
                    self._lost(error)
        self._enough()

    def _name(self, place: int) -> str:
        return f"{self._id}.{self._numbers[place]}"

    def _lost(self, error: NodeError) -> None:
        log.info("a fragment of %s is given up: %s", self._id, error)
        if isinstance(error, DiskFull):
            self._full = error

    def _enough(self) -> None:
        if len(self._sinks) < self._quorum:
            self.abort()
            raise self._full or Unavailable("Too few disks can take the object's data")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes."""
        self._size += len(data)
        if not self._scheme.is_coded:
            self._hashers[0].update(memoryview(data))
            self._spread(dict.fromkeys(self._sinks, data))
            return
        view = memoryview(data)
        while view:
            part = view[: SEGMENT_BYTES - len(self._segment)]
            self._segment += part
            view = view[len(part) :]
            if len(self._segment) == SEGMENT_BYTES:
                self._end_segment()

    def _end_segment(self) -> None:
        fragments = coder(self._scheme).encode(bytes(self._segment))
        self._segment.clear()
        for number, hasher in enumerate(self._hashers):
            hasher.update(fragments[number])
        self._spread({number: fragments[number] for number in self._sinks})

    def _spread(self, parts: dict[int, bytes | bytearray | memoryview] | dict[int, bytes]) -> None:
        for number, part in parts.items():
            try:
                self._sinks[number].write(part)
            except NodeError as error:
                self._lost(error)
                self._sinks.pop(number).abort()
        self._enough()

    def finish(self) -> str:
        """Make the fragments durable; return the `data` of an entry that has them.

        Raises:
            DiskFull: 507.
            Unavailable: 503, too few of them are durable.
        """
        if self._segment:
            self._end_segment()
        footers = {
            number: self._hashers[number if self._scheme.is_coded else 0].footer(
                self._name(number), self._scheme.text, self._size
            )
            for number in self._sinks
        }
        self._spread(footers)
        numbers = list(self._sinks)
        others = [self._nodes.spawn(self._sinks[number].commit) for number in numbers[1:]]
        self._end(numbers[:1])
        for number, future in zip(numbers[1:], others, strict=True):
            try:
                future.result()
            except NodeError as error:
                self._lost(error)
                del self._sinks[number]
        self._enough()
        self._sinks.clear()
        return pointer(self._scheme, self._id, self._size)

    def _end(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            try:
                self._sinks[number].commit()
            except NodeError as error:
                self._lost(error)
                del self._sinks[number]

    def abort(self) -> None:
        """Forget the fragments."""
        for sink in self._sinks.values():
            sink.abort()
        self._sinks.clear()
