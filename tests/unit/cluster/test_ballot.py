"""Fresh nodes choose one founder: hundreds of small worlds with loss, delays, splits that heal, and power cuts."""

import random

import pytest

from node.cluster.ballot import (
    ALONE_S,
    GRACE_S,
    MAX_MET,
    Accept,
    Ballot,
    Election,
    Prepare,
    Reply,
    Request,
    Tell,
    Vow,
)
from tests.unit.cluster.formation_world import World

SHARDS = range(6)
SEEDS_A_SHARD = 60


def trouble(world: World) -> None:
    """Have splits, crashes and torn writes happen during the first minute."""
    rng = world.rng
    for _ in range(rng.randrange(4)):
        begin = rng.uniform(0, 40)
        cut = {name: rng.randrange(2) for name in world.disks}
        world.at(begin, lambda cut=cut: world.sides.update(cut))  # type: ignore[misc]
    for _ in range(rng.randrange(5)):
        name = rng.choice(sorted(world.disks))
        begin = rng.uniform(0, 40)
        world.at(begin, lambda name=name: world.stop(name))  # type: ignore[misc]
        world.at(begin + rng.uniform(0.1, 20), lambda name=name: world.start(name))  # type: ignore[misc]
    for name in world.disks:
        if rng.random() < 0.5:
            world.disks[name].crash_in = rng.randrange(1, 12)
    world.at(60, lambda: world.sides.update(dict.fromkeys(world.disks, 0)))
    for name in world.disks:
        world.at(61, lambda name=name: world.start(name))  # type: ignore[misc]


@pytest.mark.parametrize("shard", SHARDS)
def test_exactly_one_cluster_whatever_happens_and_always_one(shard: int) -> None:
    for seed in range(shard * SEEDS_A_SHARD, (shard + 1) * SEEDS_A_SHARD):
        rng = random.Random(seed)
        founders = rng.choice((1, 3, 3, 5, 5))
        world = World(
            seed=seed,
            founders=founders,
            nodes=founders,
            loss=rng.choice((0.0, 0.1, 0.3)),
            most_delay_s=rng.choice((0.01, 0.3, 3.0)),
        )
        trouble(world)
        world.run(61.5)
        world.run(600, done=world.formed)
        assert len(world.founded) == 1, f"seed {seed}: founded by {world.founded}"
        assert world.formed(), f"seed {seed}: not formed after ten minutes"


@pytest.mark.parametrize("seed", range(40))
def test_a_minority_that_is_gone_for_good_does_not_keep_the_others(seed: int) -> None:
    world = World(seed=seed, founders=5, nodes=5, loss=0.1)
    gone = sorted(world.disks)[:2]
    world.run(1.0 if seed % 2 else 0.5)
    for name in gone:
        world.sides[name] = 9
    world.run(200, done=lambda: bool(world.founded))
    assert len(world.founded) == 1
    assert world.founded[0] not in gone


@pytest.mark.parametrize("seed", range(20))
def test_less_than_a_majority_never_founds(seed: int) -> None:
    world = World(seed=seed, founders=3, nodes=3)
    world.sides.update({name: number for number, name in enumerate(world.disks)})
    world.run(300)
    assert world.founded == []
    world.sides.update(dict.fromkeys(world.disks, 0))
    world.run(400, done=world.formed)
    assert world.formed()


@pytest.mark.parametrize("seed", range(40))
def test_more_nodes_than_the_token_says_that_see_each_other_make_one_cluster_too(seed: int) -> None:
    rng = random.Random(seed)
    world = World(seed=seed, founders=rng.choice((1, 3)), nodes=6, loss=rng.choice((0.0, 0.2)))
    world.at(4.0, lambda: world.sides.update({n: rng.randrange(2) for n in world.disks}))
    world.at(50.0, lambda: world.sides.update(dict.fromkeys(world.disks, 0)))
    world.run(55)
    world.run(400, done=world.formed)
    assert len(world.founded) == 1
    assert world.formed()


