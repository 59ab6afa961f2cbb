"""Which roles hold where."""

from hypothesis import given
from hypothesis import strategies as st

from node.plugins.identity.role_rules import direct_roles, expand, makes_circle
from node.plugins.identity.tables import Assignment, assignment_id

ROLE = st.sampled_from("abcdef")
IMPLIED = st.dictionaries(ROLE, st.lists(ROLE, max_size=3))


def assigned(kind: str, place: str, role: str, *, inherited: bool = False) -> Assignment:
    return Assignment(
        id=assignment_id("u", place, role, inherited=inherited),
        actor_kind="user",
        actor_id="u",
        target_kind=kind,
        target_id=place,
        role_id=role,
        inherited=inherited,
    )


@given(st.sets(ROLE), IMPLIED)
def test_expansion_is_closed_and_ends(roles: set[str], implied: dict[str, list[str]]) -> None:
    found = expand(roles, implied)
    assert roles <= found
    assert all(set(implied.get(role, ())) <= found for role in found)
    assert expand(found, implied) == found


@given(ROLE, ROLE, IMPLIED)
def test_a_circle_is_seen(prior: str, other: str, implied: dict[str, list[str]]) -> None:
    with_it = {**implied, prior: [*implied.get(prior, []), other]}
    closes = prior in expand(with_it[prior], with_it)
    already = prior in expand(implied.get(prior, []), implied)
    assert closes == (already or makes_circle(prior, other, implied))


def test_direct_and_inherited_assignments() -> None:
    rows = [
        assigned("project", "p", "on-p"),
        assigned("project", "top", "on-top"),
        assigned("project", "top", "below-top", inherited=True),
        assigned("domain", "d", "on-d"),
        assigned("domain", "d", "below-d", inherited=True),
        assigned("system", "all", "on-all"),
    ]
    assert direct_roles(rows, "project", "p", ["top", "d"]) == {"on-p", "below-top", "below-d"}
    assert direct_roles(rows, "project", "top", ["d"]) == {"on-top", "below-d"}
    assert direct_roles(rows, "domain", "d") == {"on-d"}
    assert direct_roles(rows, "system", "all") == {"on-all"}
    assert direct_roles(rows, "project", "d") == set()
