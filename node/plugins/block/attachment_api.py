"""Attachments of volumes, the new way (3.27).

Source: https://docs.openstack.org/api-ref/block-storage/v3/#attachments-attachments
"""

from collections.abc import Callable, Mapping
from typing import Any

from node.plugins.block import attach_rules, listing, lookup, volume_rules
from node.plugins.block.checks import is_uuid, reference
from node.plugins.block.connection_view import connection_info
from node.plugins.block.faults import field_error
from node.plugins.block.listing import stamp
from node.plugins.block.tables import Volume, VolumeAttachment
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    NodeRow,
    Reply,
    Route,
)

_SORT: Mapping[str, Callable[[VolumeAttachment], Any]] = {
    "id": lambda row: row.id,
    "created_at": lambda row: row.created_at,
    "volume_id": lambda row: row.volume_id,
    "attach_status": lambda row: row.status,
}


class New(Frozen):
    """`attachment` of a create request."""

    volume_uuid: str
    instance_uuid: str | None = None
    connector: dict[str, Any] | None = None
    mode: str | None = None


class CreateBody(Frozen):
    """Body of POST /attachments."""

    attachment: New


class Change(Frozen):
    """`attachment` of an update request."""

    connector: dict[str, Any]


class UpdateBody(Frozen):
    """Body of PUT /attachments/{id}."""

    attachment: Change


def brief(row: VolumeAttachment) -> dict[str, Any]:
    """Return the entry of a list without details."""
    return {
        "id": row.id,
        "status": row.status,
        "instance": row.server_id or None,
        "volume_id": row.volume_id,
    }


def view(ctx: Context, row: VolumeAttachment) -> dict[str, Any]:
    """Return an attachment as JSON."""
    info: dict[str, Any] = {}
    volume = ctx.db.get(Volume, row.volume_id)
    if row.connector and volume is not None:
        info = connection_info(ctx, volume, row.mode)
        info = {"driver_volume_type": info["driver_volume_type"], **info["data"]}
        info["attachment_id"] = row.id
    return {
        **brief(row),
        "attached_at": stamp(row.attached_at) or "",
        "detached_at": "",
        "attach_mode": row.mode,
        "connection_info": info,
    }


def _rows(ctx: Context) -> list[VolumeAttachment]:
    if listing.all_tenants(ctx):
        rows = ctx.db.rows(VolumeAttachment)
    else:
        rows = [row for row in ctx.db.rows(VolumeAttachment) if row.project_id == ctx.project_id]
    for name, field in (
        ("volume_id", "volume_id"),
        ("instance_id", "server_id"),
        ("instance_uuid", "server_id"),
        ("status", "status"),
        ("attach_status", "status"),
        ("attach_mode", "mode"),
        ("id", "id"),
    ):
        wanted = ctx.param(name)
        if wanted is not None:
            rows = [row for row in rows if getattr(row, field) == wanted]
    return rows


def _list(ctx: Context, shown: Callable[[VolumeAttachment], dict[str, Any]]) -> dict[str, Any]:
    found, more = listing.page(
        ctx, _rows(ctx), key=lambda row: row.id, collection="attachments", sort=_SORT
    )
    return {"attachments": [shown(row) for row in found], **more}


def index(ctx: Context) -> dict[str, Any]:
    """List attachments."""
    return _list(ctx, brief)


def detail(ctx: Context) -> dict[str, Any]:
    """List attachments with all that is shown of them."""
    return _list(ctx, lambda row: view(ctx, row))


def show(ctx: Context, attachment_id: str) -> dict[str, Any]:
    """Show an attachment."""
    return {"attachment": view(ctx, lookup.attachment(ctx, attachment_id))}


def _connected(ctx: Context, connector: Mapping[str, Any] | None) -> dict[str, Any]:
    if not connector:
        return {}
    host = str(connector.get("host", ""))
    node = ctx.db.one(NodeRow, name=host) if host else None
    return {
        "connector": {str(name): str(value) for name, value in connector.items()},
        "host": host,
        "node_id": node.id if node else "",
        "status": "attaching",
        "device": str(connector.get("mountpoint") or ""),
    }


