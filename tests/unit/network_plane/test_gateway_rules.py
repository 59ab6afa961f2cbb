"""Which node is whose gateway."""

import pytest

from node.plugins.network.gateway_rules import PUBLIC_FACT, choose, decider, moves, must_move
from node.plugins.network.network_plan import bridge_plan, on_wire
from node.plugins.network.tables import Network, Router, Subnet
from node.sdk import NodeRow


def node(name: str, **fields: object) -> NodeRow:
    """Return a node that is up."""
    return NodeRow(id=name, name=name, **fields)  # type: ignore[arg-type]


def router(name: str, node_id: str) -> Router:
    """Return a router on a node."""
    return Router(id=name, node_id=node_id)


def test_the_least_loaded_node_is_chosen_and_the_first_of_equals() -> None:
    nodes = [node("c"), node("b"), node("a")]
    assert choose(nodes, {"a": 1}) == "b"
    assert choose(nodes, {}) == "a"
    assert choose([], {}) == ""


def test_nodes_on_the_outer_wire_come_first() -> None:
    nodes = [node("a"), node("b", facts={PUBLIC_FACT: "eth1"})]
    assert choose(nodes, {"b": 9}) == "b"


@pytest.mark.parametrize("fields", [{"state": "down"}, {"maintenance": True}, {"want": "absent"}])
def test_routers_leave_what_cannot_serve_them(fields: dict[str, object]) -> None:
    nodes = [node("a", **fields), node("b"), node("c")]
    listed = [router(f"r{number}", "a") for number in range(4)]
    found = [(row.id, target) for row, target in moves(listed, nodes)]
    assert found == [("r0", "b"), ("r1", "c"), ("r2", "b"), ("r3", "c")]


def test_routers_stay_where_they_can() -> None:
    suspected = node("a", state="suspect")
    assert not must_move(suspected)
    assert moves([router("r", "a")], [suspected, node("b")]) == []
    alone = node("a", state="down")
    assert moves([router("r", "a")], [alone]) == [], "there is nowhere to go"


def test_a_router_without_a_node_gets_one() -> None:
    listed = [router("r", ""), router("s", "gone")]
    assert [target for _row, target in moves(listed, [node("a"), node("b")])] == ["a", "b"]


def test_one_node_decides() -> None:
    assert decider([node("a", state="down"), node("c"), node("b")]) == "b"
    assert decider([]) == ""


def test_which_network_is_on_the_wire() -> None:
    old = Network(id="old", external=True, created_at=1)
    new = Network(id="new", external=True, created_at=2)
    inner = Network(id="inner", created_at=0)
    named = Network(id="named", external=True, created_at=3, physical_network="public")
    assert on_wire([new, old, inner]) == "old"
    assert on_wire([new, old, named]) == "named"
    assert on_wire([inner]) == ""


def test_a_network_on_a_wire_has_its_gateway_there() -> None:
    network = Network(id="11111111-2222", external=True)
    subnet = Subnet(id="s", cidr="203.0.113.0/24", gateway_ip="203.0.113.1")
    assert bridge_plan(network, [subnet], "a").addresses == ("203.0.113.1/24",)
    assert bridge_plan(network, [subnet], "a", "eth1").addresses == ()
