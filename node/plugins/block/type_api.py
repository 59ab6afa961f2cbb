"""Volume types, and who may use those that are not public.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volume-types-types
"""

import ast
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.block import listing, lookup, type_rules
from node.plugins.block.checks import Specs, Text255, specs_of
from node.plugins.block.listing import boolean
from node.plugins.block.tables import DEFAULT_TYPE, DefaultType, Group, Volume, VolumeType
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

_MANAGE = "volume_extension:types_manage"
_SEEN_BY_ALL = frozenset({"multiattach", "RESKEY:availability_zones", "replication_enabled"})


class TypeFields(Frozen):
    """`volume_type` of a create request."""

    name: Text255
    description: Text255 | None = None
    extra_specs: Specs | None = None
    is_public: bool | str | UnsetType = UNSET
    access: bool | str | UnsetType = UNSET


class CreateBody(Frozen):
    """Body of POST /types."""

    volume_type: dict[str, Any]


class TypeChange(Frozen, forbid_unknown_fields=True):
    """`volume_type` of an update request."""

    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    is_public: bool | str | UnsetType = UNSET


class UpdateBody(Frozen):
    """Body of PUT /types/{id}."""

    volume_type: TypeChange


class Access(Frozen, forbid_unknown_fields=True):
    """Value of addProjectAccess and removeProjectAccess."""

    project: Text255


def view(ctx: Context, row: VolumeType, *, brief: bool = False) -> dict[str, Any]:
    """Return a volume type as JSON."""
    allowed = ctx.allows("volume_extension:types_extra_specs:read_sensitive")
    specs = {
        name: value for name, value in row.extra_specs.items() if allowed or name in _SEEN_BY_ALL
    }
    shown: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "is_public": row.is_public,
        "description": row.description,
        "extra_specs": specs,
    }
    if not brief:
        shown["os-volume-type-access:is_public"] = row.is_public
        if ctx.allows("volume_extension:access_types_qos_specs_id"):
            shown["qos_specs_id"] = row.qos_id or None
    return shown


def index(ctx: Context) -> dict[str, Any]:
    """List volume types."""
    text = ctx.param("is_public")
    public: bool | None = True
    if ctx.token.is_admin:
        public = (
            None if (text or "").lower() == "none" else boolean(text, "is_public") if text else True
        )
    rows = [row for row in ctx.db.rows(VolumeType) if lookup.may_use_type(ctx, row)]
    if public is not None and ctx.token.is_admin:
        rows = [
            row
            for row in rows
            if row.is_public is public or (public and ctx.project_id in row.projects)
        ]
    specs = ctx.param("extra_specs")
    if specs is not None and ctx.microversion >= (3, 52):
        rows = [row for row in rows if _has(row, specs)]
    found, more = listing.page(
        ctx,
        rows,
        key=lambda row: row.id,
        collection="volume_type",
        sort={
            "created_at": lambda row: row.created_at,
            "name": lambda row: row.name,
            "id": lambda row: row.id,
        },
    )
    return {"volume_types": [view(ctx, row) for row in found], **more}


def _has(row: VolumeType, text: str) -> bool:
    try:
        wanted = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False
    return isinstance(wanted, dict) and all(
        row.extra_specs.get(str(k)) == str(v) for k, v in wanted.items()
    )


def show(ctx: Context, type_id: str) -> dict[str, Any]:
    """Show a volume type; `default` is the one of volumes that name none."""
    if type_id == "default":
        row = type_rules.default_of(ctx.db, ctx.project_id)
        if row is None:
            raise NotFound("Default volume type can not be found.")
        return {"volume_type": view(ctx, row)}
    found = ctx.db.get(VolumeType, type_id)
    if found is None or not lookup.may_use_type(ctx, found):
        raise NotFound(f"Volume type {type_id} could not be found.")
    return {"volume_type": view(ctx, found)}


