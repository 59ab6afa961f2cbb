"""The JSON schemas of metadata definitions.

Source: https://docs.openstack.org/api-ref/image/v2/metadefs-index.html#metadata-definition-schemas
"""

from typing import Any

from node.sdk import Context, NotFound

_TEXT: dict[str, Any] = {"type": "string"}
_NAME: dict[str, Any] = {"type": "string", "maxLength": 80}
_TIMES: dict[str, Any] = {
    name: {"type": "string", "readOnly": True, "format": "date-time"}
    for name in ("created_at", "updated_at")
}
_LINKS: dict[str, Any] = {name: {"type": "string", "readOnly": True} for name in ("self", "schema")}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_PROPERTY: dict[str, Any] = {
    "name": _NAME,
    "title": _TEXT,
    "description": _TEXT,
    "operators": {"type": "array", "items": _TEXT},
    "type": {"type": "string", "enum": ["array", "boolean", "integer", "number", "object", "string", None]},
    "required": {"type": "array", "items": _TEXT, "uniqueItems": True},
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "maxLength": _COUNT,
    "minLength": _COUNT,
    "pattern": {"type": "string", "format": "regex"},
    "enum": {"type": "array"},
    "readonly": {"type": "boolean"},
    "default": {},
    "items": {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["array", "boolean", "integer", "number", "object", "string", None]},
            "enum": {"type": "array"},
        },
    },
    "maxItems": _COUNT,
    "minItems": _COUNT,
    "uniqueItems": {"type": "boolean"},
    "additionalItems": {"type": "boolean"},
}  # fmt: skip
_TAG: dict[str, Any] = {"name": _NAME, **_TIMES}
_OBJECT: dict[str, Any] = {
    "name": _NAME,
    "description": _TEXT,
    "required": {"type": "array", "items": _TEXT, "uniqueItems": True},
    "properties": {
        "type": "object",
        "additionalProperties": {"type": "object", "properties": _PROPERTY},
    },
    **_LINKS,
    **_TIMES,
}
_TYPE: dict[str, Any] = {"name": _NAME, "prefix": _NAME, "properties_target": _NAME, **_TIMES}
_NAMESPACE: dict[str, Any] = {
    "namespace": _NAME,
    "display_name": _NAME,
    "description": {"type": "string", "maxLength": 500},
    "visibility": {"type": "string", "enum": ["public", "private"]},
    "protected": {"type": "boolean"},
    "owner": {"type": "string", "maxLength": 255},
    **_LINKS,
    **_TIMES,
    "resource_type_associations": {
        "type": "array",
        "items": {"type": "object", "properties": _TYPE},
    },
    "properties": {
        "type": "object",
        "additionalProperties": {"type": "object", "properties": _PROPERTY},
    },
    "objects": {"type": "array", "items": {"type": "object", "properties": _OBJECT}},
    "tags": {"type": "array", "items": {"type": "object", "properties": _TAG}},
}
_SINGLE: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "namespace": ("namespace", _NAMESPACE, ["namespace"]),
    "object": ("object", _OBJECT, ["name"]),
    "property": ("property", _PROPERTY, ["name", "title", "type"]),
    "tag": ("tag", _TAG, ["name"]),
    "resource_type": ("resource_type_association", _TYPE, ["name"]),
}
_LISTS = {
    "namespaces": "namespace",
    "objects": "object",
    "properties": "property",
    "tags": "tag",
    "resource_types": "resource_type",
}


def schema(ctx: Context, schema: str) -> dict[str, Any]:
    """Show the JSON schema of a kind of definition or of its listing."""
    del ctx
    if schema in _SINGLE:
        name, properties, required = _SINGLE[schema]
        return {
            "name": name,
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    if schema not in _LISTS:
        raise NotFound(f"There is no schema metadefs/{schema}")
    name, properties, _required = _SINGLE[_LISTS[schema]]
    many = "resource_type_associations" if schema == "resource_types" else schema
    item = {"type": "object", "name": name, "properties": properties}
    listed = (
        {"type": "object", "additionalProperties": item}
        if schema == "properties"
        else {"type": "array", "items": item}
    )
    return {
        "name": many,
        "properties": {many: listed, "schema": _TEXT, "first": _TEXT, "next": _TEXT},
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }
