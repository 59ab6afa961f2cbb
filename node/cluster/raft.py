"""pysyncobj made safe: a SyncObj that is driven by our loop and talks to our journal and state machine.

Hard part: the library loses acknowledged writes as shipped (docs/adr/0002, and tests/unit/cluster/test_faults.py, one
test a fault). The cures, all from outside:
- the log is `SqliteJournal`; the loop syncs it before each tick, so nothing unsynced is counted or answered;
- a log command is bytes of ours, applied in `_SyncObj__doApplyCommand` (an override of the library's private
  method): no pickle, no replicated-method lookup, answers do not depend on the library's callbacks, membership
  entries are not replayed onto a peer list that already contains them, code versions do not exist;
- the live database is the snapshot: compaction checkpoints it and trims the log, nothing is copied;
- there is no TCP port.
The library's private names that this leans on are checked at start, and its version is pinned.
"""

import logging
import secrets
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pysyncobj.syncobj as library
from pysyncobj import SyncObjConf
from pysyncobj.config import FAIL_REASON, SERIALIZER_STATE
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from node.cluster import pickle_guard
from node.cluster.journal import Entry, SqliteJournal
from node.cluster.settings import RaftSettings
from node.errors import NodeError

PINNED_VERSION = "0.3.17"
_PRIVATE_METHODS = (
    "doApplyCommand",
    "tryLogCompaction",
    "loadDumpFile",
    "applyLogEntries",
    "onBecomeLeader",
)
_PRIVATE_FIELDS = (
    "raftElectionDeadline",
    "raftState",
    "raftLog",
    "serializer",
    "transport",
    "raftLastApplied",
)
_REPLACED_GLOBALS = ("createJournal", "Serializer")
_REGULAR = 0
_RETRY_CHECKPOINT_S = 10.0
_MAX_ENTRY_BYTES = 1024 * 1024
_HEADER = struct.Struct(">BQQ")
_COMMAND_VERSION = 1

Role = Literal["follower", "candidate", "leader"]
_ROLES: tuple[Role, ...] = ("follower", "candidate", "leader")

_log = logging.getLogger(__name__)
_construction = threading.Lock()


class ClusterFault(NodeError):
    """The consensus part cannot start or go on; the message says what to do."""


class StateMachine(Protocol):
    """What the log is applied to. Called from the loop thread only, once the loop has started."""

    @property
    def applied_index(self) -> int:
        """Return the index of the last applied entry, 0 at first."""

    def apply(self, index: int, entry: bytes) -> list[bytes]:
        """Apply an entry (msgpack array of transactions) whole or, when it raises, not at all.

        Returns one answer for each transaction. An index that was applied before changes nothing. Raises only
        when this node's disk fails.
        """

    def checkpoint(self) -> None:
        """Make all applied state durable."""

    def snapshot_to(self, path: Path) -> int:
        """Write a consistent copy and return its applied index."""

    def restore_from(self, path: Path) -> None:
        """Become a copy that `snapshot_to` made."""


class Watcher(Protocol):
    """Whom a RaftNode tells what became of the log. Must not raise."""

    def delivered(self, number: int, answers: list[bytes]) -> None:
        """Take the answers of an entry that this process proposed under this number."""

    def failed(self, number: int) -> None:
        """Learn that an entry of this process is perhaps not in the log."""

    def applied(self, index: int) -> None:
        """Learn that an entry changed the state."""


class LocalTransport(Transport):  # type: ignore[misc]
    """Reaches nobody: the transport of a cluster of one. Opens no port."""

    def send(self, node: Node, message: dict[str, Any]) -> bool:  # noqa: ARG002
        """Refuse: there is nobody to send to."""
        return False

    def destroy(self) -> None:
        """Do nothing: nothing is open."""


