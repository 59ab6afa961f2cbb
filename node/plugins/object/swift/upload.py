"""Taking the body of a request into the store."""

import hashlib
from collections.abc import Iterable

from node.plugins.object.store.contract import Writer
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.sdk import Frozen, TooLarge
from node.sdk import receive as take

_SMALL_BYTES = 1 << 16


class Received(Frozen):
    """What a body was."""

    size: int
    etag: str


def announced(call: Call) -> int | None:
    """Return the length that a request announces; None: its body comes in chunks.

    Raises:
        Refusal: 411, neither; 413, it is too long.
    """
    if call.ctx.content_length is None:
        return None
    length: str = call.ctx.environ.get("CONTENT_LENGTH") or ""
    if not length:
        raise Refusal(411, "Missing Content-Length header.")
    if call.ctx.content_length > call.section.max_file_size_bytes:
        raise Refusal(413, "Your request is too large.")
    return call.ctx.content_length


def receive(call: Call, writer: Writer, length: int | None, limit: int | None = None) -> Received:
    """Write the whole body and return what it was.

    `limit`: how long it may be, with Swift's own words for one that is longer.

    Raises:
        Refusal: 413, it is too long.
        ClientGone: 499, it ended early.
    """
    digest = hashlib.md5(usedforsecurity=False)
    if length is not None and length <= _SMALL_BYTES:
        data = call.ctx.stream.read_all(_SMALL_BYTES) if length else b""
        digest.update(data)
        writer.write(data)
        return Received(size=len(data), etag=digest.hexdigest())
    most = call.section.max_file_size_bytes if limit is None else limit
    try:
        taken = take(call.ctx.stream, writer.write, digests=("md5",), limit_bytes=most)
    except TooLarge:
        raise Refusal(413, "" if limit is None else "Upload exceeds quota.") from None
    return Received(size=taken.size, etag=taken.digests[0])


def write_all(call: Call, writer: Writer, blocks: Iterable[bytes]) -> Received:
    """Write blocks and return what they were.

    Raises:
        Refusal: 413, they are too many.
    """
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for block in blocks:
        size += len(block)
        if size > call.section.max_file_size_bytes:
            raise Refusal(413)
        digest.update(block)
        writer.write(block)
    return Received(size=size, etag=digest.hexdigest())


def hold_etag(call: Call, etag: str) -> None:
    """Refuse a body that is not what the client says it is.

    Raises:
        Refusal: 422, its MD5 is another one.
    """
    wanted = call.headers.get("etag", "").strip().strip('"').lower()
    if wanted and wanted != etag.lower():
        raise Refusal(422)
