"""Who votes: each step keeps a majority alive, the steps end, and where they end is right."""

from collections import Counter
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.cluster.member_plan import Change, MemberFacts, plan, size_wanted


def facts(node_id: str, **more: object) -> MemberFacts:
    return MemberFacts(node_id=node_id, **more)


class World:
    """A cluster in which every change that is planned comes true at once."""

    def __init__(
        self, leader: str, voters: set[str], members: list[MemberFacts], most_voters: int = 5
    ) -> None:
        self.leader, self.voters = leader, set(voters)
        self.members = {one.node_id: one for one in members}
        self.most_voters = most_voters

    def next(self) -> Change | None:
        return plan(self.leader, self.voters, self.members.values(), most_voters=self.most_voters)

    def is_live(self, node_id: str) -> bool:
        known = self.members.get(node_id)
        return node_id == self.leader or (known is not None and known.is_live)

    def has_majority(self) -> bool:
        return sum(map(self.is_live, self.voters)) > len(self.voters) / 2

    def carry_out(self, change: Change) -> None:
        match change.kind:
            case "add":
                assert change.node_id not in self.voters
                assert self.members[change.node_id].is_caught_up
                self.voters.add(change.node_id)
            case "remove":
                assert change.node_id in self.voters - {self.leader}
                self.voters.remove(change.node_id)
            case "transfer":
                assert change.node_id in self.voters - {self.leader}
                assert self.is_live(change.node_id)
                self.leader = change.node_id
            case "forget":
                assert change.node_id not in self.voters
                assert not self.members[change.node_id].stays
                del self.members[change.node_id]

    def settle(self) -> list[str]:
        """Carry out changes until there is none, and return them."""
        done: list[str] = []
        while (change := self.next()) is not None:
            assert len(done) < 60, done
            self.carry_out(change)
            done.append(f"{change.kind} {change.node_id}")
        return done


def of(count: int, **more: object) -> list[MemberFacts]:
    return [facts(f"n{number}", **more) for number in range(count)]


def test_a_cluster_grows_to_odd_numbers_of_voters() -> None:
    sizes = {}
    for count in range(1, 10):
        world = World("n0", {"n0"}, of(count))
        world.settle()
        sizes[count] = len(world.voters)
    assert sizes == {1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 7: 5, 8: 5, 9: 5}
    most = World("n0", {"n0"}, of(9), most_voters=99)
    most.settle()
    assert len(most.voters) == 7


def test_the_first_of_two_new_voters_waits_for_the_second() -> None:
    members = [facts("a"), facts("b"), facts("c", is_caught_up=False)]
    assert World("a", {"a"}, members).settle() == []
    members[2] = facts("c")
    assert World("a", {"a"}, members).settle() == ["add b", "add c"]


def test_a_voter_that_is_away_for_a_moment_keeps_its_vote() -> None:
    members = [*of(3), facts("n3")]
    members[2] = facts("n2", is_live=False)
    assert World("n0", {"n0", "n1", "n2"}, members).settle() == []


def test_a_lost_voter_is_replaced_when_there_is_another_node() -> None:
    members = of(3)
    members[2] = facts("n2", is_live=False, is_lost=True)
    assert World("n0", {"n0", "n1", "n2"}, members).settle() == []
    members.append(facts("n3"))
    assert World("n0", {"n0", "n1", "n2"}, members).settle() == ["remove n2", "add n3"]


def test_five_voters_of_which_two_are_lost_become_three_and_later_five_again() -> None:
    members = of(5)
    for number in (3, 4):
        members[number] = facts(f"n{number}", is_live=False, is_lost=True)
    world = World("n0", {one.node_id for one in members}, members)
    assert world.settle() == ["remove n3", "remove n4"]
    world.members |= {one.node_id: one for one in of(5)}
    assert world.settle() == ["add n3", "add n4"]


def test_without_a_majority_to_spare_nothing_changes() -> None:
    members = [facts("a"), facts("b", is_live=False, is_lost=True), facts("c"), facts("d")]
    world = World("a", {"a", "b"}, members)
    assert world.settle() == ["remove b", "add c", "add d"]
    three = [facts("a"), *(facts(x, is_live=False, is_lost=True) for x in "bc"), facts("d")]
    assert World("a", {"a", "b", "c"}, three).settle() == []


def test_a_node_that_leaves_is_replaced_first_and_forgotten_last() -> None:
    members = [*of(3), facts("n3")]
    members[1] = facts("n1", stays=False)
    world = World("n0", {"n0", "n1", "n2"}, members)
    assert world.settle() == ["add n3", "remove n1", "forget n1"]


def test_a_leader_that_leaves_hands_over_first() -> None:
    members = [facts("n0", stays=False), *of(4)[1:]]
    world = World("n0", {"n0", "n1", "n2"}, members)
    assert world.settle() == ["add n3", "transfer n1", "remove n0", "forget n0"]


