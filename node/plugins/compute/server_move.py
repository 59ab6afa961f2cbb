"""A server gets another node: its claim, its ports and its row go there together or not at all."""

from typing import Any

from node.plugins.compute.migration_ops import begin_ops
from node.plugins.compute.migration_rules import next_number
from node.plugins.compute.server_ops import action_id, bind_ops, claim_ops, held_flavor, job_ops
from node.plugins.compute.server_placement import Place, Placer, place
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_volume_ops import volumes_of_server
from node.plugins.compute.tables import Migration, Server, ServerAction, ServerGroup
from node.sdk import AnyOp, NodeRow, Reader, check, patch

_MOVABLE = {"active": "active", "stopped": "stopped"}
"""What may be moved while it is off, and what it is to be afterwards."""
MAX_BUILDS = 3
"""On how many nodes a server is built at most."""


def other_place(
    by: Placer, server: Server, without: set[str], host: str = "", zone: str | None = None
) -> Place | None:
    """Return the best node for a server that is there already, or None; `host` names the only one."""
    assert server.flavor is not None
    group = by.db.get(ServerGroup, server.group_id) if server.group_id else None
    hints = {**server.hints, **({"force_host": [host]} if host else {})}
    zone = server.requested_zone if zone is None else zone
    return place(by, server.flavor, zone, hints, group, without, server.id)


def move_ops(
    db: Reader, hook: Any, server: Server, found: Place, now_us: int, **fields: Any
) -> list[AnyOp]:
    """Return the operations that give a server another node; `fields` are further columns to set.

    They hold only while the node is as it was when it was chosen: not down meanwhile.
    """
    assert server.flavor is not None
    ops: list[AnyOp] = [check(server), check(found.node)]
    if server.node_id:
        ops += claim_ops(server.node_id, held_flavor(server), -1, {})
    ops += claim_ops(found.node.id, held_flavor(server), 1, found.limits)
    ops += bind_ops(hook, db, server, found.node.id, now_us)
    changes = {"node_id": found.node.id, "updated_at": now_us, **fields}
    ops.append(patch(Server, server.id, **changes))
    return ops


def leave_ops(hook: Any, db: Reader, server: Server, now_us: int) -> list[AnyOp]:
    """Return the operations by which a server leaves its node for none."""
    ops = claim_ops(server.node_id, held_flavor(server), -1, {})
    ops += bind_ops(hook, db, server, "", now_us)
    ops.append(patch(Server, server.id, node_id="", requested_node="", updated_at=now_us))
    return ops


def unlike(db: Reader, node: NodeRow) -> set[str]:
    """Return the nodes whose machines are too different for a guest that runs."""

    def kind(row: NodeRow) -> tuple[str, str]:
        return row.facts.get("arch", ""), row.facts.get("virt_type", "")

    return {row.id for row in db.rows(NodeRow) if kind(row) != kind(node)}


def _way_off(by: Placer, server: Server) -> tuple[str, Place | None]:
    """Return how a server may leave its node, and where to: alive if that can be, and did not fail before."""
    node = by.db.get(NodeRow, server.node_id)
    failed = any(
        row.migration_type == "live-migration" and row.status == "error"
        and row.source_node == server.node_id
        for row in by.db.rows(Migration, server_id=server.id)
    )  # fmt: skip
    if server.have in {"active", "paused"} and node is not None and not failed:
        found = other_place(by, server, {server.node_id} | unlike(by.db, node))
        if found is not None:
            return "live_migrate", found
    if server.have in _MOVABLE:
        return "migrate", other_place(by, server, {server.node_id})
    return "", None


def drain_ops(by: Placer, server: Server, migration_id: str, now_us: int) -> list[AnyOp]:
    """Return the operations that begin a server's move off a node that leaves; none where it cannot move now."""
    if server.old_node_id or server.override or volumes_of_server(by.db, server.id):
        return []
    kind, found = _way_off(by, server)
    if found is None:
        return []
    rule = RULES[kind]
    action = ServerAction(
        id=action_id(server.id, server.job + 1),
        server_id=server.id,
        action=rule.action,
        project_id=server.project_id,
        start_at=now_us,
        created_at=now_us,
        updated_at=now_us,
    )
    number = next_number(by.db)
    data = {"dest": found.node.id, "by": "drain"}
    want = _MOVABLE.get(server.have, server.want)
    is_live = kind == "live_migrate"
    return [
        *job_ops(server, rule, action, now_us, job_data=data, want=want),
        check(found.node),
        *begin_ops(
            server,
            found.node.id,
            found.limits,
            migration_id,
            now_us,
            number=number,
            kind="live-migration" if is_live else "migration",
        ),
    ]


def retry_ops(by: Placer, server: Server, now_us: int) -> list[AnyOp]:
    """Return the operations that have another node build a server; none where no other node may."""
    tried = {*server.tried, server.node_id}
    if server.job_kind != "build" or server.requested_node or len(tried) >= MAX_BUILDS:
        return []
    found = other_place(by, server, tried)
    if found is None:
        return []
    fields = {"tried": sorted(tried), "have": "", "job_step": "", "power": 0}
    return move_ops(by.db, by.hook, server, found, now_us, **fields)
