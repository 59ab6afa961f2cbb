"""Which nodes should vote: one change at a time, as a pure function of what the leader knows.

Hard part: every change of the voters changes what a majority is, so a change that looks harmless may stop all writes.
No change is planned after which those voters that are certainly alive would not be a majority. Planning the
same facts twice gives the same change, and a cluster that needs none gets none: voters do not wander.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

from node.types import Frozen

MOST_VOTERS = 7
_FEWEST_SAFE = 3
_PAIR = 2


class MemberFacts(Frozen):
    """What the leader knows of one node."""

    node_id: str
    stays: bool = True
    """Whether it is to be a member: False is to be removed."""
    is_drained: bool = True
    """Whether nothing of the cloud is left on it; counts only for one that is to be removed."""
    is_live: bool = True
    """Whether it answered the leader a moment ago."""
    is_lost: bool = False
    """Whether it has been away for so long that another one may take its place."""
    is_caught_up: bool = True
    """Whether its log ends near the leader's."""
    failure_domain: str = ""
    is_witness: bool = False
    """Whether it is a vote without rows, which never leads."""

    @property
    def domain(self) -> str:
        """Return what it fails together with: without a name of it, itself."""
        return self.failure_domain or self.node_id


class Change(Frozen):
    """The next thing to do to one node."""

    kind: Literal["add", "remove", "transfer", "forget"]
    """Give it a vote, take its vote, make it the leader, delete its row."""
    node_id: str
    reason: str


def plan(
    leader: str, voters: AbstractSet[str], members: Iterable[MemberFacts], *, most_voters: int = 5
) -> Change | None:
    """Return the one next change of the voters or members, None when all is as it should be."""
    known = {facts.node_id: facts for facts in members}
    if leader not in voters or leader not in known:
        return None
    planner = _Planner(leader, frozenset(voters), known, most_voters)
    return planner.next_change()


def size_wanted(
    members: Iterable[MemberFacts], most_voters: int, voters: AbstractSet[str] = frozenset()
) -> int:
    """Return how many voters a cluster of these nodes should have: odd, and not fewer than can be helped.

    A lost node counts while there would be fewer than three without it: with it as a voter, its return mends
    the cluster; without it, one more failure could lose what was acknowledged. Two nodes make three voters with a
    witness, the same way; beside any other number of nodes none votes.
    """
    known = list(members)
    staying = [facts for facts in known if facts.stays and not facts.is_witness]
    witnesses = [facts for facts in known if facts.is_witness and facts.stays]
    if len(staying) == _PAIR and any(
        not facts.is_lost or facts.node_id in voters for facts in witnesses
    ):
        return min(_FEWEST_SAFE, _odd(max(1, min(most_voters, MOST_VOTERS))))
    sound = sum(not facts.is_lost for facts in staying)
    most = _odd(max(1, min(most_voters, MOST_VOTERS)))
    return max(_odd(min(sound, most)), _odd(min(len(staying), most, _FEWEST_SAFE)))