class SnapSerializer:
    """Compaction without a copy: checkpoint the state, then let the library trim the log."""

    def __init__(self, machine: StateMachine, journal: SqliteJournal) -> None:
        self._machine = machine
        self._journal = journal
        self._done_id: int | None = None
        self._retry_at_s = 0.0

    def serialize(self, data: object, dump_id: int) -> None:  # noqa: ARG002
        """Make the state durable up to what was applied; after a failure wait before the next try."""
        if time.monotonic() < self._retry_at_s:
            return
        try:
            self._machine.checkpoint()
        except Exception:  # noqa: BLE001 - whatever the machine says, the log stays
            self._retry_at_s = time.monotonic() + _RETRY_CHECKPOINT_S
            _log.exception("The log is not trimmed: the state could not be made durable")
            return
        self._journal.checkpointed(self._machine.applied_index)
        self._done_id = dump_id

    def checkSerializing(self) -> tuple[int, int | None]:  # noqa: N802
        """Report a finished checkpoint once."""
        done, self._done_id = self._done_id, None
        state = SERIALIZER_STATE.NOT_SERIALIZING if done is None else SERIALIZER_STATE.SUCCESS
        return state, done

    def deserialize(self) -> tuple[None, Entry, Entry, list[Node]]:
        """Return where the log begins: a start must find nothing to clear."""
        nodes = [Node(peer) for peer in self._journal.peers]
        return None, self._journal.entry(1), self._journal.entry(0), nodes

    def getTransmissionData(self, transmission_id: object) -> None:  # noqa: N802
        """Offer nothing: snapshots travel out of band."""

    def setTransmissionData(self, data: object) -> bool:  # noqa: ARG002, N802
        """Refuse snapshots inside messages."""
        return False

    def cancelTransmisstion(self, transmission_id: object) -> None:  # noqa: N802
        """Do nothing: nothing is under way."""


class RaftNode(library.SyncObj):  # type: ignore[misc]
    """One member of the log, driven by `step`."""

    def __init__(
        self,
        machine: StateMachine,
        journal: SqliteJournal,
        settings: RaftSettings,
        watcher: Watcher,
        transport: Transport | None = None,
    ) -> None:
        check_library()
        check_state(machine, journal)
        pickle_guard.install()
        self._machine = machine
        self._watcher = watcher
        self._origin = secrets.randbits(63)
        self.journal = journal
        conf = _configuration(settings)
        with _ours(journal, SnapSerializer(machine, journal)):
            super().__init__(
                Node(settings.node_id),
                [Node(peer) for peer in journal.peers],
                conf,
                transport=transport or LocalTransport(None, None, []),
            )
        if len(journal) >= 2:
            # Any file that exists makes the library ask `deserialize` where the log begins.
            conf.fullDumpFile = __file__
        self._hasten_first_election()

    def _hasten_first_election(self) -> None:
        if not self.journal.peers:
            self._SyncObj__raftElectionDeadline = 0.0

    def step(self) -> None:
        """Take in what was proposed, put it on the disk, then commit, apply and answer.

        Raises:
            JournalFull, JournalFault: from the log; nothing was answered that is not durable.
            Exception: from the state machine; the entry is tried again by the next step.
        """
        if self.leader_id is not None:
            self._checkCommandsToApply()
        self.journal.sync()
        self.doTick(0.0)

    def wait(self, timeout_s: float) -> None:
        """Serve the sockets until something happens or the time is over."""
        self._poller.poll(timeout_s)

    @property
    def poller(self) -> Any:
        """Return the poller that the tick thread serves."""
        return self._poller

    @property
    def leader_id(self) -> str | None:
        """Return the id of the leader as far as this node knows it."""
        leader = self._getLeader()
        return None if leader is None else str(leader.id)

    @property
    def role(self) -> Role:
        """Return the part that this node plays."""
        return _ROLES[self._SyncObj__raftState]

    @property
    def is_busy(self) -> bool:
        """Say whether another step would get further without any new event."""
        return bool(
            self.journal.needs_sync
            or self.journal.needs_trim
            or self.raftLastApplied < self.raftCommitIndex
            or (
                self._isLeader()
                and not self.journal.peers
                and self.raftCommitIndex < self.journal.last_index
            )
        )

    def propose(self, number: int, entry: bytes) -> None:
        """Append an entry; the watcher learns under this number what becomes of it."""

        def done(_: object, reason: int) -> None:
            if reason != FAIL_REASON.SUCCESS:
                self._watcher.failed(number)

        header = _HEADER.pack(_COMMAND_VERSION, self._origin, number)
        self._applyCommand(header + entry, done, _REGULAR)

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:  # noqa: N802
        """Apply one entry of the log: replaces the library's method of this name."""
        if command[0] != _REGULAR:
            return
        version, origin, number = _HEADER.unpack_from(command, 1)
        index = self.raftLastApplied + 1
        if version != _COMMAND_VERSION:
            raise ClusterFault(
                f"Entry {index} of the log has format {version}, this is {_COMMAND_VERSION}: "
                "install the newer version"
            )
        is_ours, is_new = origin == self._origin, index > self._machine.applied_index
        if not (is_ours or is_new):
            return
        answers = self._machine.apply(index, command[1 + _HEADER.size :])
        if is_ours:
            self._watcher.delivered(number, answers)
        if is_new:
            self._watcher.applied(index)


