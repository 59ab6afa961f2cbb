"""Objects: get, look at, and what is said of them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from collections.abc import Iterator
from typing import NoReturn

from node.plugins.object.s3 import (
    access,
    condition_headers,
    encryption,
    lifecycle_rules,
    range_rules,
    swift_content,
)
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_rules import (
    OVERRIDES,
    checksum_headers,
    checksum_of,
    encryption_headers,
    entry_headers,
    part_sizes,
)
from node.plugins.object.s3.range_rules import Span
from node.plugins.object.s3.xml_text import Tree, document, http_time
from node.plugins.object.store.contract import Entry, Query
from node.sdk import NotFound, Reply

_WHOLE_BYTES = 256 * 1024
"""Up to this size an answer goes out in one piece."""


def find(call: Call, action: str, version_action: str = "") -> Entry:
    """Return the object, or the version, that the request names, if the caller may do this with it.

    Raises:
        S3Error: NoSuchKey, NoSuchVersion; AccessDenied, also to those who must not learn that there is none;
            MethodNotAllowed for a delete marker.
    """
    version = call.version_id
    entry = call.store.head(call.bucket.id, call.key, version)
    asked = version_action if version is not None and version_action else action
    if entry is None:
        missing(call, asked, version)
    access.require(call, asked, entry)
    if entry.is_marker:
        headers = {
            "x-amz-delete-marker": "true",
            "x-amz-version-id": entry.version_id,
            "Last-Modified": http_time(entry.modified_at),
            "Allow": "DELETE",
        }
        raise S3Error("MethodNotAllowed", headers=headers)
    return entry


def missing(call: Call, action: str, version: str | None) -> NoReturn:
    """Say that there is no such object, to those who may list the bucket.

    Raises:
        S3Error: always.
    """
    bucket = call.bucket
    if not access.allows(call, "s3:ListBucket", key="", container=bucket):
        access.require(call, action)
        raise S3Error("AccessDenied")
    if not access.allows(call, action) and call.project_id == bucket.account:
        raise S3Error("AccessDenied")
    if version is not None:
        raise S3Error("NoSuchVersion", Key=call.key, VersionId=version)
    headers = {}
    if bucket.versioning:
        newest = call.store.list(bucket.id, Query(prefix=call.key, versions=True, limit=1))
        found = newest.items[0] if newest.items else None
        if isinstance(found, Entry) and found.name == call.key and found.is_marker:
            headers = {"x-amz-delete-marker": "true", "x-amz-version-id": found.version_id}
    raise S3Error("NoSuchKey", Key=call.key, headers=headers)


def get_object(call: Call) -> Reply:
    """Return an object, or a range or a part of it."""
    found = find(call, "s3:GetObject", "s3:GetObjectVersion")
    entry, foreign = swift_content.shown(call.ctx, call.bucket, found)
    key = encryption.check_read(call.headers, entry.sys)
    condition_headers.check_read(call.headers, entry)
    headers, span = _head(call, entry)
    offset, length = (span.first, span.length) if span else (0, entry.size_bytes)
    kind = headers.pop("Content-Type", entry.content_type)
    status = 206 if span else 200
    if length == 0 or (foreign is None and not entry.data):
        return Reply(body=b"", status=status, headers=headers, content_type=kind)
    if key is None and foreign is None and (local := call.store.local_file(entry)) is not None:
        path, start = local
        return Reply(
            file=(str(path), start + offset, length),
            status=status,
            headers=headers,
            content_type=kind,
        )
    blocks = foreign(offset, length) if foreign else read(call, entry, key, offset, length)
    if length <= _WHOLE_BYTES:
        return Reply(body=b"".join(blocks), status=status, headers=headers, content_type=kind)
    return Reply(
        body=blocks, length_bytes=length, status=status, headers=headers, content_type=kind
    )


def read(
    call: Call, entry: Entry, key: encryption.CustomerKey | None, offset: int, length: int
) -> Iterator[bytes]:
    """Return bytes of an object, as its owner wrote them.

    Raises:
        S3Error: NoSuchKey, it was replaced a moment ago.
    """
    try:
        blocks = call.store.read(entry, offset, length)
    except NotFound as error:
        raise S3Error("NoSuchKey", Key=entry.name) from error
    if key is None:
        return blocks
    return encryption.opened(
        blocks, key, entry.sys.get("s3-ssec-nonce", ""), part_sizes(entry.sys), offset
    )


def head_object(call: Call) -> Reply:
    """Return what `get_object` would, without the bytes."""
    found = find(call, "s3:GetObject", "s3:GetObjectVersion")
    entry, _foreign = swift_content.shown(call.ctx, call.bucket, found)
    encryption.check_read(call.headers, entry.sys)
    condition_headers.check_read(call.headers, entry)
    headers, span = _head(call, entry)
    kind = headers.pop("Content-Type", entry.content_type)
    length = span.length if span else entry.size_bytes
    return Reply(
        body=iter(()),
        length_bytes=length,
        status=206 if span else 200,
        headers=headers,
        content_type=kind,
    )


def _head(call: Call, entry: Entry) -> tuple[dict[str, str], Span | None]:
    """Return the headers of an answer, and the range that it is about."""
    headers = entry_headers(entry)
    if call.bucket.versioning:
        headers["x-amz-version-id"] = entry.version_id
    if "s3-lifecycle" in call.bucket.sys:
        headers |= lifecycle_rules.header_of(call.document("lifecycle"), entry)
    part = call.param("partNumber")
    asked = call.header("range")
    span = None
    if part:
        if asked:
            raise S3Error(
                "InvalidRequest", "Cannot specify both Range header and partNumber query parameter"
            )
        span, count = _part_span(entry, part_number(part))
        if count:
            headers["x-amz-mp-parts-count"] = str(count)
    elif asked:
        span = range_rules.span_of(asked, entry.size_bytes)
    if span is not None:
        headers["Content-Range"] = span.header
    if call.header("x-amz-checksum-mode").upper() == "ENABLED" and (span is None or part):
        headers |= checksum_headers(entry.sys)
    if call.ctx.params:
        headers |= _overridden(call)
    return headers, span


def _overridden(call: Call) -> dict[str, str]:
    """Return the headers that the query sets; nobody's request may not."""
    found = {header: call.param(name) for name, header in OVERRIDES.items() if call.param(name)}
    if found and call.ctx.token_or_none is None:
        raise S3Error(
            "InvalidRequest",
            "Request specific response headers cannot be used for anonymous GET requests.",
        )
    return found


