"""Reads that see all that was acknowledged before them, on any node, without an entry in the log.

The leader notes its commit index, then asks the voters whether its term still holds. A majority's yes, sent after the
question came in, proves that no later leader had been elected when the index was noted. All reads that wait share one
question. Other nodes ask the leader for the index, also one question for many, and wait until they have applied it.
"""

from collections.abc import Callable
from typing import Protocol

from node.cluster.messages import Message

_ASK_AGAIN_S = 0.3
Done = Callable[[bool], None]
"""Called once, in the loop thread: whether a read of the local rows is fresh now."""


class Seat(Protocol):
    """What the reads need of the node."""

    @property
    def voters(self) -> set[str]:
        """Return the other voters."""

    @property
    def leader_id(self) -> str | None:
        """Return the leader, if known."""

    @property
    def leads_surely(self) -> bool:
        """Say whether this node leads and has committed an entry of its own term."""

    @property
    def term(self) -> int:
        """Return the current term."""

    @property
    def commit_index(self) -> int:
        """Return the commit index."""

    @property
    def applied_index(self) -> int:
        """Return the index of the last applied entry."""

    @property
    def node_id(self) -> str:
        """Return this node's id."""

    def tell(self, node_id: str, message: Message) -> bool:
        """Send a message."""


class _Waiting:
    __slots__ = ("deadline_s", "done", "index")

    def __init__(self, done: Done, deadline_s: float) -> None:
        self.done = done
        self.deadline_s = deadline_s
        self.index = 0


Asker = tuple[str, int]
"""Another node and its request id."""


class Reads:
    """Everything about reads on one node. Used from the loop thread only."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._fresh: list[_Waiting | Asker] = []  # in no round yet
        self._asked: list[_Waiting | Asker] = []  # in the round that is under way
        self._applying: list[_Waiting] = []
        self._round = 0
        self._round_index = 0
        self._round_term = -1
        self._agreed: set[str] = set()
        self._again_s = 0.0
        self._under_way = False

    @property
    def is_idle(self) -> bool:
        """Say whether nobody waits."""
        return not (self._fresh or self._asked or self._applying)

    @property
    def is_ready(self) -> bool:
        """Say whether a tick would get further at once."""
        return bool(self._fresh) and not self._under_way and self._seat.leads_surely

    def add(self, done: Done, deadline_s: float) -> None:
        """Have a callback called once a local read is fresh, or cannot become so in time."""
        self._fresh.append(_Waiting(done, deadline_s))

    def tick(self, now_s: float) -> None:
        """Ask, ask again, answer and give up."""
        if self.is_idle:
            return
        seat = self._seat
        leads = seat.leader_id == seat.node_id
        if self._under_way and (
            now_s >= self._again_s or (leads and seat.term != self._round_term)
        ):
            self._fresh[:0] = self._asked
            self._asked, self._under_way = [], False
        if self._fresh and not self._under_way:
            if seat.leads_surely:
                self._begin_round(now_s)
            elif not leads and seat.leader_id is not None:
                self._ask_leader(now_s, seat.leader_id)
        self._settle(now_s)

    def _begin_round(self, now_s: float) -> None:
        seat = self._seat
        self._open(now_s)
        self._round_index, self._round_term, self._agreed = seat.commit_index, seat.term, set()
        for node_id in seat.voters:
            seat.tell(node_id, {"type": "leader_check", "round": self._round})
        self._count()

    def _ask_leader(self, now_s: float, leader_id: str) -> None:
        self._fresh = [one for one in self._fresh if isinstance(one, _Waiting)]  # we lead no more
        if not self._fresh:
            return
        self._open(now_s)
        self._round_term = -1
        self._seat.tell(leader_id, {"type": "read_index", "request_id": self._round})

    def _open(self, now_s: float) -> None:
        self._round += 1
        self._asked, self._fresh = self._fresh, []
        self._under_way = True
        self._again_s = now_s + _ASK_AGAIN_S

    def checked(self, node_id: str, message: Message) -> None:
        """Take a voter's yes."""
        is_ours = self._under_way and message["round"] == self._round
        if is_ours and message["term"] == self._seat.term == self._round_term:
            self._agreed.add(node_id)
            self._count()

    def _count(self) -> None:
        voters = self._seat.voters
        if 1 + len(self._agreed & voters) > (len(voters) + 1) / 2:
            self._granted(self._round_index)

    def asked(self, node_id: str, message: Message) -> None:
        """Take the question of another node."""
        if self._seat.leader_id == self._seat.node_id:
            self._fresh.append((node_id, message["request_id"]))

    def answered(self, message: Message) -> None:
        """Take the leader's answer."""
        if self._under_way and message["request_id"] == self._round and self._round_term == -1:
            self._granted(message["index"])

    def _granted(self, index: int) -> None:
        batch, self._asked, self._under_way = self._asked, [], False
        for one in batch:
            if isinstance(one, _Waiting):
                one.index = index
                self._applying.append(one)
            else:
                node_id, request_id = one
                reply = {"type": "read_index_reply", "request_id": request_id, "index": index}
                self._seat.tell(node_id, reply)

    def _settle(self, now_s: float) -> None:
        applied = self._seat.applied_index
        for one in [one for one in self._applying if one.index <= applied]:
            self._applying.remove(one)
            one.done(True)
        for waiting in (self._applying, self._fresh, self._asked):
            for late in [x for x in waiting if isinstance(x, _Waiting) and x.deadline_s <= now_s]:
                waiting.remove(late)
                late.done(False)

    def close(self) -> None:
        """Answer all that the read is not fresh."""
        rest = [*self._applying, *self._fresh, *self._asked]
        self._applying, self._fresh, self._asked, self._under_way = [], [], [], False
        for one in rest:
            if isinstance(one, _Waiting):
                one.done(False)
