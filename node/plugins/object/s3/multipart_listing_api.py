"""Listings of uploads in progress and of their parts.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
"""

from typing import Any

from node.plugins.object.s3 import access, uploads
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.listing_api import encoder, owner, size_of
from node.plugins.object.s3.object_rules import checksum_of
from node.plugins.object.s3.xml_text import document, xml_time
from node.plugins.object.store.contract import Entry
from node.sdk import Reply


def list_uploads(call: Call) -> Reply:
    """List the uploads in progress, by key and by when they began."""
    encode, size = encoder(call), size_of(call, "max-uploads")
    prefix, delimiter, marker = (call.param(n) for n in ("prefix", "delimiter", "key-marker"))
    after = call.param("upload-id-marker") if marker else ""
    items: list[tuple[str, str, Entry | None]] = []
    truncated = False
    for entry in uploads.unfinished(call.store, call.bucket.id):
        key, upload_id = uploads.parted(entry.name)
        if not key.startswith(prefix):
            continue
        folded = _folded(key, prefix, delimiter)
        place = folded or key
        if marker and (place.encode(), upload_id if not folded else "") <= (
            marker.encode(),
            after or "\x7f",
        ):
            continue
        if folded and items and items[-1][0] == folded and items[-1][2] is None:
            continue
        if len(items) == size:
            truncated = True
            break
        items.append((place, upload_id, None if folded else entry))
    last = items[-1] if truncated and items else None
    tree: list[tuple[str, Any]] = [
        ("Bucket", call.name),
        ("KeyMarker", encode(marker)),
        ("UploadIdMarker", after),
        ("NextKeyMarker", encode(last[0]) if last else None),
        ("NextUploadIdMarker", (last[1] if last[2] else "") if last else None),
        ("Prefix", encode(prefix)),
        ("Delimiter", encode(delimiter) if delimiter else None),
        ("MaxUploads", size),
        ("IsTruncated", truncated),
        ("EncodingType", call.param("encoding-type") or None),
    ]
    for key, upload_id, found in items:
        if found is not None:
            tree.append(("Upload", _upload(call, encode(key), upload_id, found)))
    tree += [
        ("CommonPrefixes", [("Prefix", encode(p))]) for p, _id, found in items if found is None
    ]
    return call.xml(document("ListMultipartUploadsResult", tree))


def _folded(key: str, prefix: str, delimiter: str) -> str:
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return key[: at + len(delimiter)] if at >= 0 else ""


def _upload(call: Call, key: str, upload_id: str, entry: Entry) -> list[tuple[str, Any]]:
    project_id, _space, user_id = entry.sys.get("s3-by", " ").partition(" ")
    algorithm, _colon, kind = entry.sys.get("s3-want", "").partition(":")
    return [
        ("Key", key),
        ("UploadId", upload_id),
        ("Initiator", [("ID", user_id or project_id), ("DisplayName", user_id or project_id)]),
        ("Owner", owner(call, entry.sys.get("s3-owner") or call.bucket.account)),
        ("StorageClass", entry.sys.get("s3-class", "STANDARD")),
        ("Initiated", xml_time(entry.modified_at)),
        ("ChecksumAlgorithm", algorithm.upper() or None),
        ("ChecksumType", kind or None),
    ]


def list_parts(call: Call) -> Reply:
    """List the parts that an upload has so far."""
    access.require(call, "s3:ListMultipartUploadParts")
    upload_id = call.param("uploadId")
    upload = uploads.find(call.store, call.bucket.id, call.key, upload_id)
    size = size_of(call, "max-parts")
    text = call.param("part-number-marker") or "0"
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise S3Error(
            "InvalidArgument",
            "Argument part-number-marker must be an integer between 0 and 2147483647",
            ArgumentName="part-number-marker",
            ArgumentValue=text,
        )
    found: list[tuple[int, Entry]] = []
    truncated = False
    if size:
        for number, part in uploads.parts(
            call.store, call.bucket.id, upload_id, min(int(text), 99_999)
        ):
            if len(found) == size:
                truncated = True
                break
            found.append((number, part))
    project_id, _space, user_id = upload.sys.get("s3-by", " ").partition(" ")
    algorithm, _colon, kind = upload.sys.get("s3-want", "").partition(":")
    encode = encoder(call)
    tree: list[tuple[str, Any]] = [
        ("Bucket", call.name),
        ("Key", encode(call.key)),
        ("UploadId", upload_id),
        ("Initiator", [("ID", user_id or project_id), ("DisplayName", user_id or project_id)]),
        ("Owner", owner(call, upload.sys.get("s3-owner") or call.bucket.account)),
        ("StorageClass", upload.sys.get("s3-class", "STANDARD")),
        ("PartNumberMarker", int(text)),
        ("NextPartNumberMarker", found[-1][0] if found else int(text)),
        ("MaxParts", size),
        ("IsTruncated", truncated),
        ("ChecksumAlgorithm", algorithm.upper() or None),
        ("ChecksumType", kind or None),
        *(("Part", _part(number, part)) for number, part in found),
    ]
    return call.xml(document("ListPartsResult", tree))


def _part(number: int, part: Entry) -> list[tuple[str, Any]]:
    checksum = checksum_of(part.sys)
    return [
        ("PartNumber", number),
        ("LastModified", xml_time(part.modified_at)),
        ("ETag", f'"{part.etag}"'),
        ("Size", part.size_bytes),
        *([(f"Checksum{checksum[0].upper()}", checksum[1])] if checksum else []),
    ]