def test_it_takes_a_few_seconds_when_all_is_well() -> None:
    times = []
    for seed in range(20):
        world = World(seed=seed, founders=3, nodes=3)
        world.run(60, done=world.formed)
        times.append(world.now_s)
    assert max(times) < 10
    alone = World(seed=1, founders=1, nodes=1)
    alone.run(60, done=alone.formed)
    assert alone.now_s < ALONE_S + 3


def election(node_id: str = "a", founders: int = 3, vow: Vow | None = None) -> tuple[Election, list[Vow]]:  # fmt: skip
    kept: list[Vow] = []
    rng = random.Random(1)
    return Election(node_id, founders, vow or Vow(token_id="t"), kept.append, rng, 0.0), kept


def test_a_vow_is_on_the_disk_before_anyone_hears_of_it() -> None:
    one, kept = election()
    reply = one.answer("b", Prepare(ballot=Ballot(4, "b")))
    assert reply.took
    assert kept[-1].promised == Ballot(4, "b")
    assert one.answer("b", Accept(ballot=Ballot(4, "b"), founder="b")).took
    assert (kept[-1].accepted, kept[-1].founder) == (Ballot(4, "b"), "b")


def test_a_lower_ballot_is_refused_and_told_the_higher_one() -> None:
    one, _ = election()
    one.answer("c", Prepare(ballot=Ballot(4, "c")))
    for request in (Prepare(ballot=Ballot(3, "d")), Accept(ballot=Ballot(4, "b"), founder="b")):
        reply = one.answer("b", request)
        assert not reply.took
        assert reply.promised == Ballot(4, "c")


def test_an_accepted_founder_is_found_again_and_kept() -> None:
    vow = Vow(token_id="t", promised=Ballot(2, "b"), accepted=Ballot(2, "b"), founder="b")
    holder, _ = election("c", vow=vow)
    one, _ = election("a")
    asked = one.requests(GRACE_S + 9, ["c"])
    asked = one.requests(GRACE_S + 20, ["c"])
    assert asked
    # The first try is below what the other has promised: it is told so and goes above.
    for _ in range(4):
        for to, request in one.requests(GRACE_S + 20, ["c"]).items():
            one.take(to, request, holder.answer("a", request))
        for to, request in one.requests(GRACE_S + 60, ["c"]).items():
            one.take(to, request, holder.answer("a", request))
    assert one.decided == "b"


def test_what_is_decided_is_told_and_stays() -> None:
    one, kept = election("a")
    one.answer("b", Tell(founder="b"))
    assert kept[-1].decided == "b"
    one.answer("c", Tell(founder="c"))
    assert one.decided == "b"
    assert one.answer("c", Prepare(ballot=Ballot(9, "c"))).decided == "b"
    assert one.requests(1.0, ["c", "a"]) == {"c": Tell(founder="b")}


def test_the_number_of_voices_is_bounded_and_none_counts_beyond_it() -> None:
    one, kept = election("n0000")
    everyone = [f"n{number:04}" for number in range(MAX_MET + 50)]
    one.requests(0.0, everyone)
    assert len(kept[-1].met) == MAX_MET
    asked: dict[str, Request] = {}
    for now_s in (GRACE_S, GRACE_S + 9):
        asked = one.requests(now_s, everyone) or asked
    reply = Reply(
        took=True, promised=Ballot(1, "n0000"), accepted=Ballot(0, ""), founder="", decided=""
    )
    half = everyone[1 : MAX_MET // 2]  # with itself one less than a majority
    for node_id in (*half, *everyone[MAX_MET:]):
        one.take(node_id, asked[node_id], reply)
    again = one.requests(GRACE_S + 9, everyone)
    assert isinstance(again[everyone[-1]], Prepare), "still at the first step"
    one.take(everyone[MAX_MET // 2], asked[everyone[MAX_MET // 2]], reply)
    again = one.requests(GRACE_S + 9, everyone)
    assert isinstance(again[everyone[-1]], Accept)
