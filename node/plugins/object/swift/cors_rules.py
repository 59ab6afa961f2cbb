"""Requests that a browser makes for a page of another origin.

Source: https://docs.openstack.org/swift/latest/cors.html
"""

from collections.abc import Mapping

from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.sdk import Reply

_EXPOSED = (
    "cache-control", "content-language", "content-type", "etag", "expires", "last-modified", "pragma",
    "x-openstack-request-id", "x-timestamp", "x-trans-id",
)  # fmt: skip
ALLOWED = {
    "account": "OPTIONS, GET, POST, HEAD",
    "container": "HEAD, GET, PUT, POST, OPTIONS, DELETE",
    "object": "HEAD, GET, PUT, POST, COPY, OPTIONS, DELETE",
}
"""Methods by what the path names."""


def _setting(call: Call, name: str) -> str:
    row = call.container_row
    return row.meta.get(f"access-control-{name}", "").strip() if row else ""


def _welcome(call: Call, origin: str) -> bool:
    allowed = _setting(call, "allow-origin").split()
    return "*" in allowed or origin.lower() in (one.lower() for one in allowed)


def response_headers(call: Call, origin: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers that let the page of an origin see an answer, if the container lets it."""
    if not _welcome(call, origin):
        return {}
    exposed = set(_EXPOSED) | {
        name.lower()
        for name in headers
        if name.lower().startswith(("x-container-meta", "x-object-meta"))
    }
    exposed |= {name.lower() for name in _setting(call, "expose-headers").replace(",", " ").split()}
    found = {"Access-Control-Expose-Headers": ", ".join(sorted(exposed))}
    if _setting(call, "allow-origin") == "*":
        found["Access-Control-Allow-Origin"] = "*"
    else:
        found |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    return found


def options(call: Call) -> Reply:
    """Answer what may be asked here; for a browser, only if its page may."""
    headers = {"Allow": ALLOWED[call.scope]}
    origin = call.headers.get("origin", "")
    wanted = call.headers.get("access-control-request-method", "")
    if not origin:
        return Reply(status=200, body=b"", headers=headers, content_type="text/html; charset=UTF-8")
    if (
        not wanted
        or not _welcome(call, origin)
        or wanted.upper() not in headers["Allow"].split(", ")
    ):
        raise Refusal(401, headers=headers)
    every = _setting(call, "allow-origin") == "*"
    headers |= {
        "Access-Control-Allow-Origin": "*" if every else origin,
        "Access-Control-Allow-Methods": headers["Allow"],
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    if max_age := _setting(call, "max-age"):
        headers["Access-Control-Max-Age"] = max_age
    asked = call.headers.get("access-control-request-headers", "")
    names = {name.strip().lower() for name in asked.split(",") if name.strip()}
    if names:
        headers["Access-Control-Allow-Headers"] = ", ".join(sorted(names))
    return Reply(status=200, body=b"", headers=headers, content_type="text/html; charset=UTF-8")
