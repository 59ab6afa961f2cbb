"""What headers say of an object that is written."""

import mimetypes
from collections.abc import Mapping
from urllib.parse import unquote

from node.plugins.object.store.contract import Facts
from node.plugins.object.swift import expiry_rules, limit_rules, object_view
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal

_KEPT = tuple(
    name for name in object_view.SHOWN if name not in ("x-delete-at", "x-object-manifest")
)


def kept_headers(call: Call) -> dict[str, str]:
    """Return what of the headers an object keeps, as its `sys`.

    Raises:
        Refusal: 400, the manifest's prefix or the expiry is malformed.
    """
    headers = call.headers
    found = {name: _text(headers[name]) for name in _KEPT if headers.get(name)}
    if headers.get("x-object-manifest"):
        found["x-object-manifest"] = _dlo(headers["x-object-manifest"])
    at = expiry_rules.delete_at(headers, call.ctx.clock.now_us())
    if at is not None:
        found["x-delete-at"] = str(at)
    return found


def content_type(call: Call, default: str = "") -> str:
    """Return the media type that the client says, or that the name suggests.

    Raises:
        Refusal: 400, it is no text.
    """
    given = call.headers.get("content-type", "")
    detect = call.flag("x-detect-content-type")
    if not given or detect:
        guessed = mimetypes.guess_type(call.object_name)[0]
        return default or guessed or "application/octet-stream"
    try:
        return limit_rules.decoded(given)
    except UnicodeError:
        raise Refusal(400, "Invalid Content-Type") from None


def facts(
    call: Call, etag: str, *, kind: str, meta: Mapping[str, str], sys: Mapping[str, str]
) -> Facts:
    """Return what is to be kept of an object."""
    del call
    at = sys.get("x-delete-at")
    return Facts(
        etag=etag,
        content_type=kind,
        meta=dict(meta),
        sys=dict(sys),
        expires_at=expiry_rules.micros(int(at) if at else None),
    )


def _text(value: str) -> str:
    try:
        return limit_rules.decoded(value)
    except UnicodeError:
        raise Refusal(400, "Metadata must be valid UTF-8") from None


def _dlo(value: str) -> str:
    """Return the value of X-Object-Manifest as it is kept: as it was sent.

    Raises:
        Refusal: 400, it is not `container/prefix`.
    """
    path = unquote(_text(value))
    container, slash, prefix = path.lstrip("/").partition("/")
    if not (container and slash and prefix) or any(mark in value for mark in "?&"):
        raise Refusal(400, "X-Object-Manifest must be in the format container/prefix")
    return _text(value)
