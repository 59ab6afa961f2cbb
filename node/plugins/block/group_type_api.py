"""Group types and their specs.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#group-types
"""

from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.block import listing, lookup
from node.plugins.block.checks import Specs, Text255, specs_of
from node.plugins.block.listing import boolean
from node.plugins.block.tables import Group, GroupType
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NodeError,
    NotFound,
    Refused,
    Reply,
    Route,
    check,
    delete,
    insert,
    patch,
)

_MANAGE = "group:group_types:{}"
_SPECS = "group:group_types_specs:{}"
_SINCE = "3.11"


class NewType(Frozen):
    """`group_type` of a create request."""

    name: Text255
    description: Text255 | None = None
    is_public: bool | str | None = True
    group_specs: Specs | None = None


class CreateBody(Frozen):
    """Body of POST /group_types."""

    group_type: NewType


class TypeChange(Frozen):
    """`group_type` of an update request."""

    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    is_public: bool | str | UnsetType | None = UNSET


class UpdateBody(Frozen):
    """Body of PUT /group_types/{id}."""

    group_type: TypeChange


class SpecsBody(Frozen):
    """Body of POST group_specs."""

    group_specs: Specs


def view(ctx: Context, row: GroupType) -> dict[str, Any]:
    """Return a group type as JSON."""
    shown: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "is_public": row.is_public,
    }
    if ctx.allows("group:access_group_types_specs"):
        shown["group_specs"] = row.specs
    return shown


def index(ctx: Context) -> dict[str, Any]:
    """List group types."""
    rows = [row for row in ctx.db.rows(GroupType) if row.is_public or ctx.token.is_admin]
    text = ctx.param("is_public")
    if ctx.token.is_admin and (text or "").lower() != "none":
        public = True if text is None else boolean(text, "is_public")
        rows = [row for row in rows if row.is_public is public]
    found, more = listing.page(
        ctx,
        rows,
        key=lambda row: row.id,
        collection="group_types",
        sort={
            "created_at": lambda row: row.created_at,
            "id": lambda row: row.id,
            "name": lambda row: row.name,
        },
    )
    return {"group_types": [view(ctx, row) for row in found], **more}


def show(ctx: Context, group_type_id: str) -> dict[str, Any]:
    """Show a group type; `default` is the one that is named so in no configuration."""
    if group_type_id == "default":
        raise NotFound("Default group type can not be found.")
    return {"group_type": view(ctx, lookup.group_type(ctx, group_type_id))}


def create(ctx: Context) -> Reply:
    """Create a group type."""
    new: NewType = ctx.body.group_type
    if not new.name.strip():
        raise BadRequest("Invalid input received: Group type name can not be empty.")
    row = GroupType(
        id=ctx.ids.uuid(),
        created_at=ctx.now(),
        updated_at=ctx.now(),
        name=new.name.strip(),
        description=new.description,
        is_public=boolean(new.is_public, "is_public"),
        specs=specs_of(new.group_specs or {}),
    )
    ctx.transact(lambda: ([insert(row)], None), refused=_taken(row.name))
    return Reply(status=202, body={"group_type": view(ctx, row)})


def _taken(name: str) -> Any:
    def refused(outcome: Refused) -> NodeError | None:
        if outcome.reason == "unique":
            return Conflict(f"Group Type {name} already exists.")
        return None

    return refused


def update(ctx: Context, group_type_id: str) -> dict[str, Any]:
    """Change a group type."""
    body: TypeChange = ctx.body.group_type
    fields: dict[str, Any] = {}
    if isinstance(body.name, str):
        if not body.name.strip():
            raise BadRequest("Invalid input received: Group type name can not be empty.")
        fields["name"] = body.name.strip()
    if body.description is not UNSET:
        fields["description"] = body.description
    if body.is_public is not UNSET and body.is_public is not None:
        fields["is_public"] = boolean(body.is_public, "is_public")
    if not fields:
        raise BadRequest(
            "Specify group type name, description, is_public or a combination thereof."
        )
    _put(ctx, group_type_id, lambda _row: fields, str(fields.get("name")))
    return {"group_type": view(ctx, lookup.group_type(ctx, group_type_id))}


