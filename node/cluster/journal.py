"""The Raft log on disk: pysyncobj's Journal over SQLite.

Hard part: the library changes the log in place and never syncs. Here the log is a list in memory, changes are
only noted, and `sync()` writes all of them in one SQL transaction that is on the disk when it returns. The owner
calls it before anything that the log promises leaves this process: one fsync a tick, however many entries.
Term and vote are written at once. The peers are stored beside the log, in the same transaction as the entry that
changes them: a configuration file must never decide who has a vote. Trimming deletes some rows per sync.
"""

import os
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from pysyncobj.journal import Journal

from node.cluster.pickle_guard import membership
from node.cluster.space import is_full_error
from node.errors import NodeError

Entry = tuple[bytes, int, int]
"""Command, index, term: the library's own order."""

_TRIM_ROWS = 256
_NO_INDEX = -1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, crc INTEGER NOT NULL,
                                cmd BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 1), node TEXT NOT NULL, term INTEGER NOT NULL,
                                 vote TEXT, committed INTEGER NOT NULL, applied_floor INTEGER NOT NULL,
                                 peers BLOB NOT NULL) STRICT;
"""


class JournalFault(NodeError):
    """The log cannot be read or written: the process must stop."""


class JournalFull(NodeError):
    """No room to write the log; what was noted is kept and written by a later sync."""

    status = 507
    title = "Insufficient Storage"


class SqliteJournal(Journal):  # type: ignore[misc]
    """The log, term, vote and peers of one node. Used from one thread at a time."""

    def __init__(
        self, path: Path, *, node_id: str, first_peers: Sequence[str] = (), tail_entries: int = 0
    ) -> None:
        self._path = path
        self._tail_entries = tail_entries
        self._entries: list[Entry] = []
        self._durable = _NO_INDEX  # rows up to here are as in `_entries`
        self._cut: int | None = None  # rows from here on must go
        self._meta_changed = False
        self._commit_stale = False
        try:
            self._db = self._open(path)
            self._load(node_id, tuple(first_peers))
        except sqlite3.Error as error:
            raise JournalFault(f"The log {path} cannot be opened: {error}") from error

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Nobody else reads the log: exclusive locking needs no shared memory file.
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
            db.execute(f"PRAGMA {pragma}")
        db.executescript(_SCHEMA)
        path.chmod(0o600)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return db

    def _load(self, node_id: str, first_peers: tuple[str, ...]) -> None:
        found = self._db.execute(
            "SELECT node, term, vote, committed, applied_floor, peers FROM meta"
        ).fetchone()
        if found is None:
            found = (node_id, 0, None, 1, 0, msgspec.msgpack.encode(first_peers))
            self._db.execute("INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?, ?)", found)
        owner, term, vote, commit, floor, peers = found
        self._term: int = term
        self._vote: str | None = vote
        self._commit: int = commit
        self.applied_floor: int = floor
        if owner != node_id:
            raise JournalFault(
                f"The log {self._path} belongs to node {owner}, this is {node_id}: use its own directory"
            )
        self._peers = msgspec.msgpack.decode(peers, type=tuple[str, ...])
        rows = self._db.execute("SELECT idx, term, crc, cmd FROM log ORDER BY idx")
        for idx, term, crc, cmd in rows:
            if crc != _crc(cmd, idx, term):
                raise JournalFault(
                    f"Entry {idx} of the log {self._path} is damaged: restore the node"
                )
            if self._entries and idx != self._entries[-1][1] + 1:
                raise JournalFault(f"The log {self._path} has a gap before {idx}: restore the node")
            self._entries.append((cmd, idx, term))
        if self._entries:
            self._durable = self._entries[-1][1]
        self._disk_first = self._entries[0][1] if self._entries else 0
        self._size_bytes = sum(len(entry[0]) for entry in self._entries)

    # -- what the owner adds to the library's interface

    @property
    def peers(self) -> tuple[str, ...]:
        """Return the ids of the other voters, as of the end of the log."""
        return self._peers

    @property
    def size_bytes(self) -> int:
        """Return how many bytes of commands the log holds."""
        return self._size_bytes

    @property
    def last_index(self) -> int:
        """Return the index of the last entry, 0 of an empty log."""
        return self._entries[-1][1] if self._entries else 0

    def entry(self, position: int) -> Entry:
        """Return the entry at a position, not an index."""
        return self._entries[position]

    @property
    def durable_index(self) -> int:
        """Return the index of the last entry that is on the disk."""
        return self._durable

    @property
    def needs_sync(self) -> bool:
        """Say whether something was noted that is not on the disk, a trim not counted."""
        last = self._entries[-1][1] if self._entries else _NO_INDEX
        return self._durable != last or self._cut is not None or self._meta_changed

    @property
    def needs_trim(self) -> bool:
        """Say whether rows below the log's start wait to be deleted."""
        return bool(self._entries) and self._disk_first < self._entries[0][1]

    def checkpointed(self, applied_index: int) -> None:
        """Note up to where the state is durable: the log may not be used with an older state."""
        if applied_index > self.applied_floor:
            self.applied_floor = applied_index
            self._meta_changed = True

    def sync(self) -> None:
        """Put everything that was noted on the disk, in one transaction.

        Raises:
            JournalFull: no room; nothing was written, the notes are kept.
            JournalFault: the disk failed; the process must stop.
        """
        if not (self.needs_sync or self.needs_trim):
            return
        try:
            self._write()
        except sqlite3.Error as error:
            self._rollback(error)
            if is_full_error(error):
                raise JournalFull(f"No room for the log {self._path}") from error
            raise JournalFault(f"The log {self._path} cannot be written: {error}") from error

    def close(self) -> None:
        """Close the file; what was noted since the last sync is lost."""
        self._db.close()

    def _write(self) -> None:
        new = self._unsaved()
        meta = self._meta_changed or (self._commit_stale and bool(new))
        trimmed = min(self._disk_first + _TRIM_ROWS, self._entries[0][1]) if self.needs_trim else 0
        run = self._db.execute
        run("BEGIN IMMEDIATE")
        if self._cut is not None:
            run("DELETE FROM log WHERE idx >= ?", (self._cut,))
        if trimmed:
            run("DELETE FROM log WHERE idx < ?", (trimmed,))
        if new:
            self._db.executemany(
                "INSERT INTO log VALUES (?, ?, ?, ?)",
                [(idx, term, _crc(cmd, idx, term), cmd) for cmd, idx, term in new],
            )
        if meta:
            run(
                "UPDATE meta SET term=?, vote=?, committed=?, applied_floor=?, peers=?",
                (
                    self._term,
                    self._vote,
                    self._commit,
                    self.applied_floor,
                    msgspec.msgpack.encode(self._peers),
                ),
            )
        run("COMMIT")
        self._cut = None
        if trimmed:
            self._disk_first = trimmed
        if new:
            self._durable = new[-1][1]
        if meta:
            self._meta_changed = self._commit_stale = False

    def _unsaved(self) -> list[Entry]:
        if not self._entries:
            return []
        return self._entries[max(0, self._durable + 1 - self._entries[0][1]) :]

    def _rollback(self, cause: sqlite3.Error) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise JournalFault(f"The log {self._path} cannot be rolled back: {error}") from cause

    # -- the library's interface

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append one entry."""
        if not self._entries and self._durable == _NO_INDEX:
            self._disk_first = idx
        self._entries.append((bytes(command), idx, term))
        self._size_bytes += len(command)
        self._change_peers(command, undo=False)

    def clear(self) -> None:
        """Forget all entries."""
        self._entries = []
        self._size_bytes = 0
        self._durable, self._cut = _NO_INDEX, 0

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        """Forget the entries from a position on."""
        removed = self._entries[entryFrom:]
        if not removed:
            return
        for command, _, _ in reversed(removed):
            self._size_bytes -= len(command)
            self._change_peers(command, undo=True)
        first = removed[0][1]
        if first <= self._durable:
            self._cut = first if self._cut is None else min(self._cut, first)
            self._durable = first - 1
        del self._entries[entryFrom:]

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803
        """Forget the entries before a position, but for the tail that followers may still want."""
        end = entryTo - self._tail_entries
        if end <= 0:
            return
        self._size_bytes -= sum(len(entry[0]) for entry in self._entries[:end])
        del self._entries[:end]

    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        """Note the commit index; it is written along with other changes."""
        self._commit = raftCommitIndex

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        """Return a commit index that the log can bear out."""
        if len(self._entries) < 2:
            return 1
        # What was trimmed around the second entry had been applied.
        trimmed = self._entries[1][1] if self._entries[0][1] > 1 else 1
        return max(trimmed, min(self._commit, self._entries[-1][1]))

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        """Store term and vote, durably before this returns."""
        self._term, self._vote = term, votedForNodeId
        self._meta_changed = True
        self.sync()

    def getCurrentTerm(self) -> int:  # noqa: N802
        """Return the stored term."""
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        """Return whom this node voted for in the term."""
        return self._vote

    def onOneSecondTimer(self) -> None:  # noqa: N802
        """Let the next write carry the commit index."""
        self._commit_stale = True

    def _destroy(self) -> None:
        try:
            self.sync()
        finally:
            self.close()

    def _change_peers(self, command: bytes, *, undo: bool) -> None:
        change = membership(command)
        if change is None:
            return
        adding, peer = (change[0] == "add") is not undo, change[1]
        rest = tuple(known for known in self._peers if known != peer)
        self._peers = (*rest, peer) if adding else rest
        self._meta_changed = True


def _crc(command: bytes, idx: int, term: int) -> int:
    return zlib.crc32(command, (idx ^ term << 20) & 0xFFFFFFFF)
