"""Leases: nobody is called down while its own lease runs."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.cluster.lease import USUAL, LeaseHolder, LeaseKeeper, Transition
from tests.unit.cluster.lease_world import World

NODES = ("a", "b", "c")
STEPS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 400)), max_size=120)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@settings(max_examples=300, deadline=None)
@given(STEPS, st.tuples(*[st.floats(-1000, 1000)] * 3))
def test_nobody_is_down_while_its_lease_runs(
    steps: list[tuple[int, int]], offsets: tuple[float, ...]
) -> None:
    World(NODES, offsets).run(iter(steps))


def walk(world: World, chance: random.Random, length: int = 200) -> None:
    """Run a world by chance, with moves that lead somewhere more often than the others."""
    moves = [0, 1, 1, 2, 2, 3, 3, 4, 4, 6, 7, 7, 8, 8, 9, 9]
    world.run((chance.choice(moves), chance.randrange(400)) for _ in range(length))


def test_long_walks_reach_down_and_stay_safe() -> None:
    chance = random.Random(1)
    downs = 0
    for _ in range(150):
        world = World(NODES, tuple(chance.uniform(-50, 50) for _ in NODES))
        walk(world, chance)
        downs += world.downs
    print(downs)
    assert downs > 20  # otherwise the walks would prove nothing


@pytest.mark.parametrize("broken", ["skip_read", "from_receipt", "impatient"])
def test_a_broken_rule_is_found(broken: str) -> None:
    chance = random.Random(2)

    def survives() -> bool:
        world = World(NODES, (0.0, 3.0, -7.0), **{broken: True})
        try:
            walk(world, chance)
        except AssertionError:
            return False
        return True

    assert not all(survives() for _ in range(600))


def test_a_lease_counts_from_the_sending() -> None:
    clock = Clock()
    holder = LeaseHolder(clock)
    assert not holder.is_valid()
    sent_s = holder.request()
    clock.now_s += 2
    holder.granted(sent_s)
    assert holder.left_s() == pytest.approx(USUAL.lease_s - 2)
    holder.granted(sent_s - 3)  # a late answer takes nothing away
    assert holder.left_s() == pytest.approx(USUAL.lease_s - 2)
    clock.now_s += 60  # a stopped process finds it over
    assert not holder.is_valid()


def test_a_silent_node_is_suspect_then_down_then_up_again() -> None:
    clock = Clock()
    keeper = LeaseKeeper(clock)
    assert keeper.heard("a")
    assert keeper.review({"a": "up"}) == []
    clock.now_s += 3
    assert keeper.review({"a": "up"}) == [Transition(node_id="a", state="suspect")]
    clock.now_s += USUAL.lease_s + USUAL.margin_s - 3
    down = Transition(node_id="a", state="down")
    assert keeper.review({"a": "suspect"}) == [down]
    keeper.written(down)
    assert not keeper.heard("a")  # first the log has to say that it is up
    up = Transition(node_id="a", state="up")
    assert keeper.review({"a": "down"}) == [up]
    assert not keeper.heard("a")
    keeper.written(up)
    assert keeper.heard("a")
    assert keeper.review({"a": "up"}) == []


def test_a_new_keeper_waits_a_whole_lease_and_revives_nobody_by_itself() -> None:
    clock = Clock()
    keeper = LeaseKeeper(clock, down=["b"])
    assert keeper.review({"a": "up", "b": "down"}) == []
    clock.now_s += USUAL.lease_s + USUAL.margin_s
    assert keeper.review({"a": "up", "b": "down"}) == [Transition(node_id="a", state="down")]


def test_a_suspect_that_is_heard_is_up() -> None:
    clock = Clock()
    keeper = LeaseKeeper(clock)
    keeper.heard("a")
    assert keeper.review({"a": "suspect"}) == [Transition(node_id="a", state="up")]


def test_a_node_that_has_just_joined_has_time_to_ask() -> None:
    clock = Clock()
    keeper = LeaseKeeper(clock)
    clock.now_s += 100
    assert keeper.review({"new": "up"}) == []
    clock.now_s += USUAL.suspect_s
    assert keeper.review({"new": "up"}) == [Transition(node_id="new", state="suspect")]
