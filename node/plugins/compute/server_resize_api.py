"""Resize: a server gets another flavor on its node, which is kept, or taken back, when it was tried.

Until then the node holds the disk from before, and quota and node count the larger of the two flavors.

Source: https://docs.openstack.org/api-ref/compute/#resize-server-resize-action
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import (
    flavor_api,
    flavor_view,
    migration_ops,
    quota_rules,
    server_rules,
)
from node.plugins.compute.migration_rules import begin_op, end_ops
from node.plugins.compute.placement_rules import PlacementSection, capacity
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_body import DiskConfig
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_ops import change_ops, held_flavor, job_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.tables import FlavorFacts, Server
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NodeRow,
    NotFound,
    OverQuota,
    images_of,
)

_SERVERS = "os_compute_api:servers"


class Resize(Frozen, forbid_unknown_fields=True):
    """Value of `resize`."""

    flavorRef: str | int  # noqa: N815 - the API's name
    disk_config: DiskConfig | UnsetType = msgspec.field(default=UNSET, name="OS-DCF:diskConfig")


def resize(ctx: Context, server_id: str) -> None:
    """Give a server another flavor, to be confirmed or reverted."""
    body: Resize = ctx.body
    wanted = _flavor(ctx, str(body.flavorRef))

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_SERVERS}:resize")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["resize"])
        old = server.flavor
        node = ctx.db.get(NodeRow, server.node_id) if server.node_id else None
        if old is None or node is None:
            raise Conflict(f"Cannot 'resize' instance {server.id}: it was never placed on a host")
        _check(ctx, server, old, wanted)
        limits = quota_rules.limits_of(ctx.db, server.project_id)
        room = capacity(node, ctx.config.section(PlacementSection))
        action = new_action(ctx, server, "resize", job=server.job + 1)
        fields: dict[str, Any] = {"flavor": wanted, "old_flavor": old}
        if isinstance(body.disk_config, str):
            fields["disk_config"] = body.disk_config
        after = msgspec.structs.replace(server, flavor=wanted, old_flavor=old)
        return [
            *job_ops(server, RULES["resize"], action, ctx.now(), **fields),
            *change_ops(server, held_flavor(server), held_flavor(after), limits, room),
            begin_op(ctx, server, action, node.id, migration_type="resize", new_flavor_id=wanted.id),
        ], None

    try:
        ctx.transact(plan)
    except OverQuota as error:
        if str(error.detail.get("counter", "")).startswith("node:"):
            raise BadRequest(
                "No valid host was found. The server's host has no room for this flavor."
            ) from error
        old = find(ctx, server_id).flavor
        assert old is not None
        more = {"cores": wanted.vcpus - old.vcpus, "ram": wanted.memory_mib - old.memory_mib}
        raise quota_rules.exceeded(error, {"instances": 0, **more}) from error


def _flavor(ctx: Context, reference: str) -> FlavorFacts:
    try:
        return flavor_view.facts_of(flavor_api.find(ctx, reference.rpartition("/")[2]))
    except NotFound as error:
        raise BadRequest("Unable to locate requested flavor.") from error


def _check(ctx: Context, server: Server, old: FlavorFacts, wanted: FlavorFacts) -> None:
    if wanted.id == old.id:
        raise BadRequest("When resizing, instances must change flavor!")
    if wanted.disk_gib == 0 and old.disk_gib:
        raise BadRequest("Resize to zero disk flavor is not allowed.")
    if wanted.disk_gib < old.disk_gib or wanted.ephemeral_gib < old.ephemeral_gib:
        raise BadRequest("Resize to a flavor with a smaller disk is not possible.")
    facts = images_of(ctx.hook).facts(ctx.db, server.image_id) if server.image_id else None
    if facts is not None and wanted.memory_mib < facts.min_ram_mib:
        raise BadRequest("Flavor's memory is too small for requested image.")


def _end(ctx: Context, server_id: str, name: str, *, reverted: bool) -> None:
    """End a resize: the flavor from before comes back, or what is held of it is given back."""

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_SERVERS}:{name}")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES[name])
        flavor = server.old_flavor if reverted else server.flavor
        if flavor is None or server.old_flavor is None:
            raise Conflict(f"The resize of instance {server.id} is confirmed already")
        action = new_action(ctx, server, RULES[name].action, job=server.job + 1)
        fields = {"flavor": flavor, "old_flavor": None}
        left = (
            []
            if reverted  # the node gives it back itself, once the guest there is off
            else migration_ops.leave_source_ops(ctx.db, server, "confirmed", ctx.now())
        )
        return [
            *job_ops(server, RULES[name], action, ctx.now(), **fields),
            *change_ops(server, held_flavor(server), flavor, {}, {}),
            *end_ops(ctx, server, action),
            *left,
        ], None

    ctx.transact(plan)


def confirm(ctx: Context, server_id: str) -> None:
    """Keep the new flavor."""
    _end(ctx, server_id, "confirm_resize", reverted=False)


def revert(ctx: Context, server_id: str) -> None:
    """Go back to the flavor, and the disk, from before."""
    _end(ctx, server_id, "revert_resize", reverted=True)


ROUTES = (
    server_action("resize", resize, f"{_SERVERS}:resize", Resize),
    server_action("confirmResize", confirm, f"{_SERVERS}:confirm_resize", status=204),
    server_action("revertResize", revert, f"{_SERVERS}:revert_resize"),
)
