"""Namespaces of metadata definitions, and the resource types that they are about.

Source: https://docs.openstack.org/api-ref/image/v2/metadefs-index.html#metadata-definition-namespaces
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from node.plugins.image.metadef_rules import (
    RESOURCE_TYPES,
    association_document,
    check_count,
    object_document,
    property_document,
    stamped,
)
from node.plugins.image.metadef_view import association_view, namespace_view, whole_view
from node.plugins.image.tables import MetadefNamespace
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    NotFound,
    Refused,
    Reply,
    check,
    delete,
    insert,
    iso_utc,
    patch,
)

_PAGE, _MAX_PAGE = 25, 1000
_SORT_KEYS = {"namespace": "id", "created_at": "created_at", "updated_at": "updated_at"}


def visible(ctx: Context, namespace: str) -> MetadefNamespace:
    """Return a namespace that the caller may see.

    Raises:
        NotFound: 404.
    """
    hidden = NotFound(f"Metadata definition namespace={namespace} was not found.")
    row = ctx.db.get(MetadefNamespace, namespace)
    if row is None:
        raise hidden
    ctx.require("metadef:get_namespace", _target(row), hidden=hidden)
    return row


def change(
    ctx: Context, namespace: str, change: Callable[[MetadefNamespace], Mapping[str, Any]]
) -> None:
    """Change fields of a namespace, in one transaction; `change` may run twice."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = visible(ctx, namespace)
        fields = change(row)
        return [check(row), patch(MetadefNamespace, row.id, **fields, updated_at=ctx.now())], None

    ctx.transact(plan)


def _target(row: MetadefNamespace) -> dict[str, str]:
    return {"project_id": row.owner, "visibility": row.visibility}


def create(ctx: Context) -> Reply:
    """Make a namespace, with what it shall hold."""
    body, now = ctx.body, ctx.now()
    names = [each.name for each in body.objects]
    types = [each.name for each in body.resource_type_associations]
    if len(set(names)) != len(names) or len(set(types)) != len(types):
        raise BadRequest("An object or a resource type is named more than once")
    row = MetadefNamespace(
        id=body.namespace,
        owner=body.owner or ctx.project_id,
        display_name=body.display_name,
        description=body.description,
        visibility=body.visibility,
        protected=body.protected,
        properties={name: property_document(each) for name, each in body.properties.items()},
        objects={each.name: object_document(each, now) for each in body.objects},
        tags=stamped([each.name for each in body.tags], now),
        resource_types={
            each.name: association_document(each, now) for each in body.resource_type_associations
        },
        created_at=now,
        updated_at=now,
    )
    for kind in ("properties", "objects", "tags", "resource_types"):
        check_count(getattr(row, kind), kind)
    ctx.transact(lambda: ([insert(row)], None), refused=lambda refused: _exists(refused, row.id))
    where = ctx.url(f"/v2/metadefs/namespaces/{quote(row.id)}")
    return Reply(status=201, body=whole_view(row), headers={"Location": where})


def _exists(refused: Refused, namespace: str) -> Conflict | None:
    if refused.reason != "exists":
        return None
    return Conflict(f"The metadata definition namespace={namespace} already exists.")


def index(ctx: Context) -> dict[str, Any]:
    """List the namespaces that the caller may see."""
    wanted = ctx.param("visibility")
    if wanted not in (None, "public", "private"):
        raise BadRequest(f"Invalid visibility value: {wanted}")
    types = {name for value in ctx.params.get("resource_types", []) for name in value.split(",")}
    rows = [
        row
        for row in ctx.db.rows(MetadefNamespace)
        if ctx.allows("metadef:get_namespace", _target(row))
        and wanted in (None, row.visibility)
        and (not types or types & set(row.resource_types))
    ]
    key, direction = ctx.param("sort_key", "created_at"), ctx.param("sort_dir", "desc")
    if key not in _SORT_KEYS or direction not in ("asc", "desc"):
        raise BadRequest(f"Namespaces cannot be sorted by {key} {direction}")
    rows.sort(key=lambda row: (getattr(row, _SORT_KEYS[key]), row.id), reverse=direction == "desc")
    return _page(ctx, rows)


