"""Limits of names and metadata, and the words with which they are refused.

Source: https://docs.openstack.org/swift/latest/api/object_api_v1_overview.html#constraints
"""

from collections.abc import Mapping

from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.section import SwiftSection

MAX_META_NAME = 128
MAX_META_VALUE = 256
MAX_HEADER = 8192
MAX_ACCOUNT_NAME = 256
MAX_CONTAINER_NAME = 256
MAX_OBJECT_NAME = 1024
LISTING_LIMIT = 10_000


def decoded(text: str) -> str:
    """Return a header's value as the text that its bytes are.

    Raises:
        UnicodeDecodeError: they are no UTF-8.
    """
    return text if text.isascii() else text.encode("latin-1").decode()


def user_metadata(headers: Mapping[str, str], kind: str, section: SwiftSection) -> dict[str, str]:
    """Return the metadata in `X-<kind>-Meta-*`, by name in lower case; removal headers give empty values.

    Raises:
        Refusal: 400, a limit is broken.
    """
    prefix, removal = f"x-{kind}-meta-", f"x-remove-{kind}-meta-"
    found: dict[str, str] = {}
    for header, raw in headers.items():
        if len(raw) > MAX_HEADER:
            raise Refusal(400, f"Header value too long: {header[:MAX_META_NAME]}")
        if header.startswith(removal) and kind != "object":
            found.setdefault(header[len(removal) :], "")
            continue
        if not header.startswith(prefix):
            continue
        name = header[len(prefix) :]
        if not name:
            raise Refusal(400, "Metadata name cannot be empty")
        try:
            name, value = decoded(name), decoded(raw)
        except UnicodeError:
            raise Refusal(400, "Metadata must be valid UTF-8") from None
        if len(name.encode()) > MAX_META_NAME:
            raise Refusal(400, f"Metadata name too long: {prefix}{name}")
        if len(raw) > MAX_META_VALUE:
            raise Refusal(400, f"Metadata value longer than {MAX_META_VALUE}: {prefix}{name}")
        found[name] = value
    hold_total(found, section)
    return found


def hold_total(meta: Mapping[str, str], section: SwiftSection) -> None:
    """Refuse too many or too large items together.

    Raises:
        Refusal: 400.
    """
    kept = {name: value for name, value in meta.items() if value}
    if len(kept) > section.max_meta_count:
        raise Refusal(400, f"Too many metadata items; max {section.max_meta_count}")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in kept.items())
    if size > section.max_meta_overall_bytes:
        raise Refusal(400, f"Total metadata too large; max {section.max_meta_overall_bytes}")


def merged(
    old: Mapping[str, str], change: Mapping[str, str], section: SwiftSection
) -> dict[str, str]:
    """Return metadata with a change made to it: an empty value removes the item.

    Raises:
        Refusal: 400, it is too much then.
    """
    meta = {name: value for name, value in {**old, **change}.items() if value}
    if change:
        hold_total(meta, section)
    return meta


def hold_object_name(name: str) -> None:
    """Refuse the name of an object that is too long.

    Raises:
        Refusal: 400.
    """
    length = len(name.encode())
    if length > MAX_OBJECT_NAME:
        raise Refusal(400, f"Object name length of {length} longer than {MAX_OBJECT_NAME}")


def hold_container_name(name: str) -> None:
    """Refuse the name of a container that is too long.

    Raises:
        Refusal: 400.
    """
    length = len(name.encode())
    if length > MAX_CONTAINER_NAME:
        raise Refusal(400, f"Container name length of {length} longer than {MAX_CONTAINER_NAME}")
