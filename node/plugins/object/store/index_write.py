"""The writing side of one index: operations inside a transaction that somebody else begins and commits.

Hard part: whatever arrives, in whatever order, replicas that have seen the same records are the same. So every write of
a name must be later than all that the replica knows of the name (`stale` otherwise, and the writer tries again with a
later stamp), while a merge lets the greater record win. How much is in a container is counted in the same transaction.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

import xxhash

from node.plugins.object.store import index_ops as ops
from node.plugins.object.store.contract import Condition
from node.plugins.object.store.index_ops import IndexOp, Result
from node.plugins.object.store.record import Record, entry_of, is_expired, newest, tombstone
from node.plugins.object.store.scheme import extents
from node.sdk import Clock

_ROWS = """SELECT version, stamp, meta_stamp, marker, latest, size, expires, data, body, ballot
    FROM entries WHERE container=? AND name=?"""
_PUT = """INSERT OR REPLACE INTO entries(container, name, version, stamp, meta_stamp, marker, latest, size, expires,
    data, body, ballot) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)"""


class IndexWriter:
    """Carries out operations on one connection. Belongs to one thread."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self.db = db
        self._clock = clock

    def run(self, op: IndexOp) -> Result:
        """Carry out one operation."""
        if isinstance(op, ops.PutOp):
            return self._put(op)
        if isinstance(op, ops.RemoveOp):
            return self._remove(op)
        if isinstance(op, ops.UpdateOp):
            return self._update(op)
        if isinstance(op, ops.ReserveOp):
            return self._reserve(op)
        if isinstance(op, ops.MergeOp):
            return self._merge(op)
        if isinstance(op, ops.AdoptOp):
            return self._adopt(op)
        return self._close(op)

    def rows(self, container_id: str, name: str) -> list[tuple[Record, bool]]:
        """Return the versions of a name, each with whether it is the newest here."""
        return [
            (_record(container_id, name, row), bool(row[4]))
            for row in self.db.execute(_ROWS, (container_id, name))
        ]

    # ------------------------------------------------------------------------------------- operations

    def _put(self, op: ops.PutOp) -> Result:
        record = op.record
        if self._is_closed(record.container_id):
            return Result(state=ops.CLOSED)
        rows = self.rows(record.container_id, record.name)
        refusal = self._refusal(record.container_id, record.name, rows, record.stamp, op.reserved)
        if refusal is not None:
            return refusal
        if not self._holds(op.condition, rows):
            return Result(state=ops.FAILED)
        if op.blob is not None:
            self._keep_blob(record, op.blob)
        self._replace(record.container_id, record.name, rows, [record])
        if op.replicated:
            self._note_change(record.container_id, record.name)
        return Result()

    def _remove(self, op: ops.RemoveOp) -> Result:
        rows = self.rows(op.container_id, op.name)
        refusal = self._refusal(op.container_id, op.name, rows, op.stamp, op.reserved)
        if refusal is not None:
            return refusal
        if not self._holds(op.condition, rows):
            return Result(state=ops.FAILED)
        gone = next((r for r, _latest in rows if r.version_id == op.version_id), None)
        if op.only_stamp and (gone is None or gone.stamp != op.only_stamp):
            return Result(state=ops.GONE)
        latest = next((r.version_id for r, is_latest in rows if is_latest), "")
        if op.replicated or gone is not None:
            dead = tombstone(op.container_id, op.name, op.version_id, op.stamp)
            self._replace(op.container_id, op.name, rows, [dead], tombs=op.replicated)
        if op.replicated:
            self._note_change(op.container_id, op.name)
        return Result(records=[gone] if gone else [], latest=latest)

    def _update(self, op: ops.UpdateOp) -> Result:
        record = op.record
        rows = self.rows(record.container_id, record.name)
        present = next((r for r, _ in rows if r.version_id == record.version_id), None)
        if present is None or present.stamp != record.stamp:
            return Result(state=ops.GONE)
        if op.reserved:
            refusal = self._refusal(
                record.container_id, record.name, rows, record.meta_stamp, op.reserved
            )
            if refusal is not None:
                return refusal
        latest = next((r.version_id for r, is_latest in rows if is_latest), "")
        if present.meta_stamp != op.base or op.base >= record.meta_stamp:
            return Result(state=ops.STALE, stamp=present.meta_stamp)
        self._replace(record.container_id, record.name, rows, [record])
        if op.replicated:
            self._note_change(record.container_id, record.name)
        return Result(latest=latest)

    def _reserve(self, op: ops.ReserveOp) -> Result:
        if op.adds and self._is_closed(op.container_id):
            return Result(state=ops.CLOSED)
        rows = self.rows(op.container_id, op.name)
        refusal = self._refusal(op.container_id, op.name, rows, op.stamp, 0)
        if refusal is not None:
            return refusal
        self.db.execute(
            "INSERT OR REPLACE INTO promises VALUES(?,?,?,?)",
            (op.container_id, op.name, op.stamp, self._clock.now_us()),
        )
        return Result(records=[r for r, _ in rows] + self.tombs(op.container_id, op.name))

    def _merge(self, op: ops.MergeOp) -> Result:
        names: dict[tuple[str, str], list[Record]] = {}
        for record in op.records:
            names.setdefault((record.container_id, record.name), []).append(record)
        for (container_id, name), records in names.items():
            rows = self.rows(container_id, name)
            present = {r.version_id: r for r in self.tombs(container_id, name)}
            present |= {r.version_id: r for r, _ in rows}
            greater = [r for r in records if _wins(r, present.get(r.version_id))]
            for record in greater:
                for extent in extents(record.data):
                    if extent.id in op.blobs:
                        self._keep_blob(record, op.blobs[extent.id])
            if greater:
                self._replace(container_id, name, rows, greater, tombs=True)
                self._note_change(container_id, name)
        return Result()

    def _adopt(self, op: ops.AdoptOp) -> Result:
        rows = self.rows(op.container_id, op.name)
        refusal = self._refusal(op.container_id, op.name, rows, op.stamp, op.stamp)
        return refusal or self._merge(ops.MergeOp(records=op.records, blobs=op.blobs))

    def _close(self, op: ops.CloseOp) -> Result:
        if op.closed:
            row = self.db.execute(
                "SELECT 1 FROM entries WHERE container=? AND (expires IS NULL OR expires>?) LIMIT 1",
                (op.container_id, op.now_us),
            ).fetchone()
            if row is not None:
                return Result(state=ops.FAILED)
        self.db.execute(
            "INSERT INTO containers(container, closed) VALUES(?,?)"
            " ON CONFLICT(container) DO UPDATE SET closed=excluded.closed",
            (op.container_id, int(op.closed)),
        )
        self._note_change(op.container_id, "")
        return Result()

    def drop_expired(self, before_us: int, limit: int) -> int:
        """Remove what expired before a time; return how much that was. Each replica does so for itself."""
        found = self.db.execute(
            "SELECT container, name, version FROM entries INDEXED BY entries_expires"
            " WHERE expires IS NOT NULL AND expires<=? LIMIT ?",
            (before_us, limit),
        ).fetchall()
        for container_id, name, version in found:
            rows = self.rows(container_id, name)
            dead = tombstone(container_id, name, version, self._clock.now_us())
            self._replace(container_id, name, rows, [dead])
        return len(found)

    # ------------------------------------------------------------------------------------------ parts

    def tombs(self, container_id: str, name: str) -> list[Record]:
        """Return the tombstones of a name."""
        found = self.db.execute(
            "SELECT version, stamp FROM tombs WHERE container=? AND name=?", (container_id, name)
        )
        return [tombstone(container_id, name, version, stamp) for version, stamp in found]

    def _is_closed(self, container_id: str) -> bool:
        row = self.db.execute(
            "SELECT closed FROM containers WHERE container=?", (container_id,)
        ).fetchone()
        return row is not None and bool(row[0])

    def _refusal(
        self, container_id: str, name: str, rows: Sequence[tuple[Record, bool]], stamp: int, reserved: int
    ) -> Result | None:  # fmt: skip
        """Refuse what is not later than all that is known of the name."""
        known = max((r.order[0] for r, _ in rows), default=0)
        dead = self.db.execute(
            "SELECT max(stamp) FROM tombs WHERE container=? AND name=?", (container_id, name)
        ).fetchone()
        known = max(known, dead[0] or 0)
        promised = self.db.execute(
            "SELECT stamp FROM promises WHERE container=? AND name=?", (container_id, name)
        ).fetchone()
        if promised is not None and promised[0] != reserved:
            known = max(known, promised[0])
        return Result(state=ops.STALE, stamp=known) if stamp <= known else None

    def _holds(self, condition: Condition, rows: Sequence[tuple[Record, bool]]) -> bool:
        return holds(condition, [record for record, _ in rows], self._clock.now_us())

    def _keep_blob(self, record: Record, blob: bytes) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO blobs VALUES(?,?,?)",
            (record.data.split(":")[1], xxhash.xxh3_128_digest(blob), blob),
        )

    def _replace(
        self, container_id: str, name: str, rows: Sequence[tuple[Record, bool]],
        changed: Sequence[Record], *, tombs: bool = False,
    ) -> None:  # fmt: skip
        """Put records in place of those of the same version; count, and let go of what nothing points at any more."""
        before = {record.version_id: record for record, _ in rows}
        flagged = next((record.version_id for record, latest in rows if latest), None)
        after = dict(before)
        for record in changed:
            old = after.pop(record.version_id, None)
            if old is not None and old.data != record.data:
                self._let_go(old)
            if record.is_dead:
                if old is not None:
                    self.db.execute(
                        "DELETE FROM entries WHERE container=? AND name=? AND version=?", record.key
                    )
                if tombs:
                    self.db.execute(
                        "INSERT OR REPLACE INTO tombs VALUES(?,?,?,?,?)",
                        (*record.key, record.stamp, self._clock.now_us()),
                    )
                continue
            after[record.version_id] = record
            if tombs:
                self.db.execute(
                    "DELETE FROM tombs WHERE container=? AND name=? AND version=?", record.key
                )
            if old is None or old.data != record.data:
                self._refer(record)
        top = newest(after.values())
        for record in changed:
            if not record.is_dead:
                self.db.execute(_PUT, _row(record, record is top))
        names = {record.version_id for record in changed}
        for version, latest in ((flagged, 0), (top.version_id if top else None, 1)):
            is_same = top is not None and version == top.version_id
            if version in after and version not in names and (latest or not is_same):
                self.db.execute(
                    "UPDATE entries SET latest=? WHERE container=? AND name=? AND version=?",
                    (latest, container_id, name, version),
                )
        stamp = max(max(record.stamp, record.meta_stamp) for record in changed)
        promised = max(record.order[0] for record in changed)
        self._count(container_id, list(before.values()), list(after.values()), stamp)
        self.db.execute(
            "DELETE FROM promises WHERE container=? AND name=? AND stamp<=?",
            (container_id, name, promised),
        )

    def _count(
        self, container_id: str, before: Sequence[Record], after: Sequence[Record], stamp: int
    ) -> None:
        was, now = contribution(before), contribution(after)
        objects, size, versions = (now[0] - was[0], now[1] - was[1], now[2] - was[2])
        self.db.execute(
            "INSERT INTO containers(container, objects, bytes, versions, stamp) VALUES(?,?,?,?,?)"
            " ON CONFLICT(container) DO UPDATE SET objects=objects+excluded.objects,"
            " bytes=bytes+excluded.bytes, versions=versions+excluded.versions,"
            " stamp=max(stamp, excluded.stamp)",
            (container_id, objects, size, versions, stamp),
        )

    def _refer(self, record: Record) -> None:
        for extent in extents(record.data):
            if extent.scheme.text != "i":
                self.db.execute(
                    "INSERT OR REPLACE INTO refs VALUES(?,?,?,?,?,?)",
                    (extent.id, *record.key, extent.scheme.text, extent.size_bytes),
                )

    def _let_go(self, record: Record) -> None:
        """Leave bytes to the sweeper: whoever reads them now shall see them to the end."""
        for extent in extents(record.data):
            if extent.scheme.text != "i":
                self.db.execute(
                    "DELETE FROM refs WHERE id=? AND container=? AND name=? AND version=?",
                    (extent.id, *record.key),
                )
            self.db.execute(
                "INSERT OR REPLACE INTO trash VALUES(?,?)", (extent.id, self._clock.now_us())
            )

    def _note_change(self, container_id: str, name: str) -> None:
        self.db.execute(
            "INSERT INTO changes(container, name) VALUES(?,?)", (container_id, name)
        )


