"""Reads of the row store: typed rows out of SQLite, read-only, from any number of processes and threads.

Each query sees what is committed then; `snapshot()` makes the queries of a thread see one moment.

Hard part: memory. A connection costs 240 KiB, most of it the schema, before it has read anything, so threads share
a few: one is lent for each query, and kept by the thread inside `snapshot()`. What plugins remember between reads is
shared as well, so `data_version()` must mean the same to every connection.
"""

import contextlib
import functools
import itertools
import mmap
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from node.errors import NotFound
from node.state.row import Row

R = TypeVar("R", bound=Row)
Filter = str | int | bool | None | Sequence[str] | Sequence[int] | set[str] | frozenset[str]

STATE_FILE = "state.db"
"""Name of the row store in a node's state directory."""

_CACHE_KIB = 512
"""Of each connection, for pages of the write-ahead log; all others are mapped."""
_SPARE = 4
"""At most so many connections are kept open while no one reads."""
_OPERATORS = frozenset({"=", "!=", "<", "<=", ">", ">=", "LIKE", "GLOB"})


Decoders = dict[type[Row], msgspec.json.Decoder[Any]]
_learning = threading.Lock()  # msgspec learns a type once; two threads that teach it the same may end the process


def _learn(decoders: Decoders, row_type: type[Row]) -> msgspec.json.Decoder[Any]:
    with _learning:
        return decoders.setdefault(row_type, msgspec.json.Decoder(row_type))


class _Moment(threading.local):
    """The connection that the thread keeps inside `snapshot()`."""

    db: sqlite3.Connection | None = None
    version = 0


