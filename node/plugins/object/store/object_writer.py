"""One object on its way in: small ones wait in memory for their entry, larger ones go to fragments at once."""

from collections.abc import Mapping
from typing import Self

from node.plugins.object.store.contract import ANY, NULL, Condition, Entry, Facts
from node.plugins.object.store.data_sink import DataSink
from node.plugins.object.store.index_ops import IndexOp, PutOp
from node.plugins.object.store.index_write import holds
from node.plugins.object.store.quorum import IndexQuorum, Judge
from node.plugins.object.store.record import Record, entry_of, record_of
from node.plugins.object.store.scheme import INLINE, fresh_id, parse, pointer
from node.sdk import Micros, PreconditionFailed

INLINE_BYTES = 1 << 16
"""Up to this size objects lie in the index beside their entry."""


class ObjectWriter:
    """Bytes on their way to become an object: `contract.Writer`."""

    def __init__(
        self, quorum: IndexQuorum, container_id: str, name: str, policy: str, size_bytes: int | None
    ) -> None:  # fmt: skip
        self._quorum = quorum
        self._container_id = container_id
        self._name = name
        self._policy = policy
        self._buffer = bytearray()
        self._sink: DataSink | None = None
        self._size = 0
        if size_bytes is not None and size_bytes > INLINE_BYTES:
            self._sink = self._make_sink()

    def _make_sink(self) -> DataSink:
        nodes = self._quorum.nodes
        scheme = nodes.map_file.places().scheme(self._policy)
        return DataSink(nodes, scheme, fresh_id(self._quorum.clock.now_us()))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes."""
        self._size += len(data)
        if self._sink is None:
            if self._size <= INLINE_BYTES:
                self._buffer += data
                return
            self._sink = self._make_sink()
            self._sink.write(self._buffer)
            self._buffer = bytearray()
        self._sink.write(data)

    def commit(self, facts: Facts, condition: Condition = ANY, *, version: bool = False) -> Entry:
        """Make them the newest version."""
        blob: bytes | None = None
        data = ""
        if self._sink is not None and self._size:
            data = self._sink.finish()
        elif self._buffer:
            blob = bytes(self._buffer)
            data = pointer(parse(INLINE), fresh_id(self._quorum.clock.now_us()), len(blob))
        if self._sink is not None:
            self._sink.abort()
            self._sink = None
        return put(
            self._quorum, self._container_id, self._name, data, self._size, facts, condition,
            version=version, blob=blob,
        )  # fmt: skip

    def keep(self, data: bytes) -> str:
        """Make bytes durable without an entry; return the `data` of one that has them."""
        sink = self._sink or self._make_sink()
        try:
            sink.write(data)
            return sink.finish()
        finally:
            sink.abort()
            self._sink = None

    def abort(self) -> None:
        """Forget them."""
        if self._sink is not None:
            self._sink.abort()
            self._sink = None
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Abort what is not committed."""
        self.abort()


def judge_of(quorum: IndexQuorum, condition: Condition) -> Judge | None:
    """Return what holds a condition against a name's records; None where there is no condition."""
    if condition == ANY:
        return None

    def judge(records: Mapping[str, Record]) -> None:
        if not holds(condition, list(records.values()), quorum.clock.now_us()):
            raise PreconditionFailed("The object is not as it is expected")

    return judge


def put(  # noqa: PLR0913
    quorum: IndexQuorum, container_id: str, name: str, data: str, size_bytes: int, facts: Facts,
    condition: Condition, *, version: bool, blob: bytes | None = None, marker: str = "",
) -> Entry:  # fmt: skip
    """Make bytes that are durable, or a marker, the newest version of a name."""
    version_id = ""
    made: dict[int, Record] = {}

    def make(stamp: int, replicated: bool, reserved: int) -> IndexOp:  # noqa: FBT001
        nonlocal version_id
        if not version_id:
            version_id = f"{stamp:020d}" if version else NULL
        entry = Entry(
            container_id=container_id, name=name, version_id=version_id, stamp=stamp, meta_stamp=stamp,
            modified_at=Micros(quorum.clock.now_us()), size_bytes=size_bytes, etag=facts.etag,
            content_type=facts.content_type, meta=facts.meta, sys=facts.sys,
            expires_at=facts.expires_at, is_marker=bool(marker), data=data,
        )  # fmt: skip
        made[stamp] = record_of(entry)
        return PutOp(
            record=made[stamp], blob=blob, condition=ANY if reserved else condition,
            replicated=replicated, reserved=reserved,
        )  # fmt: skip

    judge = judge_of(quorum, condition)
    _result, stamp = quorum.write(container_id, name, make, judge, adds=True)
    return entry_of(made[stamp], is_latest=True)