def _wins(record: Record, present: Record | None) -> bool:
    return present is None or record.order > present.order


def _row(record: Record, is_latest: bool) -> tuple[Any, ...]:  # noqa: FBT001 - a column
    return (
        record.container_id, record.name, record.version_id, record.stamp, record.meta_stamp,
        int(record.is_marker), int(is_latest), record.size_bytes, record.expires_at, record.data, record.body,
        record.ballot,
    )  # fmt: skip


def _record(container_id: str, name: str, row: tuple[Any, ...]) -> Record:
    version, stamp, meta_stamp, marker, _latest, size, expires, data, body, ballot = row
    return Record(
        container_id=container_id,
        name=name,
        version_id=version,
        stamp=stamp,
        meta_stamp=meta_stamp,
        is_marker=bool(marker),
        size_bytes=size,
        expires_at=expires,
        data=data,
        body=body,
        ballot=ballot,
    )


def contribution(records: Sequence[Record]) -> tuple[int, int, int]:
    """Return what the versions of one name add to a container: objects, bytes, bytes of older versions."""
    top = newest(records)
    if top is None:
        return 0, 0, 0
    older = sum(record.size_bytes for record in records) - top.size_bytes
    return (0, 0, older) if top.is_marker else (1, top.size_bytes, older)


def holds(condition: Condition, records: Sequence[Record], now_us: int) -> bool:
    """Return whether a condition holds of a name with these records."""
    if not condition.absent and not condition.etag:
        return True
    top = newest(records)
    if top is None or top.is_marker or is_expired(top, now_us):
        return not condition.etag
    if condition.absent:
        return False
    return condition.etag == "*" or condition.etag == entry_of(top, is_latest=True).etag
