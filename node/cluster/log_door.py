"""What other threads may ask of the log beside proposals: fresh reads, voters, the leadership, a new state."""

import time
from collections.abc import Callable
from concurrent.futures import Future

from node.cluster.catchup import LogStart
from node.cluster.changes import ChangeError, VoterChanges
from node.cluster.compaction import StateMachine
from node.cluster.journal import SqliteJournal
from node.cluster.loop_calls import LoopCalls
from node.cluster.raft import RaftNode
from node.cluster.settings import RaftSettings
from node.cluster.voters import Verb
from node.errors import Conflict


class Door:
    """These requests of one node. Any thread, but for what begins with an underscore."""

    _calls: LoopCalls
    _raft: RaftNode
    _journal: SqliteJournal
    _machine: StateMachine
    _changes: VoterChanges
    _settings: RaftSettings
    _leader_seen_s = 0.0
    """When there was a leader last, or the start, monotonic."""

    def read_index(self, callback: Callable[[bool], None]) -> None:
        """Call back, in the loop thread, once a read of the local rows sees all that was acknowledged before.

        False: there is no leader or quorum; a read may be old.
        """
        if not self._calls.post(lambda: self._take_read(callback)):
            callback(False)

    def confirm(self, timeout_s: float) -> bool:
        """Wait until reads of the local rows see all that was acknowledged before; False: they may be old."""
        done: Future[bool] = Future()
        self.read_index(done.set_result)
        try:
            return done.result(timeout_s)
        except TimeoutError:
            return False

    def change_voter(
        self, verb: Verb, node_id: str, callback: Callable[[ChangeError], None]
    ) -> None:
        """Give a learner a vote, or a voter none; one change at a time, on the leader only.

        The callback runs in the loop thread, with an empty string once the change is committed.
        """
        if not self._calls.post(lambda: self._changes.change(verb, node_id, callback)):
            callback("not_leader")

    def transfer_leadership(
        self, node_id: str | None, callback: Callable[[ChangeError], None]
    ) -> None:
        """Have another voter lead; the callback runs in the loop thread, an empty string says that one does."""
        if not self._calls.post(lambda: self._changes.transfer(node_id, callback)):
            callback("not_leader")

    def log_start(self, index: int) -> LogStart | None:
        """Return what a log begins with whose state ends at an index; None when the log does not hold it.

        Raises:
            Unavailable: 503, the log is closed or stuck.
        """
        return self._calls.ask(lambda: self._journal.log_start(index))

    def pin_log(self, index: int | None) -> None:
        """Keep the log from an index on, None: as usual.

        Raises:
            Unavailable: 503, the log is closed or stuck.
        """

        def pin() -> None:
            self._journal.pinned = index

        self._calls.ask(pin)

    def disconnect(self, node_id: str) -> None:
        """End the link to a node that is no member any more."""
        self._calls.post(lambda: self._raft.links.wire.drop(node_id))

    @property
    def log_bytes(self) -> int:
        """Return how many bytes of entries the log holds in memory."""
        return self._journal.size_bytes

    def install(self, start: LogStart, restore: Callable[[], None]) -> None:
        """Replace the state by `restore`, called in this thread, and begin the log after it.

        A crash in between is finished or undone by the next start. What `restore` raises is passed on.

        Raises:
            Conflict: 409, this node leads, or has no need of a state of that index.
            Unavailable: 503, the log is closed or stuck.
        """
        self._calls.ask(lambda: self._begin_install(start))
        try:
            restore()
            if self._machine.applied_index != start.index:
                raise Conflict(
                    f"The new state ends at {self._machine.applied_index}, not at {start.index}"
                )
        except BaseException:
            self._calls.ask(lambda: self._end_install(None))
            raise
        self._calls.ask(lambda: self._end_install(start))

    # -- the loop thread

    def _take_read(self, done: Callable[[bool], None]) -> None:
        now_s, patience_s = time.monotonic(), self._settings.read_patience_s
        if now_s - self._leader_seen_s > patience_s:
            done(False)
        else:
            self._raft.reads.add(done, now_s + patience_s)

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

    def applied(self, index: int) -> None:
        """Learn that the state has changed."""
        raise NotImplementedError
