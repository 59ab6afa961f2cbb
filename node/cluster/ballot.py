"""Who founds the cluster: fresh nodes with one token choose one of them, once and for ever.

This is Paxos for a single value, after "Paxos Made Simple" (Lamport, 2001). A node answers a ballot only when its vow
is on its disk. A founder is chosen when a majority has accepted it in one ballot; whoever asks later finds it by the
majority that it must ask first, and keeps it. A candidate that cannot win tries again with a higher ballot, so votes
that are split do not stay so.

Two clusters can never be, as long as no more nodes than the token's number are fresh at a time: two majorities of it
share a node. When more are (a machine too many, or one that lost its disk and came back as another), each that was
met counts: a majority is then one of all that anyone in it has met.

Pure: messages in, messages out; the caller brings the time, the chance and the disk.
"""

import random
from collections.abc import Callable, Collection, Iterable

import msgspec

from node.types import Frozen

GRACE_S = 20.0
"""How long a majority waits for the other founders before it goes on without them."""
ALONE_S = 4.0
"""How long the only founder of a token looks for others of it."""
_SETTLE_S = 2.0
"""How long nobody new must have been met before a ballot: machines that start together are seen one by one."""
_TRY_S = 4.0
_PAUSE_S = 1.0
_MOST_PAUSES = 8
MAX_MET = 256
"""More nodes than this do not vote: those with the highest ids wait for the founder."""


class Ballot(msgspec.Struct, frozen=True, order=True, array_like=True):
    """One attempt: a higher one goes before a lower one."""

    round: int
    node_id: str


_NONE = Ballot(0, "")


class Vow(Frozen):
    """What a node has promised. It is on the disk before anyone hears of it."""

    token_id: str
    promised: Ballot = _NONE
    accepted: Ballot = _NONE
    """The ballot in which it accepted `founder`; round 0: none."""
    founder: str = ""
    decided: str = ""
    """Who founds; known by a majority's acceptance."""
    met: tuple[str, ...] = ()
    """Every node with this token that was ever met, with itself, sorted."""


class Prepare(Frozen, tag="prepare"):
    """Ask to take no lower ballot any more."""

    ballot: Ballot
    met: tuple[str, ...] = ()


class Accept(Frozen, tag="accept"):
    """Ask to accept a founder."""

    ballot: Ballot
    founder: str
    met: tuple[str, ...] = ()


class Tell(Frozen, tag="tell"):
    """Say who founds."""

    founder: str


Request = Prepare | Accept | Tell


class Reply(Frozen, tag="reply"):
    """Answer: `took` when the request's ballot holds. Everything that the answerer has promised comes with it."""

    took: bool
    promised: Ballot
    accepted: Ballot
    founder: str
    decided: str
    met: tuple[str, ...] = ()