def part_number(text: str) -> int:
    """Return the number of a part.

    Raises:
        S3Error: InvalidArgument.
    """
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= 10_000:
        raise S3Error(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return int(text)


def _part_span(entry: Entry, number: int) -> tuple[Span | None, int]:
    """Return the range of a part, and how many parts there are; 0 for an object that was never in parts."""
    sizes = part_sizes(entry.sys)
    if number > max(1, len(sizes)):
        raise S3Error(
            "InvalidRange",
            "The requested partnumber is not satisfiable",
            ActualPartCount=len(sizes),
            PartNumberRequested=number,
        )
    if not sizes:
        size = entry.size_bytes
        return (Span(first=0, last=size - 1, size=size) if size else None), 0
    first = sum(sizes[: number - 1])
    return Span(first=first, last=first + sizes[number - 1] - 1, size=entry.size_bytes), len(sizes)


_ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


def get_object_attributes(call: Call) -> Reply:
    """Return those facts of an object that the request names."""
    asked = [
        name.strip() for name in call.header("x-amz-object-attributes").split(",") if name.strip()
    ]
    if not asked or any(name not in _ATTRIBUTES for name in asked):
        raise S3Error(
            "InvalidArgument",
            "Invalid attribute name specified.",
            ArgumentName="x-amz-object-attributes",
        )
    entry = find(call, "s3:GetObject", "s3:GetObjectVersion")
    encryption.check_read(call.headers, entry.sys)
    condition_headers.check_read(call.headers, entry)
    tree: list[tuple[str, object]] = []
    checksum = checksum_of(entry.sys)
    if "ETag" in asked:
        tree.append(("ETag", entry.etag))
    if "Checksum" in asked and checksum is not None:
        algorithm, value, kind = checksum
        tree.append(("Checksum", [(f"Checksum{algorithm.upper()}", value), ("ChecksumType", kind)]))
    sizes = part_sizes(entry.sys)
    if "ObjectParts" in asked and sizes:
        tree.append(("ObjectParts", _parts(call, sizes)))
    if "StorageClass" in asked:
        tree.append(("StorageClass", entry.sys.get("s3-class", "STANDARD")))
    if "ObjectSize" in asked:
        tree.append(("ObjectSize", entry.size_bytes))
    headers = {"Last-Modified": http_time(entry.modified_at), **encryption_headers(entry.sys)}
    if call.bucket.versioning:
        headers["x-amz-version-id"] = entry.version_id
    return Reply(
        body=document("GetObjectAttributesResponse", tree),
        headers=headers,
        content_type="application/xml",
    )


def _parts(call: Call, sizes: list[int]) -> Tree:
    try:
        after = int(call.header("x-amz-part-number-marker") or 0)
        most = min(int(call.header("x-amz-max-parts") or 1000), 1000)
    except ValueError as error:
        raise S3Error(
            "InvalidArgument", "Argument maxParts must be an integer between 0 and 2147483647"
        ) from error
    page = list(enumerate(sizes, 1))[after : after + most]
    last = page[-1][0] if page else after
    return [
        ("PartsCount", len(sizes)),
        ("PartNumberMarker", after),
        ("NextPartNumberMarker", last),
        ("MaxParts", most),
        ("IsTruncated", last < len(sizes)),
        *(("Part", [("PartNumber", number), ("Size", size)]) for number, size in page),
    ]
