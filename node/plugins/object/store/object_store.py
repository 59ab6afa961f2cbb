"""The store as the APIs see it: `contract.Store` over the disks of all nodes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from node.plugins.object.store.contract import (
    ANY,
    NULL,
    Condition,
    Entry,
    Facts,
    Listing,
    Query,
    Usage,
)
from node.plugins.object.store.data_source import ExtentSource, Lost
from node.plugins.object.store.fragment import Rotten
from node.plugins.object.store.index_ops import CloseOp, IndexOp, RemoveOp, UpdateOp
from node.plugins.object.store.layout import majority
from node.plugins.object.store.object_writer import INLINE_BYTES, ObjectWriter, judge_of, put
from node.plugins.object.store.page import quorum_page
from node.plugins.object.store.quorum import IndexQuorum
from node.plugins.object.store.record import Record, entry_of, is_expired, newest, record_of
from node.plugins.object.store.scheme import Extent, extents, is_inline
from node.sdk import Micros, NotFound, PreconditionFailed, Unavailable

_BLOCK_BYTES = 1 << 20
_SENDFILE_BYTES = 1 << 18
"""Less than this is not worth a file of its own."""


class ObjectStore:
    """A `Store`. Thread-safe."""

    def __init__(self, quorum: IndexQuorum) -> None:
        self._quorum = quorum
        self._nodes = quorum.nodes

    # ---------------------------------------------------------------------------------------------- writing

    def writer(
        self, container_id: str, name: str, *, policy: str = "", size_bytes: int | None = None
    ) -> ObjectWriter:
        """Begin an object."""
        return ObjectWriter(self._quorum, container_id, name, policy, size_bytes)

    def compose(
        self, container_id: str, name: str, parts: Sequence[Entry], facts: Facts,
        condition: Condition = ANY, *, version: bool = False,
    ) -> Entry:  # fmt: skip
        """Join the data of entries; the parts are gone then."""
        current = [self._present(part) for part in parts]
        size = sum(record.size_bytes for record in current)
        if size <= INLINE_BYTES or all(is_inline(r.data) or not r.data for r in current):
            with self.writer(container_id, name, size_bytes=size) as writer:
                for record in current:
                    for block in self._bytes_of(record):
                        writer.write(block)
                made = writer.commit(facts, condition, version=version)
        else:
            data = ";".join(filter(None, (self._as_file(record) for record in current)))
            made = put(
                self._quorum, container_id, name, data, size, facts, condition, version=version
            )
        gone = [
            record.name
            for record in current
            if self._remove(record.container_id, record.name, record.version_id, record.stamp)[0] is None
        ]
        if gone:  # somebody else removed a part meanwhile: its bytes may be on their way out
            self._remove(container_id, name, made.version_id, made.stamp)
            raise NotFound(f"{gone[0]} was deleted while it was joined")
        return made

    def _as_file(self, record: Record) -> str:
        """Return data of the same bytes that an entry elsewhere can hold: inline bytes lie beside their own entry."""
        if not is_inline(record.data):
            return record.data
        writer = ObjectWriter(self._quorum, record.container_id, record.name, "", INLINE_BYTES + 1)
        return writer.keep(b"".join(self._bytes_of(record)))

    def update(
        self, entry: Entry, *, meta: Mapping[str, str] | None = None, sys: Mapping[str, str] | None = None,
        content_type: str | None = None, expires_at: Micros | None = None, keep_expiry: bool = True,
        touch: bool = True,
    ) -> Entry:  # fmt: skip
        """Replace what is said of an entry."""
        made: dict[int, Record] = {}
        given = {"meta": meta, "sys": sys, "content_type": content_type}
        change: dict[str, object] = {k: value for k, value in given.items() if value is not None}
        if touch:
            change["modified_at"] = Micros(self._quorum.clock.now_us())
        if not keep_expiry:
            change["expires_at"] = expires_at

        seen: list[Record] = []

        def look(records: Mapping[str, Record]) -> None:
            seen[:] = [_same(records, entry)]

        def make(stamp: int, replicated: bool, reserved: int) -> IndexOp:  # noqa: FBT001
            present = seen[0] if reserved else self._present(entry)
            whole = entry_of(present, is_latest=True)
            stamp = stamp if reserved else max(stamp, present.meta_stamp + 1)
            changed = msgspec.structs.replace(whole, meta_stamp=stamp, **change)
            made[0] = record_of(changed)
            return UpdateOp(
                record=made[0], base=present.meta_stamp, replicated=replicated, reserved=reserved
            )

        result, _stamp = self._quorum.write(entry.container_id, entry.name, make, look)
        return entry_of(made[0], is_latest=result.latest == entry.version_id)

    def delete(
        self, container_id: str, name: str, version_id: str | None = None, *, marker: str = "",
        condition: Condition = ANY,
    ) -> Entry | None:  # fmt: skip
        """Delete a version, or hide a name."""
        if version_id is None and marker:
            return put(
                self._quorum, container_id, name, "", 0, Facts(etag="", content_type=""), condition,
                version=marker != NULL, marker=marker,
            )  # fmt: skip
        wanted = NULL if version_id is None else version_id
        removed, latest = self._remove(container_id, name, wanted, 0, condition)
        if removed is None or is_expired(removed, self._quorum.clock.now_us()):
            return None
        return entry_of(removed, is_latest=latest)

    def _remove(
        self, container_id: str, name: str, version_id: str, only_stamp: int, condition: Condition = ANY
    ) -> tuple[Record | None, bool]:  # fmt: skip
        """Remove a version; return it, None where there was none, and whether it was the newest."""
        found: list[tuple[Record | None, bool]] = []
        is_single = self._quorum.is_single(container_id)

        def look(records: Mapping[str, Record]) -> None:
            judge = judge_of(self._quorum, condition)
            if judge is not None:
                judge(records)
            there = records.get(version_id)
            if there is None or there.is_dead or (only_stamp and there.stamp != only_stamp):
                found[:] = [(None, False)]
                raise _Nothing
            top = newest(records.values())
            found[:] = [(there, top is not None and top.version_id == version_id)]

        def make(stamp: int, replicated: bool, reserved: int) -> IndexOp:  # noqa: FBT001
            return RemoveOp(
                container_id=container_id, name=name, version_id=version_id, stamp=stamp,
                condition=ANY if reserved else condition, only_stamp=only_stamp if is_single else 0,
                replicated=replicated, reserved=reserved,
            )  # fmt: skip

        try:
            result, _stamp = self._quorum.write(
                container_id, name, make, None if is_single else look
            )
        except _Nothing:
            return None, False
        except NotFound:
            if only_stamp:
                return None, False
            raise
        if is_single and result.records:
            return result.records[0], result.latest == version_id
        return found[0] if found else (None, False)

    def close(self, container_id: str) -> bool:
        """Close an empty container for good."""
        op = CloseOp(container_id=container_id, now_us=self._quorum.clock.now_us())
        try:
            self._quorum.outcomes(container_id, op)
        except PreconditionFailed:
            if not self._quorum.is_single(container_id):  # some may be empty, as they have missed a write
                self._quorum.outcomes(container_id, msgspec.structs.replace(op, closed=False))
            return False
        return True

    # ---------------------------------------------------------------------------------------------- reading

    def head(self, container_id: str, name: str, version_id: str | None = None) -> Entry | None:
        """Return a version, or the newest one."""
        now = self._quorum.clock.now_us()
        disks = self._nodes.map_file.places().read_set(container_id)
        if version_id is None and len(disks) == 1:
            found = self._nodes.attempt(disks[0], lambda a: a.latest(disks[0], container_id, name))
            if found is None or found.is_marker or is_expired(found, now):
                return None
            return entry_of(found, is_latest=True)
        records = self._quorum.records(container_id, name)
        top = newest(records.values())
        wanted = top if version_id is None else records.get(version_id)
        if wanted is None or wanted.is_dead or is_expired(wanted, now):
            return None
        if version_id is None and wanted.is_marker:
            return None
        return entry_of(wanted, is_latest=top is not None and top.version_id == wanted.version_id)

    def _present(self, entry: Entry) -> Record:
        return _same(self._quorum.records(entry.container_id, entry.name), entry)

    def read(self, entry: Entry, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Return bytes of an entry, in blocks."""
        end = entry.size_bytes if length is None else min(entry.size_bytes, offset + length)
        if offset >= end:
            return iter(())
        if is_inline(entry.data):
            data = self._blob(record_of(entry))
            return iter((data if (offset, end) == (0, len(data)) else data[offset:end],))
        blocks = self._blocks(entry.data, offset, end)
        try:
            first = next(blocks)
        except Lost as error:
            self._present(entry)
            raise Unavailable(error.message) from error
        return chain((first,), blocks)

    def _bytes_of(self, record: Record) -> Iterator[bytes]:
        return self.read(entry_of(record, is_latest=True))

    def _blob(self, record: Record) -> bytes:
        blob_id = extents(record.data)[0].id
        places = self._nodes.map_file.places()
        disks = dict.fromkeys(d for some in places.write_sets(record.container_id) for d in some)
        unreachable = 0
        for disk_id in self._nodes.likely_first(places, disks):
            try:
                found = self._nodes.blob(disk_id, blob_id)
            except Unavailable:
                unreachable += 1
                continue
            if found is not None:
                return found
        if unreachable:
            raise Unavailable("Too few copies of the object can be read")
        raise NotFound(f"{record.name} was replaced or deleted")

    def _blocks(self, data: str, offset: int, end: int) -> Iterator[bytes]:
        start = 0
        for extent in extents(data):
            first, last = max(offset - start, 0), min(end - start, extent.size_bytes)
            start += extent.size_bytes
            if first < last:
                source = ExtentSource(self._nodes, extent)
                try:
                    yield from source.read(first, last - first)
                finally:
                    source.close()

    def local_file(
        self, entry: Entry, offset: int = 0, length: int | None = None
    ) -> tuple[Path, int] | None:
        """Return a file of this node that holds these bytes, whole and checked."""
        end = entry.size_bytes if length is None else min(entry.size_bytes, offset + length)
        found = extents(entry.data)
        if len(found) != 1 or found[0].scheme.is_coded or is_inline(entry.data):
            return None
        if end - offset < _SENDFILE_BYTES:
            return None
        places = self._nodes.map_file.places()
        for number, disk in places.fragment_homes(found[0].id, found[0].scheme):
            if disk.node_id == places.map.node_id:
                path = self._checked(disk.id, found[0], number, offset, end)
                if path is not None:
                    return path, offset
        return None

    def _checked(
        self, disk_id: str, extent: Extent, number: int, offset: int, end: int
    ) -> Path | None:
        name = f"{extent.id}.{number}"
        try:
            with self._nodes.local.open_fragment(disk_id, name) as file:
                for _block in file.blocks(offset, end - offset, _BLOCK_BYTES):
                    pass
        except (Rotten, NotFound, Unavailable, OSError):
            return None  # `read` looks elsewhere, and has it mended
        return self._nodes.local.fragment_file(disk_id, name)

    def list(self, container_id: str, query: Query) -> Listing:
        """List a container."""
        disks = self._nodes.map_file.places().read_set(container_id)
        if len(disks) == 1:
            return self._nodes.attempt(disks[0], lambda a: a.list(disks[0], container_id, query))
        return quorum_page(self._quorum, container_id, query)

    def usage(self, container_ids: Sequence[str]) -> Mapping[str, Usage]:
        """Return how much is in containers."""
        places = self._nodes.map_file.places()
        by_disks: dict[tuple[str, ...], list[str]] = {}
        for container_id in container_ids:
            by_disks.setdefault(places.read_set(container_id), []).append(container_id)
        used: dict[str, Usage] = {}
        for disks, some in by_disks.items():
            found = self._nodes.ask_some(
                disks, majority(len(disks)), lambda a, d, some=some: a.usage(d, some)  # type: ignore[misc]
            )
            for at, container_id in enumerate(some):
                best = max((answers[at] for answers in found.values()), key=lambda pair: pair[1])
                used[container_id] = best[0]
        return used


def _same(records: Mapping[str, Record], entry: Entry) -> Record:
    """Return the record of an entry. Raises NotFound where it is another one by now."""
    record = records.get(entry.version_id)
    if record is None or record.is_dead or record.stamp != entry.stamp:
        raise NotFound(f"{entry.name} was replaced or deleted")
    return record


class _Nothing(Exception):
    """There is nothing to remove."""
