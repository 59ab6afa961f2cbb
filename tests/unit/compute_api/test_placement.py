"""Where servers fit."""

from hypothesis import given
from hypothesis import strategies as st

from node.plugins.compute.placement_rules import (
    PlacementSection,
    affinity,
    beside,
    capacity,
    fits,
    free_memory,
    in_zone,
    named,
    zone_of,
)
from node.sdk import NodeRow, PlacementRequest


def node(**fields: object) -> NodeRow:
    known = {"id": "n", "name": "host", "vcpus": 2, "memory_mib": 1000, "disk_gib": 10}
    return NodeRow(**{**known, **fields})  # type: ignore[arg-type]


def request(**fields: object) -> PlacementRequest:
    return PlacementRequest(
        kind="server", **{"vcpus": 1, "memory_mib": 100, "disk_gib": 1, **fields}
    )  # type: ignore[arg-type]


amounts = st.integers(0, 4000)


@given(used=amounts, need=amounts)
def test_what_fits_never_exceeds_the_capacity(used: int, need: int) -> None:
    limits = capacity(node(), PlacementSection())
    claimed = {"vcpus": 0, "memory_mib": used, "disk_gib": 0}
    assert fits(request(memory_mib=need), node(), limits, claimed) == (used + need <= 1000)


def test_ratios_and_single_guests() -> None:
    limits = capacity(node(), PlacementSection(cpu_allocation_ratio=4.0))
    assert limits == {"vcpus": 8, "memory_mib": 1000, "disk_gib": 10}
    nothing = dict.fromkeys(limits, 0)
    assert fits(request(vcpus=2), node(), limits, nothing)
    assert not fits(request(vcpus=3), node(), limits, nothing)  # more than the machine has
    assert not fits(request(), node(), limits, {**nothing, "vcpus": 8})


def test_zones_names_and_neighbours() -> None:
    east = node(facts={"availability_zone": "east"})
    assert (zone_of(node()), zone_of(east)) == ("nova", "east")
    assert in_zone(request(availability_zone="east"), east)
    assert not in_zone(request(availability_zone="east"), node())
    assert in_zone(request(), east)
    assert named(request(hints={"force_host": ["host"]}), node())
    assert not named(request(hints={"force_host": ["other"]}), node())
    assert beside(request(hints={"same_node": ["n"]}), node())
    assert not beside(request(hints={"same_node": []}), node())
    assert not beside(request(hints={"other_node": ["n"]}), node())


def test_weights() -> None:
    limits = {"memory_mib": 1000}
    empty = free_memory(request(), limits, {"memory_mib": 0})
    assert empty > free_memory(request(), limits, {"memory_mib": 500})
    assert affinity(request(hints={"near_node": ["n"]}), node()) > 0
    assert affinity(request(hints={"far_node": ["n"]}), node()) < 0
