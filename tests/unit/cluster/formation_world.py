"""A small world of fresh nodes: messages that are late, lost or doubled, splits, crashes, and disks that stay."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from node.cluster.ballot import Election, Reply, Request, Vow

_TICK_S = 0.4


class Crash(Exception):
    """Power went while a node wrote its vow."""


@dataclass
class Disk:
    """What stays when the power goes."""

    vow: Vow
    founded: bool = False
    crash_in: int = -1
    """The power goes at the write with this number from now, before or after it, as chance has it."""


@dataclass
class World:
    """Nodes and the network between them. A seed gives always the same history."""

    seed: int
    founders: int
    nodes: int
    loss: float = 0.0
    most_delay_s: float = 0.05
    now_s: float = 0.0
    rng: random.Random = field(init=False)
    disks: dict[str, Disk] = field(init=False, default_factory=dict)
    running: dict[str, Election] = field(init=False, default_factory=dict)
    sides: dict[str, int] = field(init=False, default_factory=dict)
    founded: list[str] = field(init=False, default_factory=list)
    _events: list[tuple[float, int, Callable[[], None]]] = field(init=False, default_factory=list)
    _count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        names = [f"node-{number}" for number in range(self.nodes)]
        self.rng.shuffle(names)
        for name in names:
            self.disks[name] = Disk(Vow(token_id="t"))
            self.sides[name] = 0
            self.at(self.rng.uniform(0, 1.0), lambda name=name: self.start(name))  # type: ignore[misc]

    def at(self, in_s: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self._count += 1
        heapq.heappush(self._events, (self.now_s + in_s, self._count, action))

    def run(self, until_s: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until then, or until it is done."""
        while self._events and self._events[0][0] <= until_s and not done():
            self.now_s, _, action = heapq.heappop(self._events)
            action()
        if not done():
            self.now_s = until_s

    def formed(self) -> bool:
        """Return whether every running node knows the founder, and it has founded."""
        known = {one.decided for one in self.running.values()}
        return len(self.running) == self.nodes and len(known) == 1 and known == set(self.founded)

    def start(self, name: str) -> None:
        """Switch a node on."""
        if name in self.running:
            return
        disk, rng = self.disks[name], random.Random(self.rng.random())
        try:
            made = Election(
                name,
                self.founders,
                disk.vow,
                lambda vow: self._write(name, vow),
                rng,
                self.now_s,
            )
        except Crash:
            self.at(1.0, lambda: self.start(name))
            return
        self.running[name] = made
        self._tick(name, made)

    def stop(self, name: str) -> None:
        """Take its power."""
        self.running.pop(name, None)

    def _write(self, name: str, vow: Vow) -> None:
        disk = self.disks[name]
        disk.crash_in -= 1
        if disk.crash_in == 0 and self.rng.random() < 0.5:
            raise Crash
        disk.vow = vow
        if disk.crash_in == 0:
            raise Crash

    def _guarded(self, name: str, election: Election, action: Callable[[], None]) -> None:
        """Act in a node that still runs as the same process; it may lose its power in the middle."""
        if self.running.get(name) is not election:
            return
        try:
            action()
        except Crash:
            self.stop(name)
            self.at(self.rng.uniform(0.1, 8.0), lambda: self.start(name))

    def _tick(self, name: str, election: Election) -> None:
        def act() -> None:
            reachable = [n for n in self.running if self.sides[n] == self.sides[name]]
            for to, request in election.requests(self.now_s, reachable).items():
                self._send(name, to, lambda to=to, request=request: self._ask(name, to, request))  # type: ignore[misc]
            if election.decided == name and not self.disks[name].founded:
                self.disks[name].founded = True
                self.founded.append(name)
            self.at(_TICK_S, lambda: self._tick(name, election))

        self._guarded(name, election, act)

    def _ask(self, sender: str, to: str, request: Request) -> None:
        asked = self.running.get(to)
        asker = self.running.get(sender)
        if asked is None or asker is None:
            return

        def act() -> None:
            reply = asked.answer(sender, request)
            self._send(to, sender, lambda: self._reply(sender, asker, to, request, reply))

        self._guarded(to, asked, act)

    def _reply(
        self, to: str, election: Election, sender: str, request: Request, reply: Reply
    ) -> None:
        self._guarded(to, election, lambda: election.take(sender, request, reply))

    def _send(self, sender: str, to: str, deliver: Callable[[], None]) -> None:
        if self.sides[sender] != self.sides[to]:
            return
        for _ in range(2 if self.rng.random() < 0.05 else 1):
            if self.rng.random() >= self.loss:
                self.at(self.rng.uniform(0.001, self.most_delay_s), deliver)
