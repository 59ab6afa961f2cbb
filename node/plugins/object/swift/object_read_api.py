"""GET and HEAD of objects.

Source: https://docs.openstack.org/api-ref/object-store/#get-object-content-and-metadata
"""

import json
from collections.abc import Iterator, Sequence

from node.plugins.object.swift import (
    condition_rules,
    manifest_rules,
    object_view,
    range_rules,
    tempurl_rules,
)
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.content import Content, content_of, manifest, manifest_bytes
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.object_find import Found, locate, spot_of
from node.plugins.object.swift.range_rules import Span
from node.sdk import Reply


def get(call: Call) -> Reply:
    """Send an object, or parts of it."""
    call.require()
    spot = spot_of(call)
    as_link = call.param("symlink") == "get"
    found = locate(call, spot, version_id=call.param("version-id"), follow=not as_link)
    if call.param("multipart-manifest") == "get" and object_view.is_slo(found.entry):
        return _manifest(call, found)
    as_manifest = call.param("multipart-manifest") == "get"
    content = Content(call, found.entry) if as_manifest else content_of(call, found)
    headers = object_view.headers(call, found.entry, found.container, content.etag)
    if as_link:
        headers |= object_view.link_headers(found.entry, spot.project_id)
    if found.location:
        headers["Content-Location"] = found.location
    return answer(call, found, content, headers)


def head(call: Call) -> Reply:
    """Tell of an object."""
    return get(call)


def answer(call: Call, found: Found, content: Content, headers: dict[str, str]) -> Reply:
    """Return the reply for content: whole, in ranges, or none as the client has it already."""
    modified_s = -(-found.entry.modified_at // 1_000_000)
    known = (content.etag, found.entry.etag)
    if call.hides_meta and "content-disposition" not in headers:
        headers["content-disposition"] = tempurl_rules.default_disposition(call.object_name)
    if not condition_rules.hold(call.headers, known, modified_s, headers):
        return Reply(status=304, headers=headers)
    kind = object_view.content_type(found.entry)
    asked = range_rules.parse(call.headers.get("range", ""))
    if asked is not None and condition_rules.range_holds(call.headers, known, modified_s):
        spans = range_rules.spans(asked, content.size)
        if not spans:
            told = {**headers, "Content-Range": f"bytes */{content.size}"}
            raise Refusal(416, headers={k: v for k, v in told.items() if k != "Accept-Ranges"})
        if len(spans) > 1:
            return _ranges(call, content, spans, headers, kind)
        headers["Content-Range"] = spans[0].content_range(content.size)
        return _body(call, content, spans[0], headers, kind, 206)
    return _body(call, content, Span(offset=0, length=content.size), headers, kind, 200)


def _body(
    call: Call, content: Content, span: Span, headers: dict[str, str], kind: str, status: int
) -> Reply:
    if call.method == "HEAD":
        headers["Content-Length"] = str(span.length)
        return Reply(status=status, headers=headers, content_type=kind)
    if not span.length:
        return Reply(status=status, body=b"", headers=headers, content_type=kind)
    file = content.file(span)
    if file is not None:
        return Reply(status=status, file=file, headers=headers, content_type=kind)
    return Reply(
        status=status,
        body=content.blocks(span),
        length_bytes=span.length,
        headers=headers,
        content_type=kind,
    )


def _ranges(
    call: Call, content: Content, spans: Sequence[Span], headers: dict[str, str], kind: str
) -> Reply:
    """Send several ranges as the parts of one body."""
    boundary = call.ctx.ids.hex()
    heads = [
        f"--{boundary}\r\nContent-Type: {kind}\r\n"
        f"Content-Range: {span.content_range(content.size)}\r\n\r\n".encode()
        for span in spans
    ]
    tail = f"--{boundary}--".encode()
    length = sum(len(h) + s.length + 2 for h, s in zip(heads, spans, strict=True)) + len(tail)
    kind = f"multipart/byteranges;boundary={boundary}"
    if call.method == "HEAD":
        headers["Content-Length"] = str(length)
        return Reply(status=206, headers=headers, content_type=kind)
    first = content.blocks(spans[0])

    def parts() -> Iterator[bytes]:
        for index, span in enumerate(spans):
            yield heads[index]
            yield from content.blocks(span) if index else first
            yield b"\r\n"
        yield tail

    return Reply(status=206, body=parts(), length_bytes=length, headers=headers, content_type=kind)


def _manifest(call: Call, found: Found) -> Reply:
    """Send the manifest of a static large object itself."""
    if call.param("format") == "raw":
        body = json.dumps(manifest_rules.raw(manifest(call, found.entry))).encode()
    else:
        body = manifest_bytes(call, found.entry)
    headers = object_view.headers(call, found.entry, found.container, found.entry.etag)
    kind = "application/json; charset=utf-8"
    if call.method == "HEAD":
        headers["Content-Length"] = str(len(body))
        return Reply(status=200, headers=headers, content_type=kind)
    return Reply(status=200, body=body, headers=headers, content_type=kind)
