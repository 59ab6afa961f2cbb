"""Deleting many objects and containers in one request.

Source: https://docs.openstack.org/swift/latest/middleware.html#bulk-delete
"""

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from node.plugins.object.swift import bulk_view
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.sdk import Reply

_LONGEST_NAME = 3 * (256 + 1024) + 2
_BLOCK = 1 << 16


def post(call: Call) -> Reply:
    """Delete what the body names, a line each: objects first, then containers."""
    kind = call.headers.get("content-type", "")
    if kind and not kind.startswith("text/plain"):
        raise Refusal(406)
    if call.ctx.content_length is not None and not call.ctx.environ.get("CONTENT_LENGTH"):
        raise Refusal(411)
    return bulk_view.deletion(call, _names(call))


def _names(call: Call) -> Iterator[str]:
    lines = list(_lines(call))
    names = [unquote_to_bytes(line).decode(errors="surrogateescape").strip() for line in lines]
    names = [name for name in names if name.strip("/")]
    yield from (name for name in names if "/" in name.strip("/"))
    yield from (name for name in names if "/" not in name.strip("/"))


def _lines(call: Call) -> Iterator[bytes]:
    count, rest = 0, b""
    while block := call.ctx.stream.read(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            count += 1
            if count > call.section.max_bulk_names:
                most = call.section.max_bulk_names
                raise Refusal(413, f"Maximum Bulk Deletes: {most} per request")
            yield line
        if len(rest) > _LONGEST_NAME:
            raise Refusal(400, "Invalid File Name")
    if rest.strip():
        yield rest
