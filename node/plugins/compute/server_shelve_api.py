"""Shelve: a server becomes an image and leaves its node; unshelve builds it again, anywhere, from that image.

Shelved servers always leave their node at once, as with Nova's shelved_offload_time of 0.

Source: https://docs.openstack.org/api-ref/compute/#shelve-server-shelve-action
"""

from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.compute import server_rules
from node.plugins.compute.checks import Name
from node.plugins.compute.faults import unexpected
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_move import move_ops, other_place
from node.plugins.compute.server_ops import job_fields, job_ops
from node.plugins.compute.server_placement import Placer, zones
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_snapshot_api import new_image
from node.plugins.compute.tables import Server
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NodeError,
    NodeRow,
    insert,
)

_POLICY = "os_compute_api:os-shelve"


class Unshelve(Frozen, forbid_unknown_fields=True):
    """Value of `unshelve` from 2.77 on."""

    availability_zone: Name | UnsetType | None = UNSET
    host: Name | UnsetType = UNSET


def shelve(ctx: Context, server_id: str) -> None:
    """Make an image of a server and give its place on the node back."""
    server = _shelvable(ctx, server_id)
    image_id = new_image(ctx, server, f"{server.name}-shelved", {})

    def plan() -> tuple[list[AnyOp], None]:
        fresh = _shelvable(ctx, server_id)
        action = new_action(ctx, fresh, "shelve", job=fresh.job + 1)
        data = {"image_id": image_id}
        return job_ops(fresh, RULES["shelve"], action, ctx.now(), job_data=data), None

    try:
        ctx.transact(plan)
    except NodeError:
        ctx.ask("DELETE", f"/image/v2/images/{image_id}")
        raise


def _shelvable(ctx: Context, server_id: str) -> Server:
    server = find(ctx, server_id, f"{_POLICY}:shelve")
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    server_rules.check_state(server, RULES["shelve"])
    if not server.node_id:
        raise Conflict(f"Cannot 'shelve' instance {server.id}: it was never placed on a host")
    return server


def offload(ctx: Context, server_id: str) -> None:
    """Refuse: a shelved server has left its node already."""
    server = find(ctx, server_id, f"{_POLICY}:shelve_offload")
    server_rules.check_state(server, RULES["shelve_offload"])


def unshelve(ctx: Context, server_id: str) -> None:
    """Build a shelved server again."""
    wish: Unshelve = ctx.body or Unshelve()
    host = _host(ctx, wish)

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_POLICY}:unshelve")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["unshelve"])
        fields: dict[str, Any] = {}
        if wish.availability_zone is not UNSET:
            fields["requested_zone"] = wish.availability_zone or ""
        zone = str(fields.get("requested_zone", server.requested_zone))
        found = other_place(Placer.of(ctx), server, set(), host, zone)
        if found is None:
            raise BadRequest("No valid host was found. There are not enough hosts available.")
        action = new_action(ctx, server, "unshelve", job=server.job + 1)
        fields |= job_fields(server, RULES["unshelve"], ctx.now())
        fields |= {"job_data": server.job_data, "want": "active"}
        fields.pop("updated_at")
        return [
            *move_ops(ctx.db, ctx.hook, server, found, ctx.now(), **fields),
            insert(action),
        ], None

    ctx.transact(plan)


def _host(ctx: Context, wish: Unshelve) -> str:
    """Return the host that was asked for, "" where none was."""
    if wish.availability_zone is not UNSET and ctx.microversion < (2, 77):
        raise unexpected("availability_zone")
    if wish.availability_zone is None and ctx.microversion < (2, 91):
        raise BadRequest("Invalid input for field/attribute availability_zone. None is no string")
    if wish.availability_zone and wish.availability_zone not in zones(ctx):
        raise BadRequest("The requested availability zone is not available")
    if not isinstance(wish.host, str):
        return ""
    if ctx.microversion < (2, 91):
        raise unexpected("host")
    ctx.require(f"{_POLICY}:unshelve_to_host")
    if ctx.db.one(NodeRow, name=wish.host) is None:
        raise BadRequest(f"Compute host {wish.host} could not be found.")
    return wish.host


ROUTES = (
    server_action("shelve", shelve, f"{_POLICY}:shelve"),
    server_action("shelveOffload", offload, f"{_POLICY}:shelve_offload"),
    server_action("unshelve", unshelve, f"{_POLICY}:unshelve", Unshelve | None),
)
