"""Types and checks of request fields that several resources share."""

import re
import uuid
from typing import Annotated, Any

import msgspec

from node.plugins.compute.faults import field_error

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Text255 = Annotated[str, msgspec.Meta(max_length=255)]
MetadataKey = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9\-_:. ]{1,255}$")]
Metadata = dict[MetadataKey, Text255]


def printable_name(value: str, field: str = "name") -> str:
    """Return a name that has no white space around it and only printable characters.

    Raises:
        BadRequest: 400.
    """
    if value != value.strip() or not value or not all(c.isprintable() for c in value):
        raise field_error(
            field,
            value,
            "The string must contain only printable characters, and neither begin nor end with white space.",
        )
    return value


def printable(value: str | None, field: str) -> str | None:
    """Return a text without control characters except line breaks and tabs.

    Raises:
        BadRequest: 400.
    """
    if value and not all(c.isprintable() or c in "\n\r\t" for c in value):
        raise field_error(field, value, "The string must contain only printable characters.")
    return value


def is_uuid(value: str) -> bool:
    """Return whether a text is a UUID, with or without dashes."""
    try:
        return str(uuid.UUID(value)).replace("-", "") == value.lower().replace("-", "")
    except ValueError:
        return False


def boolean(value: Any, field: str) -> bool:
    """Return the boolean that Nova's schema takes a value for.

    Raises:
        BadRequest: 400.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"(?i)true|1|on|yes", value):
        return True
    if isinstance(value, str) and re.fullmatch(r"(?i)false|0|off|no", value):
        return False
    raise field_error(field, value, f"{value!r} is not one of [True, 'True', False, 'False', ...]")


def integer(value: Any, field: str, minimum: int, maximum: int = 0x7FFFFFFF) -> int:
    """Return the integer that Nova's schema takes a value for: a number or its decimal digits.

    Raises:
        BadRequest: 400.
    """
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value):
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int):
        raise field_error(field, value, f"{value!r} is not of type 'integer'")
    if value < minimum:
        raise field_error(field, value, f"{value} is less than the minimum of {minimum}")
    if value > maximum:
        raise field_error(field, value, f"{value} is greater than the maximum of {maximum}")
    return value
