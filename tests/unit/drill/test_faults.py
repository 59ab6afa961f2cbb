"""Faults: drawn from a seed, and each one undone to the last bit."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import pytest

from node.drill.faults import ALL_KINDS, KINDS, Fault, draw, inflict
from node.drill.site import Seat

NAMES = ("a", "b", "c", "d", "e")


class PaperSite:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.stopped: set[str] = set()
        self.cuts: set[tuple[str, str]] = set()
        self.worst: set[str] = set()
        self.waited_s = 0.0

    def seats(self) -> Sequence[Seat]:
        return [Seat(name=name, state_dir=Path(name)) for name in NAMES]

    def kill(self, names: Iterable[str]) -> None:
        self.dead |= set(names)

    def start(self, names: Iterable[str]) -> None:
        self.dead -= set(names)

    def pause(self, name: str) -> None:
        self.stopped.add(name)

    def resume(self, name: str) -> None:
        self.stopped.remove(name)

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.cuts |= set(pairs)

    def heal(self) -> None:
        self.cuts.clear()

    def fill(self, name: str) -> None:
        self.stopped.add(name)

    def empty(self, name: str) -> None:
        self.stopped.remove(name)

    def wait(self, seconds: float) -> None:
        self.waited_s += seconds
        self.worst |= self.dead | self.stopped | {name for pair in self.cuts for name in pair}


def test_the_same_seed_draws_the_same_and_another_one_others() -> None:
    first = list(islice(draw(7, NAMES), 40))
    assert first == list(islice(draw(7, NAMES), 40))
    assert first != list(islice(draw(8, NAMES), 40))
    assert {fault.kind for fault in islice(draw(7, NAMES), 300)} == set(KINDS)


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
def test_a_fault_hurts_while_it_lasts_and_leaves_nothing(kind: str) -> None:
    site = PaperSite()
    fault = next(draw(3, NAMES, [kind]))
    inflict(site, fault, site.wait)
    assert site.worst >= set(fault.names)
    assert site.waited_s > 0.2
    assert (site.dead, site.stopped, site.cuts) == (set(), set(), set())


def test_one_way_cuts_go_one_way() -> None:
    seen: dict[str, set[tuple[str, str]]] = {}
    for kind in ("deaf", "mute"):
        site = PaperSite()
        fault = Fault(kind=kind, names=("a",), after_s=0, lasts_s=1)
        inflict(site, fault, lambda _s, site=site, kind=kind: seen.update({kind: set(site.cuts)}))
    assert seen["deaf"] == {(other, "a") for other in NAMES[1:]}
    assert seen["mute"] == {("a", other) for other in NAMES[1:]}
