"""What is done to the nodes, drawn from a seed: each fault is begun, lasts, and is undone."""

import random
from collections.abc import Callable, Iterator, Sequence

from node.drill.site import Site
from node.types import Frozen

KINDS = (
    "kill", "kill", "pause", "stall", "stutter", "isolate", "halves", "deaf", "mute", "flap", "everyone",
)  # fmt: skip
"""What can be done anywhere. `fill`, besides, needs nodes with a file system of their own."""
ALL_KINDS = frozenset((*KINDS, "fill"))


class Fault(Frozen):
    """One fault: whom it meets and how long it lasts."""

    kind: str
    names: tuple[str, ...]
    after_s: float
    lasts_s: float

    def __str__(self) -> str:
        """Return one line for the log."""
        return f"{self.kind} {', '.join(self.names)} for {self.lasts_s:.1f} s"


def draw(seed: int, names: Sequence[str], kinds: Sequence[str] = KINDS) -> Iterator[Fault]:
    """Yield faults without end; the same seed gives the same ones."""
    chance = random.Random(f"faults {seed}")
    while True:
        kind = chance.choice(kinds)
        victims = {
            "halves": (len(names) + 1) // 2,
            "everyone": len(names),
        }.get(kind, 1)
        if kind == "kill" and len(names) > 3 and chance.random() < 0.4:
            victims = 2
        yield Fault(
            kind=kind,
            names=tuple(sorted(chance.sample(list(names), victims))),
            after_s=chance.uniform(0.5, 4.0),
            lasts_s=chance.uniform(0.3, 2.0) if kind == "stall" else chance.uniform(0.5, 7.0),
        )


def inflict(site: Site, fault: Fault, wait: Callable[[float], object]) -> None:
    """Begin a fault, let it last and undo it."""
    others = [seat.name for seat in site.seats() if seat.name not in fault.names]
    one = fault.names[0]
    match fault.kind:
        case "kill" | "everyone":
            site.kill(fault.names)
            wait(min(fault.lasts_s, 3.0))
            site.start(fault.names)
        case "pause" | "stall":
            site.pause(one)
            wait(fault.lasts_s)
            site.resume(one)
        case "stutter":  # as with a disk that takes a quarter of a second for each write
            for _ in range(max(1, int(fault.lasts_s / 0.5))):
                site.pause(one)
                wait(0.25)
                site.resume(one)
                wait(0.25)
        case "fill":
            site.fill(one)
            wait(fault.lasts_s)
            site.empty(one)
        case "deaf":
            _cut(site, [(other, one) for other in others], fault.lasts_s, wait)
        case "mute":
            _cut(site, [(one, other) for other in others], fault.lasts_s, wait)
        case "flap":
            for _ in range(3):
                _cut(site, _between([one], others), fault.lasts_s / 6, wait)
                wait(fault.lasts_s / 6)
        case _:
            _cut(site, _between(fault.names, others), fault.lasts_s, wait)


def _between(some: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    return [pair for a in some for b in others for pair in ((a, b), (b, a))]


def _cut(
    site: Site, pairs: list[tuple[str, str]], lasts_s: float, wait: Callable[[float], object]
) -> None:
    site.cut(pairs)
    wait(lasts_s)
    site.heal()
