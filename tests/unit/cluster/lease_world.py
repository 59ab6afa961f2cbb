"""A small world for the lease rules: clocks that differ, messages that wait or vanish, keepers that believe what they
like, and a log that takes one transition after the other. What happens is a list of numbers: Hypothesis shrinks it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from node.cluster.lease import USUAL, LeaseHolder, LeaseKeeper, Transition


@dataclass
class Log:
    """The rows, as a linearizable store."""

    states: dict[str, str]
    claim: str = ""
    rev: int = 0

    def take_claim(self, token: str, rev: int) -> bool:
        if rev != self.rev:
            return False
        self.claim, self.rev = token, self.rev + 1
        return True

    def write(self, transition: Transition, token: str, rev: int) -> bool:
        if (token, rev) != (self.claim, self.rev):
            return False
        self.states[transition.node_id] = transition.state
        self.rev += 1
        return True


@dataclass
class Keeper:
    """One node's idea of leading, with at most one transition on its way."""

    token: str
    rules: LeaseKeeper
    rev: int
    open: tuple[Transition, int] | None = None


@dataclass
class Asked:
    """A request under way: sent, received (with the keeper that has it), then granted."""

    node: str
    sent_s: float
    keeper: Keeper | None = None
    may: bool = False
    is_granted: bool = False


@dataclass
class World:
    """`skip_read`, `from_receipt` and `impatient` each break a rule, to see that the search finds it."""

    nodes: tuple[str, ...]
    offsets: tuple[float, ...]
    skip_read: bool = False
    from_receipt: bool = False
    impatient: bool = False
    now_s: float = 0.0
    log: Log = field(init=False)
    asked: list[Asked] = field(default_factory=list)
    keepers: list[Keeper] = field(default_factory=list)
    downs: int = 0

    def __post_init__(self) -> None:
        self.log = Log(states=dict.fromkeys(self.nodes, "up"))
        self.holders = {node: LeaseHolder(self._clock(i)) for i, node in enumerate(self.nodes)}

    def _clock(self, number: int):  # noqa: ANN202
        offset_s = self.offsets[number % len(self.offsets)]
        return lambda: self.now_s + offset_s

    def run(self, steps: Iterator[tuple[int, int]]) -> None:
        actions = (
            self.wait, self.ask, self.receive, self.read, self.deliver, self.lose, self.claim, self.review,
            self.write, self.learn, self.wait,
        )  # fmt: skip
        for action, value in steps:
            actions[action % len(actions)](value)
            self.check()

    def check(self) -> None:
        for node, state in self.log.states.items():
            assert state != "down" or not self.holders[node].is_valid(), (
                f"{node} is down in the log and has a lease of {self.holders[node].left_s():.2f} s"
            )

    def wait(self, value: int) -> None:
        self.now_s += (value % 40) * 0.2

    def ask(self, value: int) -> None:
        node = self.nodes[value % len(self.nodes)]
        self.asked.append(Asked(node, self.holders[node].request()))

    def receive(self, value: int) -> None:
        waiting = [one for one in self.asked if one.keeper is None]
        if waiting and self.keepers:
            one = waiting[value % len(waiting)]
            keeper = self.keepers[value // 7 % len(self.keepers)]
            one.keeper, one.may = keeper, keeper.rules.heard(one.node)

    def read(self, value: int) -> None:
        here = [one for one in self.asked if one.may and one.keeper and not one.is_granted]
        if here:
            one = here[value % len(here)]
            assert one.keeper is not None
            one.is_granted = self.skip_read or one.keeper.token == self.log.claim

    def deliver(self, value: int) -> None:
        granted = [one for one in self.asked if one.is_granted]
        if granted:
            one = granted[value % len(granted)]
            holder = self.holders[one.node]
            holder.granted(holder.request() if self.from_receipt else one.sent_s)

    def lose(self, value: int) -> None:
        if self.asked:
            self.asked.pop(value % len(self.asked))

    def claim(self, value: int) -> None:
        token = f"claim {self.log.rev} {value}"
        if self.log.take_claim(token, self.log.rev):
            down = [node for node, state in self.log.states.items() if state == "down"]
            rules = LeaseKeeper(self._clock(value), down)
            if self.impatient:
                rules._since_s -= USUAL.lease_s + 1
                rules._seen_s = dict.fromkeys(self.nodes, rules._since_s)
            self.keepers.append(Keeper(token, rules, self.log.rev))

    def review(self, value: int) -> None:
        idle = [keeper for keeper in self.keepers if keeper.open is None]
        if idle:
            keeper = idle[value % len(idle)]
            wanted = keeper.rules.review(self.log.states)
            if wanted:
                keeper.open = (wanted[value % len(wanted)], keeper.rev)

    def write(self, value: int) -> None:
        """Have the log apply a transition; its keeper does not know yet, and may send it once more."""
        ready = [keeper for keeper in self.keepers if keeper.open is not None]
        if ready:
            keeper = ready[value % len(ready)]
            assert keeper.open is not None
            transition, rev = keeper.open
            if self.log.write(transition, keeper.token, rev):
                self.downs += transition.state == "down"

    def learn(self, value: int) -> None:
        """Have a keeper learn what became of its transition: written, refused for good, or still open."""
        ready = [keeper for keeper in self.keepers if keeper.open is not None]
        if ready:
            keeper = ready[value % len(ready)]
            assert keeper.open is not None
            transition, rev = keeper.open
            if self.log.claim == keeper.token and self.log.rev == rev:
                return
            if self.log.claim == keeper.token:
                keeper.rules.written(transition)
                keeper.open, keeper.rev = None, self.log.rev
            else:
                self.keepers.remove(keeper)
