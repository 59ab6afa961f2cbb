"""Groups of volumes.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#generic-volume-groups-groups
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.block import listing, lookup, quota_rules, requests, volume_api, volume_rules
from node.plugins.block.checks import Name, Text255, text_or_none
from node.plugins.block.listing import boolean, stamp
from node.plugins.block.tables import Group, GroupSnapshot, Volume
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

_STATUSES = ("creating", "available", "deleting", "error", "error_deleting", "updating")
_SORT: Mapping[str, Callable[[Group], Any]] = {
    "id": lambda row: row.id,
    "name": lambda row: row.name,
    "status": lambda row: row.status,
    "group_type": lambda row: row.group_type_id,
    "created_at": lambda row: row.created_at,
}


class NewGroup(Frozen):
    """`group` of a create request."""

    group_type: Name
    volume_types: list[Name]
    name: Text255 | None = None
    description: Text255 | None = None
    availability_zone: Text255 | None = None


class CreateBody(Frozen):
    """Body of POST /groups."""

    group: NewGroup


class Change(Frozen, forbid_unknown_fields=True):
    """`group` of an update request."""

    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    add_volumes: str | UnsetType | None = UNSET
    remove_volumes: str | UnsetType | None = UNSET


class UpdateBody(Frozen):
    """Body of PUT /groups/{id}."""

    group: Change


class DeleteAction(Frozen, forbid_unknown_fields=True):
    """Value of `delete`."""

    delete_volumes: bool | str = msgspec.field(default=False, name="delete-volumes")


class Status(Frozen, forbid_unknown_fields=True):
    """Value of `reset_status`."""

    status: Text255


def view(ctx: Context, row: Group) -> dict[str, Any]:
    """Return a group as JSON."""
    shown: dict[str, Any] = {
        "id": row.id,
        "status": status(ctx, row),
        "availability_zone": row.zone,
        "created_at": stamp(row.created_at),
        "name": row.name,
        "description": row.description,
        "group_type": row.group_type_id,
        "volume_types": row.type_ids,
    }
    if ctx.microversion >= (3, 14):
        shown["group_snapshot_id"] = row.group_snapshot_id or None
        shown["source_group_id"] = row.source_group_id or None
    if ctx.microversion >= (3, 25) and boolean(ctx.param("list_volume", "false"), "list_volume"):
        shown["volumes"] = [one.id for one in ctx.db.rows(Volume, group_id=row.id)]
    if ctx.microversion >= (3, 38):
        shown["replication_status"] = "disabled"
    if ctx.microversion >= (3, 58) and ctx.token.is_admin:
        shown["project_id"] = row.project_id
    return shown


def status(ctx: Context, row: Group) -> str:
    """Return a group's status: one that was made of another is there once its volumes are."""
    if row.status != "available" or not (row.group_snapshot_id or row.source_group_id):
        return row.status
    found = {volume_rules.status(one) for one in ctx.db.rows(Volume, group_id=row.id)}
    return "error" if "error" in found else "creating" if "creating" in found else row.status


def _list(ctx: Context, shown: Callable[[Group], dict[str, Any]]) -> dict[str, Any]:
    rows = listing.own_rows(ctx, Group)
    for name in ("name", "status"):
        wanted = ctx.param(name)
        if wanted is not None:
            rows = [row for row in rows if getattr(row, name) == wanted]
    found, more = listing.page(ctx, rows, key=lambda row: row.id, collection="groups", sort=_SORT)
    return {"groups": [shown(row) for row in found], **more}


def index(ctx: Context) -> dict[str, Any]:
    """List groups."""
    return _list(ctx, lambda row: {"id": row.id, "name": row.name})


def detail(ctx: Context) -> dict[str, Any]:
    """List groups with all that is shown of them."""
    return _list(ctx, lambda row: view(ctx, row))


def show(ctx: Context, group_id: str) -> dict[str, Any]:
    """Show a group."""
    return {"group": view(ctx, lookup.group(ctx, group_id, "group:get"))}


def create(ctx: Context) -> Reply:
    """Create a group."""
    new: NewGroup = ctx.body.group
    if new.availability_zone not in (None, "", "nova"):
        raise BadRequest(
            f"Invalid input received: Availability zone '{new.availability_zone}' is invalid."
        )
    if not new.volume_types:
        raise BadRequest("Invalid input received: volume_types must be provided to create a group.")

    def plan() -> tuple[list[AnyOp], Group]:
        kind = lookup.group_type(ctx, new.group_type)
        types = [lookup.volume_type(ctx, one) for one in new.volume_types]
        row = new_row(
            ctx,
            kind.id,
            [one.id for one in types],
            {"name": text_or_none(new.name), "description": text_or_none(new.description)},
        )
        ops = quota_rules.take(ctx.db, ctx.config, ctx.project_id, {"groups": 1})
        return [insert(row), check(kind), *ops], row

    row = requests.transact(ctx, plan)
    return Reply(status=202, body={"group": {"id": row.id, "name": row.name}})


def new_row(ctx: Context, kind_id: str, type_ids: list[str], fields: dict[str, Any]) -> Group:
    """Return the row of a new group."""
    return Group(
        id=ctx.ids.uuid(),
        created_at=ctx.now(),
        updated_at=ctx.now(),
        project_id=ctx.project_id,
        user_id=ctx.token.user_id,
        group_type_id=kind_id,
        type_ids=type_ids,
        **fields,
    )


