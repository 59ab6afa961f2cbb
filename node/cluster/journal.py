"""The Raft log on disk: pysyncobj's Journal over SQLite.

Hard part: the library changes the log in place and never syncs. Here the log is a list in memory, changes are
only noted, and `sync()` writes all of them in one SQL transaction that is on the disk when it returns. The owner
calls it before anything that the log promises leaves this process: one fsync a tick, however many entries.
Term and vote are written at once. The peers are stored beside the log, in the same transaction as the entry that
changes them: a configuration file must never decide who has a vote. Trimming deletes some rows per sync.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from pysyncobj.journal import Journal

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.catchup import LogStart
from node.cluster.log_file import (
    Entry,
    JournalFault,
    Meta,
    open_file,
    read_entries,
    read_meta,
    write_entries,
    write_meta,
)
from node.cluster.space import is_full_error
from node.cluster.voters import decode_change
from node.errors import NodeError

__all__ = ["Entry", "JournalFault", "JournalFull", "SqliteJournal"]

_TRIM_ROWS = 256
_NO_INDEX = -1
_NO_OP = b"\x01"


class JournalFull(NodeError):
    """No room to write the log; what was noted is kept and written by a later sync."""

    status = 507
    title = "Insufficient Storage"


class SqliteJournal(Journal):  # type: ignore[misc]
    """The log, term, vote and peers of one node. Used from one thread at a time."""

    def __init__(
        self,
        path: Path,
        *,
        node_id: str,
        first_peers: Sequence[str] = (),
        first_voter: bool = True,
        tail_entries: int = 0,
    ) -> None:
        self._path = path
        self._node_id = node_id
        self._tail_entries = tail_entries
        self.pinned: int | None = None
        """Entries from here on, and the one before, are kept: a snapshot that goes on with them is on its way."""
        self._entries: list[Entry] = []
        self._durable = _NO_INDEX  # rows up to here are as in `_entries`
        self._cut: int | None = None  # rows from here on must go
        self._meta_changed = False
        self._commit_stale = False
        try:
            self._db = open_file(path)
            others = [peer for peer in first_peers if peer != node_id]
            self._load((*others, node_id) if first_voter else tuple(others))
        except sqlite3.Error as error:
            raise JournalFault(f"The log {path} cannot be opened: {error}") from error

    def _load(self, first_voters: tuple[str, ...]) -> None:
        meta = read_meta(self._db)
        if meta is None:
            meta = Meta(node=self._node_id, voters=first_voters)
            write_meta(self._db, meta)
        if meta.node != self._node_id:
            raise JournalFault(
                f"The log {self._path} belongs to node {meta.node}, this is {self._node_id}: use its own directory"
            )
        self._term, self._vote, self._commit = meta.term, meta.vote, meta.committed
        self._voters = meta.voters
        self.applied_floor = meta.applied_floor
        self.coming = meta.coming
        """What the log will begin with once the state that is being taken over is there."""
        self._entries = read_entries(self._db, self._path)
        if self._entries:
            self._durable = self._entries[-1][1]
        self._disk_first = self._entries[0][1] if self._entries else 0
        self._size_bytes = sum(len(entry[0]) for entry in self._entries)

    # -- what the owner adds to the library's interface

    @property
    def peers(self) -> tuple[str, ...]:
        """Return the ids of the other voters, as of the end of the log."""
        return self._without_self(self._voters)

    @property
    def is_voter(self) -> bool:
        """Say whether this node has a vote, as of the end of the log."""
        return self._node_id in self._voters

    def voters_at(self, index: int) -> tuple[str, ...]:
        """Return all voters as of an entry that the log holds."""
        voters = self._voters
        for command, at, _ in reversed(self._entries):
            change = decode_change(command) if at > index else None
            if change is not None:
                voters = change.before(voters)
            elif at <= index:
                break
        return voters

    def _without_self(self, voters: Sequence[str]) -> tuple[str, ...]:
        return tuple(voter for voter in voters if voter != self._node_id)

    @property
    def first_index(self) -> int:
        """Return the index of the first entry that is held."""
        return self._entries[0][1] if self._entries else 0

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, None when it is not held."""
        position = index - self.first_index
        return self._entries[position][2] if 0 <= position < len(self._entries) else None

    def log_start(self, index: int) -> LogStart | None:
        """Return what a log begins with whose state ends at an index; None when that is not held."""
        term, previous_term = self.term_at(index), self.term_at(index - 1)
        if term is None or previous_term is None:
            return None
        return LogStart(
            index=index,
            term=term,
            command=self._entries[index - self.first_index][0],
            previous_term=previous_term,
            voters=self.voters_at(index),
        )

    def expect(self, start: LogStart | None) -> None:
        """Note durably that the state is about to be replaced, or that it was not."""
        self.coming = start
        self._meta_changed = True
        self.sync()

    def begin_anew(self, start: LogStart) -> None:
        """Forget the log and begin with an entry whose state is there; durable when this returns."""
        self.clear()
        self._entries = [
            (_NO_OP, start.index - 1, start.previous_term),
            (start.command, start.index, start.term),
        ]
        self._size_bytes = len(start.command)
        self._disk_first = start.index - 1
        self._voters = start.voters
        self._commit, self.applied_floor, self.coming = start.index, start.index, None
        self._term = max(self._term, start.term)
        self._meta_changed = True
        self.sync()

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
            write_entries(self._db, new)
        if meta:
            write_meta(self._db, self._meta())
        run("COMMIT")
        self._cut = None
        if trimmed:
            self._disk_first = trimmed
        if new:
            self._durable = new[-1][1]
        if meta:
            self._meta_changed = self._commit_stale = False

    def _meta(self) -> Meta:
        return Meta(
            node=self._node_id,
            term=self._term,
            vote=self._vote,
            committed=self._commit,
            applied_floor=self.applied_floor,
            voters=self._voters,
            coming=self.coming,
        )

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
        if self.pinned is not None:
            end = min(end, self.pinned - 1 - self.first_index)
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
        """Store term and vote, durably before this returns, unless the disk is full.

        The library calls this in the middle of a change: an error here would leave a leader in a term that nobody
        elected it for. What is only noted makes `sync` raise, and without that no vote leaves this node.
        """
        self._term, self._vote = term, votedForNodeId
        self._meta_changed = True
        with contextlib.suppress(JournalFull):
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
        change = decode_change(command)
        if change is not None:
            self._voters = change.before(self._voters) if undo else change.after(self._voters)
            self._meta_changed = True