def _put(ctx: Context, group_type_id: str, change: Any, name: str = "") -> None:
    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.group_type(ctx, group_type_id)
        return [check(row), patch(GroupType, row.id, updated_at=ctx.now(), **change(row))], None

    ctx.transact(plan, refused=_taken(name))


def remove(ctx: Context, group_type_id: str) -> Reply:
    """Delete a group type that no group has."""

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.group_type(ctx, group_type_id)
        if ctx.db.count(Group, group_type_id=row.id):
            raise BadRequest(f"Target group type is still in use: {row.id} has groups.")
        return [check(row), delete(GroupType, row.id, must_exist=True)], None

    ctx.transact(plan)
    return Reply(status=202)


def list_specs(ctx: Context, group_type_id: str) -> dict[str, Any]:
    """List the specs of a group type."""
    return {"group_specs": lookup.group_type(ctx, group_type_id).specs}


def create_specs(ctx: Context, group_type_id: str) -> Reply:
    """Add specs to a group type."""
    new = specs_of(ctx.body.group_specs)
    _put(ctx, group_type_id, lambda row: {"specs": {**row.specs, **new}})
    return Reply(status=202, body={"group_specs": new})


def show_spec(ctx: Context, group_type_id: str, key: str) -> dict[str, Any]:
    """Show one spec."""
    specs = lookup.group_type(ctx, group_type_id).specs
    if key not in specs:
        raise NotFound(f"Group Type {group_type_id} has no specs with key {key}.")
    return {key: specs[key]}


def update_spec(ctx: Context, group_type_id: str, key: str) -> dict[str, Any]:
    """Set one spec."""
    body = ctx.body
    if key not in body:
        raise BadRequest("Request body and URI mismatch.")
    if len(body) > 1:
        raise BadRequest("Request body contains too many items.")
    new = specs_of(body)
    _put(ctx, group_type_id, lambda row: {"specs": {**row.specs, **new}})
    return new


def remove_spec(ctx: Context, group_type_id: str, key: str) -> Reply:
    """Remove one spec."""

    def less(row: GroupType) -> dict[str, Any]:
        if key not in row.specs:
            raise NotFound(f"Group Type {group_type_id} has no specs with key {key}.")
        return {"specs": {name: value for name, value in row.specs.items() if name != key}}

    _put(ctx, group_type_id, less)
    return Reply(status=202)


_TYPE = "/v3/group_types/{group_type_id}"


def _route(method: str, path: str, handler: Any, policy: str, **more: Any) -> Route:
    return Route(method=method, path=path, handler=handler, policy=policy, since=_SINCE, **more)


ROUTES = (
    _route("GET", "/v3/group_types", index, "any"),
    _route(
        "POST", "/v3/group_types", create, _MANAGE.format("create"), body=CreateBody, status=202
    ),
    _route("GET", _TYPE, show, "any"),
    _route("PUT", _TYPE, update, _MANAGE.format("update"), body=UpdateBody),
    _route("DELETE", _TYPE, remove, _MANAGE.format("delete"), status=202),
    _route("GET", f"{_TYPE}/group_specs", list_specs, _SPECS.format("get_all")),
    _route(
        "POST",
        f"{_TYPE}/group_specs",
        create_specs,
        _SPECS.format("create"),
        body=SpecsBody,
        status=202,
    ),
    _route("GET", f"{_TYPE}/group_specs/{{key}}", show_spec, _SPECS.format("get")),
    _route("PUT", f"{_TYPE}/group_specs/{{key}}", update_spec, _SPECS.format("update"), body=Specs),
    _route(
        "DELETE", f"{_TYPE}/group_specs/{{key}}", remove_spec, _SPECS.format("delete"), status=202
    ),
)
