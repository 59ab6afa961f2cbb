"""Apply one transaction to an open store: deterministic, total, without clock, chance or I/O but SQLite.

Hard part: telling a refusal (the same on every node) from a failure of this node's disk. Refusals come out of
the data: unique indexes, malformed documents, missing tables. Everything else that SQLite raises is this
machine's own trouble and must stop the process before it answers.
"""

import sqlite3

import msgspec

from node.errors import MachineFault
from node.state import schema
from node.state.document import is_sound
from node.state.row import Table
from node.state.txn import (
    Applied,
    Check,
    Count,
    Define,
    Delete,
    Insert,
    Outcome,
    Patch,
    Put,
    Refused,
    Txn,
)

_DATA_ERRORS = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})
"""Primary result codes that come from what was asked (no such table, malformed JSON, a bad name), not from the disk."""


class RefusedOp(Exception):
    """Carries the refusal of one operation out of its transaction."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Applier:
    """Applies transactions to one connection and notes which rows changed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.changes: dict[str, set[str]] = {}

    def apply(self, txn: Txn, seq: int) -> Outcome:
        """Apply all operations or none, in a savepoint of the caller's SQL transaction."""
        touched: list[tuple[str, str]] = []
        self.db.execute("SAVEPOINT txn")
        try:
            for number, op in enumerate(txn.ops):
                self._step(number, op, seq, touched)
        except RefusedOp as refused:
            self.db.execute("ROLLBACK TO txn")
            self.db.execute("RELEASE txn")
            return refused.refusal
        self.db.execute("RELEASE txn")
        for table, row_id in touched:
            self.changes.setdefault(table, set()).add(row_id)
        return Applied(seq=seq)

    def _step(self, number: int, op: object, seq: int, touched: list[tuple[str, str]]) -> None:
        table = getattr(op, "table", "")
        row_id = getattr(op, "id", "")
        try:
            match op:
                case Check():
                    self._check(number, op)
                case Count():
                    self._count(number, op)
                case Define(table=declaration):
                    self._define(number, declaration)
                case Insert() | Put():
                    self._store(number, op, seq)
                    touched.append((table, row_id))
                case Patch():
                    self._patch(number, op, seq)
                    touched.append((table, row_id))
                case Delete():
                    if self._delete(number, op):
                        touched.append((table, row_id))
        except sqlite3.IntegrityError as error:
            raise RefusedOp(_integrity(number, table, row_id, str(error))) from error
        except OverflowError as error:  # a number that SQLite cannot hold
            raise _malformed(number, op) from error
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DATA_ERRORS:
                raise _malformed(number, op) from error
            raise MachineFault(f"The row store cannot be written: {error}") from error

    def _rev(self, table: str, row_id: str) -> int:
        found = self.db.execute(
            f'SELECT rev FROM "{_name(table)}" WHERE id=?', (row_id,)
        ).fetchone()
        return found[0] if found else 0

    def _check(self, number: int, op: Check) -> None:
        if self._rev(op.table, op.id) != op.rev:
            raise RefusedOp(Refused(op=number, reason="rev", table=op.table, id=op.id))

    def _store(self, number: int, op: Insert | Put, seq: int) -> None:
        if not is_sound(op.doc):
            raise _malformed(number, op)
        row = (op.id, seq, op.doc)
        name = _name(op.table)
        if isinstance(op, Insert):
            self.db.execute(f'INSERT INTO "{name}" (id, rev, doc) VALUES (?, ?, ?)', row)
            return
        self.db.execute(
            f'INSERT INTO "{name}" (id, rev, doc) VALUES (?, ?, ?) '
            "ON CONFLICT (id) DO UPDATE SET rev=excluded.rev, doc=excluded.doc",
            row,
        )

    def _patch(self, number: int, op: Patch, seq: int) -> None:
        name = _name(op.table)
        found = self.db.execute(f'SELECT doc FROM "{name}" WHERE id=?', (op.id,)).fetchone()
        if found is None:
            raise RefusedOp(Refused(op=number, reason="missing", table=op.table, id=op.id))
        if not is_sound(op.fields):
            raise _malformed(number, op)
        fields = msgspec.json.decode(op.fields, type=dict[str, msgspec.Raw])
        document = msgspec.json.decode(found[0], type=dict[str, msgspec.Raw])
        if not fields.keys().isdisjoint(("id", "rev")):
            raise _malformed(number, op)
        document.update(fields)
        text = msgspec.json.encode(document).decode()
        self.db.execute(f'UPDATE "{name}" SET rev=?, doc=? WHERE id=?', (seq, text, op.id))

    def _delete(self, number: int, op: Delete) -> bool:
        gone = self.db.execute(f'DELETE FROM "{_name(op.table)}" WHERE id=?', (op.id,)).rowcount
        if not gone and op.must_exist:
            raise RefusedOp(Refused(op=number, reason="missing", table=op.table, id=op.id))
        return gone > 0

    def _count(self, number: int, op: Count) -> None:
        found = self.db.execute("SELECT value FROM counters WHERE id=?", (op.counter,)).fetchone()
        value = found[0] if found else 0
        after = max(0, value + op.delta)
        if op.delta > 0 and op.limit is not None and 0 <= op.limit < after:
            raise RefusedOp(
                Refused(op=number, reason="limit", id=op.counter, value=value, limit=op.limit)
            )
        if after == 0:
            self.db.execute("DELETE FROM counters WHERE id=?", (op.counter,))
        else:
            self.db.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (op.counter, after))

    def _define(self, number: int, table: Table) -> None:
        try:
            held = schema.define(self.db, table)
        except sqlite3.IntegrityError:  # rows are there that a new unique group forbids
            held = False
        if not held:
            raise RefusedOp(Refused(op=number, reason="incompatible", table=table.name))


def _malformed(number: int, op: object) -> RefusedOp:
    """Return the refusal of an operation that no node can carry out."""
    table = getattr(op, "table", "")
    if isinstance(table, Table):
        table = table.name
    return RefusedOp(Refused(op=number, reason="malformed", table=table, id=getattr(op, "id", "")))


def _name(table: str) -> str:
    """Return a table name that is safe inside double quotes; an unsafe one names no table."""
    return table if table.replace("_", "").isalnum() and table not in schema.RESERVED else "-"


def _integrity(number: int, table: str, row_id: str, message: str) -> Refused:
    """Translate SQLite's constraint message: `UNIQUE constraint failed: t.a, t.b`."""
    if "UNIQUE" not in message:
        return Refused(op=number, reason="malformed", table=table, id=row_id)
    columns = tuple(
        part.strip().rpartition(".")[2] for part in message.partition(": ")[2].split(",")
    )
    reason = "exists" if columns == ("id",) else "unique"
    return Refused(op=number, reason=reason, table=table, id=row_id, columns=columns)