def create(ctx: Context) -> dict[str, Any]:
    """Create a volume type."""
    given = dict(ctx.body.volume_type)
    public = given.pop("os-volume-type-access:is_public", True)
    fields = _converted(given)
    name = (fields.name or "").strip()
    if not name:
        raise BadRequest("Invalid input received: Volume type name can not be empty.")
    row = VolumeType(
        id=ctx.ids.uuid(),
        created_at=ctx.now(),
        updated_at=ctx.now(),
        name=name,
        description=fields.description,
        is_public=boolean(public, "os-volume-type-access:is_public"),
        extra_specs=specs_of(fields.extra_specs or {}),
    )
    ctx.transact(lambda: ([insert(row)], None), refused=_taken(name))
    shown = view(ctx, row)
    shown.pop("qos_specs_id", None)
    return {"volume_type": shown}


def _converted(given: dict[str, Any]) -> TypeFields:
    try:
        return msgspec.convert(given, TypeFields)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Invalid input for field/attribute volume_type. {error}") from error


def _taken(name: str) -> Any:
    def refused(outcome: Refused) -> NodeError | None:
        if outcome.reason == "unique":
            return Conflict(f"Volume Type {name} already exists.")
        return None

    return refused


def update(ctx: Context, type_id: str) -> dict[str, Any]:
    """Change a volume type."""
    body: TypeChange = ctx.body.volume_type
    fields: dict[str, Any] = {}
    if isinstance(body.name, str):
        if not body.name.strip():
            raise BadRequest("Invalid input received: Volume type name can not be empty.")
        fields["name"] = body.name.strip()
    if body.description is not UNSET:
        fields["description"] = body.description
    if body.is_public is not UNSET:
        fields["is_public"] = boolean(body.is_public, "is_public")
    if not {k: v for k, v in fields.items() if v is not None}:
        raise BadRequest(
            "Specify volume type name, description, is_public or a combination thereof."
        )

    def plan() -> tuple[list[AnyOp], None]:
        row = _must(ctx, type_id)
        return [check(row), patch(VolumeType, row.id, updated_at=ctx.now(), **fields)], None

    ctx.transact(plan, refused=_taken(str(fields.get("name"))))
    return {"volume_type": view(ctx, _must(ctx, type_id), brief=True)}


def _must(ctx: Context, type_id: str) -> VolumeType:
    row: VolumeType = ctx.find(VolumeType, type_id, f"Volume type {type_id} could not be found.")
    return row


def remove(ctx: Context, type_id: str) -> Reply:
    """Delete a volume type that no volume has."""

    def plan() -> tuple[list[AnyOp], None]:
        row = _must(ctx, type_id)
        if row.name == DEFAULT_TYPE:
            raise BadRequest(
                f"The volume type {type_id} is a default volume type and cannot be deleted."
            )
        if ctx.db.count(DefaultType, type_id=row.id):
            raise BadRequest(f"The volume type {type_id} is a default volume type of a project.")
        used = ctx.db.count(Volume, type_id=row.id)
        if used or any(row.id in group.type_ids for group in ctx.db.rows(Group)):
            raise BadRequest("Target volume type is still in use.")
        return [check(row), delete(VolumeType, row.id, must_exist=True)], None

    ctx.transact(plan)
    return Reply(status=202)


def show_access(ctx: Context, type_id: str) -> dict[str, Any]:
    """List the projects that may use a volume type that is not public."""
    row = _must(ctx, type_id)
    if row.is_public:
        raise NotFound("Access list not available for public volume types.")
    shown = [{"volume_type_id": row.id, "project_id": project} for project in row.projects]
    return {"volume_type_access": shown}


def add_access(ctx: Context, type_id: str) -> Reply:
    """Let a project use a volume type."""
    project = ctx.body.project

    def plan() -> tuple[list[AnyOp], None]:
        row = _private(ctx, type_id)
        if project in row.projects:
            raise Conflict(
                f"Volume type access for {type_id} / {project} combination already exists."
            )
        projects = [*row.projects, project]
        return [
            check(row),
            patch(VolumeType, row.id, projects=projects, updated_at=ctx.now()),
        ], None

    ctx.transact(plan)
    return Reply(status=202)


def remove_access(ctx: Context, type_id: str) -> Reply:
    """Take the use of a volume type from a project."""
    project = ctx.body.project

    def plan() -> tuple[list[AnyOp], None]:
        row = _private(ctx, type_id)
        if project not in row.projects:
            raise NotFound(f"Volume type access not found for {type_id} / {project} combination.")
        projects = [one for one in row.projects if one != project]
        return [
            check(row),
            patch(VolumeType, row.id, projects=projects, updated_at=ctx.now()),
        ], None

    ctx.transact(plan)
    return Reply(status=202)


