"""Temporary URLs: a signature in the query stands in place of a token.

Source: https://docs.openstack.org/swift/latest/api/temporary_url_middleware.html
"""

import calendar
import ipaddress
import time
from email.utils import formatdate
from urllib.parse import quote

from node.plugins.object.swift import signature_rules
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal

_FORBIDDEN = ("x-object-manifest", "x-symlink-target")
_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
_FORMATS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")


def expires_at(text: str) -> int:
    """Return the second until which a URL is good, of a number or an ISO 8601 time; 0 if it is neither."""
    if text.isascii() and text.isdigit():
        return int(text)
    for form in _FORMATS:
        try:
            return calendar.timegm(time.strptime(text, form))
        except ValueError:
            continue
    return 0


def apply(call: Call) -> None:
    """Give a request with a signature the rights that the signature opens, and those only.

    Raises:
        Refusal: 401, the signature is none, forged or too old; 400, it is used to write a pointer to other data.
    """
    signature, expires = call.param("temp_url_sig"), call.param("temp_url_expires")
    if call.method == "OPTIONS" or (signature is None and expires is None):
        return
    until = expires_at(expires or "")
    digest = signature_rules.taken_apart(signature or "")
    if until <= call.ctx.clock.now_us() // 1_000_000 or digest is None:
        raise _invalid()
    if digest[0] not in call.section.tempurl_digests.split():
        raise _invalid()
    prefix = call.param("temp_url_prefix")
    whole = call.method in ("GET", "HEAD") and prefix == "" and bool(call.container_name)
    if call.method not in _METHODS or not (call.object_name.strip("/") or whole):
        raise _invalid()
    ip_range = call.param("temp_url_ip_range")
    if ip_range and not _inside(call.ctx.environ.get("REMOTE_ADDR", ""), ip_range):
        raise _invalid()
    texts = _texts(call, until, prefix, ip_range)
    grants = signature_rules.opened(call, digest[0], digest[1], texts)
    if not grants:
        raise _invalid()
    if call.method not in ("GET", "HEAD"):
        for header in _FORBIDDEN:
            if header in call.headers:
                raise Refusal(400, f"The header {header.title()!r} is not allowed in this tempurl")
    call.access.grants = grants
    call.hides_meta = True
    call.download_headers = _download_headers(call, until)


def _texts(call: Call, until: int, prefix: str | None, ip_range: str | None) -> list[str]:
    if prefix is None:
        places = signature_rules.paths(call, f"{call.container_name}/{call.object_name}")
    else:
        if not call.object_name.startswith(prefix):
            raise _invalid()
        places = [
            f"prefix:{path}"
            for path in signature_rules.paths(call, f"{call.container_name}/{prefix}")
        ]
    methods = ("HEAD", "GET", "POST", "PUT") if call.method == "HEAD" else (call.method,)
    front = f"ip={ip_range}\n" if ip_range else ""
    return [f"{front}{method}\n{until}\n{path}" for method in methods for path in places]


def _inside(address: str, ip_range: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(ip_range)
    except ValueError:
        return False


def _download_headers(call: Call, until: int) -> dict[str, str]:
    if call.method not in ("GET", "HEAD"):
        return {}
    filename = call.param("filename")
    kind = "inline" if call.param("inline") is not None else "attachment"
    found = {"Expires": formatdate(until, usegmt=True)}
    if filename:
        found["Content-Disposition"] = disposition(kind, filename)
    elif kind == "inline":
        found["Content-Disposition"] = kind
    return found


def default_disposition(name: str) -> str:
    """Return what is said of a file for which nothing else was said."""
    return disposition("attachment", name.rstrip("/").rpartition("/")[2])


def disposition(kind: str, filename: str) -> str:
    """Return a Content-Disposition that old and new browsers understand."""
    return f"{kind}; filename=\"{quote(filename, safe=' /')}\"; filename*=UTF-8''{quote(filename)}"


def _invalid() -> Refusal:
    return Refusal(
        401,
        "401 Unauthorized: Temp URL invalid\n",
        headers={"WWW-Authenticate": 'Swift realm="tempurl"'},
        content_type="text/html; charset=UTF-8",
    )
