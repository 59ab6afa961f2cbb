"""Volumes: list, show, change, delete.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volumes-volumes
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.block import listing, lookup, requests, volume_rules, volume_view
from node.plugins.block.checks import LooseMetadata, Text255, text_or_none, texts
from node.plugins.block.tables import Snapshot, Volume, VolumeAttachment
from node.plugins.block.volume_filter import matching
from node.plugins.block.volume_ops import gone_ops
from node.sdk import AnyOp, BadRequest, Context, Frozen, NotFound, Reply, Route, check, patch

_SORT: Mapping[str, Callable[[Volume], Any]] = {
    "id": lambda row: row.id,
    "name": lambda row: row.name,
    "display_name": lambda row: row.name,
    "size": lambda row: row.size_gib,
    "status": volume_rules.status,
    "created_at": lambda row: row.created_at,
    "updated_at": lambda row: row.updated_at,
    "availability_zone": lambda row: row.zone,
    "bootable": lambda row: row.bootable,
    "host": lambda row: row.node_id,
    "volume_type_id": lambda row: row.type_id,
    "project_id": lambda row: row.project_id,
    "user_id": lambda row: row.user_id,
    "description": lambda row: row.description,
}
_DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")


class Change(Frozen, forbid_unknown_fields=True):
    """`volume` of an update request."""

    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    display_name: Text255 | UnsetType | None = UNSET
    display_description: Text255 | UnsetType | None = UNSET
    metadata: LooseMetadata | UnsetType | None = UNSET


class UpdateBody(Frozen):
    """Body of PUT /volumes/{id}."""

    volume: Change


def no_id(ctx: Context) -> Reply:
    """Say that a path without a volume's id names nothing."""
    raise NotFound(f"The resource could not be found: {ctx.path}")


def index(ctx: Context) -> dict[str, Any]:
    """List volumes."""
    if ctx.raw_path.partition("?")[0].endswith("/"):
        no_id(ctx)
    ctx.require("volume:get_all", {"project_id": ctx.project_id})
    found = matching(ctx)
    rows, more = listing.page(ctx, found, key=lambda row: row.id, collection="volumes", sort=_SORT)
    shown = [volume_view.summary(ctx, row) for row in rows]
    return {"volumes": shown, **more, **listing.count_of(ctx, len(found))}


def detail(ctx: Context) -> dict[str, Any]:
    """List volumes with all that is shown of them."""
    ctx.require("volume:get_all", {"project_id": ctx.project_id})
    found = matching(ctx)
    rows, more = listing.page(ctx, found, key=lambda row: row.id, collection="volumes", sort=_SORT)
    known = volume_view.around(ctx, rows)
    shown = [volume_view.detail(ctx, row, known) for row in rows]
    return {"volumes": shown, **more, **listing.count_of(ctx, len(found))}


def summary(ctx: Context) -> dict[str, Any]:
    """Count volumes and their sizes (3.12)."""
    ctx.require("volume:get_all", {"project_id": ctx.project_id})
    rows = matching(ctx)
    view: dict[str, Any] = {
        "total_count": len(rows),
        "total_size": sum(row.size_gib for row in rows),
    }
    if ctx.microversion >= (3, 36):
        metadata: dict[str, list[str]] = {}
        for row in rows:
            for name, value in row.metadata.items():
                values = metadata.setdefault(name, [])
                if value not in values:
                    values.append(value)
        view["metadata"] = metadata
    return {"volume-summary": view}