def update(ctx: Context, group_id: str) -> Reply:
    """Change a group: its name, its description, its volumes."""
    body: Change = ctx.body.group
    added, removed = _ids(body.add_volumes), _ids(body.remove_volumes)
    fields: dict[str, Any] = {}
    for name in ("name", "description"):
        if getattr(body, name) not in (UNSET, None):
            fields[name] = text_or_none(getattr(body, name))
    if not fields and not added and not removed:
        raise BadRequest(
            "Name, description, add_volumes, and remove_volumes can not be all empty in the request body."
        )

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.group(ctx, group_id, "group:update")
        if row.status != "available":
            raise BadRequest(f"Invalid group: Group status must be available, but is {row.status}.")
        ops: list[AnyOp] = [check(row), patch(Group, row.id, updated_at=ctx.now(), **fields)]
        for one in added:
            ops += _join(ctx, row, lookup.volume(ctx, one))
        for one in removed:
            volume = lookup.volume(ctx, one)
            if volume.group_id != row.id:
                raise BadRequest(
                    f"Invalid volume: Cannot remove volume {one} from group {row.id}: it is not in it."
                )
            ops += [check(volume), patch(Volume, volume.id, group_id="", updated_at=ctx.now())]
        return ops, None

    ctx.transact(plan)
    return Reply(status=202)


def _ids(text: object) -> list[str]:
    if not isinstance(text, str):
        return []
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _join(ctx: Context, row: Group, volume: Volume) -> list[AnyOp]:
    if volume.group_id == row.id:
        return []
    if volume.group_id:
        raise BadRequest(
            f"Invalid volume: Volume {volume.id} is in group {volume.group_id} already."
        )
    if volume.type_id not in row.type_ids:
        raise BadRequest(
            f"Invalid volume: Volume type of {volume.id} is not supported by the group."
        )
    if volume_rules.status(volume) not in ("available", "in-use"):
        raise BadRequest(f"Invalid volume: Volume {volume.id} must be available or in-use.")
    return [check(volume), patch(Volume, volume.id, group_id=row.id, updated_at=ctx.now())]


def remove(ctx: Context, group_id: str) -> Reply:
    """Delete a group, with its volumes where the request says so."""
    with_volumes = boolean(ctx.body.delete_volumes, "delete_volumes")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.group(ctx, group_id, "group:delete")
        if row.status not in ("available", "error"):
            raise BadRequest(
                f"Invalid group: Group status must be available or error, but is {row.status}."
            )
        if ctx.db.count(GroupSnapshot, group_id=row.id):
            raise BadRequest(f"Invalid group: Group {row.id} has group snapshots.")
        members = ctx.db.rows(Volume, group_id=row.id)
        if members and not with_volumes:
            raise BadRequest(
                f"Invalid group: Group {row.id} still contains volumes. The delete-volumes flag is"
                " required to delete it."
            )
        ops: list[AnyOp] = [check(row), delete(Group, row.id, must_exist=True)]
        for one in members:
            ops += volume_api.removal(ctx, one, cascade=True, force=False)
        return [*ops, *quota_rules.give_back(row.project_id, {"groups": 1})], None

    ctx.transact(plan, frees=True)
    return Reply(status=202)


def reset_status(ctx: Context, group_id: str) -> Reply:
    """Set a group's status (3.20)."""
    wanted = ctx.body.status
    if wanted not in _STATUSES:
        raise BadRequest(f"Must specify a valid status: {wanted} is none")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.group(ctx, group_id, "group:reset_status")
        return [check(row), patch(Group, row.id, status=wanted, updated_at=ctx.now())], None

    ctx.transact(plan)
    return Reply(status=202)


def replication(ctx: Context, group_id: str) -> Reply:
    """Refuse: no group type of this cloud has replication of its own; volumes are replicated anyway (3.38)."""
    row = lookup.group(ctx, group_id, "group:get")
    raise BadRequest(f"Invalid group type: Group {row.id} has no replication to be driven.")


_GROUP = "/v3/groups/{group_id}"


def _route(method: str, path: str, handler: Any, policy: str, since: str, **more: Any) -> Route:
    return Route(method=method, path=path, handler=handler, policy=policy, since=since, **more)


def _action(action: str, handler: Any, since: str, body: Any = None) -> Route:
    return _route(
        "POST", f"{_GROUP}/action", handler, "any", since, action=action, body=body, status=202
    )


ROUTES = (
    _route("GET", "/v3/groups", index, "group:get_all", "3.13"),
    _route("GET", "/v3/groups/detail", detail, "group:get_all", "3.13"),
    _route("POST", "/v3/groups", create, "group:create", "3.13", body=CreateBody, status=202),
    _route("GET", _GROUP, show, "any", "3.13"),
    _route("PUT", _GROUP, update, "any", "3.13", body=UpdateBody, status=202),
    _action("delete", remove, "3.13", DeleteAction),
    _action("reset_status", reset_status, "3.20", Status),
    _action("enable_replication", replication, "3.38"),
    _action("disable_replication", replication, "3.38"),
    _action("failover_replication", replication, "3.38"),
    _action("list_replication_targets", replication, "3.38"),
)
