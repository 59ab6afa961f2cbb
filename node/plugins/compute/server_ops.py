"""Operations on servers that the API and the node share: jobs begin and end, servers go.

All functions only build operations; whoever calls them commits. `db` reads rows, `hook` calls other plugins.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from node.plugins.compute.server_rules import ActionRule
from node.plugins.compute.server_volume_ops import release_volume_ops
from node.plugins.compute.tables import (
    ActionEvent,
    FlavorFacts,
    Server,
    ServerAction,
    ServerExtra,
    ServerGone,
)
from node.sdk import AnyOp, Count, Reader, check, delete, insert, patch

EVENTS = {
    "create": "compute__do_build_and_run_instance",
    "start": "compute_start_instance",
    "stop": "compute_stop_instance",
    "reboot": "compute_reboot_instance",
    "rebuild": "compute_rebuild_instance",
    "evacuate": "compute_rebuild_instance",
    "createImage": "compute_snapshot_instance",
    "createBackup": "compute_backup_instance",
    "resize": "compute_finish_resize",
    "migrate": "compute_finish_resize",
    "live-migration": "compute_live_migration",
    "confirmResize": "compute_confirm_resize",
    "revertResize": "compute_finish_revert_resize",
    "rescue": "compute_rescue_instance",
    "unrescue": "compute_unrescue_instance",
    "shelve": "compute_shelve_instance",
    "unshelve": "compute_unshelve_instance",
    "delete": "compute_terminate_instance",
    "pause": "compute_pause_instance",
    "unpause": "compute_unpause_instance",
    "suspend": "compute_suspend_instance",
    "resume": "compute_resume_instance",
}
"""Name of the event that an action consists of, by action."""


def action_id(server_id: str, job: int) -> str:
    """Return the id of the ServerAction of a job."""
    return f"{server_id}/{job}"


def quota_counter(owner_id: str, resource: str) -> str:
    """Return the name of a quota counter; the owner is a project, for key_pairs a user."""
    return f"quota:{owner_id}:{resource}"


def node_counter(node_id: str, resource: str) -> str:
    """Return the name of the counter of a node's claimed vcpus, memory_mib or disk_gib."""
    return f"node:{node_id}:{resource}"


def flavor_disk_gib(flavor: FlavorFacts) -> int:
    """Return the local disk that a server of this flavor may fill."""
    return flavor.disk_gib + flavor.ephemeral_gib + -(-flavor.swap_mib // 1024)


def quota_ops(
    project_id: str, flavor: FlavorFacts, sign: int, limits: dict[str, int]
) -> list[AnyOp]:
    """Return the quota operations of one server that comes (+1) or goes (-1)."""
    amounts = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.memory_mib}
    return [
        Count(
            quota_counter(project_id, name), sign * amount, limits.get(name) if sign > 0 else None
        )
        for name, amount in amounts.items()
    ]


def claim_ops(node_id: str, flavor: FlavorFacts, sign: int, limits: dict[str, int]) -> list[AnyOp]:
    """Return the operations that claim (+1) or give back (-1) a node's resources."""
    amounts = {
        "vcpus": flavor.vcpus,
        "memory_mib": flavor.memory_mib,
        "disk_gib": flavor_disk_gib(flavor),
    }
    return [
        Count(node_counter(node_id, name), sign * amount, limits.get(name) if sign > 0 else None)
        for name, amount in amounts.items()
    ]


def held_flavor(server: Server) -> FlavorFacts:
    """Return what a server counts for: while a resize is on trial, the larger of the two in each resource."""
    flavor, old = server.flavor, server.old_flavor
    assert flavor is not None
    if old is None:
        return flavor
    fields = ("vcpus", "memory_mib", "disk_gib", "ephemeral_gib", "swap_mib")
    most = {name: max(getattr(flavor, name), getattr(old, name)) for name in fields}
    return msgspec.structs.replace(flavor, **most)


def change_ops(
    server: Server,
    held: FlavorFacts,
    wanted: FlavorFacts,
    limits: dict[str, int],
    room: dict[str, int],
) -> list[AnyOp]:
    """Return the operations by which a server counts for another flavor; limits are those of project and node."""
    amounts = {
        "vcpus": wanted.vcpus - held.vcpus,
        "memory_mib": wanted.memory_mib - held.memory_mib,
        "disk_gib": flavor_disk_gib(wanted) - flavor_disk_gib(held),
    }
    ops: list[AnyOp] = []
    for name, source in (("cores", "vcpus"), ("ram", "memory_mib")):
        if amount := amounts[source]:
            limit = limits.get(name) if amount > 0 else None
            ops.append(Count(quota_counter(server.project_id, name), amount, limit))
    for name, amount in amounts.items():
        if amount:
            most = room.get(name) if amount > 0 else None
            ops.append(Count(node_counter(server.node_id, name), amount, most))
    return ops


