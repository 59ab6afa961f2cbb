"""Actions that hold volumes for servers and hosts in the old way: reserve, attach, detach and what is between.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volume-actions-volumes-action
"""

from collections.abc import Callable
from typing import Any

from node.plugins.block import attach_rules, lookup, volume_rules
from node.plugins.block.checks import Text255, is_uuid
from node.plugins.block.connection_view import connection_info
from node.plugins.block.faults import field_error
from node.plugins.block.tables import Volume, VolumeAttachment
from node.sdk import AnyOp, BadRequest, Context, Frozen, Reply, Route, check, patch

_ACTION = "/v3/volumes/{volume_id}/action"
_ATTACH = "volume_extension:volume_actions:attach"
_DETACH = "volume_extension:volume_actions:detach"


class Attach(Frozen):
    """Value of `os-attach`."""

    instance_uuid: str | None = None
    mountpoint: Text255 | None = None
    mode: str = "rw"
    host_name: Text255 | None = None


class Detach(Frozen):
    """Value of `os-detach`."""

    attachment_id: str | None = None


class Connector(Frozen):
    """Value of `os-initialize_connection` and its end."""

    connector: dict[str, Any] | None = None


class ForceDetach(Frozen):
    """Value of `os-force_detach`."""

    attachment_id: str | None = None
    connector: dict[str, Any] | None = None


def _commit(ctx: Context, volume_id: str, rule: str, ops: Callable[[Volume], list[AnyOp]]) -> Reply:
    def plan() -> tuple[list[AnyOp], None]:
        return ops(lookup.volume(ctx, volume_id, rule)), None

    ctx.transact(plan)
    return Reply(status=202)


def attach(ctx: Context, volume_id: str) -> Reply:
    """Note that a volume is attached to a server or a host."""
    body: Attach = ctx.body
    if not body.instance_uuid and not body.host_name:
        raise BadRequest("Invalid request to attach volume to an invalid target")
    if body.instance_uuid and not is_uuid(body.instance_uuid):
        raise field_error("instance_uuid", body.instance_uuid, "It is not a 'uuid'")
    if body.mode not in ("rw", "ro"):
        raise BadRequest(
            "Invalid request to attach volume with an invalid mode. Attaching mode should be 'rw' or 'ro'"
        )

    def ops(row: Volume) -> list[AnyOp]:
        if row.read_only and body.mode == "rw":
            raise BadRequest(
                f"Invalid volume: Volume {row.id} is read-only: attach it with mode ro"
            )
        held = [
            one
            for one in ctx.db.rows(VolumeAttachment, volume_id=row.id)
            if one.status in ("reserved", "attaching")
        ]
        known = held[0] if held and volume_rules.status(row) in ("attaching", "reserved") else None
        fields: dict[str, Any] = {
            "server_id": body.instance_uuid or "",
            "host": body.host_name or "",
            "device": body.mountpoint or "",
            "mode": body.mode,
            "status": "attached",
            "attached_at": ctx.now(),
        }
        if known is not None:
            return attach_rules.set_status(
                ctx.db,
                row,
                known,
                "attached",
                ctx.now(),
                **{k: v for k, v in fields.items() if k not in ("status", "attached_at")},
            )
        wished = VolumeAttachment(id=ctx.ids.uuid(), volume_id=row.id, **fields)
        return attach_rules.reserve(ctx.db, row, wished, ctx.now())

    return _commit(ctx, volume_id, _ATTACH, ops)


def _one(ctx: Context, row: Volume, attachment_id: str | None) -> VolumeAttachment:
    rows = ctx.db.rows(VolumeAttachment, volume_id=row.id)
    if attachment_id:
        rows = [one for one in rows if one.id == attachment_id]
    if not rows:
        raise BadRequest(f"Invalid volume: Volume {row.id} is not attached.")
    if len(rows) > 1:
        raise BadRequest(
            f"Invalid volume: Detach volume {row.id} failed: more than one attachment, but no"
            " attachment_id provided."
        )
    return rows[0]


