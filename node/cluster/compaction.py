"""The state that the log is applied to, and how the log is trimmed behind it."""

import logging
import time
from pathlib import Path
from typing import Protocol

from pysyncobj.config import SERIALIZER_STATE
from pysyncobj.node import Node

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.journal import Entry, SqliteJournal
from node.errors import NodeError

_RETRY_CHECKPOINT_S = 10.0

_log = logging.getLogger(__name__)


class ClusterFault(NodeError):
    """The consensus part cannot start or go on; the message says what to do."""


class Diverged(ClusterFault):
    """This node's log cannot be a part of the cluster's: it must stop for good."""


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


class SnapSerializer:
    """Compaction without a copy: checkpoint the state, then let the library trim the log."""

    def __init__(self, machine: StateMachine, journal: SqliteJournal) -> None:
        self._machine = machine
        self._journal = journal
        self._done_id: int | None = None
        self._retry_at_s = 0.0

    def serialize(self, data: object, dump_id: int) -> None:  # noqa: ARG002
        """Make the state durable up to what was applied; after a failure wait before the next try."""
        if self._journal.pinned is not None or time.monotonic() < self._retry_at_s:
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


def finish_install(machine: StateMachine, journal: SqliteJournal) -> None:
    """Finish what a crash interrupted while the state was being replaced."""
    coming = journal.coming
    if coming is None:
        return
    if machine.applied_index == coming.index:
        machine.checkpoint()
        journal.begin_anew(coming)
    else:
        journal.expect(None)


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
