"""Host aggregates: groups of nodes, which may be availability zones. Pure functions of rows."""

from collections.abc import Iterable, Sequence

import msgspec

from node.plugins.compute.tables import Aggregate
from node.sdk import NodeRow, Reader

ZONE = "availability_zone"
"""The key of an aggregate's metadata that makes it a zone, and the fact of a node that names its own."""


def zoned(db: Reader) -> list[NodeRow]:
    """Return all nodes, each with the zone that its aggregate, if any, puts it in."""
    return in_zones(db.rows(NodeRow), db.rows(Aggregate))


def in_zones(nodes: Iterable[NodeRow], aggregates: Iterable[Aggregate]) -> list[NodeRow]:
    """Return the nodes with their zones; a node that no aggregate puts anywhere has its own."""
    zones = {
        node_id: row.metadata[ZONE]
        for row in aggregates
        if ZONE in row.metadata
        for node_id in row.node_ids
    }
    return [
        msgspec.structs.replace(node, facts={**node.facts, ZONE: zones[node.id]})
        if node.id in zones
        else node
        for node in nodes
    ]


def other_zone(aggregates: Sequence[Aggregate], own: Aggregate, zone: str) -> str:
    """Return another zone in which a node of an aggregate is already; "" where the zone would be its only one."""
    for row in aggregates:
        theirs = row.metadata.get(ZONE, "")
        if row.id != own.id and theirs not in ("", zone) and set(row.node_ids) & set(own.node_ids):
            return theirs
    return ""
