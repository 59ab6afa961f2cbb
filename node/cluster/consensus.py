"""One node's part in the log: owns the loop thread, the data directory and the socket.

Hard part: order. Each turn of the loop takes in what was proposed, syncs the log, then commits, applies and
answers. Whatever raises on the way stops the answers: a full disk waits with its reserve given up, any other
trouble of the disk ends the process.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from node.cluster.catchup import Snapshots
from node.cluster.changes import VoterChanges
from node.cluster.compaction import StateMachine
from node.cluster.frontend import Frontend
from node.cluster.journal import JournalFull, SqliteJournal
from node.cluster.library import ClusterFault, Diverged
from node.cluster.links import Links, Network
from node.cluster.lock import DirectoryLock
from node.cluster.log_door import Door
from node.cluster.loop_calls import LoopCalls
from node.cluster.poller import EpollPoller
from node.cluster.proposals import Proposals
from node.cluster.raft import RaftNode
from node.cluster.settings import RaftSettings
from node.cluster.space import SpaceGuard, is_full_error
from node.cluster.status import Status, followers
from node.cluster.submit import Answer, CallbackSink, answered

_JOURNAL_FILE = "journal.db"
_DIVERGED_FILE = "diverged"
"""Says why the log of the directory must not be used again."""
_PEER_POLL_S = 0.05
_FULL_RETRY_S = 0.25
_STOP_GRACE_S = 5.0
_READY_POLL_S = 0.25
_EXIT_DISK_FAULT = 74
_HOLD_S = 0.02

_log = logging.getLogger(__name__)


def stop_process(message: str) -> None:
    """End the process at once: what is not durable must not be answered."""
    _log.critical("%s", message)
    sys.stderr.write(f"hedgerow: {message}\n")
    sys.stderr.flush()
    os._exit(_EXIT_DISK_FAULT)


class Consensus(Door):
    """The log of one node, and the door to it."""

    def __init__(
        self,
        machine: StateMachine,
        data_dir: Path,
        socket_path: Path,
        settings: RaftSettings,
        on_fault: Callable[[str], None] = stop_process,
        peers: Network | None = None,
    ) -> None:
        self.on_applied: Callable[[int], None] | None = None
        self.snapshots: Snapshots | None = None
        """Set before the start; without it a node that is too far behind stays behind."""
        self.members: Callable[[], Iterable[str]] | None = None
        """Set before the start: all nodes that may know the leader. Called in the loop thread, must be quick."""
        self._peers = peers
        self._machine = machine
        self._data_dir = data_dir
        self._socket_path = socket_path
        self._settings = settings
        self._on_fault = on_fault
        self._calls = LoopCalls()
        self._hold_until_s = 0.0
        self._lock = DirectoryLock(data_dir)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._ready = threading.Event()
        self._last_tick_s = time.monotonic()
        self._fault = ""
        self._was_full = False

    @property
    def is_open(self) -> bool:
        """Say whether there is a log yet whose status could be asked for."""
        return hasattr(self, "_frontend")

    @staticmethod
    def exists(data_dir: Path) -> bool:
        """Say whether a directory holds a log."""
        return (data_dir / _JOURNAL_FILE).exists()

    # -- called by other threads

    def start(self, timeout_s: float = 30.0) -> None:
        """Open everything and start the loop; a cluster of one can take writes when this returns.

        On a full disk it returns without being able to: the loop goes on as soon as there is room. A node among
        others does not wait for them: reads go on, and proposals wait for a leader.

        Raises:
            DirectoryInUse: another process has the data directory.
            ClusterFault: the stored data does not fit, or there is no leader in time.
        """
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            raise Diverged((self._data_dir / _DIVERGED_FILE).read_text())
        self._lock.take()
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        self._leader_seen_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="consensus", daemon=True)
        self._thread.start()
        if self._journal.is_voter and not self._journal.peers:
            self._await_ready(timeout_s)
        if self._fault:
            raise ClusterFault(self._fault)

    def _await_ready(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not self._ready.wait(_READY_POLL_S):
            if self._was_full:
                return
            if time.monotonic() > deadline_s:
                self.stop()
                raise ClusterFault(
                    f"The log of {self._data_dir} was not ready in {timeout_s:.0f} s"
                )

    def _open(self) -> None:
        with contextlib.ExitStack() as undo:
            self._open_parts(undo)
            undo.pop_all()

    def _open_parts(self, undo: contextlib.ExitStack) -> None:
        settings = self._settings
        self._space = SpaceGuard(
            self._data_dir, reserve_bytes=settings.reserve_bytes, floor_bytes=settings.floor_bytes
        )
        self._proposals = Proposals(settings, self._space)
        self._journal = SqliteJournal(
            self._data_dir / _JOURNAL_FILE,
            node_id=settings.node_id,
            first_peers=settings.first_peers,
            first_voter=settings.first_voter,
            tail_entries=settings.tail_entries,
        )
        undo.callback(self._journal.close)
        poller = EpollPoller()
        undo.callback(poller.close)
        wire = None if self._peers is None else Links(settings, self._peers, poller)
        if wire is not None:
            undo.callback(wire.close)
        self._raft = RaftNode(self._machine, self._journal, settings, self, wire, poller)
        self._raft.links.snapshots = self.snapshots
        self._raft.links.members = self.members
        self._changes = VoterChanges(self._raft)
        self._frontend = Frontend(
            self._socket_path, self._raft.poller, self._proposals, self._take_read
        )
        undo.callback(self._frontend.close)
        self._calls.open(poller)

    def stop(self) -> None:
        """Hand over the leadership, refuse what waits, close the socket and the log; wait for the loop to end."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._hand_over()
        self._stopping = True
        if self._thread is None:
            return
        self._calls.wake()
        if self._thread is threading.current_thread():
            return
        self._thread.join(_STOP_GRACE_S)
        if self._thread.is_alive():
            _log.error("The consensus loop did not stop in %.0f s", _STOP_GRACE_S)
        self._thread = None

    def _hand_over(self) -> None:
        """Let another voter lead before this node goes, so that nobody waits for an election."""
        done = threading.Event()
        self.transfer_leadership(None, lambda _: done.set())
        done.wait(self._settings.hand_over_s)

    def submit(self, txn: bytes, callback: Callable[[Answer], None]) -> None:
        """Propose from any thread of this process; the callback runs in the loop thread and must be short."""
        sink = CallbackSink(callback)
        if not self._calls.post(lambda: self._proposals.offer(txn, sink, 0)):
            sink.reject(0, "shutting_down", "The core process is stopping: repeat the request")

    def propose(self, txn: bytes, timeout_s: float) -> bytes:
        """Propose from any thread but the loop's and wait for the encoded outcome.

        Raises:
            Unavailable: 503, no answer in time or no quorum; the transaction may have been applied.
            DiskFull: 507, and the transaction does not free space.
            TooLarge: 413.
        """
        if self._thread is threading.current_thread():
            raise RuntimeError("The loop thread cannot wait for itself: use submit")
        return answered(self.submit, txn, timeout_s)

    def status(self) -> Status:
        """Return where this node stands, from any thread."""
        raft = self._raft
        return Status(
            role=raft.role,
            term=raft.term,
            commit_index=raft.commit_index,
            applied_index=self._machine.applied_index,
            leader_id=raft.leader_id,
            last_tick_age_s=time.monotonic() - self._last_tick_s,
            journal_entries=len(self._journal),
            journal_bytes=self._journal.size_bytes,
            disk_full=self._space.is_full,
            connections=len(self._frontend.connections),
            waiting=self._proposals.waiting,
            fault=self._fault,
            is_voter=raft.is_voter,
            has_quorum=raft.has_quorum,
            last_index=self._journal.last_index,
            voters=followers(raft, raft.voters),
            learners=followers(raft, raft.links.learners),
        )

    # -- the loop thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._raft.wait(self._patience_s())
                self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nothing may be answered any more
            self._fail(error)
        finally:
            self._ready.set()
            self._close()

    def _patience_s(self) -> float:
        if self._was_full:
            return _FULL_RETRY_S
        can_propose = self._proposals.can_flush and self._raft.can_propose
        if self._raft.is_busy or self._calls:
            return 0.0
        if can_propose:
            return max(0.0, self._hold_until_s - time.monotonic())
        is_among_others = self._peers is not None or self._journal.peers
        if is_among_others or not self._ready.is_set() or not self._raft.reads.is_idle:
            return _PEER_POLL_S
        return self._settings.idle_poll_s

    def _turn(self) -> None:
        self._last_tick_s = time.monotonic()
        if self._raft.leader_id is not None:
            self._leader_seen_s = self._last_tick_s
        self._space.check()
        self._calls.run()
        try:
            self._work()
            self._was_full = False
        except Exception as error:
            if not (isinstance(error, JournalFull) or is_full_error(error)):
                raise
            self._make_room(error)
        self._changes.tick()
        self._proposals.expire()
        self._frontend.send()
        if self._journal.size_bytes > self._settings.compaction_max_bytes:
            self._raft.forceLogCompaction()
        if not self._ready.is_set() and self._caught_up():
            self._ready.set()

    def _work(self) -> None:
        """Answer what the others have acknowledged before the disk is asked for what is new."""
        if self._raft.is_alone:
            self._flush()
            self._raft.step()
            return
        self._raft.advance()
        self._frontend.send()
        self._flush()
        self._raft.take_in()

    def _flush(self) -> None:
        is_held = self._raft.is_handing_over or self._last_tick_s < self._hold_until_s
        if self._raft.can_propose and not self._was_full and not is_held:
            self._proposals.flush(self._raft)

    def _make_room(self, error: Exception) -> None:
        """Give up the reserve; nothing was answered, the same work is tried again by the next turn."""
        if not self._space.is_full:
            _log.error("The disk of %s is full, only deletes are taken: %s", self._data_dir, error)
        self._was_full = not self._space.hit()

    def _caught_up(self) -> bool:
        last = self._journal.last_index
        return self._raft.leader_id is not None and self._raft.raftLastApplied == last

    def delivered(self, number: int, answers: list[bytes]) -> None:
        """Hand answers to those who wait for them."""
        self._proposals.delivered(number, answers)

    def failed(self, number: int) -> None:
        """Propose again, after a moment, what the log did not take."""
        self._hold_until_s = time.monotonic() + _HOLD_S
        self._proposals.failed(number)

    def applied(self, index: int) -> None:
        """Call the hook."""
        if self.on_applied is not None:
            try:
                self.on_applied(index)
            except Exception:  # noqa: BLE001 - a hook must not stop the log
                _log.exception("The hook after entry %d failed", index)

    def _fail(self, error: BaseException) -> None:
        self._fault = f"The log of {self._data_dir} cannot go on, the process stops: {error}"
        _log.critical("%s", self._fault, exc_info=error)
        if isinstance(error, Diverged):
            (self._data_dir / _DIVERGED_FILE).write_text(error.message)
        self._on_fault(self._fault)

    def _close(self) -> None:
        self._stopping = True
        self._calls.close()
        self._calls.run()
        self._raft.reads.close()
        self._proposals.close()
        with contextlib.suppress(OSError):
            self._frontend.close()
        try:
            self._raft.destroy()
        except Exception:  # noqa: BLE001 - the process ends anyway
            _log.exception("The log of %s was not closed cleanly", self._data_dir)
        self._lock.release()
