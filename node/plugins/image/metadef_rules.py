"""Pure decisions about metadata definitions: which bodies are taken, and what becomes of them in a namespace's row.

Source: https://docs.openstack.org/api-ref/image/v2/metadefs-index.html
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from node.sdk import BadRequest, Frozen

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Text = Annotated[str, msgspec.Meta(max_length=500)]
MOST_ITEMS = 500
"""How many of a kind a namespace takes: its row is one document."""
RESOURCE_TYPES = (
    "OS::Cinder::Volume",
    "OS::Glance::Image",
    "OS::Nova::Aggregate",
    "OS::Nova::Flavor",
    "OS::Nova::Server",
    "OS::Trove::Instance",
)
"""What definitions can be about, besides what associations name."""


class PropertyBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename={
    "min_length": "minLength", "max_length": "maxLength", "min_items": "minItems", "max_items": "maxItems",
    "unique_items": "uniqueItems", "additional_items": "additionalItems",
}):  # fmt: skip
    """A property's definition, much as in JSON schema."""

    title: str
    type: Literal["array", "boolean", "integer", "number", "object", "string"] | None
    name: Name | None = None
    description: str | None = None
    operators: list[str] | None = None
    enum: list[Any] | None = None
    default: Any = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_length: Annotated[int, msgspec.Meta(ge=0)] | None = None
    pattern: str | None = None
    items: dict[str, Any] | None = None
    min_items: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_items: Annotated[int, msgspec.Meta(ge=0)] | None = None
    unique_items: bool | None = None
    additional_items: bool | None = None
    readonly: bool | None = None
    required: list[str] | None = None


class ObjectBody(Frozen, forbid_unknown_fields=True):
    """A group of properties. What Glance itself shows of one may come back and is ignored."""

    name: Name
    description: str | None = None
    required: list[str] = []
    properties: dict[Name, PropertyBody] = {}
    self: Any = None
    schema: Any = None
    created_at: Any = None
    updated_at: Any = None


class TagBody(Frozen, forbid_unknown_fields=True):
    """A tag."""

    name: Name
    created_at: Any = None
    updated_at: Any = None


class TagsBody(Frozen, forbid_unknown_fields=True):
    """Several tags."""

    tags: list[TagBody]


class AssociationBody(Frozen, forbid_unknown_fields=True):
    """A resource type that a namespace is about."""

    name: Name
    prefix: Annotated[str, msgspec.Meta(max_length=80)] | None = None
    properties_target: Annotated[str, msgspec.Meta(max_length=80)] | None = None
    created_at: Any = None
    updated_at: Any = None


class NamespaceBody(Frozen, forbid_unknown_fields=True):
    """A namespace, with or without what is in it."""

    namespace: Name
    display_name: Annotated[str, msgspec.Meta(max_length=80)] | None = None
    description: Text | None = None
    visibility: Literal["public", "private"] = "private"
    protected: bool = False
    owner: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    resource_type_associations: list[AssociationBody] = []
    properties: dict[Name, PropertyBody] = {}
    objects: list[ObjectBody] = []
    tags: list[TagBody] = []
    self: Any = None
    schema: Any = None
    created_at: Any = None
    updated_at: Any = None


def property_document(body: PropertyBody) -> dict[str, Any]:
    """Return a property as it is stored and shown, without its name."""
    document: dict[str, Any] = msgspec.to_builtins(body)
    document.pop("name", None)
    return {"type": body.type, **document}


def object_document(body: ObjectBody, now_us: int, created_us: int = 0) -> dict[str, Any]:
    """Return an object as it is stored."""
    return {
        "description": body.description,
        "required": body.required,
        "properties": {name: property_document(each) for name, each in body.properties.items()},
        "created_at": created_us or now_us,
        "updated_at": now_us,
    }


def association_document(body: AssociationBody, now_us: int) -> dict[str, Any]:
    """Return an association as it is stored."""
    return {
        "prefix": body.prefix,
        "properties_target": body.properties_target,
        "created_at": now_us,
        "updated_at": now_us,
    }


def stamped(names: Sequence[str], now_us: int) -> dict[str, dict[str, Any]]:
    """Return tags as they are stored; a repeated one is refused.

    Raises:
        BadRequest: 400.
    """
    if len(set(names)) != len(names):
        raise BadRequest("A tag is named more than once")
    return {name: {"created_at": now_us, "updated_at": now_us} for name in names}


def check_count(items: Mapping[str, Any], kind: str) -> None:
    """Refuse a namespace that would hold too much of a kind.

    Raises:
        BadRequest: 400.
    """
    if len(items) > MOST_ITEMS:
        raise BadRequest(f"A namespace holds at most {MOST_ITEMS} {kind}")