def test_the_last_voter_leaves_only_when_another_has_its_log() -> None:
    members = [facts("a", stays=False), facts("b", is_caught_up=False)]
    assert World("a", {"a"}, members).settle() == []
    members[1] = facts("b")
    world = World("a", {"a"}, members)
    assert world.settle() == ["add b", "transfer b", "remove a", "forget a"]
    assert World("a", {"a"}, [facts("a", stays=False)]).settle() == []


def test_a_node_is_not_forgotten_before_it_is_drained() -> None:
    members = [*of(3), facts("n3", stays=False, is_drained=False)]
    assert World("n0", {"n0", "n1", "n2"}, members).settle() == []


def test_a_dead_node_is_removed_for_good() -> None:
    members = [*of(3), facts("n3")]
    members[2] = facts("n2", stays=False, is_live=False)
    world = World("n0", {"n0", "n1", "n2"}, members)
    assert world.settle() == ["remove n2", "add n3", "forget n2"]


def test_voters_spread_over_failure_domains() -> None:
    racks = {"a": "r1", "b": "r1", "c": "r1", "d": "r2", "e": "r3"}
    members = [facts(name, failure_domain=rack) for name, rack in racks.items()]
    world = World("a", {"a", "b", "c"}, members, most_voters=3)
    assert world.settle() == ["add d", "remove b", "add e", "remove c"]
    fresh = World("b", {"b"}, members, most_voters=3)
    fresh.settle()
    assert fresh.voters == {"b", "d", "e"}


def test_a_node_without_a_failure_domain_is_one_of_its_own() -> None:
    members = [facts("a", failure_domain="r1"), facts("b", failure_domain="r1"), *of(2)]
    world = World("a", {"a"}, members, most_voters=3)
    world.settle()
    assert world.voters == {"a", "n0", "n1"}


def test_who_is_no_leader_plans_nothing() -> None:
    assert plan("x", {"a"}, [facts("a")]) is None
    assert plan("a", {"a"}, []) is None


names = st.sampled_from([f"n{number}" for number in range(9)])
some_facts = st.builds(
    MemberFacts,
    node_id=names,
    stays=st.booleans() | st.just(True),
    is_drained=st.booleans(),
    is_live=st.booleans() | st.just(True),
    is_lost=st.booleans(),
    is_caught_up=st.booleans() | st.just(True),
    failure_domain=st.sampled_from(["", "r1", "r2", "r3"]),
).map(
    lambda made: facts(
        **{name: getattr(made, name) for name in made.__struct_fields__}
        | {"is_lost": made.is_lost and not made.is_live}
    )
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    members = {one.node_id: one for one in draw(st.lists(some_facts, min_size=1, max_size=9))}
    leader = draw(st.sampled_from(sorted(members)))
    known = members[leader]
    members[leader] = facts(leader, stays=known.stays, failure_domain=known.failure_domain)
    voters = draw(st.sets(st.sampled_from(sorted(members)) | names, max_size=7)) | {leader}
    return World(leader, voters, list(members.values()), draw(st.integers(1, 9)))


@settings(deadline=None, max_examples=400)
@given(world=worlds())
def test_no_step_costs_the_majority_and_the_steps_end(world: World) -> None:
    had_majority = world.has_majority()
    for _ in range(60):
        change = world.next()
        assert change == world.next()
        if change is None:
            return
        assert change.reason
        world.carry_out(change)
        assert world.has_majority() or not had_majority or change.kind == "forget"
    raise AssertionError("the changes never end")


def crowding(members: dict[str, MemberFacts], voters: set[str] | tuple[str, ...]) -> int:
    return sum(n * n for n in Counter(members[voter].domain for voter in voters).values())


@settings(deadline=None, max_examples=200)
@given(world=worlds())
def test_a_sound_cluster_ends_where_it_should(world: World) -> None:
    world.members = {
        name: facts(name, failure_domain=one.failure_domain) for name, one in world.members.items()
    }
    if not world.has_majority():
        return
    world.settle()
    assert world.voters <= set(world.members)
    count = len(world.voters)
    assert count == size_wanted(world.members.values(), world.most_voters)
    assert count % 2 == 1
    best = min(crowding(world.members, some) for some in combinations(world.members, count))
    assert crowding(world.members, world.voters) == best


@settings(deadline=None, max_examples=100)
@given(world=worlds(), lost=names)
def test_a_short_absence_moves_nobody(world: World, lost: str) -> None:
    world.members = {
        name: facts(name, failure_domain=one.failure_domain) for name, one in world.members.items()
    }
    if not world.has_majority():
        return
    world.settle()
    if lost in world.members and lost != world.leader:
        world.members[lost] = facts(
            lost, is_live=False, failure_domain=world.members[lost].failure_domain
        )
        assert world.settle() == []
