"""The choice of a node is a pure function of the rows."""

from hypothesis import given
from hypothesis import strategies as st

from node.control.placement import NodeRow, PlacementRequest, choose

REQUEST = PlacementRequest(kind="server", vcpus=2, memory_mib=512)


def node(name: str, **fields: object) -> NodeRow:
    return NodeRow(id=name, name=name, **{"vcpus": 4, "memory_mib": 1024, **fields})  # type: ignore[arg-type]


def fits(request: PlacementRequest, row: NodeRow) -> bool:
    return row.memory_mib - row.memory_used_mib >= request.memory_mib


def room(_request: PlacementRequest, row: NodeRow) -> float:
    return row.memory_mib - row.memory_used_mib


NODES = st.lists(
    st.builds(
        node,
        st.sampled_from("abcdef"),
        state=st.sampled_from(("up", "suspect", "down")),
        maintenance=st.booleans(),
        memory_mib=st.integers(0, 4096),
    ),
    unique_by=lambda row: row.id,
)


@given(rows=NODES, data=st.data())
def test_the_choice_does_not_depend_on_the_order(rows: list[NodeRow], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    chosen = choose(REQUEST, rows, [fits], [room])
    assert chosen == choose(REQUEST, shuffled, [fits], [room])
    assert all(fits(REQUEST, row) and row.state == "up" and not row.maintenance for row in chosen)
    assert [room(REQUEST, row) for row in chosen] == sorted(
        (room(REQUEST, row) for row in chosen), reverse=True
    )
    left = {row.id for row in rows} - {row.id for row in chosen}
    assert all(
        row.state != "up" or row.maintenance or not fits(REQUEST, row)
        for row in rows
        if row.id in left
    )


def test_equal_nodes_come_in_order_of_their_ids() -> None:
    assert [row.id for row in choose(REQUEST, [node("b"), node("a")], [], [])] == ["a", "b"]


def test_weights_add_up() -> None:
    rows = [node("a", vcpus_used=3), node("b", memory_used_mib=900)]
    heavy = choose(REQUEST, rows, [], [room, lambda _r, row: -1000.0 * row.vcpus_used])
    assert [row.id for row in heavy] == ["b", "a"]
