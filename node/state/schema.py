"""DDL of the row store: made from table declarations, never from code that knows a service."""

import json
import re
import sqlite3
from typing import Any

import msgspec

from node.errors import Incompatible
from node.state.row import Table

FORMAT_VERSION = 1
"""Version of the tables below; a store of a newer format is refused."""

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED = {"meta", "requests", "counters", "generations", "declarations"}


def create(db: sqlite3.Connection) -> None:
    """Make the store's own tables, when they are missing.

    Raises:
        Incompatible: the file was written by a newer format.
    """
    if _is_complete(db):
        return  # nothing is written: it may be opened on a full disk
    import sqlite_utils  # once in a store's life, and it loads a command line's library and a calendar's

    utils = sqlite_utils.Database(db, execute_plugins=False)
    options: dict[str, Any] = {"strict": True, "if_not_exists": True}
    utils.table("meta").create({"key": str, "value": int}, pk="key", not_null={"value"}, **options)
    utils.table("counters").create(
        {"id": str, "value": int}, pk="id", not_null={"value"}, **options
    )
    utils.table("generations").create({"id": str, "seq": int}, pk="id", not_null={"seq"}, **options)
    utils.table("declarations").create(
        {"id": str, "spec": str}, pk="id", not_null={"spec"}, **options
    )
    requests = {"id": str, "entry": int, "outcome": bytes}
    utils.table("requests").create(requests, pk="id", not_null={"entry", "outcome"}, **options)
    utils.table("requests").create_index(["entry"], if_not_exists=True)
    for key, value in (("applied", 0), ("seq", 0), ("format", FORMAT_VERSION)):
        db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))


def _is_complete(db: sqlite3.Connection) -> bool:
    """Return whether everything is there: the format is what is written last.

    Raises:
        Incompatible: the file was written by a newer format.
    """
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name='meta'").fetchone():
        return False
    held: dict[str, int] = dict(db.execute("SELECT key, value FROM meta").fetchall())
    version = held.get("format", 0)
    if version > FORMAT_VERSION:
        raise Incompatible(
            f"The store has format {version}, this version knows {FORMAT_VERSION}: install the newer version again"
        )
    return version == FORMAT_VERSION and {"applied", "seq"} <= held.keys()


def declared(db: sqlite3.Connection) -> dict[str, Table]:
    """Return the declarations that the store holds, by table name."""
    rows = db.execute("SELECT spec FROM declarations ORDER BY id").fetchall()
    tables = [msgspec.json.decode(spec, type=Table) for (spec,) in rows]
    return {table.name: table for table in tables}


def define(db: sqlite3.Connection, table: Table) -> bool:
    """Create a table or extend it; say whether it is one that this store can hold.

    Columns and indexes are only ever added. A declaration that is not newer changes nothing.
    """
    names = (table.name, *table.columns)
    if table.name in RESERVED or not all(_IDENTIFIER.fullmatch(name) for name in names):
        return False
    old = declared(db).get(table.name)
    if old is not None and old.version >= table.version:
        return True
    # sqlite-utils cannot declare generated columns, so this one table is made by hand
    db.execute(
        f'CREATE TABLE IF NOT EXISTS "{table.name}" '
        "(id TEXT PRIMARY KEY, rev INTEGER NOT NULL, doc TEXT NOT NULL) STRICT"
    )
    present = {row[1] for row in db.execute(f'PRAGMA table_xinfo("{table.name}")')}
    for column in table.columns:
        if column not in present:
            db.execute(
                f'ALTER TABLE "{table.name}" ADD COLUMN "{column}" ANY '
                f"GENERATED ALWAYS AS (doc ->> '$.{column}') VIRTUAL"
            )
    for kind, groups in (("INDEX", table.indexes), ("UNIQUE INDEX", table.unique)):
        for group in groups:
            name = f"{table.name}__{'__'.join(group)}{'__u' if 'UNIQUE' in kind else ''}"
            columns = ", ".join(f'"{column}"' for column in group)
            db.execute(f'CREATE {kind} IF NOT EXISTS "{name}" ON "{table.name}" ({columns})')
    spec = json.dumps(msgspec.to_builtins(table), sort_keys=True)
    db.execute("INSERT OR REPLACE INTO declarations VALUES (?, ?)", (table.name, spec))
    return True
