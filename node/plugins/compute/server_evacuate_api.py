"""Evacuate: a server whose node is down is built again on another one, with its id, addresses and image.

What its local disk held stays with the dead node, which sets it aside when it is back: nothing is shared here.

Source: https://docs.openstack.org/api-ref/compute/#evacuate-server-evacuate-action
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import server_create_rules, server_rules
from node.plugins.compute.checks import Name, boolean
from node.plugins.compute.faults import unexpected
from node.plugins.compute.migration_ops import cancel_ops
from node.plugins.compute.migration_rules import begin_op
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_move import move_ops, other_place
from node.plugins.compute.server_ops import job_fields
from node.plugins.compute.server_placement import Placer
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.tables import ComputeService, Server, ServerExtra
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NodeRow,
    NotFound,
    Reply,
    Route,
    insert,
    put,
)

_POLICY = "os_compute_api:os-evacuate"


class Evacuate(Frozen, forbid_unknown_fields=True):
    """Value of `evacuate`."""

    host: Name | UnsetType = UNSET
    adminPass: str | UnsetType = UNSET  # noqa: N815 - the API's name
    onSharedStorage: bool | str | UnsetType = UNSET  # noqa: N815
    force: bool | str | UnsetType = UNSET


def evacuate(ctx: Context, server_id: str) -> Reply:
    """Have another node build a server whose node is down."""
    body: Evacuate = ctx.body
    _check_version(ctx, body)
    host = body.host if isinstance(body.host, str) else ""
    if host and ctx.db.one(NodeRow, name=host) is None:
        raise NotFound(f"Compute host {host} not found.")
    password = body.adminPass if isinstance(body.adminPass, str) else ""
    password = password or server_create_rules.new_password()

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, _POLICY)
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["evacuate"])
        _check_down(ctx, server, host)
        found = other_place(Placer.of(ctx), server, {server.node_id}, host)
        if found is None:
            raise BadRequest("No valid host was found. There are not enough hosts available.")
        stays_off = ctx.microversion >= (2, 95) or server_rules.vm_state(server) == "stopped"
        action = new_action(ctx, server, "evacuate", job=server.job + 1)
        fields = job_fields(server, RULES["evacuate"], ctx.now())
        fields |= {"want": "stopped" if stays_off else "active", "power": 0}
        ops = move_ops(ctx.db, ctx.hook, server, found, **{"now_us": ctx.now(), **fields})
        ops += cancel_ops(ctx.db, server, ctx.now())
        extra = ctx.db.get(ServerExtra, server.id)
        if extra is not None and server.config_drive:
            ops.append(put(msgspec.structs.replace(extra, admin_password=password)))
        begin = begin_op(ctx, server, action, found.node.id, migration_type="evacuation")
        return [*ops, insert(action), begin], None

    ctx.transact(plan)
    return Reply(body={"adminPass": password} if ctx.microversion < (2, 14) else None)


def _check_version(ctx: Context, body: Evacuate) -> None:
    shared = body.onSharedStorage
    if ctx.microversion >= (2, 14):
        if shared is not UNSET:
            raise unexpected("onSharedStorage")
    elif shared is UNSET:
        raise BadRequest(
            "Invalid input for field/attribute evacuate. 'onSharedStorage' is a required property"
        )
    elif boolean(shared, "onSharedStorage"):
        raise BadRequest("Invalid: servers' disks are not on shared storage here")
    if body.force is not UNSET:
        if not (2, 29) <= ctx.microversion < (2, 68):
            raise unexpected("force")
        boolean(body.force, "force")


def _check_down(ctx: Context, server: Server, host: str) -> None:
    """Refuse while the server's node may still run it: two of one server would be worse than none."""
    node = ctx.db.get(NodeRow, server.node_id) if server.node_id else None
    if not server.node_id:
        raise Conflict(f"Cannot 'evacuate' instance {server.id}: it was never placed on a host")
    if node is None:
        return
    service = ctx.db.get(ComputeService, node.id)
    if node.state != "down" and not (service and service.forced_down):
        raise BadRequest(f"Compute service of {node.name} is still in use.")
    if host in (node.name, node.id):
        raise BadRequest("The target host can't be the same one.")


ROUTES: tuple[Any, ...] = (
    Route(
        method="POST",
        path="/v2.1/servers/{server_id}/action",
        action="evacuate",
        handler=evacuate,
        policy=_POLICY,
        body=Evacuate,
    ),
)
