"""The tables of a disk's index: entries of all containers that it holds a replica of, and small objects themselves.

Names compare as UTF-8 bytes, which is what SQLite does with text. Tombstones lie apart, so that listings do not wade
through them. `changes` says in which order names were changed: other replicas follow it.
"""

import sqlite3
from pathlib import Path

INDEX_FILE = "index.db"
_PAGE_BYTES = 8192
_CACHE_KIB = 8192
_READ_CACHE_KIB = 384
_CHECKPOINT_PAGES = 2000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries(
    container TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, stamp INTEGER NOT NULL,
    meta_stamp INTEGER NOT NULL, marker INTEGER NOT NULL, latest INTEGER NOT NULL, size INTEGER NOT NULL,
    expires INTEGER, data TEXT NOT NULL, body BLOB NOT NULL, ballot INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(container, name, version)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_expires ON entries(container, expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS tombs(
    container TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, stamp INTEGER NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY(container, name, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS promises(
    container TEXT NOT NULL, name TEXT NOT NULL, stamp INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY(container, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs(id TEXT PRIMARY KEY, hash BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS refs(
    id TEXT NOT NULL, container TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, scheme TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY(id, container, name, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trash(id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS containers(
    container TEXT PRIMARY KEY, closed INTEGER NOT NULL DEFAULT 0, objects INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0, versions INTEGER NOT NULL DEFAULT 0, stamp INTEGER NOT NULL DEFAULT 0,
    places INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, container TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notes(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def open_writer(directory: Path) -> sqlite3.Connection:
    """Open the index of a disk for its one writer; made where there is none."""
    db = sqlite3.connect(
        directory / INDEX_FILE, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    db.executescript(_SCHEMA)
    return db


def open_reader(directory: Path) -> sqlite3.Connection:
    """Open the index of a disk for one reading thread.

    Raises:
        sqlite3.OperationalError: there is none.
    """
    db = sqlite3.connect(
        f"{(directory / INDEX_FILE).absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    db.execute("PRAGMA query_only=1")
    db.execute(f"PRAGMA cache_size=-{_READ_CACHE_KIB}")
    return db
