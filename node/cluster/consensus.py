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
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from pysyncobj.poller import POLL_EVENT_TYPE

from node.cluster.catchup import LogStart, Snapshots
from node.cluster.changes import ChangeError, VoterChanges
from node.cluster.compaction import StateMachine
from node.cluster.frontend import Frontend
from node.cluster.journal import JournalFull, SqliteJournal
from node.cluster.library import ClusterFault
from node.cluster.links import Links, Network
from node.cluster.lock import DirectoryLock
from node.cluster.poller import EpollPoller
from node.cluster.proposals import Proposals, Sink
from node.cluster.raft import RaftNode
from node.cluster.settings import RaftSettings
from node.cluster.space import SpaceGuard, is_full_error
from node.cluster.status import Status, followers
from node.cluster.submit import Answer, CallbackSink, answered
from node.cluster.voters import Verb
from node.errors import Conflict, NodeError, Unavailable

_PEER_POLL_S = 0.05
_FULL_RETRY_S = 0.25
_STOP_GRACE_S = 5.0
_READY_POLL_S = 0.25
_EXIT_DISK_FAULT = 74
_ASK_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 5.0
_HOLD_S = 0.02
_HAND_OVER_S = 2.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


def stop_process(message: str) -> None:
    """End the process at once: what is not durable must not be answered."""
    _log.critical("%s", message)
    sys.stderr.write(f"hedgerow: {message}\n")
    sys.stderr.flush()
    os._exit(_EXIT_DISK_FAULT)


