"""Pure decisions of the replicated driver."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.control.placement import NodeRow
from node.errors import Unavailable
from node.plugins.block.drivers.replicated.copying import Pace, pieces, union
from node.plugins.block.drivers.replicated.placing import homes
from node.plugins.block.drivers.replicated.scrub import odd_ones

PARTS = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), max_size=20)


def node(id: str, free: int = 10, **fields: object) -> NodeRow:
    return NodeRow(id=id, name=id, disk_gib=free, **fields)  # type: ignore[arg-type]


@given(PARTS)
def test_a_union_covers_the_same_bytes_once(parts: list[tuple[int, int]]) -> None:
    found = union(parts)
    assert {b for o, n in found for b in range(o, o + n)} == {
        b for o, n in parts for b in range(o, o + n)
    }
    assert all(one[0] + one[1] < two[0] for one, two in itertools.pairwise(found))


@given(PARTS, st.integers(1, 16))
def test_pieces_are_the_parts_and_small(parts: list[tuple[int, int]], most: int) -> None:
    parts = union(parts)
    found = list(pieces(parts, most))
    assert all(length <= most for _, length in found)
    assert union(found) == parts


def test_replicas_go_to_the_owner_then_to_the_emptiest_apart_from_each_other() -> None:
    nodes = [
        node("a", 1, failure_domain="r1"),
        node("b", 9, failure_domain="r1"),
        node("c", 5, failure_domain="r2"),
        node("d", 4, failure_domain="r3"),
    ]
    assert homes(nodes, 3, "a") == ["a", "c", "d"]
    assert homes(nodes, 4, "a") == ["a", "c", "d", "b"]
    assert homes(nodes, 9, "a") == ["a", "c", "d", "b"]


def test_no_replica_goes_where_none_can_be_made() -> None:
    nodes = [
        node("a"),
        node("b", state="down"),
        node("c", maintenance=True),
        node("d", want="absent"),
    ]
    assert homes(nodes, 3, "a") == ["a"]


def test_replicas_that_are_there_stay() -> None:
    nodes = [node("a"), node("b", 1), node("c", 99)]
    assert homes(nodes, 2, "a", ["a", "b"]) == ["a", "b"]


def test_the_majority_says_who_is_odd() -> None:
    assert odd_ones({"a": b"1", "b": b"1", "c": b"2"}) == {"c"}
    assert odd_ones({"a": b"1", "b": b"2"}) is None
    assert odd_ones({"a": b"1", "b": b"2", "c": b"3"}) is None
    assert odd_ones({"a": b"1", "b": b"1"}) == frozenset()


def test_a_copy_keeps_its_pace_and_ends_when_told() -> None:
    pace = Pace(1_000_000)
    began = time.monotonic()
    for _ in range(4):
        pace.took(50_000)
    assert time.monotonic() - began >= 0.19
    with pytest.raises(Unavailable):
        Pace(0, lambda: True).took(1)
