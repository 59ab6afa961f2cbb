"""What is done to the nodes, drawn from a seed: each fault is begun, lasts, and is undone."""

import random
from collections.abc import Callable, Iterator, Sequence

from node.drill.site import Ability, Site
from node.types import Frozen

KINDS = (
    "kill", "kill", "pause", "stall", "stutter", "isolate", "halves", "deaf", "mute", "oneway", "bridge", "flap",
    "everyone",
)  # fmt: skip
"""What can be done anywhere; one that stands here twice is drawn twice as often."""
NEEDING: dict[Ability, tuple[str, ...]] = {
    "disks": ("fill", "freeze", "slow", "broken", "power", "blackout"),
    "clocks": ("clock", "clock"),
    "members": ("swap", "shrink", "burn"),
}
"""What needs a site that is able to."""
ALL_KINDS = frozenset(KINDS).union(*NEEDING.values())
_LONGEST_S = {"stall": 2.0, "freeze": 4.0}
_FARTHEST_S = 900.0
"""A clock is never wrong by more: tokens of the cloud that live for an hour must last."""


class Fault(Frozen):
    """One fault: whom it meets and how long it lasts."""

    kind: str
    names: tuple[str, ...]
    after_s: float
    lasts_s: float
    jump_s: float = 0.0
    """Of a clock."""

    def __str__(self) -> str:
        """Return one line for the log."""
        jump = f" by {self.jump_s:+.0f} s" if self.jump_s else ""
        return f"{self.kind} {', '.join(self.names)}{jump} for {self.lasts_s:.1f} s"


def kinds_for(site: Site) -> tuple[str, ...]:
    """Return what can be done to a site."""
    return KINDS + tuple(
        kind for ability, kinds in NEEDING.items() if ability in site.abilities for kind in kinds
    )


def lacking(site: Site, kinds: Sequence[str]) -> frozenset[Ability]:
    """Return what a site would need besides for these kinds."""
    return frozenset(
        ability
        for ability, needing in NEEDING.items()
        if ability not in site.abilities and set(kinds) & set(needing)
    )


def draw(
    seed: int, names: Callable[[], Sequence[str]], kinds: Sequence[str] = KINDS
) -> Iterator[Fault]:
    """Yield faults without end; the same seed gives the same ones. `names` tells who is there."""
    chance = random.Random(f"faults {seed}")
    while True:
        kind, there = chance.choice(kinds), list(names())
        victims = {
            "halves": (len(there) + 1) // 2,
            "everyone": len(there),
            "blackout": len(there),
            "oneway": 2,
        }.get(kind, 1)
        if kind == "kill" and len(there) > 3 and chance.random() < 0.4:
            victims = 2
        chosen = chance.sample(there, victims)
        yield Fault(
            kind=kind,
            names=tuple(chosen if kind == "oneway" else sorted(chosen)),
            after_s=chance.uniform(0.5, 4.0),
            lasts_s=chance.uniform(0.3, _LONGEST_S[kind]) if kind in _LONGEST_S else chance.uniform(0.5, 7.0),
            jump_s=chance.uniform(1, _FARTHEST_S) * chance.choice((-1, 1)) if kind == "clock" else 0.0,
        )  # fmt: skip


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
        case "stutter":  # as with a core that is given to somebody else half of the time
            _by_turns(site.pause, site.resume, one, (0.25, 0.25), fault.lasts_s, wait)
        case "fill" | "freeze" | "slow" | "broken" | "power" | "blackout":
            _spoil_disk(site, fault, wait)
        case "clock":
            site.shift_clock(one, fault.jump_s)
            wait(fault.lasts_s)
            site.shift_clock(one, 0.0)
        case "swap" | "shrink" | "burn":
            _change_members(site, fault, wait)
        case "flap":
            for _ in range(3):
                _cut(site, _between([one], others), fault.lasts_s / 6, wait)
                wait(fault.lasts_s / 6)
        case _:
            _cut(site, _cuts(fault, others), fault.lasts_s, wait)


def _spoil_disk(site: Site, fault: Fault, wait: Callable[[float], object]) -> None:
    one = fault.names[0]
    match fault.kind:
        case "fill":
            site.fill(one)
            wait(fault.lasts_s)
            site.empty(one)
        case "freeze":
            site.freeze(one)
            wait(fault.lasts_s)
            site.thaw(one)
        case "slow":  # each write takes up to a quarter of a second
            _by_turns(site.freeze, site.thaw, one, (0.25, 0.05), fault.lasts_s, wait)
        case "broken":
            site.break_disk(one)
            wait(fault.lasts_s)
            site.lose_power(fault.names)
            site.start(fault.names)
        case _:
            site.lose_power(fault.names)
            wait(min(fault.lasts_s, 3.0))
            site.start(fault.names)


def _change_members(site: Site, fault: Fault, wait: Callable[[float], object]) -> None:
    one = fault.names[0]
    match fault.kind:
        case "swap":  # a new one before an old one goes
            site.engage("")
            wait(min(fault.lasts_s, 2.0))
            site.dismiss(one)
        case "shrink":
            site.dismiss(one)
            wait(min(fault.lasts_s, 2.0))
            site.engage("")
        case _:
            site.burn(one)
            wait(fault.lasts_s)
            site.engage(one)


def _by_turns(
    begin: Callable[[str], None], end: Callable[[str], None], name: str, pace_s: tuple[float, float],
    lasts_s: float, wait: Callable[[float], object],
) -> None:  # fmt: skip
    for _ in range(max(1, int(lasts_s / sum(pace_s)))):
        begin(name)
        wait(pace_s[0])
        end(name)
        wait(pace_s[1])


def _cuts(fault: Fault, others: Sequence[str]) -> list[tuple[str, str]]:
    """Return in which directions nothing gets through."""
    one = fault.names[0]
    match fault.kind:
        case "deaf":
            return [(other, one) for other in others]
        case "mute":
            return [(one, other) for other in others]
        case "oneway":
            return [(one, fault.names[1])]
        case "bridge":  # it sees all others, which are two halves that do not see each other
            middle = len(others) // 2
            return _between(others[:middle], others[middle:])
        case _:
            return _between(fault.names, others)


def _between(some: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    return [pair for a in some for b in others for pair in ((a, b), (b, a))]


def _cut(
    site: Site, pairs: list[tuple[str, str]], lasts_s: float, wait: Callable[[float], object]
) -> None:
    site.cut(pairs)
    wait(lasts_s)
    site.heal()
