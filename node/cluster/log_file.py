"""The SQLite file of the log: its tables, and how they are read and written."""

import os
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.cluster.catchup import LogStart
from node.errors import NodeError

Entry = tuple[bytes, int, int]
"""Command, index, term: the library's own order."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, crc INTEGER NOT NULL,
                                cmd BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 1), node TEXT NOT NULL, term INTEGER NOT NULL,
                                 vote TEXT, committed INTEGER NOT NULL, applied_floor INTEGER NOT NULL,
                                 peers BLOB NOT NULL) STRICT;
"""
_LATER_COLUMNS = ("voter INTEGER NOT NULL DEFAULT 1", "coming BLOB")


class JournalFault(NodeError):
    """The log cannot be read or written: the process must stop."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """All that is stored beside the entries."""

    node: str
    term: int = 0
    vote: str | None = None
    committed: int = 1
    applied_floor: int = 0
    voters: tuple[str, ...]
    coming: LogStart | None = None


def open_file(path: Path) -> sqlite3.Connection:
    """Open or make the file; its name is on the disk when this returns."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Nobody else reads the log: exclusive locking needs no shared memory file.
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.executescript(_SCHEMA)
    known = {row[1] for row in db.execute("PRAGMA table_info(meta)")}
    for column in _LATER_COLUMNS:
        if column.split()[0] not in known:
            db.execute(f"ALTER TABLE meta ADD COLUMN {column}")
    path.chmod(0o600)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return db


def read_meta(db: sqlite3.Connection) -> Meta | None:
    """Return what is stored, None in a new file."""
    found = db.execute(
        "SELECT node, term, vote, committed, applied_floor, peers, voter, coming FROM meta"
    ).fetchone()
    if found is None:
        return None
    node, term, vote, committed, floor, peers, is_voter, coming = found
    known = msgspec.msgpack.decode(peers, type=tuple[str, ...])
    return Meta(
        node=node,
        term=term,
        vote=vote,
        committed=committed,
        applied_floor=floor,
        voters=(*known, node) if is_voter else known,
        coming=None if coming is None else msgspec.msgpack.decode(coming, type=LogStart),
    )


def write_meta(db: sqlite3.Connection, meta: Meta) -> None:
    """Replace what is stored, inside the caller's transaction."""
    peers = tuple(voter for voter in meta.voters if voter != meta.node)
    db.execute(
        "INSERT OR REPLACE INTO meta (id, node, term, vote, committed, applied_floor, peers, voter, coming)"
        " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            meta.node,
            meta.term,
            meta.vote,
            meta.committed,
            meta.applied_floor,
            msgspec.msgpack.encode(peers),
            int(meta.node in meta.voters),
            None if meta.coming is None else msgspec.msgpack.encode(meta.coming),
        ),
    )


def read_entries(db: sqlite3.Connection, path: Path) -> list[Entry]:
    """Return all entries.

    Raises:
        JournalFault: one is damaged or missing.
    """
    entries: list[Entry] = []
    for idx, term, crc, cmd in db.execute("SELECT idx, term, crc, cmd FROM log ORDER BY idx"):
        if crc != _crc(cmd, idx, term):
            raise JournalFault(f"Entry {idx} of the log {path} is damaged: restore the node")
        if entries and idx != entries[-1][1] + 1:
            raise JournalFault(f"The log {path} has a gap before {idx}: restore the node")
        entries.append((cmd, idx, term))
    return entries


def write_entries(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Add entries, inside the caller's transaction."""
    db.executemany(
        "INSERT INTO log VALUES (?, ?, ?, ?)",
        [(idx, term, _crc(cmd, idx, term), cmd) for cmd, idx, term in entries],
    )


def _crc(command: bytes, idx: int, term: int) -> int:
    return zlib.crc32(command, (idx ^ term << 20) & 0xFFFFFFFF)