def detach(ctx: Context, volume_id: str) -> Reply:
    """End an attachment."""
    body: Detach = ctx.body if isinstance(ctx.body, Detach) else Detach()

    def ops(row: Volume) -> list[AnyOp]:
        if not body.attachment_id and not ctx.db.count(VolumeAttachment, volume_id=row.id):
            use = "" if row.use in ("attaching", "detaching", "reserved", "in-use") else row.use
            fields = {"use": use, "override": "", "updated_at": ctx.now()}
            return [check(row), patch(Volume, row.id, **fields)]
        one = _one(ctx, row, body.attachment_id)
        attach_rules.check_not_used(one)
        return attach_rules.end(ctx.db, row, one, ctx.now())

    return _commit(ctx, volume_id, _DETACH, ops)


def force_detach(ctx: Context, volume_id: str) -> Reply:
    """End an attachment whatever its state."""
    body: ForceDetach = ctx.body

    def ops(row: Volume) -> list[AnyOp]:
        one = _one(ctx, row, body.attachment_id)
        attach_rules.check_not_used(one)
        return attach_rules.end(ctx.db, row, one, ctx.now())

    return _commit(ctx, volume_id, "volume_extension:volume_admin_actions:force_detach", ops)


def reserve(ctx: Context, volume_id: str) -> Reply:
    """Hold a volume for an attachment to come."""

    def ops(row: Volume) -> list[AnyOp]:
        attach_rules.check_free(ctx.db, row, "")
        return [
            check(row),
            patch(Volume, row.id, use="attaching", override="", updated_at=ctx.now()),
        ]

    return _commit(ctx, volume_id, "volume_extension:volume_actions:reserve", ops)


def unreserve(ctx: Context, volume_id: str) -> Reply:
    """Let a volume go that was held for an attachment."""

    def ops(row: Volume) -> list[AnyOp]:
        if volume_rules.status(row) != "attaching":
            return []
        use = attach_rules.held_use(ctx.db, row)
        use = "" if use == "attaching" else use
        return [check(row), patch(Volume, row.id, use=use, override="", updated_at=ctx.now())]

    return _commit(ctx, volume_id, "volume_extension:volume_actions:unreserve", ops)


def begin_detaching(ctx: Context, volume_id: str) -> Reply:
    """Note that a volume is about to be detached."""

    def ops(row: Volume) -> list[AnyOp]:
        volume_rules.check_status(row, ("in-use",), "detach")
        return [
            check(row),
            patch(Volume, row.id, use="detaching", override="", updated_at=ctx.now()),
        ]

    return _commit(ctx, volume_id, "volume_extension:volume_actions:begin_detaching", ops)


def roll_detaching(ctx: Context, volume_id: str) -> Reply:
    """Note that a volume stays attached."""

    def ops(row: Volume) -> list[AnyOp]:
        if volume_rules.status(row) != "detaching":
            return []
        return [check(row), patch(Volume, row.id, use="in-use", override="", updated_at=ctx.now())]

    return _commit(ctx, volume_id, "volume_extension:volume_actions:roll_detaching", ops)


def initialize(ctx: Context, volume_id: str) -> Reply:
    """Tell how a host reaches a volume."""
    row = lookup.volume(ctx, volume_id, "volume_extension:volume_actions:initialize_connection")
    body: Connector = ctx.body
    if body.connector is None:
        raise BadRequest("Must specify 'connector'")
    return Reply(status=200, body={"connection_info": connection_info(ctx, row)})


def terminate(ctx: Context, volume_id: str) -> Reply:
    """Let a host's way to a volume go: there is nothing to undo."""
    lookup.volume(ctx, volume_id, "volume_extension:volume_actions:terminate_connection")
    return Reply(status=202)


def _route(action: str, handler: Any, body: Any = None, status: int = 202) -> Route:
    return Route(
        method="POST",
        path=_ACTION,
        action=action,
        handler=handler,
        policy="any",
        body=body,
        status=status,
    )


ROUTES = (
    _route("os-attach", attach, Attach),
    _route("os-detach", detach, Detach | None),
    _route("os-force_detach", force_detach, ForceDetach),
    _route("os-reserve", reserve),
    _route("os-unreserve", unreserve),
    _route("os-begin_detaching", begin_detaching),
    _route("os-roll_detaching", roll_detaching),
    _route("os-initialize_connection", initialize, Connector, 200),
    _route("os-terminate_connection", terminate, Connector),
)
