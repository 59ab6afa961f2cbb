"""The two sides of a lease, as pure rules: who is alive, agreed on without a word in the log.

Hard part: nobody may be written down while its own lease still runs on its own clock, whatever messages are late or
lost, whichever nodes believe that they lead, however long a process is stopped. It rests on four rules.

1. A lease runs from when its holder SENT the request; silence is counted from when the keeper RECEIVED it.
2. Only one claim is valid, the one in the log. A keeper grants after a linearizable read, begun after the request came,
   has shown its claim; who claims waits a whole lease, from when it saw its claim applied, before it calls anyone down.
3. A keeper that is about to write a node down grants it nothing any more until the log says that the node is up again.
4. Each transition checks the claim's revision and raises it: one of an older claim, or one that was late, is refused.

The clocks must not drift apart by more than the margin in one lease, and must count the time that a machine sleeps.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from node.state.row import Row, Table
from node.types import Frozen


class LeaseTimes(Frozen):
    """How long things take; the same on all nodes, but in tests."""

    lease_s: float = 5.0
    margin_s: float = 1.0
    """What two clocks may drift apart in one lease."""
    suspect_s: float = 2.5
    """Silence after which a node gets nothing new: two requests missed and a little."""
    ask_every_s: float = 1.0
    review_every_s: float = 0.5


USUAL = LeaseTimes()

State = Literal["up", "suspect", "down"]
Clock = Callable[[], float]


class LeaseClaim(Row, kw_only=True):
    """Who grants leases: one row with the id `claim`."""

    __table__ = Table(name="lease_claims")

    node_id: str = ""
    token: str = ""
    """Made anew with each claim."""


CLAIM_ID = "claim"


class Transition(Frozen):
    """What is to be written of one node."""

    node_id: str
    state: State


class LeaseHolder:
    """A node's own lease. One thread feeds it, any thread may ask."""

    def __init__(self, clock: Clock, times: LeaseTimes = USUAL) -> None:
        self._clock = clock
        self._lease_s = times.lease_s
        self._until_s = float("-inf")

    def request(self) -> float:
        """Return what `granted` wants to know of the request that is sent now."""
        return self._clock()

    def granted(self, sent_s: float) -> None:
        """Take the answer to the request that was sent then."""
        self._until_s = max(self._until_s, sent_s + self._lease_s)

    def left_s(self) -> float:
        """Return how long the lease still runs; not above zero: there is none."""
        return self._until_s - self._clock()

    def is_valid(self) -> bool:
        """Return whether this node may act as a member of the cluster."""
        return self.left_s() > 0


class LeaseKeeper:
    """What the holder of one claim knows of the others. Made when the claim was seen applied; thread-safe."""

    def __init__(self, clock: Clock, down: Iterable[str] = (), times: LeaseTimes = USUAL) -> None:
        """Take the nodes that the log calls down at the moment of the claim."""
        self._clock = clock
        self._times = times
        self._since_s = clock()
        self._seen_s: dict[str, float] = {}
        self._heard_s: dict[str, float] = {}
        self._condemned = set(down)
        self._lock = threading.Lock()

    def heard(self, node_id: str) -> bool:
        """Note a request and say whether it may be granted, once a read has shown the claim."""
        with self._lock:
            self._heard_s[node_id] = self._clock()
            return node_id not in self._condemned

    def review(self, states: Mapping[str, str]) -> list[Transition]:
        """Return what to write, given what the log says of every member."""
        with self._lock:
            now_s = self._clock()
            for node_id in states:
                self._seen_s.setdefault(node_id, now_s)
            wanted = [
                (node_id, state, self._wanted(node_id, state, now_s))
                for node_id, state in sorted(states.items())
            ]
            for known in (self._seen_s, self._heard_s):
                for gone in known.keys() - states.keys():
                    del known[gone]
            self._condemned.update(
                node_id for node_id, was, state in wanted if "down" in (was, state)
            )
        return [
            Transition(node_id=node_id, state=state)
            for node_id, was, state in wanted
            if state != was
        ]

    def _wanted(self, node_id: str, state: str, now_s: float) -> State:
        heard_s = self._heard_s.get(node_id, float("-inf"))
        if node_id in self._condemned:
            is_back = state == "down" and now_s - heard_s < self._times.suspect_s
            return "up" if is_back else "down"
        silent_s = now_s - max(self._since_s, self._seen_s[node_id], heard_s)
        if silent_s >= self._times.lease_s + self._times.margin_s:
            return "down"
        return "suspect" if silent_s >= self._times.suspect_s else "up"

    def written(self, transition: Transition) -> None:
        """Take notice that the log holds a transition: a node that it calls up may be granted leases again."""
        if transition.state == "up":
            with self._lock:
                self._condemned.discard(transition.node_id)
                self._heard_s[transition.node_id] = self._clock()