def show(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Show a volume."""
    row = lookup.volume(ctx, volume_id, "volume:get")
    return {"volume": volume_view.detail(ctx, row, volume_view.around(ctx, [row]))}


def update(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Change name, description and metadata."""
    body: Change = ctx.body.volume
    fields: dict[str, Any] = {}
    for name, target in (
        ("display_name", "name"),
        ("display_description", "description"),
        ("name", "name"),
        ("description", "description"),
    ):
        value = getattr(body, name)
        if value is not UNSET:
            fields[target] = text_or_none(value)
    if body.metadata is not UNSET:
        fields["metadata"] = texts(body.metadata or {})
    if not fields:
        raise BadRequest("None is not a valid volume: nothing is to be changed")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.volume(ctx, volume_id, "volume:update")
        return [check(row), patch(Volume, row.id, updated_at=ctx.now(), **fields)], None

    requests.transact(ctx, plan)
    row = lookup.volume(ctx, volume_id)
    view = volume_view.created(ctx, row, volume_view.around(ctx, [row]))
    view.pop("migration_status", None)
    return {"volume": view}


def delete(ctx: Context, volume_id: str) -> Reply:
    """Delete a volume, with its snapshots where `cascade` says so."""
    cascade = listing.boolean(ctx.param("cascade", "false"), "cascade")
    force = ctx.microversion >= (3, 23) and listing.boolean(ctx.param("force", "false"), "force")
    if force:
        lookup.volume(ctx, volume_id, "volume:force_delete")
    remove(ctx, volume_id, "volume:delete", cascade=cascade, force=force)
    return Reply(status=202)


def remove(ctx: Context, volume_id: str, rule: str, *, cascade: bool, force: bool) -> None:
    """Have a volume removed.

    Raises:
        BadRequest: 400, its state does not allow it.
    """

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.volume(ctx, volume_id, rule)
        return removal(ctx, row, cascade=cascade, force=force), None

    ctx.transact(plan, frees=True)


def removal(ctx: Context, row: Volume, *, cascade: bool, force: bool) -> list[AnyOp]:
    """Return the operations that have a volume removed.

    Raises:
        BadRequest: 400, its state does not allow it.
    """
    now = volume_rules.status(row)
    if now == "deleting":
        return []
    attached = ctx.db.rows(VolumeAttachment, volume_id=row.id)
    idle = now in _DELETABLE or (now == "error_deleting")
    if attached or row.migration_status in ("migrating", "starting") or (not idle and not force):
        raise BadRequest(
            "Invalid volume: Volume status must be available or error or error_restoring or"
            " error_extending or error_managing and must not be migrating, attached, belong to a"
            " group, have snapshots, awaiting a transfer, or be disassociated from snapshots"
            f" after volume transfer. Volume {row.id} is {now}."
        )
    if row.group_id and not cascade and not force:
        raise BadRequest(
            f"Invalid volume: Volume {row.id} belongs to group {row.group_id}: remove it there first."
        )
    snapshots = ctx.db.rows(Snapshot, volume_id=row.id)
    if snapshots and not cascade:
        raise BadRequest(
            f"Invalid volume: Volume {row.id} still has {len(snapshots)} dependent snapshots."
        )
    if ctx.db.count(Volume, source_volume_id=row.id, job_done=0):
        raise BadRequest(f"Invalid volume: Volume {row.id} is being cloned.")
    if not row.node_id:
        return gone_ops(row)
    fields = {"want": "absent", "override": "", "fault": "", "updated_at": ctx.now()}
    ops: list[AnyOp] = [check(row), patch(Volume, row.id, **fields)]
    for one in snapshots:
        ops += [check(one), patch(Snapshot, one.id, **fields)]
    return ops


ROUTES = (
    Route(method="GET", path="/v3/volumes", handler=index, policy="volume:get_all"),
    Route(method="PUT", path="/v3/volumes", handler=no_id, policy="any"),
    Route(method="DELETE", path="/v3/volumes", handler=no_id, policy="any"),
    Route(method="GET", path="/v3/volumes/detail", handler=detail, policy="volume:get_all"),
    Route(
        method="GET",
        path="/v3/volumes/summary",
        handler=summary,
        policy="volume:get_all",
        since="3.12",
    ),
    Route(method="GET", path="/v3/volumes/{volume_id}", handler=show, policy="any"),
    Route(
        method="PUT",
        path="/v3/volumes/{volume_id}",
        handler=update,
        policy="any",
        body=UpdateBody,
    ),
    Route(
        method="DELETE", path="/v3/volumes/{volume_id}", handler=delete, policy="any", status=202
    ),
)
