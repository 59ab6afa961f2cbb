"""Faults: drawn from a seed, and each one undone to the last bit."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import pytest

from node.drill.faults import ALL_KINDS, KINDS, Fault, draw, inflict, kinds_for, lacking
from node.drill.site import Ability, Seat

NAMES = ("a", "b", "c", "d", "e")


class PaperSite:
    """Notes what is done to it."""

    def __init__(self, *abilities: Ability) -> None:
        self.abilities: frozenset[Ability] = frozenset(abilities)
        self.names = list(NAMES)
        self.dead: set[str] = set()
        self.stopped: set[str] = set()
        self.cuts: set[tuple[str, str]] = set()
        self.wrong: dict[str, float] = {}
        self.gone: list[str] = []
        self.forgotten: list[str] = []
        self.worst: set[str] = set()
        self.waited_s = 0.0

    def seats(self) -> Sequence[Seat]:
        return [Seat(name=name, state_dir=Path(name)) for name in self.names]

    def life(self, name: str) -> int:
        return 0

    def kill(self, names: Iterable[str]) -> None:
        self.dead |= set(names)

    def start(self, names: Iterable[str]) -> None:
        self.dead -= set(names)

    def lose_power(self, names: Iterable[str]) -> None:
        self.dead |= set(names)

    def break_disk(self, name: str) -> None:
        self.dead.add(name)

    def pause(self, name: str) -> None:
        self.stopped.add(name)

    def resume(self, name: str) -> None:
        self.stopped.remove(name)

    fill = freeze = pause
    empty = thaw = resume

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.cuts |= set(pairs)

    def heal(self) -> None:
        self.cuts.clear()

    def shift_clock(self, name: str, seconds: float) -> None:
        self.wrong[name] = seconds
        if not seconds:
            del self.wrong[name]

    def burn(self, name: str) -> None:
        self.names.remove(name)
        self.gone.append(name)

    def dismiss(self, name: str) -> None:
        self.burn(name)
        self.forgotten.append(name)

    def engage(self, lost: str) -> None:
        self.names.append(f"new{len(self.gone)}")
        if lost:
            self.forgotten.append(lost)

    def wait(self, seconds: float) -> None:
        self.waited_s += seconds
        self.worst |= self.dead | self.stopped | set(self.wrong) | set(self.gone)
        self.worst |= {name for pair in self.cuts for name in pair}


def drawn(seed: int, count: int, *kinds: str) -> list[Fault]:
    return list(islice(draw(seed, lambda: NAMES, kinds or KINDS), count))


def test_the_same_seed_draws_the_same_and_another_one_others() -> None:
    assert drawn(7, 40) == drawn(7, 40)
    assert drawn(7, 40) != drawn(8, 40)
    assert {fault.kind for fault in drawn(7, 400)} == set(KINDS)


def test_a_site_gets_all_that_it_can_take_and_nothing_else() -> None:
    assert set(kinds_for(PaperSite())) == set(KINDS)
    assert set(kinds_for(PaperSite("disks", "clocks", "members"))) == ALL_KINDS
    assert lacking(PaperSite("disks"), ("kill", "power", "clock", "swap")) == {"clocks", "members"}
    assert lacking(PaperSite(), KINDS) == frozenset()


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
def test_a_fault_hurts_while_it_lasts_and_leaves_nothing(kind: str) -> None:
    site = PaperSite()
    fault = drawn(3, 1, kind)[0]
    inflict(site, fault, site.wait)
    assert site.waited_s > 0.2
    assert (site.dead, site.stopped, site.cuts, site.wrong) == (set(), set(), set(), {})
    assert len(site.names) == len(NAMES)
    assert site.forgotten == site.gone
    if kind == "swap":  # nothing is missing at any time
        assert site.gone == list(fault.names)
    elif kind == "bridge":
        assert site.worst == set(NAMES) - set(fault.names)
    else:
        assert site.worst >= set(fault.names)


def test_a_fault_meets_whoever_is_there_when_it_is_drawn() -> None:
    there = list(NAMES)
    faults = draw(5, lambda: there, ("kill", "swap", "blackout"))
    before = list(islice(faults, 50))
    there[:] = ["x", "y", "z"]
    after = list(islice(faults, 50))
    assert {name for fault in before for name in fault.names} == set(NAMES)
    assert {name for fault in after for name in fault.names} == {"x", "y", "z"}


def cuts_of(fault: Fault) -> set[tuple[str, str]]:
    site, seen = PaperSite(), set[tuple[str, str]]()
    inflict(site, fault, lambda _s: seen.update(site.cuts))
    return seen


def test_one_way_cuts_go_one_way() -> None:
    def fault(kind: str, *names: str) -> Fault:
        return Fault(kind=kind, names=names, after_s=0, lasts_s=1)

    assert cuts_of(fault("deaf", "a")) == {(other, "a") for other in NAMES[1:]}
    assert cuts_of(fault("mute", "a")) == {("a", other) for other in NAMES[1:]}
    assert cuts_of(fault("oneway", "d", "b")) == {("d", "b")}


def test_a_bridge_sees_two_halves_that_do_not_see_each_other() -> None:
    cuts = cuts_of(Fault(kind="bridge", names=("c",), after_s=0, lasts_s=1))
    halves = (("a", "b"), ("d", "e"))
    assert cuts == {p for a in halves[0] for b in halves[1] for p in ((a, b), (b, a))}


def test_clocks_jump_both_ways_and_no_farther_than_tokens_live() -> None:
    jumps = [fault.jump_s for fault in drawn(1, 200, "clock")]
    assert min(jumps) < -600
    assert max(jumps) > 600
    assert max(map(abs, jumps)) < 1800