class _Planner:
    """One round of planning."""

    def __init__(
        self,
        leader: str,
        voters: frozenset[str],
        known: Mapping[str, MemberFacts],
        most_voters: int,
    ) -> None:
        self._leader = leader
        self._voters = voters
        self._known = known
        self._wanted = size_wanted(known.values(), most_voters, voters)
        self._is_pair = sum(one.stays and not one.is_witness for one in known.values()) == _PAIR
        able = [
            facts
            for facts in known.values()
            if facts.node_id not in voters
            and facts.stays
            and facts.is_live
            and not facts.is_lost
            and facts.is_caught_up
        ]
        nodes = [facts for facts in able if not facts.is_witness]
        nodes.sort(key=lambda facts: (self._crowd(facts, voters), facts.node_id))
        self._nodes = nodes
        self._witness = self._witness_wanted(able)
        self._candidates = [*nodes, *self._witness]

    def next_change(self) -> Change | None:
        """Return the first change that is needed and safe."""
        return (
            self._drop_gone()
            or self._grow()
            or self._replace()
            or self._shrink()
            or self._spread()
            or self._forget()
        )

    def _witness_wanted(self, able: Iterable[MemberFacts]) -> list[MemberFacts]:
        """Return the witness that may be given a vote, if there is to be one: beside two nodes, and never a second."""
        voting = any(map(self._is_witness, self._voters))
        if not self._is_pair or voting or self._wanted < _FEWEST_SAFE:
            return []
        return sorted(
            (facts for facts in able if facts.is_witness), key=lambda facts: facts.node_id
        )[:1]

    def _is_witness(self, node_id: str) -> bool:
        facts = self._known.get(node_id)
        return facts is not None and facts.is_witness

    def _leaves(self, voter: str) -> bool:
        """Say whether a voter that is known is to lose its vote."""
        facts = self._known.get(voter)
        return facts is not None and (not facts.stays or (facts.is_witness and not self._is_pair))

    # -- what may be needed, most urgent first

    def _drop_gone(self) -> Change | None:
        """Take the vote of a voter that is no member, or lost while another one can take its place."""
        for voter in sorted(self._voters - {self._leader}):
            facts = self._known.get(voter)
            if facts is None:
                return self._removal(voter, "it is no member")
            if facts.is_live:
                continue
            if not facts.stays:
                return self._removal(voter, "it is to be removed and does not answer")
            others = self._spare_witnesses() if facts.is_witness else self._nodes
            if facts.is_lost and others and len(self._voters) <= self._wanted:
                return self._removal(voter, "it has been away for long and another node can vote")
        return None

    def _spare_witnesses(self) -> list[MemberFacts]:
        return [
            facts
            for facts in self._known.values()
            if facts.is_witness
            and facts.node_id not in self._voters
            and facts.stays
            and facts.is_live
            and facts.is_caught_up
        ]

    def _grow(self) -> Change | None:
        good = self._good()
        missing = self._wanted - len(self._voters)
        if missing <= 0 or not self._candidates:
            return None
        ends_odd = (len(self._voters) + 1) % 2 == 1
        if not ends_odd and missing > 1 and len(self._candidates) < 2:
            return None  # one more voter alone would only raise what a majority needs
        best = self._candidates[0]
        return self._addition(
            best.node_id, f"{len(good)} of {self._wanted} wanted voters are there"
        )

    def _replace(self) -> Change | None:
        """Give a vote to another node before a live voter that is to be removed loses its own."""
        leaving = [voter for voter in self._voters if self._leaves(voter)]
        if leaving and self._nodes and len(self._good()) < self._wanted:
            return self._addition(self._nodes[0].node_id, f"it takes the place of {min(leaving)}")
        return None

    def _shrink(self) -> Change | None:
        leaving = any(map(self._leaves, self._voters))
        if len(self._voters) <= self._wanted and (not leaving or self._is_replacement_coming()):
            return None
        victim = min(self._voters, key=self._keeping_order)
        reason = (
            "it is to be removed"
            if victim in self._known and not self._known[victim].stays
            else f"{self._wanted} voters are enough"
        )
        return self._removal(victim, reason)

    def _spread(self) -> Change | None:
        """Swap a voter for a node of another failure domain where that makes the crowds smaller."""
        if len(self._voters) != self._wanted or not all(self._is_live(v) for v in self._voters):
            return None
        before = self._crowding(self._voters)
        for candidate in self._nodes:
            wider = self._voters | {candidate.node_id}
            after = min(self._crowding(wider - {voter}) for voter in self._voters)
            if after < before:
                return self._addition(
                    candidate.node_id, f"no voter is in failure domain {candidate.domain} yet"
                )
        return None

    def _forget(self) -> Change | None:
        for facts in sorted(self._known.values(), key=lambda facts: facts.node_id):
            if not facts.stays and facts.is_drained and facts.node_id not in self._voters:
                return Change(kind="forget", node_id=facts.node_id, reason="it was to be removed")
        return None

    # -- what is safe

    def _addition(self, node_id: str, reason: str) -> Change | None:
        wider = self._voters | {node_id}
        if not self._has_majority(wider):
            return None
        return Change(kind="add", node_id=node_id, reason=reason)

    def _removal(self, node_id: str, reason: str) -> Change | None:
        rest = self._voters - {node_id}
        if not rest or not self._has_majority(rest):
            return None
        if node_id != self._leader:
            return Change(kind="remove", node_id=node_id, reason=reason)
        heirs = [
            v
            for v in rest
            if self._is_good(v) and self._known[v].is_caught_up and not self._is_witness(v)
        ]
        if not heirs:
            return None
        return Change(
            kind="transfer", node_id=min(heirs), reason=f"the leader {node_id} gives up its vote"
        )

    def _is_replacement_coming(self) -> bool:
        return any(
            facts.stays
            and facts.is_live
            and not facts.is_lost
            and not facts.is_witness
            and facts.node_id not in self._voters
            for facts in self._known.values()
        )

    def _has_majority(self, voters: frozenset[str]) -> bool:
        return sum(self._is_live(voter) for voter in voters) > len(voters) / 2

    def _is_live(self, node_id: str) -> bool:
        facts = self._known.get(node_id)
        return node_id == self._leader or (facts is not None and facts.is_live)

    def _is_good(self, node_id: str) -> bool:
        facts = self._known.get(node_id)
        return facts is not None and facts.stays and self._is_live(node_id)

    def _good(self) -> list[str]:
        """Return the voters that stay and are not lost."""
        return [
            voter
            for voter in self._voters
            if voter in self._known and not self._leaves(voter) and not self._known[voter].is_lost
        ]

    # -- who before whom

    def _keeping_order(self, voter: str) -> tuple[bool, bool, bool, bool, int, bool, str]:
        """Order voters: the first one is the one to lose its vote."""
        facts = self._known.get(voter)
        return (
            facts is not None and not self._leaves(voter),
            not self._is_witness(voter),
            facts is not None and not facts.is_lost,
            self._is_live(voter),
            self._crowding(self._voters - {voter}),
            voter == self._leader,
            voter,
        )

    def _crowd(self, facts: MemberFacts, voters: Iterable[str]) -> int:
        """Return how many voters share a node's failure domain."""
        return sum(self._domain(voter) == facts.domain for voter in voters)

    def _crowding(self, voters: Iterable[str]) -> int:
        """Return a number that is the smaller the better voters are spread over failure domains."""
        return sum(count * count for count in Counter(map(self._domain, voters)).values())

    def _domain(self, voter: str) -> str:
        facts = self._known.get(voter)
        return facts.domain if facts is not None else voter


def _odd(number: int) -> int:
    return number if number % 2 else max(1, number - 1)
