"""From one state of a table to another."""

from hypothesis import given
from hypothesis import strategies as st

from node.plugins.network.nft_plan import (
    EMPTY,
    Fragment,
    NftSet,
    TableSpec,
    change_script,
    full_script,
    sizes,
)

SPEC = TableSpec(family="bridge", name="t", skeleton="  map m { type ifname : verdict; }")
ONE = Fragment(
    sets={"s": NftSet(spec="type ipv4_addr", elements=frozenset({"10.0.0.1"}))},
    chains={"c": ("ip saddr @s accept", "drop")},
    elements={"m": {'"tap"': "jump c"}},
)


def test_nothing_to_do() -> None:
    assert change_script(SPEC, [(ONE, ONE)]) == ""


def test_addition_makes_what_it_refers_to_first() -> None:
    assert change_script(SPEC, [(EMPTY, ONE)]).splitlines() == [
        "add set bridge t s { type ipv4_addr ; }",
        "add element bridge t s { 10.0.0.1 }",
        "add chain bridge t c",
        "add rule bridge t c ip saddr @s accept",
        "add rule bridge t c drop",
        'add element bridge t m { "tap" : jump c }',
    ]


def test_removal_goes_the_other_way() -> None:
    assert change_script(SPEC, [(ONE, EMPTY)]).splitlines() == [
        'delete element bridge t m { "tap" }',
        "flush chain bridge t c",
        "delete chain bridge t c",
        "delete set bridge t s",
    ]


def test_a_changed_chain_is_flushed_and_filled_in_one_step() -> None:
    new = Fragment(sets=ONE.sets, chains={"c": ("drop",)}, elements=ONE.elements)
    assert change_script(SPEC, [(ONE, new)]).splitlines() == [
        "flush chain bridge t c",
        "add rule bridge t c drop",
    ]


def test_a_full_load_replaces_whatever_is_there() -> None:
    lines = full_script(SPEC, [ONE]).splitlines()
    assert lines[:3] == ["add table bridge t", "delete table bridge t", "table bridge t {"]
    assert lines[-1] == 'add element bridge t m { "tap" : jump c }'
    assert sizes({"one": ONE}) == {"chain c": 2, "elements s": 1, "elements m": 1}


ELEMENTS = st.frozensets(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]))


@given(ELEMENTS, ELEMENTS)
def test_set_changes_lead_from_old_to_new(old: frozenset[str], new: frozenset[str]) -> None:
    def fragment(elements: frozenset[str]) -> Fragment:
        return Fragment(sets={"s": NftSet(spec="type ipv4_addr", elements=elements)})

    have = set(old)
    for line in change_script(SPEC, [(fragment(old), fragment(new))]).splitlines():
        verb, _element, rest = line.split(" ", 2)
        named = {item.strip() for item in rest.partition("{")[2].rstrip("} ").split(",")}
        if verb == "delete":
            assert named <= have, "to delete what is not there fails the whole change"
            have -= named
        else:
            have |= named
    assert have == set(new)
