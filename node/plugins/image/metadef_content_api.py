"""What is in a namespace of metadata definitions: properties, objects and tags.

Source: https://docs.openstack.org/api-ref/image/v2/metadefs-index.html
"""

from collections.abc import Mapping
from typing import Any

from node.plugins.image.metadef_namespace_api import change, visible
from node.plugins.image.metadef_rules import (
    check_count,
    object_document,
    property_document,
    stamped,
)
from node.plugins.image.metadef_view import object_view, tag_view
from node.plugins.image.tables import MetadefNamespace
from node.sdk import BadRequest, Conflict, Context, Forbidden, NotFound, Reply

_KINDS = {"properties": "property", "objects": "object", "tags": "tag"}


def _missing(kind: str, namespace: str, name: str) -> NotFound:
    return NotFound(
        f"The metadata definition {_KINDS[kind]} with name={name} was not found in namespace={namespace}."
    )


def _item(ctx: Context, namespace: str, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(visible(ctx, namespace), kind)
    if name not in found:
        raise _missing(kind, namespace, name)
    item: dict[str, Any] = found[name]
    return item


def _set(ctx: Context, namespace: str, kind: str, old: str, new: str, made: Any) -> None:
    """Store an item of a namespace: a new one (`old` empty), or one in place of another."""

    def put(row: MetadefNamespace) -> Mapping[str, Any]:
        items = dict(getattr(row, kind))
        if old and old not in items:
            raise _missing(kind, namespace, old)
        if new != old and new in items:
            raise Conflict(
                f"The metadata definition {_KINDS[kind]} with name={new} already exists in namespace={namespace}."
            )
        items.pop(old, None)
        items[new] = made(getattr(row, kind).get(old)) if callable(made) else made
        check_count(items, kind)
        return {kind: items}

    change(ctx, namespace, put)


def _drop(ctx: Context, namespace: str, kind: str, name: str | None) -> Reply:
    """Delete one item of a namespace, or all of a kind."""

    def drop(row: MetadefNamespace) -> Mapping[str, Any]:
        items = getattr(row, kind)
        if name is not None and name not in items:
            raise _missing(kind, namespace, name)
        if row.protected:
            raise Forbidden(f"Namespace {namespace} is protected and cannot be changed.")
        return {kind: {k: v for k, v in items.items() if name is not None and k != name}}

    change(ctx, namespace, drop)
    return Reply(status=204)


def properties(ctx: Context, namespace: str) -> dict[str, Any]:
    """List the properties of a namespace."""
    found = visible(ctx, namespace).properties
    return {"properties": {name: {"name": name, **found[name]} for name in sorted(found)}}


def property_create(ctx: Context, namespace: str) -> Reply:
    """Define a property."""
    if ctx.body.name is None:
        raise BadRequest("Provided object does not match schema 'property': 'name' is required")
    made = property_document(ctx.body)
    _set(ctx, namespace, "properties", "", ctx.body.name, made)
    return Reply(status=201, body={"name": ctx.body.name, **made})


def property_show(ctx: Context, namespace: str, name: str) -> dict[str, Any]:
    """Show a property; with `resource_type` its name carries that one's prefix."""
    resource_type = ctx.param("resource_type")
    if resource_type is not None:
        association = visible(ctx, namespace).resource_types.get(resource_type)
        if association is None:
            raise NotFound(
                f"The metadata definition resource-type association of resource-type={resource_type} "
                f"to namespace={namespace}, was not found."
            )
        prefix = association["prefix"] or ""
        bare = name.removeprefix(prefix) if name.startswith(prefix) else ""
        return {"name": name, **_item(ctx, namespace, "properties", bare)}
    return {"name": name, **_item(ctx, namespace, "properties", name)}


def property_update(ctx: Context, namespace: str, name: str) -> dict[str, Any]:
    """Define a property anew, perhaps under another name."""
    new = ctx.body.name or name
    made = property_document(ctx.body)
    _set(ctx, namespace, "properties", name, new, made)
    return {"name": new, **made}


def property_delete(ctx: Context, namespace: str, name: str) -> Reply:
    """Delete a property."""
    return _drop(ctx, namespace, "properties", name)


def properties_delete(ctx: Context, namespace: str) -> Reply:
    """Delete all properties of a namespace."""
    return _drop(ctx, namespace, "properties", None)


def objects(ctx: Context, namespace: str) -> dict[str, Any]:
    """List the objects of a namespace."""
    found = visible(ctx, namespace).objects
    return {
        "objects": [object_view(namespace, name, "", found) for name in sorted(found)],
        "schema": "/v2/schemas/metadefs/objects",
        "first": f"/v2/metadefs/namespaces/{namespace}/objects",
    }


def object_create(ctx: Context, namespace: str) -> Reply:
    """Define an object."""
    made = object_document(ctx.body, ctx.now())
    _set(ctx, namespace, "objects", "", ctx.body.name, made)
    return Reply(status=201, body=object_view(namespace, ctx.body.name, "", {ctx.body.name: made}))


def object_show(ctx: Context, namespace: str, name: str) -> dict[str, Any]:
    """Show an object."""
    return object_view(namespace, name, "", {name: _item(ctx, namespace, "objects", name)})


def object_update(ctx: Context, namespace: str, name: str) -> dict[str, Any]:
    """Define an object anew, perhaps under another name."""
    now = ctx.now()
    _set(
        ctx, namespace, "objects", name, ctx.body.name,
        lambda old: object_document(ctx.body, now, old["created_at"]),
    )  # fmt: skip
    return object_show(ctx, namespace, ctx.body.name)


def object_delete(ctx: Context, namespace: str, name: str) -> Reply:
    """Delete an object."""
    return _drop(ctx, namespace, "objects", name)


def objects_delete(ctx: Context, namespace: str) -> Reply:
    """Delete all objects of a namespace."""
    return _drop(ctx, namespace, "objects", None)


def tags(ctx: Context, namespace: str) -> dict[str, Any]:
    """List the tags of a namespace."""
    found = visible(ctx, namespace).tags
    return {
        "tags": [{"name": name} for name in sorted(found)],
        "schema": "/v2/schemas/metadefs/tags",
        "first": f"/v2/metadefs/namespaces/{namespace}/tags",
    }


def tags_create(ctx: Context, namespace: str) -> Reply:
    """Give a namespace tags: in place of those that it has, or (`X-Openstack-Append: True`) besides them."""
    made = stamped([tag.name for tag in ctx.body.tags], ctx.now())
    append = ctx.headers.get("x-openstack-append", "").lower() == "true"

    def put(row: MetadefNamespace) -> Mapping[str, Any]:
        if append and (twice := sorted(set(made) & set(row.tags))):
            raise Conflict(
                f"The metadata definition tag with name={twice[0]} already exists in namespace={namespace}."
            )
        found = {**(row.tags if append else {}), **made}
        check_count(found, "tags")
        return {"tags": found}

    change(ctx, namespace, put)
    return Reply(status=201, body={"tags": [{"name": tag.name} for tag in ctx.body.tags]})


def tag_create(ctx: Context, namespace: str, name: str) -> Reply:
    """Give a namespace a tag."""
    if len(name) > 80:
        raise BadRequest("The name of a tag has at most 80 characters")
    made = stamped([name], ctx.now())[name]
    _set(ctx, namespace, "tags", "", name, made)
    return Reply(status=201, body=tag_view(name, made))


def tag_show(ctx: Context, namespace: str, name: str) -> dict[str, Any]:
    """Show a tag."""
    return tag_view(name, _item(ctx, namespace, "tags", name))


def tag_update(ctx: Context, namespace: str, name: str) -> dict[str, Any]:
    """Rename a tag."""
    now = ctx.now()
    _set(
        ctx, namespace, "tags", name, ctx.body.name,
        lambda old: {"created_at": old["created_at"], "updated_at": now},
    )  # fmt: skip
    return tag_show(ctx, namespace, ctx.body.name)


def tag_delete(ctx: Context, namespace: str, name: str) -> Reply:
    """Delete a tag."""
    return _drop(ctx, namespace, "tags", name)


def tags_delete(ctx: Context, namespace: str) -> Reply:
    """Delete all tags of a namespace."""
    return _drop(ctx, namespace, "tags", None)