def _page(ctx: Context, rows: list[MetadefNamespace]) -> dict[str, Any]:
    text, marker = ctx.param("limit", str(_PAGE)) or "", ctx.param("marker")
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadRequest("limit param must be an integer of at least 0")
    start = 0
    if marker:
        ids = [row.id for row in rows]
        if marker not in ids:
            raise NotFound(f"Metadata definition namespace={marker} was not found.")
        start = ids.index(marker) + 1
    end = start + min(int(text), _MAX_PAGE)
    answer = {
        "namespaces": [namespace_view(row) for row in rows[start:end]],
        "first": _link(ctx, ""),
        "schema": "/v2/schemas/metadefs/namespaces",
    }
    if end < len(rows) and end > start:
        answer["next"] = _link(ctx, rows[end - 1].id)
    return answer


def _link(ctx: Context, marker: str) -> str:
    pairs = [
        (name, each) for name, values in ctx.params.items() if name != "marker" for each in values
    ]
    pairs += [("marker", marker)] if marker else []
    return "/v2/metadefs/namespaces" + (f"?{urlencode(pairs)}" if pairs else "")


def show(ctx: Context, namespace: str) -> dict[str, Any]:
    """Show a namespace with all that is in it."""
    return whole_view(visible(ctx, namespace), ctx.param("resource_type", "") or "")


def update(ctx: Context, namespace: str) -> dict[str, Any]:
    """Say anew what a namespace is, and what it is called; what is in it stays."""
    body = ctx.body

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = visible(ctx, namespace)
        fields: dict[str, Any] = {
            "display_name": body.display_name,
            "description": body.description,
            "visibility": body.visibility,
            "protected": body.protected,
            "owner": body.owner or row.owner,
            "updated_at": ctx.now(),
        }
        if body.namespace == row.id:
            return [check(row), patch(MetadefNamespace, row.id, **fields)], None
        kept = {name: getattr(row, name) for name in row.__struct_fields__} | fields
        kept |= {"id": body.namespace, "rev": 0}
        return [
            check(row),
            insert(MetadefNamespace(**kept)),
            delete(MetadefNamespace, row.id),
        ], None

    ctx.transact(plan, refused=lambda refused: _exists(refused, body.namespace))
    return namespace_view(visible(ctx, body.namespace))


def remove(ctx: Context, namespace: str) -> Reply:
    """Delete a namespace with all that is in it."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = visible(ctx, namespace)
        if row.protected:
            raise Forbidden(f"Namespace {namespace} is protected and cannot be deleted.")
        return [check(row), delete(MetadefNamespace, row.id)], None

    ctx.transact(plan, frees=True)
    return Reply(status=204)


def resource_types(ctx: Context) -> dict[str, Any]:
    """List what definitions can be about."""
    found: dict[str, int] = dict.fromkeys(RESOURCE_TYPES, 0)
    for row in ctx.db.rows(MetadefNamespace):
        for name, association in row.resource_types.items():
            found.setdefault(name, association["created_at"])
    return {
        "resource_types": [
            {"name": name, "created_at": iso_utc(at), "updated_at": iso_utc(at)}
            for name, at in sorted(found.items())
        ]
    }


def associate(ctx: Context, namespace: str) -> Reply:
    """Say that a namespace is about a resource type."""
    made = association_document(ctx.body, ctx.now())

    def add(row: MetadefNamespace) -> Mapping[str, Any]:
        if ctx.body.name in row.resource_types:
            raise Conflict(
                f"The metadata definition resource-type association of resource-type={ctx.body.name} "
                f"to namespace={namespace} already exists."
            )
        found = {**row.resource_types, ctx.body.name: made}
        check_count(found, "resource types")
        return {"resource_types": found}

    change(ctx, namespace, add)
    return Reply(status=201, body=association_view(ctx.body.name, made))


def associations(ctx: Context, namespace: str) -> dict[str, Any]:
    """List what a namespace is about."""
    found = visible(ctx, namespace).resource_types
    return {
        "resource_type_associations": [
            association_view(name, found[name]) for name in sorted(found)
        ]
    }


def dissociate(ctx: Context, namespace: str, name: str) -> Reply:
    """Say that a namespace is no more about a resource type."""

    def drop(row: MetadefNamespace) -> Mapping[str, Any]:
        if name not in row.resource_types:
            raise NotFound(
                f"The metadata definition resource-type association of resource-type={name} "
                f"to namespace={namespace}, was not found."
            )
        if row.protected:
            raise Forbidden(f"Namespace {namespace} is protected and cannot be changed.")
        return {"resource_types": {k: v for k, v in row.resource_types.items() if k != name}}

    change(ctx, namespace, drop)
    return Reply(status=204)
