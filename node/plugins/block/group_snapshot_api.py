"""Snapshots of groups, and groups made from them or from other groups.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#group-snapshots-group-snapshots
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from node.plugins.block import (
    group_api,
    listing,
    lookup,
    quota_rules,
    requests,
    snapshot_api,
    volume_create_api,
    volume_rules,
)
from node.plugins.block.checks import Text255, reference, text_or_none
from node.plugins.block.listing import stamp
from node.plugins.block.tables import Group, GroupSnapshot, Snapshot, Volume
from node.plugins.block.volume_ops import new_snapshot_ops
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    Reply,
    Route,
    check,
    delete,
    insert,
    patch,
)

_SORT: Mapping[str, Callable[[GroupSnapshot], Any]] = {
    "id": lambda row: row.id,
    "name": lambda row: row.name,
    "created_at": lambda row: row.created_at,
    "group_id": lambda row: row.group_id,
}
_STATUSES = ("creating", "available", "deleting", "error", "error_deleting")


class New(Frozen):
    """`group_snapshot` of a create request."""

    group_id: str
    name: Text255 | None = None
    description: Text255 | None = None


class CreateBody(Frozen):
    """Body of POST /group_snapshots."""

    group_snapshot: New


class Source(Frozen):
    """Value of `create-from-src`."""

    name: Text255 | None = None
    description: Text255 | None = None
    group_snapshot_id: str | None = None
    source_group_id: str | None = None


class Status(Frozen, forbid_unknown_fields=True):
    """Value of `reset_status`."""

    status: Text255


def _members(ctx: Context, row: GroupSnapshot) -> list[Snapshot]:
    return ctx.db.rows(Snapshot, group_snapshot_id=row.id)


def view(ctx: Context, row: GroupSnapshot) -> dict[str, Any]:
    """Return a group snapshot as JSON."""
    shown: dict[str, Any] = {
        "id": row.id,
        "group_id": row.group_id,
        "group_type_id": row.group_type_id,
        "status": volume_rules.group_snapshot_status(row, _members(ctx, row)),
        "created_at": stamp(row.created_at),
        "name": row.name,
        "description": row.description,
    }
    if ctx.microversion >= (3, 58) and ctx.token.is_admin:
        shown["project_id"] = row.project_id
    return shown


def _list(ctx: Context, shown: Callable[[GroupSnapshot], dict[str, Any]]) -> dict[str, Any]:
    rows = listing.own_rows(ctx, GroupSnapshot)
    for name in ("name", "group_id", "id"):
        wanted = ctx.param(name)
        if wanted is not None:
            rows = [row for row in rows if getattr(row, name) == wanted]
    wanted = ctx.param("status")
    if wanted is not None:
        rows = [
            row
            for row in rows
            if volume_rules.group_snapshot_status(row, _members(ctx, row)) == wanted
        ]
    found, more = listing.page(
        ctx, rows, key=lambda row: row.id, collection="group_snapshots", sort=_SORT
    )
    return {"group_snapshots": [shown(row) for row in found], **more}


def index(ctx: Context) -> dict[str, Any]:
    """List group snapshots."""
    return _list(ctx, lambda row: {"id": row.id, "name": row.name})


def detail(ctx: Context) -> dict[str, Any]:
    """List group snapshots with all that is shown of them."""
    return _list(ctx, lambda row: view(ctx, row))


def show(ctx: Context, group_snapshot_id: str) -> dict[str, Any]:
    """Show a group snapshot."""
    row = lookup.group_snapshot(ctx, group_snapshot_id, "group:get_group_snapshot")
    return {"group_snapshot": view(ctx, row)}


def create(ctx: Context) -> Reply:
    """Snapshot all volumes of a group."""
    new: New = ctx.body.group_snapshot
    group_id = reference(new.group_id, "group_id")

    def plan() -> tuple[list[AnyOp], GroupSnapshot]:
        group = lookup.group(ctx, group_id, "group:create_group_snapshot")
        volumes = ctx.db.rows(Volume, group_id=group.id)
        if not volumes:
            raise BadRequest(
                f"Invalid group: Group {group.id} is empty. No group snapshot will be created."
            )
        row = GroupSnapshot(
            id=ctx.ids.uuid(),
            created_at=ctx.now(),
            updated_at=ctx.now(),
            project_id=ctx.project_id,
            user_id=ctx.token.user_id,
            name=text_or_none(new.name),
            description=text_or_none(new.description),
            group_id=group.id,
            group_type_id=group.group_type_id,
        )
        ops: list[AnyOp] = [insert(row), check(group), patch(Group, group.id, updated_at=ctx.now())]
        for volume in volumes:
            volume_rules.check_status(volume, ("available", "in-use"), "snapshot")
            fields = {"name": row.name, "description": row.description, "group_snapshot_id": row.id}
            member = snapshot_api.of_volume(ctx, volume, fields)
            ops += [*snapshot_api.held(volume), *new_snapshot_ops(ctx.db, ctx.config, member)]
        return ops, row

    row = requests.transact(ctx, plan)
    shown = {"id": row.id, "name": row.name, "group_type_id": row.group_type_id}
    return Reply(status=202, body={"group_snapshot": shown})


def remove(ctx: Context, group_snapshot_id: str) -> Reply:
    """Delete a group snapshot and the snapshots in it."""

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.group_snapshot(ctx, group_snapshot_id, "group:delete_group_snapshot")
        members = _members(ctx, row)
        now = volume_rules.group_snapshot_status(row, members)
        if now not in ("available", "error"):
            raise BadRequest(
                f"Invalid group snapshot: Group snapshot status must be available or error, but is {now}."
            )
        if ctx.db.count(Group, group_snapshot_id=row.id):
            pending = [
                volume
                for member in members
                for volume in ctx.db.rows(Volume, snapshot_id=member.id)
                if volume_rules.is_busy(volume)
            ]
            if pending:
                raise BadRequest("Invalid group snapshot: a group is being made from it.")
        ops: list[AnyOp] = [check(row), delete(GroupSnapshot, row.id, must_exist=True)]
        fields = {
            "want": "absent",
            "override": "",
            "group_snapshot_id": "",
            "updated_at": ctx.now(),
        }
        for member in members:
            ops += [check(member), patch(Snapshot, member.id, **fields)]
        return ops, None

    ctx.transact(plan, frees=True)
    return Reply(status=202)


def reset_status(ctx: Context, group_snapshot_id: str) -> Reply:
    """Set a group snapshot's status (3.19)."""
    wanted = ctx.body.status
    if wanted not in _STATUSES:
        raise BadRequest(f"Must specify a valid status: {wanted} is none")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.group_snapshot(ctx, group_snapshot_id, "group:reset_group_snapshot_status")
        return [
            check(row),
            patch(GroupSnapshot, row.id, override=wanted, updated_at=ctx.now()),
        ], None

    ctx.transact(plan)
    return Reply(status=202)