class Reader:
    """Reads of one store, from any thread."""

    def __init__(self, path: Path, decoders: Decoders | None = None) -> None:
        self._path = path
        self._moment = _Moment()
        self._unknown = itertools.count(1)
        self._idle = deque([self._open()])
        self._decoders: Decoders = {} if decoders is None else decoders
        self.memo: dict[str, Any] = {}
        """What plugins remember between reads, by their name, for all threads; they forget it when `generation`
        has moved."""

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        db.execute("PRAGMA query_only=1")
        db.execute("PRAGMA mmap_size=268435456")
        db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        return db

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()  # the one used last: its statements and pages are warm
        except IndexError:
            return self._open()

    def _give_back(self, db: sqlite3.Connection) -> None:
        if len(self._idle) < _SPARE:
            self._idle.append(db)
        else:
            db.close()

    def get(self, row_type: type[R], id: str) -> R | None:
        """Return the row with that id, or None."""
        sql = f'SELECT rev, doc FROM "{row_type.__table__.name}" WHERE id=?'
        found = self._run(sql, (id,))
        return self._load(row_type, found[0]) if found else None

    def must(self, row_type: type[R], id: str, message: str = "") -> R:
        """Return the row with that id.

        Raises:
            NotFound: 404 with the message.
        """
        row = self.get(row_type, id)
        if row is None:
            raise NotFound(message or f"{row_type.__name__} {id} could not be found")
        return row

    def one(self, row_type: type[R], **filters: Filter) -> R | None:
        """Return the first row in order of creation whose fields have these values, or None."""
        rows = self.rows(row_type, where=(), limit=1, **cast("Any", filters))
        return rows[0] if rows else None

    def rows(
        self,
        row_type: type[R],
        *,
        where: Sequence[tuple[str, str, str | int]] = (),
        order_by: Sequence[tuple[str, str]] = (("created_at", "asc"), ("id", "asc")),
        limit: int | None = None,
        **filters: Filter,
    ) -> list[R]:
        """Return rows whose fields have these values; a sequence means one of them, None means null.

        `where` adds comparisons (field, operator, value). Any field may be used; declared ones are indexed.
        """
        clause, values = self._where(row_type, where, filters)
        order = ", ".join(
            f"{_column(row_type, f)} {'DESC' if d == 'desc' else 'ASC'}" for f, d in order_by
        )
        sql = f'SELECT rev, doc FROM "{row_type.__table__.name}"{clause}'
        if order:
            sql += f" ORDER BY {order}"
        if limit is not None:
            sql += f" LIMIT {int(limit)}"
        load = self._load
        return [load(row_type, found) for found in self._run(sql, values)]

    def has(self, table: str, id: str) -> bool:
        """Return whether a table, known by name only, has a row."""
        if not table.isidentifier():
            return False
        return bool(self._run(f'SELECT 0, 0 FROM "{table}" WHERE id=?', (id,)))

    def count(
        self,
        row_type: type[Row],
        *,
        where: Sequence[tuple[str, str, str | int]] = (),
        **filters: Filter,
    ) -> int:
        """Return how many rows have these values."""
        clause, values = self._where(row_type, where, filters)
        found = self._run(f'SELECT count(*) FROM "{row_type.__table__.name}"{clause}', values)
        return int(found[0][0]) if found else 0

    def counter(self, name: str) -> int:
        """Return a counter's value; one that was never counted is 0."""
        found = self._run("SELECT value FROM counters WHERE id=?", (name,))
        return int(found[0][0]) if found else 0

    def counters(self, prefix: str) -> dict[str, int]:
        """Return all counters whose name begins with the prefix, by name."""
        sql = "SELECT id, value FROM counters WHERE id >= ? AND id < ?"
        return dict(self._run(sql, (prefix, prefix + "\U0010ffff")))

    def generation(self, *row_types: type[Row]) -> int:
        """Return a number that grows whenever a row of these types changes."""
        names = [row_type.__table__.name for row_type in row_types]
        marks = ",".join("?" * len(names))
        sql = f"SELECT coalesce(max(seq), 0) FROM generations WHERE id IN ({marks})"
        return int(self._run(sql, names)[0][0])

    def data_version(self) -> int:
        """Return a number that changes whenever anything was committed; cheaper than `generation`."""
        if self._moment.db is not None:
            return self._moment.version
        head = self._wal_head
        if head is None:
            return -1 - self.applied_index()
        return int.from_bytes(head[8:48], "little")

    @functools.cached_property
    def _wal_head(self) -> mmap.mmap | None:
        """Return the header of the WAL index, where every commit leaves its mark: read without a system call.

        Source: https://www.sqlite.org/walformat.html#the_wal_index_header
        """
        self._run("SELECT 1 FROM sqlite_schema LIMIT 1", ())  # has SQLite map it
        try:
            # Never closed: to close any file of it would take this process's locks on it, those of SQLite too.
            descriptor = os.open(self._path.with_name(self._path.name + "-shm"), os.O_RDONLY)
            return mmap.mmap(descriptor, 136, prot=mmap.PROT_READ)
        except (OSError, ValueError):
            return None

    def applied_index(self) -> int:
        """Return the index of the last applied log entry."""
        return int(self._run("SELECT value FROM meta WHERE key='applied'", ())[0][0])

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Make all reads of this thread inside see one moment. May be nested."""
        if self._moment.db is not None:
            yield
            return
        db = self._take()
        try:
            before = self.data_version()
            db.execute("BEGIN")
            db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # the moment is now
            # Where something was committed meanwhile, no one can say what the moment's number is.
            held = self.data_version() == before
            self._moment.version = before if held else -(1 << 64) - next(self._unknown)
            self._moment.db = db
            yield
        finally:
            self._moment.db = None
            if db.in_transaction:
                db.execute("COMMIT")
            self._give_back(db)

    @property
    def in_snapshot(self) -> bool:
        """Return whether the calling thread sees a moment that may be past."""
        return self._moment.db is not None

    def close(self) -> None:
        """Close the connections that no one uses."""
        while self._idle:
            self._idle.pop().close()

    def _run(self, sql: str, values: Sequence[Any]) -> list[Any]:
        db = self._moment.db
        if db is not None:
            return _rows_of(db, sql, values)
        db = self._take()
        try:
            return _rows_of(db, sql, values)
        finally:
            self._give_back(db)

    def _load(self, row_type: type[R], found: tuple[int, str]) -> R:
        decoder = self._decoders.get(row_type) or _learn(self._decoders, row_type)
        row: R = decoder.decode(found[1])
        msgspec.structs.force_setattr(row, "rev", found[0])
        return row

    def _where(
        self,
        row_type: type[Row],
        where: Sequence[tuple[str, str, str | int]],
        filters: dict[str, Filter],
    ) -> tuple[str, list[Any]]:
        parts: list[str] = []
        values: list[Any] = []
        for name, wanted in filters.items():
            column = _column(row_type, name)
            if wanted is None:
                parts.append(f"{column} IS NULL")
            elif isinstance(wanted, str | int):
                parts.append(f"{column} = ?")
                values.append(wanted)
            else:
                parts.append(f"{column} IN ({','.join('?' * len(wanted))})")
                values.extend(sorted(wanted))
        for name, operator, value in where:
            if operator not in _OPERATORS:
                raise ValueError(f"{operator} is no comparison")
            parts.append(f"{_column(row_type, name)} {operator} ?")
            values.append(value)
        return (f" WHERE {' AND '.join(parts)}" if parts else ""), values


class Readers:
    """The reader of this process, opened when it is first asked for: after a fork, and once there is a store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: Reader | None = None
        self._lock = threading.Lock()
        self._decoders: Decoders = {}

    def learn(self, row_types: Iterable[type[Row]]) -> None:
        """Get ready to read rows of these types: before a fork, so that all processes share what is learnt."""
        for row_type in row_types:
            _learn(self._decoders, row_type)

    def reader(self) -> Reader:
        """Return the reader."""
        if self._reader is None:
            with self._lock:
                if self._reader is None:
                    self._reader = Reader(self._path, self._decoders)
        return self._reader


def _rows_of(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Any]:
    try:
        return db.execute(sql, values).fetchall()
    except OverflowError:  # a number that SQLite cannot hold
        return db.execute(sql, [_near(value) for value in values]).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # not defined yet: a table without rows
            return []
        raise


def _column(row_type: type[Row], name: str) -> str:
    """Return the SQL expression for a field of a row."""
    if name not in row_type.__struct_fields__:
        raise AttributeError(f"{row_type.__name__} rows have no field {name}")
    if name in ("id", "rev") or name in row_type.__table__.columns:
        return f'"{name}"'
    return f"(doc ->> '$.{name}')"


def _near(value: Any) -> Any:
    """Return a number beyond SQLite's as a floating-point one, which compares as it should."""
    if not isinstance(value, int) or -(1 << 63) <= value < 1 << 63:
        return value
    return float("inf") if value > 0 else float("-inf")
