"""The bytes that reading an object gives: its own, or those of the segments that its manifest names.

Hard part: a manifest may name segments that the reader may not see, that are gone, or that are other ones by now. Each
segment is asked for with the reader's own rights and compared with what the manifest says of it before a byte of it is
sent. The first one is opened before the answer begins, so that it can still be an error.

Source: https://docs.openstack.org/swift/latest/overview_large_objects.html
"""

import base64
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from node.plugins.object.store.contract import Entry, Query
from node.plugins.object.swift import manifest_rules, object_view
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.object_find import Found, Spot, locate
from node.plugins.object.swift.range_rules import Span
from node.plugins.object.tables import Container
from node.sdk import NodeError

_DEPTH = 10
"""How deep large objects may be made of large objects."""
_MANIFEST_BYTES = 64 << 20


class Content:
    """An object's own bytes."""

    def __init__(self, call: Call, entry: Entry) -> None:
        self.call = call
        self.entry = entry
        self.size = entry.size_bytes
        self.etag = entry.etag
        """As the header shows it."""

    def blocks(self, span: Span) -> Iterator[bytes]:
        """Return bytes. Errors of the first ones are raised here."""
        if not span.length:
            return iter(())
        return self.call.store.read(self.entry, span.offset, span.length)

    def file(self, span: Span) -> tuple[str, int, int] | None:
        """Return the file, offset and length of bytes that can be sent as they are, or None."""
        place: tuple[Path, int] | None = self.call.store.local_file(self.entry)
        if place is None:
            return None
        return str(place[0]), place[1] + span.offset, span.length


class StaticContent(Content):
    """The bytes of a static large object."""

    def __init__(self, call: Call, found: Found, depth: int = 0) -> None:
        super().__init__(call, found.entry)
        self.size = object_view.listed_size(found.entry)
        self.etag = f'"{found.entry.sys[object_view.SLO]}"'
        self.segments = manifest(call, found.entry)
        self._spot = found.spot
        self._depth = depth

    def blocks(self, span: Span) -> Iterator[bytes]:
        """Return bytes of segments."""
        return _begun(self._pieces(span))

    def file(self, span: Span) -> None:
        """Return None: the bytes are in many places."""
        del span

    def _pieces(self, span: Span) -> Iterator[bytes]:
        at, end = 0, span.offset + span.length
        for segment in self.segments:
            length = manifest_rules.length(segment)
            first, last = max(span.offset, at), min(end, at + length)
            if first < last:
                yield from self._segment(segment, first - at, last - first)
            at += length
            if at >= end:
                return

    def _segment(self, segment: Mapping[str, Any], offset: int, length: int) -> Iterator[bytes]:
        if "data" in segment:
            yield base64.b64decode(segment["data"])[offset : offset + length]
            return
        if "range" in segment:
            offset += int(segment["range"].split("-")[0])
        container, _slash, name = segment["name"].lstrip("/").partition("/")
        spot = Spot(project_id=self._spot.project_id, container=container, name=name)
        found = locate(self.call, spot)
        inner = content_of(self.call, found, self._depth + 1)
        if (inner.etag.strip('"'), inner.size) != (segment["hash"], segment["bytes"]):
            raise Refusal(409)
        yield from inner.blocks(Span(offset=offset, length=length))


class DynamicContent(Content):
    """The bytes of a dynamic large object: all objects under a prefix, as they are now."""

    def __init__(self, call: Call, found: Found, depth: int = 0) -> None:
        super().__init__(call, found.entry)
        value = unquote(found.entry.sys["x-object-manifest"])
        name, _slash, prefix = value.lstrip("/").partition("/")
        self._project_id = found.spot.project_id
        self._container = call.find(self._project_id, name)
        call.access.require("GET", self._project_id, self._container, "container")
        self._depth = depth
        self._entries = list(_under(call, self._container, prefix))
        self.size = sum(object_view.listed_size(entry) for entry in self._entries)
        digest = hashlib.md5(usedforsecurity=False)
        for entry in self._entries:
            digest.update(entry.sys.get(object_view.SLO, entry.etag).encode())
        self.etag = f'"{digest.hexdigest()}"'

    def blocks(self, span: Span) -> Iterator[bytes]:
        """Return bytes of segments."""
        return _begun(self._pieces(span))

    def file(self, span: Span) -> None:
        """Return None: the bytes are in many places."""
        del span

    def _pieces(self, span: Span) -> Iterator[bytes]:
        at, end = 0, span.offset + span.length
        for entry in self._entries:
            size = object_view.listed_size(entry)
            first, last = max(span.offset, at), min(end, at + size)
            if first < last:
                part = Span(offset=first - at, length=last - first)
                yield from self._inner(entry).blocks(part)
            at += size
            if at >= end:
                return

    def _inner(self, entry: Entry) -> Content:
        assert self._container is not None, "a container with entries is there"
        self.call.access.require("GET", self._project_id, self._container, "object")
        if not object_view.is_slo(entry):
            return Content(self.call, entry)
        spot = Spot(project_id=self._project_id, container=self._container.name, name=entry.name)
        found = Found(spot=spot, container=self._container, entry=entry)
        return content_of(self.call, found, self._depth + 1)


def content_of(call: Call, found: Found, depth: int = 0) -> Content:
    """Return what reading an object gives.

    Raises:
        Refusal: 409, large objects are nested too deep.
    """
    if "s3-ssec-nonce" in found.entry.sys and call.method != "HEAD":
        raise Refusal(409, "The object is encrypted with a key of its owner's: read it through S3.")
    if depth > _DEPTH:
        raise Refusal(409, "Max recursion depth exceeded")
    if object_view.is_slo(found.entry):
        return StaticContent(call, found, depth)
    if object_view.is_dlo(found.entry) and depth == 0:
        return DynamicContent(call, found, depth)
    return Content(call, found.entry)


def manifest(call: Call, entry: Entry) -> list[dict[str, Any]]:
    """Return the segments of a static large object.

    Raises:
        Refusal: 500, what is kept cannot be read.
    """
    try:
        found: list[dict[str, Any]] = json.loads(manifest_bytes(call, entry))
    except ValueError:
        raise Refusal(500, "Unable to load SLO manifest") from None
    return found


def manifest_bytes(call: Call, entry: Entry) -> bytes:
    """Return a manifest as it is kept."""
    return b"".join(call.store.read(entry, 0, min(entry.size_bytes, _MANIFEST_BYTES)))


def _under(call: Call, container: Container | None, prefix: str) -> Iterator[Entry]:
    if container is None:
        return
    marker = ""
    while True:
        page = call.store.list(container.id, Query(prefix=prefix, marker=marker))
        entries: Sequence[Entry] = [e for e in page.items if isinstance(e, Entry)]
        yield from entries
        if not page.truncated or not entries:
            return
        marker = entries[-1].name


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Open the first segment now, so that what is wrong with it becomes the answer.

    Raises:
        Refusal: 409, it is not what the manifest says, or not for this reader.
    """
    try:
        first = next(pieces, b"")
    except NodeError as error:
        if error.status >= 500:
            raise
        raise Refusal(409) from error
    return itertools.chain([first], pieces)
