"""Listings of a bucket: objects in both versions of the call, and versions.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from node.plugins.object.s3 import acl_rules
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_rules import checksum_of, url_encoded
from node.plugins.object.s3.xml_text import Tree, document, xml_time
from node.plugins.object.store.contract import Entry, Listing, Query
from node.plugins.object.swift import object_view
from node.sdk import Reply

MAX_KEYS = 1000
_Encode = Callable[[str], str]


def size_of(call: Call, name: str = "max-keys", most: int = MAX_KEYS) -> int:
    """Return how many are asked for, at most a thousand.

    Raises:
        S3Error: InvalidArgument.
    """
    text = call.ctx.param(name)
    if text is None or text == "":
        return most
    if not (text.isascii() and text.isdigit()) or int(text[:12]) > 2**31 - 1:
        raise S3Error(
            "InvalidArgument",
            f"Provided {name} not an integer or within integer range",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return min(int(text), most)


def encoder(call: Call) -> _Encode:
    """Return how names are written.

    Raises:
        S3Error: InvalidArgument, an encoding that there is not.
    """
    text = call.param("encoding-type")
    if text not in ("", "url"):
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=text,
        )
    return url_encoded if text else lambda name: name


def owner(call: Call, project_id: str) -> Tree:
    """Return whose something is."""
    token = call.ctx.token_or_none
    mine = token is not None and token.project_id == project_id
    return [
        ("ID", project_id),
        ("DisplayName", token.project_name if mine and token else project_id),
    ]


def _page(call: Call, query: Query) -> Listing:
    return (
        call.store.list(call.bucket.id, query)
        if query.limit
        else Listing(items=(), truncated=False)
    )


def _name(item: Entry | str) -> str:
    return item if isinstance(item, str) else item.name


def _contents(call: Call, item: Entry, encode: _Encode, *, with_owner: bool) -> Tree:
    checksum = checksum_of(item.sys)
    return [
        ("Key", encode(item.name)),
        ("LastModified", xml_time(item.modified_at)),
        ("ETag", f'"{item.sys.get(object_view.SLO, item.etag)}"'),
        ("ChecksumAlgorithm", checksum[0].upper() if checksum else None),
        ("ChecksumType", checksum[2] if checksum else None),
        ("Size", object_view.listed_size(item)),
        ("Owner", owner(call, acl_rules.owner_of(item.sys, call.bucket)) if with_owner else None),
        ("StorageClass", item.sys.get("s3-class", "STANDARD")),
    ]


def _items(call: Call, page: Listing, encode: _Encode, *, with_owner: bool) -> Tree:
    found: list[tuple[str, Any]] = [
        ("Contents", _contents(call, item, encode, with_owner=with_owner))
        for item in page.items
        if isinstance(item, Entry)
    ]
    return found + _prefixes(page, encode)


def _prefixes(page: Listing, encode: _Encode) -> list[tuple[str, Any]]:
    return [("CommonPrefixes", [("Prefix", encode(i))]) for i in page.items if isinstance(i, str)]


def list_objects(call: Call) -> Reply:
    """List objects, in the first version of the call."""
    encode, size = encoder(call), size_of(call)
    prefix, delimiter, marker = (call.param(n) for n in ("prefix", "delimiter", "marker"))
    page = _page(call, Query(prefix=prefix, marker=marker, delimiter=delimiter, limit=size))
    following = _name(page.items[-1]) if page.truncated and delimiter and page.items else None
    tree = [
        ("Name", call.name),
        ("Prefix", encode(prefix)),
        ("Marker", encode(marker)),
        ("NextMarker", encode(following) if following is not None else None),
        ("MaxKeys", size),
        ("Delimiter", encode(delimiter) if delimiter else None),
        ("IsTruncated", page.truncated),
        ("EncodingType", call.param("encoding-type") or None),
        *_items(call, page, encode, with_owner=True),
    ]
    return call.xml(document("ListBucketResult", tree))


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _from_token(text: str) -> str:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
            ArgumentValue=text[:200],
        ) from error


def list_objects_v2(call: Call) -> Reply:
    """List objects, in the second version of the call."""
    if call.param("list-type") != "2":
        return list_objects(call)
    encode, size = encoder(call), size_of(call)
    prefix, delimiter, after = (call.param(n) for n in ("prefix", "delimiter", "start-after"))
    token = call.ctx.param("continuation-token")
    if token == "":
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
        )
    marker = _from_token(token) if token is not None else after
    page = _page(call, Query(prefix=prefix, marker=marker, delimiter=delimiter, limit=size))
    following = _token(_name(page.items[-1])) if page.truncated and page.items else None
    tree = [
        ("Name", call.name),
        ("Prefix", encode(prefix)),
        ("StartAfter", encode(after) if after else None),
        ("ContinuationToken", token),
        ("NextContinuationToken", following),
        ("KeyCount", len(page.items)),
        ("MaxKeys", size),
        ("Delimiter", encode(delimiter) if delimiter else None),
        ("IsTruncated", page.truncated),
        ("EncodingType", call.param("encoding-type") or None),
        *_items(call, page, encode, with_owner=call.param("fetch-owner").lower() == "true"),
    ]
    return call.xml(document("ListBucketResult", tree))


def list_versions(call: Call) -> Reply:
    """List versions and delete markers."""
    encode, size = encoder(call), size_of(call)
    prefix, delimiter, marker = (call.param(n) for n in ("prefix", "delimiter", "key-marker"))
    version = call.ctx.param("version-id-marker")
    if version is not None and (version == "" or not marker):
        raise S3Error(
            "InvalidArgument",
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
            ArgumentValue=version,
        )
    query = Query(
        prefix=prefix,
        marker=marker,
        version_marker=version or "",
        delimiter=delimiter,
        limit=size,
        versions=True,
    )
    page = _page(call, query)
    last = page.items[-1] if page.truncated and page.items else None
    tree: list[tuple[str, Any]] = [
        ("Name", call.name),
        ("Prefix", encode(prefix)),
        ("KeyMarker", encode(marker)),
        ("VersionIdMarker", version or ""),
        ("NextKeyMarker", encode(_name(last)) if last is not None else None),
        ("NextVersionIdMarker", last.version_id if isinstance(last, Entry) else None),
        ("MaxKeys", size),
        ("Delimiter", encode(delimiter) if delimiter else None),
        ("IsTruncated", page.truncated),
        ("EncodingType", call.param("encoding-type") or None),
    ]
    tree += [_version(call, item, encode) for item in page.items if isinstance(item, Entry)]
    return call.xml(document("ListVersionsResult", [*tree, *_prefixes(page, encode)]))


def _version(call: Call, item: Entry, encode: _Encode) -> tuple[str, Tree]:
    begin: Tree = [
        ("Key", encode(item.name)),
        ("VersionId", item.version_id),
        ("IsLatest", item.is_latest),
        ("LastModified", xml_time(item.modified_at)),
    ]
    whose = ("Owner", owner(call, acl_rules.owner_of(item.sys, call.bucket)))
    if item.is_marker:
        return "DeleteMarker", [*begin, whose]
    checksum = checksum_of(item.sys)
    return "Version", [
        *begin,
        ("ETag", f'"{item.etag}"'),
        ("ChecksumAlgorithm", checksum[0].upper() if checksum else None),
        ("Size", item.size_bytes),
        whose,
        ("StorageClass", item.sys.get("s3-class", "STANDARD")),
    ]