def create_from_source(ctx: Context) -> Reply:
    """Make a group, and volumes in it, from a group snapshot or another group."""
    new: Source = ctx.body
    if bool(new.group_snapshot_id) == bool(new.source_group_id):
        raise BadRequest(
            "Either 'group_snapshot_id' or 'source_group_id' must be provided to create a group"
            " from source, and not both."
        )

    def plan() -> tuple[list[AnyOp], Group]:
        fields = {"name": text_or_none(new.name), "description": text_or_none(new.description)}
        snapshots, sources = _sources(ctx, new)
        origin_id = sources[0].group_id if sources else _origin(ctx, snapshots)
        origin = ctx.db.get(Group, origin_id)
        types = list(origin.type_ids) if origin else []
        row = group_api.new_row(ctx, origin.group_type_id if origin else "", types, fields)
        row = msgspec.structs.replace(
            row,
            group_snapshot_id=new.group_snapshot_id or "",
            source_group_id=new.source_group_id or "",
        )
        ops: list[AnyOp] = [insert(row)]
        for snapshot in snapshots:
            order = volume_create_api.order(ctx, size=None, snapshot_id=snapshot.id)
            ops += volume_create_api.planned(ctx, order, {**fields, "group_id": row.id})[1]
        for source in sources:
            order = volume_create_api.order(ctx, size=None, source_id=source.id)
            ops += volume_create_api.planned(ctx, order, {**fields, "group_id": row.id})[1]
        ops += quota_rules.take(ctx.db, ctx.config, ctx.project_id, {"groups": 1})
        return ops, row

    row = requests.transact(ctx, plan)
    return Reply(status=202, body={"group": {"id": row.id, "name": row.name}})


def _sources(ctx: Context, new: Source) -> tuple[list[Snapshot], list[Volume]]:
    if new.group_snapshot_id:
        row = lookup.group_snapshot(ctx, new.group_snapshot_id, "group:get_group_snapshot")
        found = _members(ctx, row)
        if not found:
            raise BadRequest("Invalid group snapshot: it is empty.")
        return found, []
    group = lookup.group(ctx, new.source_group_id or "", "group:get")
    volumes = ctx.db.rows(Volume, group_id=group.id)
    if not volumes:
        raise BadRequest("Invalid group: Source group is empty.")
    return [], volumes


def _origin(ctx: Context, snapshots: list[Snapshot]) -> str:
    row = ctx.db.get(GroupSnapshot, snapshots[0].group_snapshot_id)
    return row.group_id if row else ""


_ONE = "/v3/group_snapshots/{group_snapshot_id}"


def _route(method: str, path: str, handler: Any, policy: str, **more: Any) -> Route:
    since = more.pop("since", "3.14")
    return Route(method=method, path=path, handler=handler, policy=policy, since=since, **more)


_ALL = "group:get_all_group_snapshots"
ROUTES = (
    _route("GET", "/v3/group_snapshots", index, _ALL),
    _route("GET", "/v3/group_snapshots/detail", detail, _ALL),
    _route("POST", "/v3/group_snapshots", create, "any", body=CreateBody, status=202),
    _route("GET", _ONE, show, "any"),
    _route("DELETE", _ONE, remove, "any", status=202),
    _route(
        "POST",
        f"{_ONE}/action",
        reset_status,
        "any",
        action="reset_status",
        body=Status,
        status=202,
        since="3.19",
    ),
    _route(
        "POST",
        "/v3/groups/action",
        create_from_source,
        "group:create",
        action="create-from-src",
        body=Source,
        status=202,
    ),
)