def _private(ctx: Context, type_id: str) -> VolumeType:
    row = _must(ctx, type_id)
    if row.is_public:
        raise Conflict("Type access modification is not applicable to public volume type.")
    return row


class DefaultBody(Frozen):
    """Body of PUT /default-types/{project_id}."""

    default_type: dict[str, Any]


def set_default(ctx: Context, of_project_id: str) -> dict[str, Any]:
    """Set the default volume type of a project (3.62)."""
    wanted = str(ctx.body.default_type.get("volume_type", ""))

    def plan() -> tuple[list[AnyOp], VolumeType]:
        kind = lookup.volume_type(ctx, wanted)
        row = ctx.db.get(DefaultType, of_project_id)
        if row is not None:
            return [
                check(row),
                patch(DefaultType, row.id, type_id=kind.id, updated_at=ctx.now()),
            ], kind
        new = DefaultType(id=of_project_id, type_id=kind.id, created_at=ctx.now())
        return [check(kind), insert(new)], kind

    kind = ctx.transact(plan)
    return {"default_type": {"project_id": of_project_id, "volume_type_id": kind.id}}


def show_default(ctx: Context, of_project_id: str) -> dict[str, Any]:
    """Show the default volume type of a project (3.62)."""
    row: DefaultType = ctx.find(
        DefaultType, of_project_id, f"Default type for project {of_project_id} not found."
    )
    return {"default_type": {"project_id": row.id, "volume_type_id": row.type_id}}


def list_defaults(ctx: Context) -> dict[str, Any]:
    """List the default volume types of projects (3.62)."""
    rows = ctx.db.rows(DefaultType)
    return {
        "default_types": [{"project_id": row.id, "volume_type_id": row.type_id} for row in rows]
    }


def unset_default(ctx: Context, of_project_id: str) -> Reply:
    """Let a project have the cloud's default volume type again (3.62)."""
    ctx.find(DefaultType, of_project_id, f"Default type for project {of_project_id} not found.")
    ctx.transact(lambda: ([delete(DefaultType, of_project_id)], None))
    return Reply(status=204)


_TYPE = "/v3/types/{type_id}"
_DEFAULT = "/v3/default-types/{of_project_id}"
_ACCESS = "volume_extension:volume_type_access"

ROUTES = (
    Route(method="GET", path="/v3/types", handler=index, policy="volume_extension:type_get_all"),
    Route(method="POST", path="/v3/types", handler=create, policy=_MANAGE, body=CreateBody),
    Route(method="GET", path=_TYPE, handler=show, policy="volume_extension:type_get"),
    Route(method="PUT", path=_TYPE, handler=update, policy=_MANAGE, body=UpdateBody),
    Route(method="DELETE", path=_TYPE, handler=remove, policy=_MANAGE, status=202),
    Route(
        method="GET",
        path=f"{_TYPE}/os-volume-type-access",
        handler=show_access,
        policy=f"{_ACCESS}:get_all_for_type",
    ),
    Route(
        method="POST",
        path=f"{_TYPE}/action",
        action="addProjectAccess",
        handler=add_access,
        policy=f"{_ACCESS}:addProjectAccess",
        body=Access,
        status=202,
    ),
    Route(
        method="POST",
        path=f"{_TYPE}/action",
        action="removeProjectAccess",
        handler=remove_access,
        policy=f"{_ACCESS}:removeProjectAccess",
        body=Access,
        status=202,
    ),
    Route(
        method="GET",
        path="/v3/default-types",
        handler=list_defaults,
        policy="volume_extension:default_get_all",
        since="3.62",
    ),
    Route(
        method="PUT",
        path=_DEFAULT,
        handler=set_default,
        policy="volume_extension:default_set_or_update",
        body=DefaultBody,
        since="3.62",
    ),
    Route(
        method="GET",
        path=_DEFAULT,
        handler=show_default,
        policy="volume_extension:default_get",
        since="3.62",
    ),
    Route(
        method="DELETE",
        path=_DEFAULT,
        handler=unset_default,
        policy="volume_extension:default_unset",
        status=204,
        since="3.62",
    ),
)