def create(ctx: Context) -> dict[str, Any]:
    """Hold a volume for a server or a host."""
    new: New = ctx.body.attachment
    volume_id = reference(new.volume_uuid, "volume_uuid")
    if new.instance_uuid and not is_uuid(new.instance_uuid):
        raise field_error("instance_uuid", new.instance_uuid, "It is not a 'uuid'")
    mode = new.mode or str((new.connector or {}).get("mode") or "rw")
    if mode not in ("rw", "ro"):
        raise field_error("mode", mode, "It is not one of ['rw', 'ro']")

    def plan() -> tuple[list[AnyOp], VolumeAttachment]:
        volume = lookup.volume(ctx, volume_id, "volume:attachment_create")
        fields: dict[str, Any] = {"status": "reserved", "mode": mode}
        fields |= _connected(ctx, new.connector)
        wished = VolumeAttachment(
            id=ctx.ids.uuid(),
            volume_id=volume.id,
            project_id=volume.project_id,
            server_id=new.instance_uuid or "",
            **fields,
        )
        return attach_rules.reserve(ctx.db, volume, wished, ctx.now()), wished

    row = ctx.transact(plan)
    return {"attachment": view(ctx, ctx.db.get(VolumeAttachment, row.id) or row)}


def _put(
    ctx: Context, attachment_id: str, rule: str, change: Callable[[Volume, VolumeAttachment], Any]
) -> None:
    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.attachment(ctx, attachment_id, rule)
        volume = lookup.volume(ctx, row.volume_id)
        return change(volume, row), None

    ctx.transact(plan)


def update(ctx: Context, attachment_id: str) -> dict[str, Any]:
    """Say which host an attachment is for."""
    connector = ctx.body.attachment.connector
    if not connector:
        raise BadRequest("Invalid input for field/attribute connector. Value: {}.")

    def change(volume: Volume, row: VolumeAttachment) -> list[AnyOp]:
        if row.status not in ("reserved", "attaching"):
            raise BadRequest(f"Invalid volume: Attachment {row.id} is {row.status}.")
        fields = _connected(ctx, connector)
        fields.pop("status")
        return attach_rules.set_status(ctx.db, volume, row, "attaching", ctx.now(), **fields)

    _put(ctx, attachment_id, "volume:attachment_update", change)
    return {"attachment": view(ctx, lookup.attachment(ctx, attachment_id))}


def complete(ctx: Context, attachment_id: str) -> Reply:
    """Note that the host has the volume (3.44)."""

    def change(volume: Volume, row: VolumeAttachment) -> list[AnyOp]:
        if row.status not in ("attaching", "reserved", "attached"):
            raise BadRequest(f"Invalid volume: Attachment {row.id} is {row.status}.")
        if volume_rules.status(volume) not in ("attaching", "in-use", "reserved"):
            raise BadRequest("Invalid volume: Volume status must be attaching or in-use.")
        return attach_rules.set_status(ctx.db, volume, row, "attached", ctx.now())

    _put(ctx, attachment_id, "volume:attachment_complete", change)
    return Reply(status=204)


def remove(ctx: Context, attachment_id: str) -> dict[str, Any]:
    """End an attachment; one that a running server uses must be detached from it."""

    def change(volume: Volume, row: VolumeAttachment) -> list[AnyOp]:
        attach_rules.check_not_used(row)
        return attach_rules.end(ctx.db, volume, row, ctx.now())

    volume_id = lookup.attachment(ctx, attachment_id).volume_id
    _put(ctx, attachment_id, "volume:attachment_delete", change)
    left = ctx.db.rows(VolumeAttachment, volume_id=volume_id)
    return {"attachments": [brief(row) for row in left]}


_ONE = "/v3/attachments/{attachment_id}"


def _route(method: str, path: str, handler: Any, **more: Any) -> Route:
    since = more.pop("since", "3.27")
    return Route(method=method, path=path, handler=handler, policy="any", since=since, **more)


ROUTES = (
    _route("GET", "/v3/attachments", index),
    _route("GET", "/v3/attachments/detail", detail),
    _route("POST", "/v3/attachments", create, body=CreateBody),
    _route("GET", _ONE, show),
    _route("PUT", _ONE, update, body=UpdateBody),
    _route("DELETE", _ONE, remove),
    _route("POST", f"{_ONE}/action", complete, action="os-complete", status=204, since="3.44"),
)
