"""pysyncobj made safe: a SyncObj that is driven by our loop and talks to our journal, state machine and transport.

Hard part: the library loses acknowledged writes as shipped (docs/adr/0002, and tests/unit/cluster/test_faults*.py, one
test a fault). The cures, all from outside:
- the log is `SqliteJournal`; the loop syncs it before each tick, so nothing unsynced is counted or answered;
- a log command is bytes of ours, applied in `_SyncObj__doApplyCommand` (an override of the library's private
  method): no pickle, no replicated-method lookup, answers do not depend on the library's callbacks, membership
  entries are not replayed onto a peer list that already contains them, code versions do not exist;
- the live database is the snapshot: compaction checkpoints it and trims the log, nothing is copied;
- messages pass the filters of `RaftTransport`; a change of the voters carries the whole list, one at a time;
- an election begins only when a majority would have it (`prevote`).
The library's private names that this leans on are checked at start, and its version is pinned (`library`).
"""

import secrets
import struct
import time
from collections.abc import Callable

from pysyncobj.config import FAIL_REASON
from pysyncobj.node import Node

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster import pickle_guard
from node.cluster.compaction import SnapSerializer, StateMachine, check_state, finish_install
from node.cluster.journal import SqliteJournal
from node.cluster.library import ClusterFault, check_library, configuration, replaced
from node.cluster.marks import Marks
from node.cluster.member import ROLES, LogMember
from node.cluster.messages import Message
from node.cluster.poller import EpollPoller
from node.cluster.prevote import LogEnd, PreVotes
from node.cluster.reads import Reads
from node.cluster.seams import NoWire, Watcher, Wire
from node.cluster.settings import RaftSettings
from node.cluster.transport import RaftTransport

_REGULAR = 0
_HEADER = struct.Struct(">BQQ")
_COMMAND_VERSION = 1
_STOOD_STILL_S = 0.5
_CATCH_BREATH_S = 0.3
_SLOW_FOR_S = 30.0


