"""What a node is in the log: its part, its place, and who else votes.

Hard part: the library's lists of nodes are made to be what the log says, whatever order changes come and go in.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import pysyncobj.syncobj as library
from pysyncobj.config import FAIL_REASON
from pysyncobj.node import Node

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.catchup import LogStart
from node.cluster.journal import SqliteJournal
from node.cluster.settings import RaftSettings
from node.cluster.transport import RaftTransport
from node.cluster.voters import Verb, change_of, encode_change

_MEMBERSHIP = 2

Role = Literal["follower", "candidate", "leader"]
ROLES: tuple[Role, ...] = ("follower", "candidate", "leader")


class LogMember(library.SyncObj):  # type: ignore[misc]
    """A voter, or a learner that follows without a vote."""

    node_id: str
    journal: SqliteJournal
    links: RaftTransport
    settings: RaftSettings
    _SyncObj__selfNode: Node | None
    _SyncObj__changeClusterIDx: int | None

    @property
    def is_alone(self) -> bool:
        """Say whether this node is the only voter."""
        return self.is_voter and not self.voters

    @property
    def is_voter(self) -> bool:
        """Say whether this node has a vote."""
        return self._SyncObj__selfNode is not None

    @property
    def voters(self) -> set[str]:
        """Return the other nodes that have a vote."""
        return {str(node.id) for node in self._SyncObj__otherNodes.copy()}

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
    def term(self) -> int:
        """Return the current term."""
        return int(self.raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        """Return the commit index."""
        return int(self.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        """Return the index of the last applied entry."""
        return int(self.raftLastApplied)

    @property
    def leads(self) -> bool:
        """Say whether this node is the leader."""
        return bool(self._isLeader())

    @property
    def leads_surely(self) -> bool:
        """Say whether this node leads and has committed an entry of its own term."""
        return self.leads and self.commit_index >= int(self._SyncObj__noopIDx or 0)

    @property
    def role(self) -> Role:
        """Return the part that this node plays."""
        return ROLES[self._SyncObj__raftState]

    def match_index(self, node_id: str) -> int:
        """Return up to where a follower's log is known to be ours; 0 when this node does not lead."""
        if not self.leads:
            return 0
        known = int(self._SyncObj__raftMatchIndex.get(Node(node_id), 0))
        # What a learner says of itself is good enough to know whether it is near, never to count it.
        return known if node_id in self.voters else max(known, self.links.feeding.match_of(node_id))

    # -- who votes

    def change_voter(self, verb: Verb, node_id: str, done: Callable[[int], None]) -> None:
        """Propose a change of the voters; the library's reason says what became of it."""
        command = encode_change(verb, node_id, {*self.voters, self.node_id})
        self._applyCommand(command, lambda _, reason: done(reason), _MEMBERSHIP)

    def _SyncObj__doChangeCluster(self, request: object, reverse: bool = False) -> bool:  # noqa: N802, FBT001, FBT002
        """Take a change as the log holds it: replaces the library's method of this name."""
        change = change_of(request)
        if change is None:
            return False
        own = {self.node_id} if self.is_voter else set()
        now = self.voters | own
        after = set(change.before(now) if reverse else change.after(now))
        if self.leads and not reverse:
            if after == now or self.node_id not in after:
                return False
            self._SyncObj__changeClusterIDx = self.journal.last_index + 1
        self.set_voters(after)
        return True

    def set_voters(self, voters: set[str]) -> None:
        """Make the library's lists hold exactly these voters."""
        if (self.node_id in voters) is not self.is_voter:
            self._SyncObj__selfNode = Node(self.node_id) if self.node_id in voters else None
            self._SyncObj__raftElectionDeadline = time.monotonic() + self.settings.election_max_s
        for node_id in voters - self.voters - {self.node_id}:
            self.links.forget_learner(node_id)
            super()._SyncObj__doChangeCluster(["add", node_id, Node(node_id)])
        for node_id in self.voters - voters:
            super()._SyncObj__doChangeCluster(["rem", node_id, Node(node_id)])

    def begin_anew(self, start: LogStart) -> None:
        """Begin the log with an entry whose state has been taken over."""
        self.journal.begin_anew(start)
        self._SyncObj__raftLastApplied = start.index
        self._SyncObj__raftCommitIndex = start.index
        self.set_voters(set(start.voters))
        waiting = self._SyncObj__commandsWaitingCommit
        for index in [index for index in waiting if index <= start.index]:
            for _, callback in waiting.pop(index):
                callback(None, FAIL_REASON.UNKNOWN_OUTCOME)
        self._SyncObj__onLeaderChanged()
