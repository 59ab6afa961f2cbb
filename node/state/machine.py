"""The state machine: log entries in, rows and answers out.

One log entry is one SQL transaction that holds rows, answers and the applied index together, so a replay after
a crash changes nothing. The answers of the last entries are kept: a repeated request id gets the same answer.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from node.errors import Incompatible, MachineFault
from node.state import schema
from node.state.apply import Applier
from node.state.row import Table
from node.state.txn import Outcome, Refused, Txn, decode_outcome, decode_txn, encode_outcome

Changes = dict[str, set[str]]
"""Ids of changed rows by table."""

REMEMBERED_ENTRIES = 20_000
"""How many log entries back a repeated request id still finds its answer."""

_WAL_BYTES = 64 << 20
"""To what the write-ahead log shrinks after it was larger, as when the whole store is replaced."""

_STEP_PAGES = 256
"""How much a snapshot copies at a time, in pages of 4 KiB."""

_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no transaction, whatever the bytes."""

_entry_decoder = msgspec.msgpack.Decoder(list[bytes])


class Machine:
    """The store's one writer. Used from one thread only, but for `snapshot_to`."""

    def __init__(self, path: Path, on_changes: Callable[[Changes], None] | None = None) -> None:
        self.path = path
        self._on_changes = on_changes
        self._open()

    def _open(self) -> None:
        self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute("PRAGMA foreign_keys=OFF")
        self.db.execute("PRAGMA wal_autocheckpoint=2000")
        self.db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        self.db.execute("PRAGMA cache_size=-16384")
        os.chmod(self.path, 0o600)
        schema.create(self.db)
        self._applier = Applier(self.db)
        self._applied = self._meta("applied")
        self._seq = self._meta("seq")

    def _meta(self, key: str) -> int:
        value: int = self.db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()[0]
        return value

    @property
    def applied_index(self) -> int:
        """Return the index of the last log entry that the store holds."""
        return self._applied

    def apply(self, index: int, entry: bytes) -> list[bytes]:
        """Apply one log entry and return one encoded outcome for each of its transactions.

        An entry that the store holds already changes nothing; its answers are the stored ones.

        Raises:
            MachineFault: this node's disk failed; nothing was applied.
        """
        try:
            raw = _entry_decoder.decode(entry)
        except _UNDECODABLE:
            raw = []
        if index <= self._applied:
            return [encode_outcome(self._replayed(data)) for data in raw]
        self._applier.changes = {}
        seq = self._seq
        try:
            self.db.execute("BEGIN IMMEDIATE")
            answers = []
            for data in raw:
                seq += 1
                answers.append(self._apply_one(data, index, seq))
            self._finish(index, seq)
            self.db.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise MachineFault(f"The row store failed at entry {index}: {error}") from error
        self._applied, self._seq = index, seq
        if self._on_changes and self._applier.changes:
            self._on_changes(self._applier.changes)
        return answers

    def _apply_one(self, data: bytes, index: int, seq: int) -> bytes:
        try:
            txn = decode_txn(data)
        except _UNDECODABLE:
            return encode_outcome(Refused(op=-1, reason="malformed"))
        known = self._answer(txn)
        if known is not None:
            return known
        answer = encode_outcome(self._applier.apply(txn, seq))
        self.db.execute("INSERT INTO requests VALUES (?, ?, ?)", (txn.request_id, index, answer))
        return answer

    def _answer(self, txn: Txn) -> bytes | None:
        found = self.db.execute(
            "SELECT outcome FROM requests WHERE id=?", (txn.request_id,)
        ).fetchone()
        return found[0] if found else None

    def _replayed(self, data: bytes) -> Outcome:
        try:
            known = self._answer(decode_txn(data))
        except _UNDECODABLE:
            known = None
        if known is None:
            return Refused(op=-1, reason="malformed")
        return decode_outcome(known)

    def _finish(self, index: int, seq: int) -> None:
        self.db.execute("UPDATE meta SET value=? WHERE key='applied'", (index,))
        self.db.execute("UPDATE meta SET value=? WHERE key='seq'", (seq,))
        self.db.execute("DELETE FROM requests WHERE entry<=?", (index - REMEMBERED_ENTRIES,))
        for table in sorted(self._applier.changes):
            self.db.execute("INSERT OR REPLACE INTO generations VALUES (?, ?)", (table, seq))

    def declared(self) -> dict[str, Table]:
        """Return the table declarations that the store holds."""
        return schema.declared(self.db)

    def check_floor(self, tables: list[Table]) -> None:
        """Refuse to run code that is older than what the stored tables allow.

        Raises:
            Incompatible: names the table and both versions.
        """
        stored = self.declared()
        for table in tables:
            held = stored.get(table.name)
            if held is not None and table.version < held.compat:
                raise Incompatible(
                    f"Table {table.name} needs code of version {held.compat} or later, "
                    f"this is {table.version}: install the newer version again"
                )

    def checkpoint(self) -> None:
        """Make all that was applied durable, so that the log may be trimmed. Never waits for a reader.

        Raises:
            MachineFault: the disk failed.
        """
        try:
            # What is committed is either in the synced database or in this file; a checkpoint in a mode that
            # syncs everything itself would wait until no reader looks at an older moment.
            with contextlib.suppress(FileNotFoundError):
                _sync(self.path.with_name(self.path.name + "-wal"))
            self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise MachineFault(f"The row store cannot be made durable: {error}") from error

    def snapshot_to(self, path: Path, between: Callable[[], None] = lambda: None) -> int:
        """Write a consistent copy to a new file and return its applied index.

        Any thread may call this. `between` is called after each small step: it may wait, or raise to give up.

        Raises:
            MachineFault: the copy cannot be written.
        """
        return copy_store(self.path, path, between)

    def restore_from(self, path: Path, *, is_checked: bool = False) -> None:
        """Replace the whole store by a copy that `snapshot_to` made.

        Readers that have the store open see the new rows at their next read: the file stays the same file.
        `is_checked` says that `check_copy` found nothing wrong with the copy.

        Raises:
            MachineFault: the copy cannot be read or the disk failed; the store is as before.
        """
        if not is_checked:
            check_copy(path)
        try:
            with contextlib.closing(_read_only(path)) as source:
                found = source.execute("SELECT value FROM meta WHERE key='applied'").fetchone()
                if found[0] < self._applied:
                    raise MachineFault(f"The snapshot {path} is older than the store")
                source.backup(self.db, pages=-1)
        except sqlite3.Error as error:
            raise MachineFault(f"The snapshot {path} cannot be restored: {error}") from error
        self.close()
        self._open()

    def disown(self) -> None:
        """Forget at which entry of the log the rows stand: any copy may replace them now, and nothing else.

        Raises:
            MachineFault: the disk failed.
        """
        try:
            self.db.execute("UPDATE meta SET value=0 WHERE key='applied'")
        except sqlite3.Error as error:
            raise MachineFault(f"The row store cannot be written: {error}") from error
        self._applied = 0

    def skip_revisions(self, count: int) -> None:
        """Leave out so many revisions: what an unknown transaction may have been given is not given again.

        Raises:
            MachineFault: the disk failed.
        """
        try:
            self.db.execute("UPDATE meta SET value=? WHERE key='seq'", (self._seq + count,))
        except sqlite3.Error as error:
            raise MachineFault(f"The row store cannot be written: {error}") from error
        self._seq += count

    def digest(self) -> str:
        """Return a SHA-256 over all content: equal on all nodes at the same applied index."""
        digest = hashlib.sha256()
        for line in self.db.iterdump():
            digest.update(line.encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self.db.close()


def copy_store(source: Path, path: Path, between: Callable[[], None] = lambda: None) -> int:
    """Write a consistent copy of a store, which may be in use, to a new file and return its applied index.

    `between` is called after each small step: it may wait, or raise to give up.

    Raises:
        MachineFault: the copy cannot be written.
    """
    try:
        with contextlib.closing(_read_only(source)) as held, _new_file(path) as copy:
            # The open read transaction keeps all steps at one moment, whatever is written meanwhile.
            held.execute("BEGIN")
            index: int = held.execute("SELECT value FROM meta WHERE key='applied'").fetchone()[0]
            held.backup(copy, pages=_STEP_PAGES, progress=lambda *_: between())
    except sqlite3.Error as error:
        raise MachineFault(f"The row store cannot be copied to {path}: {error}") from error
    return index


def check_copy(path: Path) -> int:
    """Look through a copy of a store and return its applied index. Any thread may call this.

    Raises:
        MachineFault: it is damaged, or no copy of a store.
    """
    try:
        with contextlib.closing(_read_only(path)) as copy:
            if copy.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                raise MachineFault(f"The snapshot {path} is damaged")
            found = copy.execute("SELECT value FROM meta WHERE key='applied'").fetchone()
    except sqlite3.Error as error:
        raise MachineFault(f"The snapshot {path} cannot be restored: {error}") from error
    if found is None:
        raise MachineFault(f"The snapshot {path} says nothing of the log")
    return int(found[0])


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database file that nobody else uses and that need not survive a crash."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as copy:
        os.chmod(path, 0o600)
        copy.execute("PRAGMA journal_mode=OFF")
        copy.execute("PRAGMA synchronous=OFF")
        yield copy
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, which a reader need not write to


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_only(path: Path) -> sqlite3.Connection:
    """Open a file of any name."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
