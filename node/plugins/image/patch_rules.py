"""JSON patches of images: parsing and applying, pure.

Source: RFC 6902 as far as Glance takes it: add, replace and remove of one property each.
"""

from collections.abc import Sequence
from typing import Any

from node.plugins.image.image_rules import (
    BASE,
    READ_ONLY,
    check_base,
    check_property,
    check_property_count,
    is_reserved,
)
from node.plugins.image.tables import Image
from node.sdk import BadRequest, Conflict, Forbidden, Frozen

_DEFAULTS: dict[str, Any] = {
    "name": None,
    "disk_format": None,
    "container_format": None,
    "tags": [],
}
_UNREMOVABLE = BASE - set(_DEFAULTS)


class Change(Frozen):
    """One operation of a patch."""

    op: str
    name: str
    value: Any = None


def parse(body: Any, version: float) -> list[Change]:
    """Return the operations of a patch document.

    Raises:
        BadRequest: 400, no JSON patch as Glance takes it.
    """
    if not isinstance(body, list):
        raise BadRequest("Request body must be a JSON array of operation objects.")
    return [_change(entry, version) for entry in body]


def _change(entry: Any, version: float) -> Change:
    if not isinstance(entry, dict):
        raise BadRequest("Operations must be JSON objects.")
    if version == 2.0 or "op" not in entry:
        ops = [name for name in ("add", "replace", "remove") if name in entry]
        if len(ops) != 1:
            raise BadRequest(
                "Operation objects must contain exactly one member named 'add', 'remove', or 'replace'."
            )
        op, path = ops[0], entry[ops[0]]
    else:
        op, path = entry["op"], entry.get("path")
    if op not in ("add", "replace", "remove"):
        raise BadRequest(f"Invalid operation: `{op}`. It must be one of: add, remove, replace.")
    if op != "remove" and "value" not in entry:
        raise BadRequest('Operation objects must contain a member named "value".')
    return Change(op=op, name=_name(path), value=entry.get("value"))


def _name(path: Any) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadRequest(f"Pointer `{path}` does not start with '/'.")
    if path.endswith("/") or "//" in path:
        raise BadRequest(f"Pointer `{path}` contains an empty name.")
    if "/" in path[1:]:
        raise BadRequest(f"Invalid JSON pointer for this resource: '{path}'")
    for index, letter in enumerate(path):
        if letter == "~" and path[index + 1 : index + 2] not in ("0", "1"):
            raise BadRequest(
                f"Pointer `{path}` contains '~' not part of a recognized escape sequence."
            )
    return path[1:].replace("~1", "/").replace("~0", "~")


def apply(image: Image, changes: Sequence[Change]) -> dict[str, Any]:
    """Return the fields of the image that a patch changes.

    Raises:
        BadRequest: 400, a value does not fit.
        Forbidden: 403, a property that cannot be changed.
        Conflict: 409, a property that is not there (or already is).
    """
    fields: dict[str, Any] = {}
    properties = dict(image.properties)
    for change in changes:
        if change.name in READ_ONLY or change.name == "id":
            raise Forbidden(f"Attribute '{change.name}' is read-only.")
        if is_reserved(change.name):
            raise Forbidden(f"Attribute '{change.name}' is reserved.")
        if change.name in BASE:
            fields[change.name] = _base(image, change)
        else:
            _custom(properties, change)
    check_property_count(len(properties))
    if properties != image.properties:
        fields["properties"] = properties
    return fields


def _base(image: Image, change: Change) -> Any:
    if change.name in ("disk_format", "container_format") and image.status != "queued":
        raise Forbidden(f"Attribute {change.name} can be only replaced for a queued image.")
    if change.op == "remove":
        if change.name in _UNREMOVABLE:
            raise Forbidden(f"Property {change.name} may not be removed.")
        return _DEFAULTS[change.name]
    return check_base(change.name, change.value)


def _custom(properties: dict[str, str], change: Change) -> None:
    if change.op == "remove":
        if change.name not in properties:
            raise Conflict(f"Property {change.name} does not exist.")
        del properties[change.name]
        return
    if change.op == "replace" and change.name not in properties:
        raise Conflict(f"Property {change.name} does not exist.")
    properties[change.name] = check_property(change.name, change.value)
    if len(properties[change.name]) > 65535:
        raise BadRequest(f"The value of property {change.name} is too long")
