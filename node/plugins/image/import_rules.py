"""Pure decisions about imports: which methods and URLs are taken."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from node.plugins.image.section import ImageSection
from node.sdk import BadRequest, Conflict

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URI = 2048
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def method(body: Any, known: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the whole of an import's method.

    Raises:
        BadRequest: 400.
    """
    given = body.get("method") if isinstance(body, dict) else None
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(name, str):
        raise BadRequest("Import request requires a 'name' field in 'method'.")
    if name not in known:
        raise BadRequest(f"Unknown import method name '{name}'.")
    return name, given


def check_stores(body: Any, store: str) -> None:
    """Refuse stores that are not there.

    Raises:
        BadRequest: 400.
        Conflict: 409.
    """
    stores = body.get("stores") if isinstance(body, dict) else None
    if stores is None:
        return
    if not isinstance(stores, list) or not all(isinstance(each, str) for each in stores):
        raise BadRequest("'stores' must be a list of names")
    unknown = sorted(set(stores) - {store})
    if unknown:
        raise Conflict(f"Store '{unknown[0]}' is not configured. Available stores are {[store]}")


def uri(text: Any, section: ImageSection) -> str:
    """Return a URL that may be imported from.

    Raises:
        BadRequest: 400, no URL of the web, or a port that is not allowed.
    """
    if not isinstance(text, str) or not text:
        raise BadRequest("URI is required if using 'web-download' import method.")
    refusal = BadRequest(f"URI for web-download does not pass filtering: {text[:200]}")
    if len(text) > _MAX_URI or any(ord(letter) <= 32 or ord(letter) == 127 for letter in text):
        raise refusal
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise refusal from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise refusal
    allowed = {each.strip() for each in section.import_ports.split(",") if each.strip()}
    if allowed and str(port) not in allowed:
        raise refusal
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return text  # a name: its addresses are looked at when it is fetched
    if not section.import_private and is_private(address):
        raise refusal
    return text


def is_private(address: Address) -> bool:
    """Return whether an address is of the node itself or of its links, where the node may be trusted for its place."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return is_private(mapped)
    return (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
        or address.is_reserved
    )  # fmt: skip