class Consensus:
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
        self._peers = peers
        self._machine = machine
        self._data_dir = data_dir
        self._socket_path = socket_path
        self._settings = settings
        self._on_fault = on_fault
        self._inbox: deque[tuple[bytes, Sink]] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._hold_until_s = 0.0
        self._leaderless_since_s = 0.0
        self._wake_fd = -1
        self._door = threading.Lock()  # guards the descriptor against its end
        self._lock = DirectoryLock(data_dir)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._ready = threading.Event()
        self._last_tick_s = time.monotonic()
        self._fault = ""
        self._was_full = False

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
        self._lock.take()
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
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
            self._data_dir / "journal.db",
            node_id=settings.node_id,
            first_peers=settings.first_peers,
            first_voter=settings.first_voter,
            tail_entries=settings.tail_entries,
        )
        undo.callback(self._journal.close)
        poller = EpollPoller()
        undo.callback(poller.close)
        wire = None if self._peers is None else Links(settings.node_id, self._peers, poller)
        if wire is not None:
            undo.callback(wire.close)
        self._raft = RaftNode(self._machine, self._journal, settings, self, wire, poller)
        self._raft.links.snapshots = self.snapshots
        self._changes = VoterChanges(self._raft)
        self._frontend = Frontend(
            self._socket_path, self._raft.poller, self._proposals, self._take_read
        )
        undo.callback(self._frontend.close)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._raft.poller.subscribe(self._wake_fd, self._on_wake, POLL_EVENT_TYPE.READ)

    def stop(self) -> None:
        """Refuse what waits, close the socket and the log; wait for the loop to end."""
        self._stopping = True
        if self._thread is None:
            return
        with self._door:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)
        if self._thread is threading.current_thread():
            return
        self._thread.join(_STOP_GRACE_S)
        if self._thread.is_alive():
            _log.error("The consensus loop did not stop in %.0f s", _STOP_GRACE_S)
        self._thread = None

    def submit(self, txn: bytes, callback: Callable[[Answer], None]) -> None:
        """Propose from any thread of this process; the callback runs in the loop thread and must be short."""
        sink = CallbackSink(callback)
        with self._door:
            is_open = self._wake_fd >= 0
            if is_open:
                self._inbox.append((txn, sink))
                os.eventfd_write(self._wake_fd, 1)
        if not is_open:
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

    def read_index(self, callback: Callable[[bool], None]) -> None:
        """Call back, in the loop thread, once a read of the local rows sees all that was acknowledged before.

        False: there is no leader or quorum; a read may be old.
        """
        if not self._post(lambda: self._take_read(callback)):
            callback(False)

    def change_voter(
        self, verb: Verb, node_id: str, callback: Callable[[ChangeError], None]
    ) -> None:
        """Give a learner a vote, or a voter none; one change at a time, on the leader only.

        The callback runs in the loop thread, with an empty string once the change is committed.
        """
        if not self._post(lambda: self._changes.change(verb, node_id, callback)):
            callback("not_leader")

    def transfer_leadership(
        self, node_id: str | None, callback: Callable[[ChangeError], None]
    ) -> None:
        """Have another voter lead; the callback runs in the loop thread, an empty string says that one does."""
        if not self._post(lambda: self._changes.transfer(node_id, callback)):
            callback("not_leader")

    def log_start(self, index: int) -> LogStart | None:
        """Return what a log begins with whose state ends at an index; None when the log does not hold it.

        Raises:
            Unavailable: 503, the log is closed or stuck.
        """
        return self._ask(lambda: self._journal.log_start(index))

    def install(self, start: LogStart, restore: Callable[[], None]) -> None:
        """Replace the state by `restore`, called in this thread, and begin the log after it.

        A crash in between is finished or undone by the next start. What `restore` raises is passed on.

        Raises:
            Conflict: 409, this node leads, or has no need of a state of that index.
            Unavailable: 503, the log is closed or stuck.
        """
        self._ask(lambda: self._begin_install(start))
        try:
            restore()
            if self._machine.applied_index != start.index:
                raise Conflict(
                    f"The new state ends at {self._machine.applied_index}, not at {start.index}"
                )
        except BaseException:
            self._ask(lambda: self._end_install(None))
            raise
        self._ask(lambda: self._end_install(start))

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

    def _post(self, call: Callable[[], None]) -> bool:
        """Have the loop thread call something; False when the loop has ended."""
        with self._door:
            if self._wake_fd < 0:
                return False
            self._calls.append(call)
            os.eventfd_write(self._wake_fd, 1)
        return True

    def _ask(self, call: Callable[[], T]) -> T:
        """Have the loop thread call something and wait for what it returns or raises."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except NodeError as error:
                done.set_exception(error)

        if not self._post(run):
            raise Unavailable("The log is closed")
        try:
            return done.result(_ASK_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable(f"The log did not answer in {_ASK_TIMEOUT_S:.0f} s") from error

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
        if self._raft.is_busy or self._inbox or self._calls:
            return 0.0
        if can_propose:
            return max(0.0, self._hold_until_s - time.monotonic())
        is_among_others = self._peers is not None or self._journal.peers
        if is_among_others or not self._ready.is_set() or not self._raft.reads.is_idle:
            return _PEER_POLL_S
        return self._settings.idle_poll_s

    def _turn(self) -> None:
        self._last_tick_s = time.monotonic()
        self._space.check()
        self._take_inbox()
        while self._calls:
            self._calls.popleft()()
        is_held = self._raft.is_handing_over or self._last_tick_s < self._hold_until_s
        if self._raft.can_propose and not self._was_full and not is_held:
            self._proposals.flush(self._raft)
        try:
            self._raft.step()
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

    def _take_read(self, done: Callable[[bool], None]) -> None:
        now_s = time.monotonic()
        if self._raft.leader_id is not None:
            self._leaderless_since_s = now_s
        if now_s - self._leaderless_since_s > _READ_TIMEOUT_S:
            done(False)
        else:
            self._raft.reads.add(done, now_s + _READ_TIMEOUT_S)

    def _begin_install(self, start: LogStart) -> None:
        raft, journal = self._raft, self._journal
        if raft.leads:
            raise Conflict("This node leads: its state is the newest there is")
        if start.index <= raft.commit_index or journal.term_at(start.index) == start.term:
            raise Conflict(f"The log holds entry {start.index} already: no snapshot is needed")
        if raft.is_installing:
            raise Conflict("The state is being replaced already: wait for that")
        journal.expect(start)
        raft.is_installing = True

    def _end_install(self, start: LogStart | None) -> None:
        self._raft.is_installing = False
        if start is None:
            self._journal.expect(None)
            return
        self._raft.begin_anew(start)
        self.applied(start.index)

    def _make_room(self, error: Exception) -> None:
        """Give up the reserve; nothing was answered, the same work is tried again by the next turn."""
        if not self._space.is_full:
            _log.error("The disk of %s is full, only deletes are taken: %s", self._data_dir, error)
        self._was_full = not self._space.hit()

    def _caught_up(self) -> bool:
        last = self._journal.last_index
        return self._raft.leader_id is not None and self._raft.raftLastApplied == last

    def _take_inbox(self) -> None:
        while self._inbox:
            txn, sink = self._inbox.popleft()
            self._proposals.offer(txn, sink, 0)

    def _on_wake(self, _: int, __: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

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
        self._on_fault(self._fault)

    def _close(self) -> None:
        self._stopping = True
        self._release_wake()
        self._take_inbox()
        while self._calls:
            self._calls.popleft()()
        self._raft.reads.close()
        self._proposals.close()
        with contextlib.suppress(OSError):
            self._frontend.close()
        try:
            self._raft.destroy()
        except Exception:  # noqa: BLE001 - the process ends anyway
            _log.exception("The log of %s was not closed cleanly", self._data_dir)
        self._lock.release()

    def _release_wake(self) -> None:
        with self._door:
            if self._wake_fd >= 0:
                os.close(self._wake_fd)
                self._wake_fd = -1
