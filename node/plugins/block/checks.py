"""Types and checks of request fields that several resources share."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from node.plugins.block.faults import field_error
from node.sdk import BadRequest

Text255 = Annotated[str, msgspec.Meta(max_length=255)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
MetadataKey = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9\-_:. /]{1,255}$")]
Metadata = dict[MetadataKey, Text255]
LooseMetadata = dict[MetadataKey, Text255 | None]
Specs = dict[MetadataKey, Text255 | int | float | bool | None]


def is_uuid(value: object) -> bool:
    """Return whether a text is a UUID, with or without dashes."""
    try:
        text = str(value)
        return str(uuid.UUID(text)).replace("-", "") == text.lower().replace("-", "")
    except ValueError:
        return False


def text_or_none(value: object) -> str | None:
    """Return a name or a description without white space around it."""
    return value.strip() if isinstance(value, str) else None


def positive(value: Any, field: str) -> int:
    """Return a whole number of at least 1: a number or its decimal digits.

    Raises:
        BadRequest: 400.
    """
    if isinstance(value, str) and value.isascii() and value.strip().isdigit():
        value = int(value.strip()[:18])
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 0x7FFFFFFF:
        raise BadRequest(
            f"Invalid input for field/attribute {field}. Value: {value}."
            f" {field} must be a whole number from 1 to 2147483647."
        )
    return value


def reference(value: object, field: str) -> str:
    """Return the UUID that a field names; "" where it names none.

    Raises:
        BadRequest: 400.
    """
    if value in (None, "", msgspec.UNSET):
        return ""
    if not is_uuid(value):
        raise field_error(field, value, f"'{value}' is not a 'uuid'")
    return str(value)


def specs_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return specs as texts."""
    return {
        name: "" if value is None else str(value).strip() if isinstance(value, str) else str(value)
        for name, value in values.items()
    }


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata as texts: null is the empty one."""
    return {name: "" if value is None else str(value) for name, value in values.items()}
