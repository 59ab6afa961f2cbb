"""Pure decisions about images: which values are taken, who sees what, what a patch may change."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from node.plugins.image.tables import Image
from node.sdk import BadRequest, Conflict, Forbidden, TooLarge

DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
VISIBILITIES = ("community", "private", "public", "shared")
READ_ONLY = frozenset({
    "checksum", "created_at", "direct_url", "file", "locations", "os_hash_algo", "os_hash_value", "schema", "self",
    "size", "status", "stores", "updated_at", "virtual_size",
})  # fmt: skip
RESERVED = frozenset(
    {"deleted", "deleted_at", "is_public", "upload", "want", "have", "fault", "rev"}
)
BASE = frozenset({
    "id", "name", "visibility", "disk_format", "container_format", "min_disk", "min_ram", "protected", "os_hidden",
    "tags", "owner",
})  # fmt: skip
MAX_TAGS = 128
MAX_PROPERTIES = 128
_UUID = re.compile(
    r"([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}"
)
_MAX_NUMBER = 2**31 - 1


def is_uuid(text: str) -> bool:
    """Return whether a text has the form of an image id."""
    return _UUID.fullmatch(text) is not None


def is_reserved(name: str) -> bool:
    """Return whether a property is the service's own."""
    return name in RESERVED or name.startswith("os_glance")


def check_base(name: str, value: Any) -> Any:
    """Return the value of a base property (one of `BASE`) as it is stored.

    Raises:
        BadRequest: 400, the value does not fit the schema.
    """
    return _CHECKS[name](name, value)


def check_tags(value: Any) -> list[str]:
    """Return tags without repeats.

    Raises:
        BadRequest: 400, no list of texts of at most 255 characters.
    """
    if not isinstance(value, list):
        raise _mismatch(f"{value!r} is not of type 'array'")
    tags = list(dict.fromkeys(check_tag(tag) for tag in value))
    check_tag_count(len(tags))
    return tags


def check_tag_count(count: int) -> None:
    """Refuse more tags than Glance's default quota.

    Raises:
        TooLarge: 413.
    """
    if count > MAX_TAGS:
        raise TooLarge(
            "The limit has been exceeded on the number of allowed image tags. "
            f"Attempted: {count}, Maximum: {MAX_TAGS}"
        )


def check_tag(tag: Any) -> str:
    """Return a tag.

    Raises:
        BadRequest: 400, no text of 1 to 255 characters.
    """
    if not isinstance(tag, str) or not tag or len(tag) > 255:
        raise BadRequest(f"Invalid tag {tag!r}: a tag has 1 to 255 characters")
    return tag


def check_property(name: str, value: Any) -> str:
    """Return the value of a custom property.

    Raises:
        BadRequest: 400, the name or the value does not fit.
        Forbidden: 403, the name is reserved.
    """
    if name in READ_ONLY:
        raise Forbidden(f"Attribute '{name}' is read-only.")
    if is_reserved(name):
        raise Forbidden(f"Attribute '{name}' is reserved.")
    if not name or len(name) > 255:
        raise BadRequest("The name of a property has 1 to 255 characters")
    if not isinstance(value, str):
        raise _mismatch(f"{value!r} is not of type 'string': {name}")
    if len(value) > 65535:
        raise BadRequest(f"The value of property {name} is too long")
    return value


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the checked base values and the custom properties of a create body.

    Raises:
        BadRequest: 400.
        Forbidden: 403, a read-only or reserved name.
    """
    base: dict[str, Any] = {}
    properties: dict[str, str] = {}
    for name, value in values.items():
        if name in BASE:
            base[name] = check_base(name, value)
        else:
            properties[name] = check_property(name, value)
    check_property_count(len(properties))
    return base, properties


def check_property_count(count: int) -> None:
    """Refuse more custom properties than Glance's default quota.

    Raises:
        TooLarge: 413.
    """
    if count > MAX_PROPERTIES:
        raise TooLarge(
            "The limit has been exceeded on the number of allowed image properties. "
            f"Attempted: {count}, Maximum: {MAX_PROPERTIES}"
        )


def must_have_no_data(image: Image) -> None:
    """Refuse data for an image that has some.

    Raises:
        Conflict: 409.
    """
    if image.status != "queued":
        raise Conflict(f"Image status transition from {image.status} to saving is not allowed")


def _text(name: str, value: Any, most: int, *, nullable: bool) -> str | None:
    if value is None and nullable:
        return None
    if not isinstance(value, str):
        raise _mismatch(f"{value!r} is not of type 'string': {name}")
    if len(value) > most:
        raise _mismatch(f"{value[:20]!r}… is too long: {name}")
    return value


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if value not in choices:
        raise _mismatch(f"{value!r} is not one of {list(choices)}: {name}")
    return str(value)


def _mismatch(text: str) -> BadRequest:
    return BadRequest(f"Provided object does not match schema 'image': {text}")


def _identifier(_name: str, value: Any) -> str:
    if not isinstance(value, str) or not is_uuid(value):
        raise _mismatch(f"{value!r} does not match the pattern of a UUID")
    return value.lower()


def _short_text(name: str, value: Any) -> str | None:
    return _text(name, value, 255, nullable=True)


def _visibility(name: str, value: Any) -> str | None:
    if value is None:
        raise _mismatch("None is not a valid visibility")
    return _choice(name, value, VISIBILITIES)


def _number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _mismatch(f"{value!r} is not of type 'integer': {name}")
    if not 0 <= value <= _MAX_NUMBER:
        raise BadRequest(f"Property {name} must be between 0 and {_MAX_NUMBER}")
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _mismatch(f"{value!r} is not of type 'boolean': {name}")
    return value


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "id": _identifier,
    "name": _short_text,
    "owner": _short_text,
    "disk_format": lambda name, value: _choice(name, value, DISK_FORMATS),
    "container_format": lambda name, value: _choice(name, value, CONTAINER_FORMATS),
    "visibility": _visibility,
    "min_disk": _number,
    "min_ram": _number,
    "protected": _boolean,
    "os_hidden": _boolean,
    "tags": lambda _name, value: check_tags(value),
}