def job_ops(
    server: Server, rule: ActionRule, action: ServerAction, now_us: int, **more: Any
) -> list[AnyOp]:
    """Return the operations that give a server its next job; `more` are further fields to set."""
    fields = {**job_fields(server, rule, now_us), **more}
    if rule.want:
        fields["want"] = rule.want
    return [check(server), patch(Server, server.id, **fields), insert(action)]


def job_fields(server: Server, rule: ActionRule, now_us: int) -> dict[str, Any]:
    """Return the columns that give a server its next job."""
    return {
        "job": server.job + 1,
        "job_kind": rule.kind,
        "job_data": {},
        "override": "",
        "updated_at": now_us,
    }


def job_done_ops(  # noqa: PLR0913
    db: Reader,
    server: Server,
    now_us: int,
    *,
    have: str,
    power: int,
    fault: str = "",
    fault_code: int = 500,
    details: str = "",
    job: int | None = None,
) -> list[AnyOp]:
    """Return the operations by which the node reports the end of a job, well (no fault) or not.

    `job` is the number that was worked on (default: the newest), so that a job that came meanwhile is not lost.
    """
    number = server.job if job is None else job
    fields: dict[str, Any] = {
        "have": have,
        "power": power,
        "job_done": number,
        "job_step": "",
        "fault": fault,
        "updated_at": now_us,
    }
    if have == "active" and not server.launched_at:
        fields["launched_at"] = now_us
    if have == "active" and not fault:
        fields["progress"] = 0
    if fault:
        fields |= {"fault_code": fault_code, "fault_details": details, "fault_at": now_us}
    ops: list[AnyOp] = [patch(Server, server.id, **fields)]
    action = db.get(ServerAction, action_id(server.id, number))
    if action is not None and not action.finish_at:
        ops.append(_finish(action, server.node_id, now_us, fault, details))
    return ops


def _finish(action: ServerAction, node_id: str, now_us: int, fault: str, details: str) -> AnyOp:
    event = ActionEvent(
        name=EVENTS.get(action.action, f"compute_{action.action}"),
        start_at=action.start_at,
        finish_at=now_us,
        result="Error" if fault else "Success",
        traceback=details,
        node_id=node_id,
    )
    return patch(
        ServerAction,
        action.id,
        finish_at=now_us,
        message="Error" if fault else "",
        events=[*action.events, event],
        updated_at=now_us,
    )


def bind_ops(
    hook: Any,
    db: Reader,
    server: Server,
    node_id: str | None,
    now_us: int,
    port_ids: Sequence[str] | None = None,
) -> Sequence[AnyOp]:
    """Return the operations that bind a server's ports to a node ("": to none), or None: take them from it."""
    planned: Sequence[AnyOp] | None = hook.port_bind(
        db=db, server_id=server.id, node_id=node_id, now_us=now_us, port_ids=port_ids
    )
    return planned or ()


def release_ops(
    db: Reader, hook: Any, server: Server, now_us: int, moves: Sequence[AnyOp] = ()
) -> list[AnyOp]:
    """Return the operations that end a server for good: commit them with frees=True.

    The node calls this once domain and files are gone; the API calls it for a server without a node. Holds only while
    the row is as it was read, so that quota is given back once.
    """
    ops: list[AnyOp] = [check(server), delete(Server, server.id, must_exist=True)]
    ops.append(delete(ServerExtra, server.id))
    if server.flavor is not None:
        ops += quota_ops(server.project_id, held_flavor(server), -1, {})
        if server.node_id:
            ops += claim_ops(server.node_id, held_flavor(server), -1, {})
    ops += moves
    ops += bind_ops(hook, db, server, None, now_us)
    ops += release_volume_ops(db, hook, server, now_us)
    ops += [
        _finish(action, server.node_id, now_us, "", "")
        for action in db.rows(ServerAction, server_id=server.id)
        if not action.finish_at
    ]
    fields = {name: getattr(server, name) for name in Server.__struct_fields__}
    fields |= {
        "have": "deleted",
        "want": "absent",
        "rev": 0,
        "deleted_at": now_us,
        "updated_at": now_us,
    }
    ops.append(insert(msgspec.convert(fields, ServerGone, from_attributes=True)))
    return ops
