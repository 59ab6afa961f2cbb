"""Choose the node of a new server from rows: resources, zone, hints, server groups, and other plugins' filters."""

from collections.abc import Collection, Mapping
from typing import Any

from node.plugins.compute import placement_rules
from node.plugins.compute.aggregate_rules import zoned
from node.plugins.compute.placement_rules import PlacementSection
from node.plugins.compute.server_ops import flavor_disk_gib
from node.plugins.compute.tables import ComputeService, FlavorFacts, Server, ServerGroup
from node.sdk import Context, Control, Frozen, NodeRow, PlacementRequest, Reader, choose


class Place(Frozen):
    """A node with what may be claimed of it."""

    node: NodeRow
    limits: dict[str, int]


class Placer(Frozen):
    """Chooses nodes; made by a handler from its request, or by a node for a server that it cannot run."""

    db: Reader
    hook: Any
    section: PlacementSection

    @classmethod
    def of(cls, ctx: Context | Control) -> "Placer":
        """Return the placer of a request or of a node."""
        return cls(db=ctx.db, hook=ctx.hook, section=ctx.config.section(PlacementSection))


def place(
    by: Placer,
    flavor: FlavorFacts,
    zone: str,
    hints: Mapping[str, list[str]],
    group: ServerGroup | None,
    without: Collection[str],
    server_id: str = "",
) -> Place | None:
    """Return the best node for a server, or None when no node can take it.

    `without` are nodes that it must not be. A server that is there already (`server_id`) does not count as a member
    of its group.
    """
    request = PlacementRequest(
        kind="server",
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=flavor_disk_gib(flavor),
        availability_zone=zone,
        hints=_node_hints(by.db, hints, group, server_id),
    )
    disabled = {row.id for row in by.db.rows(ComputeService) if row.disabled or row.forced_down}
    nodes = [n for n in zoned(by.db) if n.id not in disabled and n.id not in without]
    limits = {node.id: placement_rules.capacity(node, by.section) for node in nodes}
    used = {node.id: placement_rules.claimed(by.db, node.id) for node in nodes}

    def roomy(asked: PlacementRequest, node: NodeRow) -> bool:
        return placement_rules.fits(asked, node, limits[node.id], used[node.id])

    def plugins_agree(asked: PlacementRequest, node: NodeRow) -> bool:
        return False not in by.hook.placement_filter(request=asked, node=node)

    def free(asked: PlacementRequest, node: NodeRow) -> float:
        return placement_rules.free_memory(asked, limits[node.id], used[node.id])

    def plugins_weigh(asked: PlacementRequest, node: NodeRow) -> float:
        return sum(by.hook.placement_weigh(request=asked, node=node), 0.0)

    filters = [
        placement_rules.in_zone,
        placement_rules.named,
        placement_rules.beside,
        roomy,
        plugins_agree,
    ]
    best = choose(request, nodes, filters, [free, placement_rules.affinity, plugins_weigh])
    return Place(node=best[0], limits=limits[best[0].id]) if best else None


def zones(ctx: Context) -> set[str]:
    """Return the availability zones that nodes are in."""
    return {placement_rules.zone_of(node) for node in zoned(ctx.db)}


def _node_hints(
    db: Reader, hints: Mapping[str, list[str]], group: ServerGroup | None, server_id: str
) -> dict[str, list[str]]:
    """Turn hints that name servers into hints that name nodes."""
    found: dict[str, list[str]] = {name: list(values) for name, values in hints.items()}
    if "same_host" in hints:
        found["same_node"] = _nodes_of(db, server_id, id=hints["same_host"])
    found["other_node"] = (
        _nodes_of(db, server_id, id=hints["different_host"]) if "different_host" in hints else []
    )
    if group is None:
        return found
    members = _nodes_of(db, server_id, group_id=group.id)
    if group.policy == "affinity" and members:
        found["same_node"] = [node for node in members if node in found.get("same_node", members)]
    elif group.policy == "anti-affinity":
        most = group.rules.get("max_server_per_host", 1)
        found["other_node"] += [node for node in set(members) if members.count(node) >= most]
    elif group.policy == "soft-affinity":
        found["near_node"] = members
    elif group.policy == "soft-anti-affinity":
        found["far_node"] = members
    return found


def _nodes_of(db: Reader, server_id: str, **filters: Any) -> list[str]:
    """Return the nodes of servers but one, one entry a server; one that moves counts where it was too."""
    rows = [server for server in db.rows(Server, **filters) if server.id != server_id]
    return [node for row in rows for node in (row.node_id, row.old_node_id) if node]
