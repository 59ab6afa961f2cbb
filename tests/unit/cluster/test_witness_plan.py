"""When a witness votes: beside two nodes, and nowhere else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from node.cluster.member_plan import MemberFacts, size_wanted
from tests.unit.cluster.test_member_plan import World, facts, of, some_facts

PAIR = [facts("a"), facts("b")]
AWAY = {"is_live": False, "is_lost": True}


def witness(name: str = "w", **more: object) -> MemberFacts:
    return facts(name, is_witness=True, **more)


def test_a_witness_gives_two_nodes_three_voters() -> None:
    assert World("a", {"a"}, [*PAIR, witness()]).settle() == ["add b", "add w"]
    assert World("a", {"a"}, [*PAIR, witness("v"), witness()]).settle() == ["add b", "add v"]
    assert World("a", {"a"}, PAIR).settle() == []
    behind = [facts("a"), facts("b", is_caught_up=False), witness()]
    assert World("a", {"a"}, behind).settle() == []  # one node and a witness are no gain
    assert World("a", {"a"}, [*PAIR, witness(**AWAY)]).settle() == []


def test_a_third_node_takes_the_place_of_the_witness() -> None:
    members = [*PAIR, facts("c"), witness()]
    assert World("a", {"a", "b", "w"}, members).settle() == ["add c", "remove w"]


def test_a_third_node_that_goes_gives_it_back() -> None:
    members = [*PAIR, facts("c", stays=False), witness()]
    world = World("a", {"a", "b", "c"}, members)
    assert world.settle() == ["remove c", "add w", "forget c"]


def test_whoever_is_away_keeps_its_vote() -> None:
    for gone in ("b", "w"):
        members = [facts("a"), *(facts(x, is_witness=x == "w", **AWAY if x == gone else {}) for x in "bw")]
        assert World("a", {"a", "b", "w"}, members).settle() == [], gone


def test_a_lost_witness_is_replaced_by_another_one_and_a_node_never() -> None:
    members = [*PAIR, witness("v"), witness(**AWAY)]
    assert World("a", {"a", "b", "w"}, members).settle() == ["remove w", "add v"]
    members = [facts("a"), facts("b", **AWAY), witness("v"), witness()]
    assert World("a", {"a", "b", "w"}, members).settle() == []


def test_removals_leave_one_node_alone() -> None:
    gone = [facts("a"), facts("b", stays=False, is_live=False), witness()]
    assert World("a", {"a", "b", "w"}, gone).settle() == ["remove b", "remove w", "forget b"]
    leader = [facts("a", stays=False), facts("b"), witness()]
    assert World("a", {"a", "b", "w"}, leader).settle() == [
        "remove w", "transfer b", "remove a", "forget a",
    ]  # fmt: skip
    no_witness = [*PAIR, witness(stays=False)]
    world = World("a", {"a", "b", "w"}, no_witness)
    assert world.settle()[0] == "remove w"
    assert "w" not in world.members


witnesses = st.lists(
    st.builds(
        witness,
        name=st.sampled_from(["v", "w"]),
        stays=st.booleans() | st.just(True),
        is_live=st.booleans() | st.just(True),
        is_caught_up=st.booleans() | st.just(True),
    ),
    max_size=2,
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    members = {one.node_id: one for one in draw(st.lists(some_facts, min_size=1, max_size=4))}
    leader = draw(st.sampled_from(sorted(members)))
    members[leader] = facts(leader, stays=members[leader].stays)
    voters = draw(st.sets(st.sampled_from(sorted(members)))) | {leader}
    for one in draw(witnesses):
        members[one.node_id] = one
        if len(voters) >= 2 and not voters & {"v", "w"} and draw(st.booleans()):
            voters.add(one.node_id)
    return World(leader, voters, list(members.values()), draw(st.integers(1, 7)))


@settings(deadline=None, max_examples=400)
@given(world=worlds())
def test_no_step_costs_the_majority_and_one_witness_votes_at_most(world: World) -> None:
    had_majority = world.has_majority()
    for _ in range(60):
        change = world.next()
        if change is None:
            break
        world.carry_out(change)
        assert world.has_majority() or not had_majority or change.kind == "forget"
        assert len(world.voters & {"v", "w"}) <= 1
        assert world.leader not in {"v", "w"}
    else:
        raise AssertionError("the changes never end")


@settings(deadline=None, max_examples=200)
@given(world=worlds())
def test_a_sound_cluster_with_witnesses_ends_where_it_should(world: World) -> None:
    world.members = {
        name: facts(name, is_witness=one.is_witness) for name, one in world.members.items()
    }
    world.settle()
    assert len(world.voters) == size_wanted(world.members.values(), world.most_voters)
    nodes = len(world.members.keys() - {"v", "w"})
    has_witness = bool(world.members.keys() & {"v", "w"})
    votes = bool(world.voters & {"v", "w"})
    assert votes is (has_witness and nodes == len(of(2)) and world.most_voters >= 3)
