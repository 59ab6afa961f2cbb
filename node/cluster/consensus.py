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
from pathlib import Path

import msgspec
from pysyncobj.poller import POLL_EVENT_TYPE

from node.cluster.frontend import Frontend
from node.cluster.journal import JournalFull, SqliteJournal
from node.cluster.lock import DirectoryLock
from node.cluster.proposals import Proposals, Sink
from node.cluster.raft import ClusterFault, RaftNode, Role, StateMachine
from node.cluster.settings import RaftSettings
from node.cluster.space import SpaceGuard, is_full_error
from node.cluster.submit import Answer, CallbackSink, answered

_PEER_POLL_S = 0.05
_FULL_RETRY_S = 0.25
_STOP_GRACE_S = 5.0
_READY_POLL_S = 0.25
_EXIT_DISK_FAULT = 74

_log = logging.getLogger(__name__)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Where this node stands in the log."""

    role: Role
    term: int
    commit_index: int
    applied_index: int
    leader_id: str | None
    last_tick_age_s: float
    journal_entries: int
    journal_bytes: int
    disk_full: bool
    connections: int
    waiting: int
    fault: str


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
    ) -> None:
        self.on_applied: Callable[[int], None] | None = None
        self._machine = machine
        self._data_dir = data_dir
        self._socket_path = socket_path
        self._settings = settings
        self._on_fault = on_fault
        self._inbox: deque[tuple[bytes, Sink]] = deque()
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

        On a full disk it returns without being able to: the loop goes on as soon as there is room.

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
        if not self._journal.peers:
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
            tail_entries=settings.tail_entries,
        )
        undo.callback(self._journal.close)
        self._raft = RaftNode(self._machine, self._journal, settings, self)
        self._frontend = Frontend(self._socket_path, self._raft.poller, self._proposals)
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

    def status(self) -> Status:
        """Return where this node stands, from any thread."""
        return Status(
            role=self._raft.role,
            term=self._raft.raftCurrentTerm,
            commit_index=self._raft.raftCommitIndex,
            applied_index=self._machine.applied_index,
            leader_id=self._raft.leader_id,
            last_tick_age_s=time.monotonic() - self._last_tick_s,
            journal_entries=len(self._journal),
            journal_bytes=self._journal.size_bytes,
            disk_full=self._space.is_full,
            connections=len(self._frontend.connections),
            waiting=self._proposals.waiting,
            fault=self._fault,
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
        can_propose = self._proposals.can_flush and self._raft.leader_id is not None
        if self._raft.is_busy or self._inbox or can_propose:
            return 0.0
        return (
            _PEER_POLL_S
            if self._journal.peers or not self._ready.is_set()
            else self._settings.idle_poll_s
        )

    def _turn(self) -> None:
        self._last_tick_s = time.monotonic()
        self._space.check()
        self._take_inbox()
        if self._raft.leader_id is not None and not self._was_full:
            self._proposals.flush(self._raft)
        try:
            self._raft.step()
            self._was_full = False
        except Exception as error:
            if not (isinstance(error, JournalFull) or is_full_error(error)):
                raise
            self._make_room(error)
        self._proposals.expire()
        self._frontend.send()
        if self._journal.size_bytes > self._settings.compaction_max_bytes:
            self._raft.forceLogCompaction()
        if not self._ready.is_set() and self._caught_up():
            self._ready.set()

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
        """Propose again what the log did not take."""
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
