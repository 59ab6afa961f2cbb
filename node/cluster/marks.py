"""Which entries a leader tells its witnesses of.

Hard part: an entry that a witness has acknowledged keeps every node out that does not hold it. So a witness hears of an
entry only once all voters with rows that keep up hold it as well, and the leader's own disk does: then whichever node
dies, the witness votes for the one that is left. When a voter with rows is gone, or does not keep up, the others and
the witness are what is left to make a majority of, and marks go out with each entry, before it is answered.
"""

from typing import Protocol

from node.cluster.journal import SqliteJournal
from node.cluster.messages import Message
from node.cluster.witness_vote import is_witness


class Linked(Protocol):
    """What is needed of the transport."""

    @property
    def witnesses(self) -> set[str]:
        """Return the witnesses that are linked."""


class Seat(Protocol):
    """What the marks need of the node."""

    journal: SqliteJournal
    node_id: str

    @property
    def leads(self) -> bool:
        """Say whether this node leads."""

    @property
    def term(self) -> int:
        """Return the current term."""

    @property
    def voters(self) -> set[str]:
        """Return the other voters."""

    def match_index(self, node_id: str) -> int:
        """Return up to where a follower holds this node's log."""

    @property
    def links(self) -> Linked:
        """Return who is linked."""

    def is_linked(self, node_id: str) -> bool:
        """Say whether there is a link to a node."""

    def tell(self, node_id: str, message: Message) -> bool:
        """Send a message that promises nothing about this node's log."""


class _Pace:
    """How a voter with rows keeps up: whether it holds, in time, what this node held at a moment."""

    __slots__ = ("keeps_up", "since_s", "target")

    def __init__(self, target: int, now_s: float) -> None:
        self.target = target
        self.since_s = now_s
        self.keeps_up = True


class Marks:
    """The leader's side of all witnesses that are linked."""

    def __init__(self, seat: Seat, *, patience_s: float, period_s: float) -> None:
        self._seat = seat
        self._patience_s = patience_s
        self._period_s = period_s
        self._term = -1
        self._pace: dict[str, _Pace] = {}
        self._told: dict[str, tuple[int, float]] = {}

    def tick(self, now_s: float) -> None:
        """Tell the witnesses what is due."""
        seat = self._seat
        witnesses = seat.links.witnesses
        if not (witnesses and seat.leads):
            self._term = -1
            return
        if seat.term != self._term:
            self._term, self._pace, self._told = seat.term, {}, {}
        self._told = {one: told for one, told in self._told.items() if one in witnesses}
        index, is_urgent = self._reach(now_s)
        for node_id in sorted(witnesses):
            told, told_s = self._told.get(node_id, (-1, float("-inf")))
            if (is_urgent and index > told) or now_s - told_s >= self._period_s:
                self._tell(node_id, index, now_s)

    def _reach(self, now_s: float) -> tuple[int, bool]:
        """Return up to where witnesses may hear, and whether the majority rests on them."""
        seat = self._seat
        durable = seat.journal.durable_index
        others = [voter for voter in seat.voters if not is_witness(voter)]
        self._pace = {voter: pace for voter, pace in self._pace.items() if voter in others}
        held = [
            seat.match_index(voter) for voter in others if self._keeps_up(voter, durable, now_s)
        ]
        return min([durable, *held]), len(held) < len(others)

    def _keeps_up(self, voter: str, durable: int, now_s: float) -> bool:
        pace = self._pace.setdefault(voter, _Pace(durable, now_s))
        if not self._seat.is_linked(voter):
            # What it holds is looked at anew when it is back.
            pace.target, pace.keeps_up = durable, False
        elif self._seat.match_index(voter) >= pace.target:
            pace.target, pace.since_s, pace.keeps_up = durable, now_s, True
        elif now_s - pace.since_s > self._patience_s:
            pace.keeps_up = False
        return pace.keeps_up

    def _tell(self, node_id: str, index: int, now_s: float) -> None:
        term = self._seat.journal.term_at(index) if index > 0 else None
        mark = {"index": 0, "log_term": 0} if term is None else {"index": index, "log_term": term}
        voters = sorted({self._seat.node_id, *self._seat.voters})
        if self._seat.tell(node_id, {"type": "mark", "voters": voters, **mark}):
            self._told[node_id] = (index, now_s)
