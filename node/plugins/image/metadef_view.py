"""Metadata definitions as Glance shows them."""

from collections.abc import Mapping
from typing import Any

from node.plugins.image.tables import MetadefNamespace
from node.sdk import iso_utc

_ROOT = "/v2/metadefs/namespaces"


def namespace_view(row: MetadefNamespace) -> dict[str, Any]:
    """Return a namespace as it stands in a listing."""
    view: dict[str, Any] = {
        "namespace": row.id,
        "display_name": row.display_name,
        "description": row.description,
        "visibility": row.visibility,
        "protected": row.protected,
        "owner": row.owner,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
        "self": f"{_ROOT}/{row.id}",
        "schema": "/v2/schemas/metadefs/namespace",
    }
    if row.resource_types:
        view["resource_type_associations"] = [
            association_view(name, row.resource_types[name]) for name in sorted(row.resource_types)
        ]
    return view


def whole_view(row: MetadefNamespace, resource_type: str = "") -> dict[str, Any]:
    """Return a namespace with all that is in it; for a resource type its properties carry that one's prefix."""
    prefix = row.resource_types.get(resource_type, {}).get("prefix") or ""
    view = namespace_view(row)
    if row.properties:
        view["properties"] = {
            prefix + name: row.properties[name] for name in sorted(row.properties)
        }
    if row.objects:
        view["objects"] = [
            object_view(row.id, name, prefix, row.objects) for name in sorted(row.objects)
        ]
    if row.tags:
        view["tags"] = [{"name": name} for name in sorted(row.tags)]
    return view


def object_view(
    namespace: str, name: str, prefix: str, objects: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return an object of a namespace."""
    found = objects[name]
    return {
        "name": name,
        "description": found["description"],
        "required": [prefix + each for each in found["required"]],
        "properties": {prefix + each: value for each, value in found["properties"].items()},
        "created_at": iso_utc(found["created_at"]),
        "updated_at": iso_utc(found["updated_at"]),
        "self": f"{_ROOT}/{namespace}/objects/{name}",
        "schema": "/v2/schemas/metadefs/object",
    }


def association_view(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an association with a resource type; what was not said of it is left out."""
    said = {key: found[key] for key in ("prefix", "properties_target") if found[key] is not None}
    times = {key: iso_utc(found[key]) for key in ("created_at", "updated_at")}
    return {"name": name, **said, **times}


def tag_view(name: str, found: Mapping[str, int]) -> dict[str, Any]:
    """Return a tag."""
    return {"name": name, **{key: iso_utc(found[key]) for key in ("created_at", "updated_at")}}
