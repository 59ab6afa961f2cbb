"""Reads of the row store: typed rows out of SQLite, read-only, from any number of processes.

A reader belongs to one thread at a time; `Readers` keeps one a thread. Each query sees what is committed then;
`snapshot()` makes several queries see one moment.
"""

import contextlib
import functools
import mmap
import sqlite3
import threading
from collections.abc import Iterator, Sequence
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
"""Of each reader, for pages of the write-ahead log; all others are mapped. Every thread has a reader."""
_OPERATORS = frozenset({"=", "!=", "<", "<=", ">", ">=", "LIKE", "GLOB"})


class Reader:
    """One read-only connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        self._db.execute("PRAGMA query_only=1")
        self._db.execute("PRAGMA mmap_size=268435456")
        self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._decoders: dict[type[Row], msgspec.json.Decoder[Any]] = {}
        self.memo: dict[str, Any] = {}
        """What plugins remember between reads, by their name; they forget it when `generation` has moved."""

    def get(self, row_type: type[R], id: str) -> R | None:
        """Return the row with that id, or None."""
        sql = f'SELECT rev, doc FROM "{row_type.__table__.name}" WHERE id=?'
        found = self._run(sql, (id,)).fetchone()
        return self._load(row_type, found) if found else None

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
        return self._run(f'SELECT 0, 0 FROM "{table}" WHERE id=?', (id,)).fetchone() is not None

    def count(
        self,
        row_type: type[Row],
        *,
        where: Sequence[tuple[str, str, str | int]] = (),
        **filters: Filter,
    ) -> int:
        """Return how many rows have these values."""
        clause, values = self._where(row_type, where, filters)
        found = self._run(
            f'SELECT count(*) FROM "{row_type.__table__.name}"{clause}', values
        ).fetchone()
        return int(found[0]) if found else 0

    def counter(self, name: str) -> int:
        """Return a counter's value; one that was never counted is 0."""
        found = self._db.execute("SELECT value FROM counters WHERE id=?", (name,)).fetchone()
        return int(found[0]) if found else 0

    def counters(self, prefix: str) -> dict[str, int]:
        """Return all counters whose name begins with the prefix, by name."""
        sql = "SELECT id, value FROM counters WHERE id >= ? AND id < ?"
        return dict(self._db.execute(sql, (prefix, prefix + "\U0010ffff")).fetchall())

    def generation(self, *row_types: type[Row]) -> int:
        """Return a number that grows whenever a row of these types changes."""
        names = [row_type.__table__.name for row_type in row_types]
        marks = ",".join("?" * len(names))
        sql = f"SELECT coalesce(max(seq), 0) FROM generations WHERE id IN ({marks})"
        return int(self._db.execute(sql, names).fetchone()[0])

    def data_version(self) -> int:
        """Return a number that changes whenever anything was committed; cheaper than `generation`."""
        head = self._wal_head
        if head is None or self._db.in_transaction:
            return -int(self._db.execute("PRAGMA data_version").fetchone()[0])
        return int.from_bytes(head[8:48], "little")

    @functools.cached_property
    def _wal_head(self) -> mmap.mmap | None:
        """Return the header of the WAL index, where every commit leaves its mark: read without a system call.

        Source: https://www.sqlite.org/walformat.html#the_wal_index_header
        """
        self._db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # has SQLite map it
        try:
            with self._path.with_name(self._path.name + "-shm").open("rb") as file:
                return mmap.mmap(file.fileno(), 136, prot=mmap.PROT_READ)
        except (OSError, ValueError):
            return None

    def applied_index(self) -> int:
        """Return the index of the last applied log entry."""
        return int(self._db.execute("SELECT value FROM meta WHERE key='applied'").fetchone()[0])

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Make all reads inside see one moment. May be nested."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _run(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, values)
        except OverflowError:  # a number that SQLite cannot hold
            return self._db.execute(sql, [_near(value) for value in values])
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # not defined yet: a table without rows
                return self._db.execute("SELECT 0, 0 WHERE 0")
            raise

    def _load(self, row_type: type[R], found: tuple[int, str]) -> R:
        decoder = self._decoders.get(row_type)
        if decoder is None:
            decoder = self._decoders[row_type] = msgspec.json.Decoder(row_type)
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
    """One reader for each thread that asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def reader(self) -> Reader:
        """Return the calling thread's reader."""
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = Reader(self._path)
        return reader


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