class RaftNode(LogMember):
    """One member of the log, driven by `step`."""

    def __init__(
        self,
        machine: StateMachine,
        journal: SqliteJournal,
        settings: RaftSettings,
        watcher: Watcher,
        wire: Wire | None = None,
        poller: EpollPoller | None = None,
    ) -> None:
        check_library()
        finish_install(machine, journal)
        check_state(machine, journal)
        pickle_guard.install()
        self.node_id = settings.node_id
        self.journal = journal
        self.is_installing = False
        self.is_handing_over = False
        self._machine = machine
        self._watcher = watcher
        self.settings = settings
        self._origin = secrets.randbits(63)
        self._prevotes = PreVotes((settings.election_min_s, settings.election_max_s))
        self._may_stand = False
        self._untold_since: int | None = None
        """The last entry when something was committed of which the others were not told yet."""
        self._last_step_s = time.monotonic()
        self.reads = Reads(self)
        self.links = RaftTransport(wire or NoWire(), settings)
        self._marks = Marks(
            self, patience_s=settings.witness_patience_s, period_s=settings.heartbeat_s
        )
        with replaced(journal, SnapSerializer(machine, journal), poller or EpollPoller()):
            super().__init__(
                Node(self.node_id) if journal.is_voter else None,
                [Node(peer) for peer in journal.peers],
                configuration(settings),
                transport=self.links,
            )
        if len(journal) >= 2:
            # Any file that exists makes the library ask `deserialize` where the log begins.
            self.conf.fullDumpFile = __file__
        if self.is_alone:
            self._SyncObj__raftElectionDeadline = 0.0
        self.links.bind(self, set(journal.peers))

    # -- where it stands

    @property
    def can_propose(self) -> bool:
        """Say whether a proposal would reach a leader."""
        leader_id = self.leader_id
        return self.leads or (leader_id is not None and self.links.wire.is_up(leader_id))

    @property
    def has_quorum(self) -> bool:
        """Say whether a majority of the voters follows one leader, as far as this node knows."""
        if not self.leads:
            return self.leader_id is not None and not self._prevotes.misses_leader(time.monotonic())
        since_s = time.monotonic() - self.settings.leader_fallback_s
        answers = self._SyncObj__lastResponseTime
        count = sum(answers.get(Node(peer), 0.0) > since_s for peer in self.voters)
        return bool(1 + count > (len(self.voters) + 1) / 2)

    @property
    def is_busy(self) -> bool:
        """Say whether another step would get further without any new event."""
        return bool(
            self.journal.needs_sync
            or self.journal.needs_trim
            or self.links.stirred
            or self.reads.is_ready
            or self.raftLastApplied < self.raftCommitIndex
            or (self.leads and self.is_alone and self.raftCommitIndex < self.journal.last_index)
        )

    # -- what it does

    def step(self) -> None:
        """Take in what was proposed, then commit, apply and answer.

        Raises:
            JournalFull, JournalFault: from the log; nothing was answered that is not durable.
            Exception: from the state machine; the entry is tried again by the next step.
        """
        self.take_in()
        self.advance()

    def take_in(self) -> None:
        """Append and send what was proposed, and put it on the disk meanwhile."""
        if self.can_propose:
            self._checkCommandsToApply()
        if self._untold_since is not None:
            if self.leads and self._untold_since == self.journal.last_index:
                self._SyncObj__sendAppendEntries()
            self._untold_since = None
        began_s = time.monotonic()
        self.journal.sync()
        self._mind_slowness(began_s)
        self._marks.tick(time.monotonic())

    def advance(self) -> None:
        """Commit, apply and answer what is durable on a majority, and do what is due."""
        now_s = time.monotonic()
        if now_s - self._last_step_s > _STOOD_STILL_S:
            # What the others sent meanwhile waits in the sockets: read it before missing it.
            self.links.wire.refresh(now_s)
            self._postpone_election(now_s + _CATCH_BREATH_S)
        self.links.tick(now_s, eager=not self.is_voter)
        if (
            self.journal.needs_sync
        ):  # the library counts all of this node's log as acknowledged by it
            self.journal.sync()
        self._mind_slowness(now_s)
        if not self.is_installing:
            self._mind_election(time.monotonic())
            self.doTick(0.0)
        self._marks.tick(now_s)
        self.reads.tick(now_s)
        self._last_step_s = time.monotonic()

    def wait(self, timeout_s: float) -> None:
        """Serve the sockets until something happens or the time is over."""
        self._poller.poll(timeout_s)

    def propose(self, number: int, entry: bytes) -> None:
        """Append an entry; the watcher learns under this number what becomes of it."""

        def done(_: object, reason: int) -> None:
            if reason != FAIL_REASON.SUCCESS:
                self._watcher.failed(number)

        header = _HEADER.pack(_COMMAND_VERSION, self._origin, number)
        self._applyCommand(header + entry, done, _REGULAR)

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        """Apply; that something was committed is told with the next entries, or by `take_in` when there are none."""
        if super()._SyncObj__applyLogEntries() and self.voters | self.links.learners:
            self._untold_since = self.journal.last_index
        return False

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

    # -- elections

    def _postpone_election(self, until_s: float) -> None:
        if not self.is_alone:
            deadline_s = self._SyncObj__raftElectionDeadline
            self._SyncObj__raftElectionDeadline = max(deadline_s, until_s)

    def _mind_slowness(self, began_s: float) -> None:
        """Leave the leadership to others while this node's disk takes too long."""
        now_s = time.monotonic()
        if now_s - began_s > self.settings.stall_s:
            self._prevotes.slow_until_s = now_s + _SLOW_FOR_S
            self.links.wire.refresh(now_s)
            if self.leads and self.voters:
                self.transferLeadership()

    def _mind_election(self, now_s: float) -> None:
        """Let the library's election begin only when a majority agreed to it."""
        if self.leads or self.is_alone:
            return
        if not self.is_voter:
            if self.leader_id is not None and self._prevotes.misses_leader(now_s):
                self._give_up_leader()
            return
        if self._SyncObj__raftElectionDeadline >= now_s:
            return
        if self._may_stand or self._SyncObj__transferInProgress:
            self._may_stand = False
            return
        if self._prevotes.holds_back(now_s):
            self._SyncObj__raftElectionDeadline = now_s + _CATCH_BREATH_S
            return
        self._give_up_leader()
        self._SyncObj__raftElectionDeadline, question = self._prevotes.ask(now_s, self._log_end())
        for node_id in self.voters:
            self.links.tell(node_id, question)

    def forget_leader(self) -> None:
        """Behave as after a long silence of the leader."""
        self._prevotes.forget_leader()

    def _give_up_leader(self) -> None:
        self._SyncObj__raftLeader = None
        self._SyncObj__onLeaderChanged()

    def _log_end(self) -> LogEnd:
        last = self.journal.last_index
        return LogEnd(term=self.term, last_index=last, last_term=self.journal.term_at(last) or 0)

    def _SyncObj__connectedToAnyone(self) -> bool:  # noqa: N802
        """Count witnesses, which the library does not see as connected."""
        return bool(self.links.witnesses or super()._SyncObj__connectedToAnyone())

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        self._SyncObj__changeClusterIDx = None
        super()._SyncObj__onBecomeLeader()

    # -- what the transport tells

    def is_linked(self, node_id: str) -> bool:
        """Say whether there is a link to a node."""
        return self.links.wire.is_up(node_id)

    def follows(self, node_id: str) -> bool:
        """Say whether the library keeps an index for a node."""
        return Node(node_id) in self._SyncObj__raftMatchIndex

    def adopt_term(self, term: int) -> None:
        """Follow in a later term; a sole voter leads in the one after it."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self._SyncObj__setState(ROLES.index("follower"))
            self._give_up_leader()
            if self.is_alone:
                self._SyncObj__raftElectionDeadline = 0.0
            self._postpone_election(time.monotonic() + self._SyncObj__generateRaftTimeout() / 2)

    def heard_leader(self) -> None:
        """Note a sign of life of the leader."""
        self._may_stand = False
        self._prevotes.heard_leader(time.monotonic())

    def leader_link_lost(self, *, broken: bool) -> None:
        """Propose again what may be lost; stand soon when the leader seems dead."""
        if self.leads:
            return
        self._SyncObj__onLeaderChanged()
        if broken and self.is_voter:
            self._SyncObj__raftElectionDeadline = self._prevotes.lost_leader(time.monotonic())

    def greet(self, node_id: str) -> None:
        """Ask a node that can be reached again how far it is."""
        if self.leads and self.follows(node_id):
            self._SyncObj__raftNextIndex[Node(node_id)] = self.journal.last_index + 1
            self._SyncObj__newAppendEntriesTime = 0.0

    def voting(self, handle: Callable[[], None]) -> None:
        """Handle a request for a vote, also when the log does not tell yet that this node has one."""
        if self.is_alone:
            return  # nobody else can win an election
        before = self._SyncObj__selfNode
        self._SyncObj__selfNode = Node(self.node_id)
        try:
            handle()
        finally:
            self._SyncObj__selfNode = before

    def acknowledged(self, node_id: str, handle: Callable[[], None], *, reset: bool) -> None:
        """Handle an acknowledgement without going back behind what is under way."""
        node, following = Node(node_id), self._SyncObj__raftNextIndex
        before = following.get(node, 0)
        handle()
        if reset:
            self._SyncObj__newAppendEntriesTime = 0.0
        else:
            following[node] = max(before, following[node])

    def other(self, node_id: str, message: Message) -> None:
        """Handle a message that the library does not know."""
        now_s = time.monotonic()
        match message["type"]:
            case "pre_vote":
                self._answer_pre_vote(node_id, message, now_s)
            case "pre_vote_reply":
                self.adopt_term(message["term"])
                may_stand = not self.leads and self.is_voter
                if may_stand and self._prevotes.take_reply(node_id, message, self.voters):
                    self._may_stand, self._SyncObj__raftElectionDeadline = True, 0.0
            case "stale_term":
                self.adopt_term(message["term"])
            case "leader_check" if message["term"] == self.term and not self.leads:
                reply = {"type": "leader_check_reply", "round": message["round"]}
                self.links.tell(node_id, reply)
            case "leader_check" if message["term"] < self.term:
                self.links.tell(node_id, {"type": "stale_term"})
            case "leader_check_reply":
                self.reads.checked(node_id, message)
            case "read_index":
                self.reads.asked(node_id, message)
            case "read_index_reply":
                self.reads.answered(message)

    def _answer_pre_vote(self, node_id: str, message: Message, now_s: float) -> None:
        reply = self._prevotes.answer(
            message, now_s, self._log_end(), leads=self.leads or self.is_alone
        )
        if reply["granted"] and not self._may_stand:
            self._postpone_election(now_s + self._SyncObj__generateRaftTimeout() / 2)
        self.links.tell(node_id, reply)

    def tell(self, node_id: str, message: Message) -> bool:
        """Send a message that promises nothing about the log."""
        return self.links.tell(node_id, message)