class Election:
    """One node's part in the choice. Not thread-safe."""

    def __init__(
        self,
        node_id: str,
        founders: int,
        vow: Vow,
        keep: Callable[[Vow], None],
        rng: random.Random,
        now_s: float,
    ) -> None:
        """Begin with the vow of the disk; `keep` returns when a new one is there."""
        self._node_id = node_id
        self._founders = founders
        self._vow = vow
        self._keep = keep
        self._rng = rng
        self._began_s = self._met_s = now_s
        self._tries = 0
        self._next_s = 0.0
        self._ballot: Ballot | None = None
        self._value = ""
        self._promises = 0
        self._replies: dict[str, Reply] = {}
        self._told: set[str] = set()
        self._meet((node_id,))

    @property
    def decided(self) -> str:
        """Return the founder's node id, empty before it is chosen."""
        return self._vow.decided

    @property
    def majority(self) -> int:
        """Return how many nodes must accept a founder."""
        return max(self._founders, len(self._vow.met)) // 2 + 1

    @property
    def met(self) -> tuple[str, ...]:
        """Return every node with this token that was ever met, with itself."""
        return self._vow.met

    # -- what others ask

    def answer(self, sender: str, request: Request) -> Reply:
        """Return the reply to another node's request; the vow that it tells of is on the disk."""
        vow, took = self._vow, False
        if isinstance(request, Tell):
            self._decide(request.founder)
            took = True
        else:
            met = self._with(vow, (sender, *request.met))
            took = request.ballot >= vow.promised and not vow.decided
            if took:
                met = msgspec.structs.replace(met, promised=request.ballot)
            if took and isinstance(request, Accept):
                met = msgspec.structs.replace(met, accepted=request.ballot, founder=request.founder)
            self._store(met)
        now = self._vow
        return Reply(
            took=took,
            promised=now.promised,
            accepted=now.accepted,
            founder=now.founder,
            decided=now.decided,
            met=now.met,
        )

    # -- what this node asks

    def requests(self, now_s: float, reachable: Collection[str]) -> dict[str, Request]:
        """Return what to ask of whom now; may be called at any time, and repeats what has no answer yet."""
        others = [node_id for node_id in reachable if node_id != self._node_id]
        before = self._vow.met
        self._meet(others)
        if self._vow.met != before:
            self._met_s = now_s
        if self._vow.decided:
            return {n: Tell(founder=self._vow.decided) for n in others if n not in self._told}
        if self._ballot is None or now_s >= self._next_s:
            self._ballot = None
            if not self._is_time(now_s, others):
                return {}
            self._begin(now_s)
        request = self._request()
        return {} if request is None else {n: request for n in others if n not in self._replies}

    def take(self, sender: str, request: Request, reply: Reply) -> None:
        """Take the reply to a request of `requests`."""
        if isinstance(request, Tell):
            self._told.add(sender)
            return
        self._meet((sender, *reply.met))
        if reply.decided:
            self._decide(reply.decided)
        if self._ballot is None or request.ballot != self._ballot:
            return
        if sender not in self._vow.met:  # one too many: it has no voice
            return
        if reply.took and isinstance(request, Accept) == bool(self._value):
            self._replies[sender] = reply
            self._advance()
        elif reply.promised > self._ballot:
            self._lose(reply.promised)

    def _is_time(self, now_s: float, others: Collection[str]) -> bool:
        """Return whether to begin a ballot: all are here, or the wait for them is over."""
        here = len(others) + 1
        if here < self.majority or now_s < self._next_s:
            return False
        wait_s = 0.0 if here >= self._founders else GRACE_S
        if now_s - self._began_s < (ALONE_S if self._founders == 1 else wait_s):
            return False
        if now_s - self._met_s < _SETTLE_S:
            return False
        if self._tries == 0 and self._next_s == 0.0:
            # The first of them in order of ids goes first; the others only when nothing comes of it.
            rank = sum(1 for node_id in others if node_id < self._node_id)
            if rank:
                self._next_s = now_s + rank * _TRY_S
                return False
        return True

    def _begin(self, now_s: float) -> None:
        self._ballot = Ballot(self._vow.promised.round + 1, self._node_id)
        self._value = ""
        self._tries += 1
        pauses = self._rng.uniform(0.2, min(self._tries, _MOST_PAUSES))
        self._next_s = now_s + _TRY_S + pauses * _PAUSE_S
        self._replies = {}
        self._ask_myself()

    def _request(self) -> Prepare | Accept | None:
        if self._ballot is None:
            return None
        if not self._value:
            return Prepare(ballot=self._ballot, met=self._vow.met)
        return Accept(ballot=self._ballot, founder=self._value, met=self._vow.met)

    def _ask_myself(self) -> None:
        request = self._request()
        if request is not None:
            self.take(self._node_id, request, self.answer(self._node_id, request))

    def _advance(self) -> None:
        if self._ballot is None or len(self._replies) < self.majority:
            return
        if self._value:
            if self._promises >= self.majority:
                self._decide(self._value)
            return
        self._promises = len(self._replies)
        last = max(self._replies.values(), key=lambda reply: reply.accepted)
        self._value = last.founder if last.accepted.round else self._node_id
        self._replies = {}
        self._ask_myself()

    def _lose(self, to: Ballot) -> None:
        """Let a higher ballot have its time."""
        self._ballot = None
        if to.round > self._vow.promised.round:
            # Its number is all that is taken over: the next try of this node goes above it.
            self._store(msgspec.structs.replace(self._vow, promised=Ballot(to.round, to.node_id)))

    def _decide(self, founder: str) -> None:
        self._ballot = None
        if not self._vow.decided:
            self._store(msgspec.structs.replace(self._vow, decided=founder))

    def _meet(self, node_ids: Iterable[str]) -> None:
        self._store(self._with(self._vow, node_ids))

    @staticmethod
    def _with(vow: Vow, node_ids: Iterable[str]) -> Vow:
        met = sorted({*vow.met, *node_ids})[:MAX_MET]
        return msgspec.structs.replace(vow, met=tuple(met))

    def _store(self, vow: Vow) -> None:
        if vow != self._vow:
            self._keep(vow)
            self._vow = vow