def check_library(version: str = VERSION, sync_obj: type = library.SyncObj) -> None:
    """Refuse another pysyncobj than the one whose inside was studied.

    Raises:
        ClusterFault: the version or a private name differs.
    """
    if version != PINNED_VERSION:
        raise ClusterFault(
            f"pysyncobj is {version}, this needs exactly {PINNED_VERSION}: install that version"
        )
    missing = [name for name in _PRIVATE_METHODS if not hasattr(sync_obj, f"_SyncObj__{name}")]
    known = set(sync_obj.__init__.__code__.co_names)  # type: ignore[misc]
    missing += [name for name in _PRIVATE_FIELDS if f"_SyncObj__{name}" not in known]
    missing += [name for name in _REPLACED_GLOBALS if name not in known]
    applier = getattr(sync_obj, "_SyncObj__applyLogEntries", None)
    if applier is not None and "_SyncObj__doApplyCommand" not in applier.__code__.co_names:
        missing.append("the call of doApplyCommand")
    if missing:
        raise ClusterFault(f"pysyncobj was changed, it lacks {', '.join(missing)}: install it anew")


def check_state(machine: StateMachine, journal: SqliteJournal) -> None:
    """Refuse a state and a log that do not belong together.

    Raises:
        ClusterFault: the state is older than the log's start or newer than its end.
    """
    last = journal.last_index
    if machine.applied_index < journal.applied_floor:
        raise ClusterFault(
            f"The state ends at entry {machine.applied_index}, the log begins after {journal.applied_floor}: "
            "restore the state from a snapshot, or let the node join anew"
        )
    if machine.applied_index > last:
        raise ClusterFault(
            f"The state holds entry {machine.applied_index}, the log ends at {last}: the log was lost; "
            "restore both, or let the node join anew"
        )


def _configuration(settings: RaftSettings) -> SyncObjConf:
    return SyncObjConf(
        autoTick=False,
        dynamicMembershipChange=True,
        commandsWaitLeader=False,
        appendEntriesUseBatch=False,
        appendEntriesBatchSizeBytes=_MAX_ENTRY_BYTES,
        raftMinTimeout=0.6,
        raftMaxTimeout=1.2,
        appendEntriesPeriod=0.1,
        leaderFallbackTimeout=1.5,
        connectionTimeout=2.0,
        connectionRetryTime=0.5,
        logCompactionMinEntries=settings.compaction_min_entries + settings.tail_entries,
        logCompactionMinTime=settings.compaction_min_time_s,
        useFork=False,
    )


@contextmanager
def _ours(journal: SqliteJournal, serializer: SnapSerializer) -> Iterator[None]:
    """Make the library's constructor use our journal and serializer."""
    with _construction:
        saved = library.createJournal, library.Serializer
        library.createJournal = lambda _: journal
        library.Serializer = lambda *_: serializer
        try:
            yield
        finally:
            library.createJournal, library.Serializer = saved
