"""What Swift's own kinds of objects give when S3 reads them: large objects of segments, and symlinks.

They are read as Swift reads them, with the caller's rights on each segment as Swift sees those: a manifest opens
nothing in S3 that it does not open in Swift.
"""

from collections.abc import Callable, Iterator

import msgspec

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.store.contract import Entry
from node.plugins.object.swift import object_view
from node.plugins.object.swift.call import Call as SwiftCall
from node.plugins.object.swift.content import content_of
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.object_find import Found, Spot, locate
from node.plugins.object.swift.range_rules import Span
from node.plugins.object.tables import Container
from node.sdk import Context

Blocks = Callable[[int, int], Iterator[bytes]]
"""Called with offset and length."""


def is_plain(entry: Entry) -> bool:
    """Return whether an object's bytes are its own."""
    sys = entry.sys
    return not (object_view.SLO in sys or object_view.LINK in sys or sys.get("x-object-manifest"))


def shown(ctx: Context, bucket: Container, entry: Entry) -> tuple[Entry, Blocks | None]:
    """Return an object as it is read, and what reads it; None: its bytes are its own.

    Raises:
        S3Error: AccessDenied, NoSuchKey or InvalidObjectState: what it names may not be read, or is not there.
    """
    if is_plain(entry):
        return entry, None
    try:
        call = SwiftCall(ctx)
        spot = Spot(project_id=bucket.account, container=bucket.name, name=entry.name)
        found = Found(spot=spot, container=bucket, entry=entry)
        if object_view.is_link(entry):
            found = locate(call, spot)
        content = content_of(call, found)
    except Refusal as error:
        raise _translated(error) from error
    etag = content.etag.strip('"')
    made = msgspec.structs.replace(entry, size_bytes=content.size, etag=etag)

    def blocks(offset: int, length: int) -> Iterator[bytes]:
        try:
            return content.blocks(Span(offset=offset, length=length))
        except Refusal as error:
            raise _translated(error) from error

    return made, blocks


def _translated(error: Refusal) -> S3Error:
    if error.status in (401, 403):
        return S3Error("AccessDenied")
    if error.status == 404:
        return S3Error("NoSuchKey")
    return S3Error("InvalidObjectState", "What the object is made of cannot be read.")
