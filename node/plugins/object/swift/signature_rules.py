"""Signatures with the keys of an account or container, as temporary URLs and forms carry them."""

import base64
import binascii
import hmac
from collections.abc import Iterator

from node.plugins.object.swift.access import Grant
from node.plugins.object.swift.call import Call

_BY_LENGTH = {40: "sha1", 64: "sha256", 128: "sha512"}
_KEYS = ("temp-url-key", "temp-url-key-2")


def taken_apart(signature: str) -> tuple[str, str] | None:
    """Return digest and hexadecimal signature, of `<hex>` or `<digest>:<base64>`; None if it is neither."""
    name, colon, text = signature.partition(":")
    if not colon:
        found = _BY_LENGTH.get(len(signature))
        return (found, signature.lower()) if found else None
    try:
        padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        return name, base64.b64decode(padded, validate=True).hex()
    except (binascii.Error, ValueError):
        return None


def keys(call: Call) -> Iterator[tuple[str, Grant]]:
    """Yield each key that may sign for the container of a request, and what it opens."""
    if not call.project_id or (call.account_row and call.account_row.deleted):
        return
    if call.account_row:
        for name in _KEYS:
            if key := call.account_row.meta.get(name):
                yield key, Grant(project_id=call.project_id)
    if call.container_row:
        for name in _KEYS:
            if key := call.container_row.meta.get(name):
                grant = Grant(project_id=call.project_id, container=call.container_name)
                yield key, grant


def opened(call: Call, digest: str, signature: str, texts: list[str]) -> tuple[Grant, ...]:
    """Return what a signature opens: it must be one of the texts', with one of the keys."""
    found = []
    for key, grant in keys(call):
        for text in texts:
            wanted = hmac.new(key.encode(), text.encode(), digest).hexdigest()
            if hmac.compare_digest(wanted, signature):
                found.append(grant)
                break
    return tuple(found)


def paths(call: Call, below: str) -> list[str]:
    """Return how a path in the account may be written in what is signed: from the version on, or whole."""
    path = f"/v1/{call.account}/{below}"
    return [path, call.ctx.service_path + path]
