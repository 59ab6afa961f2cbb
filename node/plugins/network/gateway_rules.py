"""Which node is whose gateway: pure decisions over rows.

Every node comes to the same answer from the same rows; a move is written only where router and nodes still are what
it was decided on.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from node.plugins.network.tables import Router
from node.sdk import NodeRow

PUBLIC_FACT = "public_interface"
"""Fact of a node's row: it has an interface on the wire of the external network."""


def is_able(node: NodeRow | None) -> bool:
    """Return whether a node may be or become a gateway."""
    return (
        node is not None and node.state == "up" and not node.maintenance and node.want == "present"
    )


def must_move(node: NodeRow | None) -> bool:
    """Return whether a node's routers have to go elsewhere; one that is only suspected keeps them."""
    return node is None or node.state == "down" or node.maintenance or node.want != "present"


def candidates(nodes: Iterable[NodeRow]) -> list[NodeRow]:
    """Return the nodes that routers may be on: those on the external wire, where there are any."""
    able = [node for node in nodes if is_able(node)]
    return [node for node in able if node.facts.get(PUBLIC_FACT)] or able


def choose(nodes: Iterable[NodeRow], load: Mapping[str, int]) -> str:
    """Return the node with the fewest routers, or an empty string."""
    found = candidates(nodes)
    return min(found, key=lambda row: (load.get(row.id, 0), row.id)).id if found else ""


def moves(routers: Iterable[Router], nodes: Iterable[NodeRow]) -> list[tuple[Router, str]]:
    """Return the routers that have to move, and where to."""
    by_id = {node.id: node for node in nodes}
    listed = sorted(routers, key=lambda router: router.id)
    load = Counter(router.node_id for router in listed)
    found = []
    for router in listed:
        if must_move(by_id.get(router.node_id)):
            target = choose(by_id.values(), load)
            if target and target != router.node_id:
                load[router.node_id] -= 1
                load[target] += 1
                found.append((router, target))
    return found


def decider(nodes: Iterable[NodeRow]) -> str:
    """Return the node that moves routers: the first one that is up. Others do so later, should it not."""
    return min((node.id for node in nodes if node.state == "up"), default="")
