"""Copies: of an object, and of a range of one as a part of an upload.

Hard part: the source is another bucket's, perhaps another project's. It is asked for with the caller's own rights on
it, and whoever has none learns nothing of it, not even whether it is there.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from collections.abc import Iterable
from hashlib import md5
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from node.plugins.object.hidden_containers import parts_id
from node.plugins.object.s3 import (
    access,
    checksums,
    condition_headers,
    encryption,
    events,
    lock_rules,
    range_rules,
    room_rules,
    swift_content,
    tag_rules,
    uploads,
)
from node.plugins.object.s3.bucket_rules import find_bucket
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_read_api import part_number, read
from node.plugins.object.s3.object_rules import (
    MAX_PUT_BYTES,
    checksum_of,
    checksum_text,
    content_type_of,
    encryption_headers,
    meta_of,
    sys_of,
)
from node.plugins.object.s3.object_write_api import acl_entries, committed, versioned
from node.plugins.object.s3.xml_text import document, xml_time
from node.plugins.object.store.contract import Entry, Facts, Writer
from node.plugins.object.tables import Container
from node.sdk import Reply

HEADER = "x-amz-copy-source"
_CARRIED = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)


class Source:
    """What is copied."""

    def __init__(self, call: Call) -> None:
        text = call.header(HEADER)
        path, mark, query = text.partition("?")
        path = unquote(path.removeprefix("/"), errors="surrogateescape")
        self.bucket_name, slash, self.key = path.partition("/")
        self.version: str | None = dict(parse_qsl(query)).get("versionId") if mark else None
        if not slash or not self.key or not self.bucket_name or "\0" in path:
            raise S3Error(
                "InvalidArgument",
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
                ArgumentName=HEADER,
                ArgumentValue=text,
            )
        found = find_bucket(call.ctx.db, call.project_id, self.bucket_name)
        if found is None:
            raise S3Error("NoSuchBucket", BucketName=self.bucket_name)
        self.bucket: Container = found
        self.entry, self._foreign = swift_content.shown(call.ctx, found, self._found(call))
        self.key_of_customer = encryption.check_read(
            call.headers, self.entry.sys, "x-amz-copy-source-"
        )

    def blocks(self, call: Call, offset: int, length: int) -> Iterable[bytes]:
        """Return bytes of it."""
        if not length:
            return ()
        if self._foreign is not None:
            return self._foreign(offset, length)
        return read(call, self.entry, self.key_of_customer, offset, length)

    def _found(self, call: Call) -> Entry:
        action = "s3:GetObject" if self.version is None else "s3:GetObjectVersion"
        entry = call.store.head(self.bucket.id, self.key, self.version)
        if not access.allows(call, action, entry, container=self.bucket, key=self.key):
            raise S3Error("AccessDenied")
        if entry is None:
            listed = access.allows(call, "s3:ListBucket", container=self.bucket)
            raise S3Error(
                ("NoSuchKey" if self.version is None else "NoSuchVersion")
                if listed
                else "AccessDenied",
                Key=self.key,
            )
        if entry.is_marker:
            raise S3Error(
                "InvalidRequest",
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            )
        condition_headers.check_read(call.headers, entry, "x-amz-copy-source-")
        return entry


def copy_object(call: Call) -> Reply:
    """Copy an object."""
    access.require(call, "s3:PutObject")
    source = Source(call)
    entry = source.entry
    if entry.size_bytes > MAX_PUT_BYTES:
        raise S3Error(
            "InvalidRequest",
            f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT_BYTES}",
        )
    facts, key = _wish(call, source)
    made = _poured(call, source, facts, key)
    events.record(call, "s3:ObjectCreated:Copy", made)
    headers = encryption_headers(made.sys)
    if call.bucket.versioning == "enabled":
        headers["x-amz-version-id"] = made.version_id
    if source.bucket.versioning:
        headers["x-amz-copy-source-version-id"] = entry.version_id
    tree: list[tuple[str, Any]] = [
        ("LastModified", xml_time(made.modified_at)),
        ("ETag", f'"{made.etag}"'),
    ]
    tree += _checksum_elements(made)
    return Reply(
        body=document("CopyObjectResult", tree), headers=headers, content_type="application/xml"
    )


def _checksum_elements(entry: Entry) -> list[tuple[str, str]]:
    found = checksum_of(entry.sys)
    if found is None:
        return []
    return [(f"Checksum{found[0].upper()}", found[1]), ("ChecksumType", found[2])]


def _directive(call: Call, name: str) -> bool:
    """Return whether something is to be replaced rather than copied."""
    text = call.header(name).upper() or "COPY"
    if text not in ("COPY", "REPLACE"):
        raise S3Error(
            "InvalidArgument",
            f"Unknown {name.removeprefix('x-amz-')}",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return text == "REPLACE"


def _wish(call: Call, source: Source) -> tuple[Facts, encryption.CustomerKey | None]:
    """Return what is said of the copy, and the customer's key for it."""
    entry = source.entry
    replaced = _directive(call, "x-amz-metadata-directive")
    retagged = _directive(call, "x-amz-tagging-directive")
    bucket = call.bucket
    key, kept = encryption.of_upload(
        call.headers, bucket.sys.get("s3-encryption", ""), plain=call.ctx.plain
    )
    itself = source.bucket.id == bucket.id and source.key == call.key and source.version is None
    said = sys_of(call.headers)
    if itself and not (
        replaced
        or retagged
        or said.get("s3-class")
        or kept
        or source.key_of_customer
        or "s3-redirect" in said
    ):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without a change.",
        )
    if replaced:
        meta, content_type, sys = meta_of(call.headers), content_type_of(call.headers), said
    else:
        meta, content_type = dict(entry.meta), entry.content_type
        sys = {n: v for n, v in entry.sys.items() if n in _CARRIED}
        sys |= {n: v for n, v in said.items() if n.startswith("s3-")}
    if retagged:
        sys |= tag_rules.kept(tag_rules.of_header(call.header("x-amz-tagging")))
    elif entry.sys.get("s3-tags"):
        sys["s3-tags"] = entry.sys["s3-tags"]
    sys |= kept | lock_rules.of_upload(call.headers, bucket, call.ctx.now()) | acl_entries(call)
    return Facts(etag="", content_type=content_type, meta=meta, sys=sys), key


def _poured(call: Call, source: Source, facts: Facts, key: encryption.CustomerKey | None) -> Entry:
    """Write the bytes of the source as the call's object."""
    entry, bucket = source.entry, call.bucket
    held = condition_headers.write_condition(call.headers)
    kept = checksum_of(entry.sys)
    asked = call.header("x-amz-checksum-algorithm")
    algorithm = checksums.algorithm_of(asked) if asked else kept[0] if kept else ""
    size = entry.size_bytes
    room_rules.hold(call, size)
    with call.store.writer(bucket.id, call.key, policy=bucket.policy, size_bytes=size) as writer:
        etag, sys = _copied(source.blocks(call, 0, size), writer, key, algorithm)
        done = msgspec.structs.replace(facts, etag=etag, sys={**facts.sys, **sys})
        return committed(call, lambda: writer.commit(done, held, version=versioned(bucket)), held)


def _copied(
    blocks: Iterable[bytes], writer: Writer, key: encryption.CustomerKey | None, algorithm: str
) -> tuple[str, dict[str, str]]:
    """Write blocks; return the ETag, and what of `sys` opens them again and keeps their checksum."""
    nonce = encryption.new_nonce() if key is not None else ""
    cipher = encryption.Cipher(key, nonce) if key is not None else None
    running, extra = md5(usedforsecurity=False), checksums.new(algorithm) if algorithm else None
    for block in blocks:
        if extra is not None:
            extra.update(block)
        data = cipher.update(block) if cipher else block
        running.update(data)
        writer.write(data)
    sys = {"s3-ssec-nonce": nonce} if nonce else {}
    if extra is not None:
        sys |= checksum_text(algorithm, checksums.text_of(extra.digest()))
    return running.hexdigest(), sys


def upload_part_copy(call: Call) -> Reply:
    """Take a part from another object."""
    access.require(call, "s3:PutObject")
    number = part_number(call.param("partNumber"))
    upload_id = call.param("uploadId")
    upload = uploads.find(call.store, call.bucket.id, call.key, upload_id)
    key = encryption.check_read(call.headers, upload.sys)
    source = Source(call)
    entry = source.entry
    asked = call.header("x-amz-copy-source-range")
    span = range_rules.copy_span(asked, entry.size_bytes) if asked else None
    first, length = (span.first, span.length) if span else (0, entry.size_bytes)
    if length > MAX_PUT_BYTES:
        raise S3Error(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy source.",
        )
    room_rules.hold_part(call, length)
    algorithm = upload.sys.get("s3-want", "").partition(":")[0]
    hidden, name = parts_id(call.bucket.id), uploads.part_name(upload_id, number)
    with call.store.writer(hidden, name, policy=call.bucket.policy, size_bytes=length) as writer:
        etag, sys = _copied(source.blocks(call, first, length), writer, key, algorithm)
        made = writer.commit(Facts(etag=etag, sys=sys))
    if call.store.head(upload.container_id, upload.name) is None:
        call.store.delete(made.container_id, made.name)
        raise S3Error("NoSuchUpload", UploadId=upload_id)
    headers = encryption_headers(upload.sys)
    if source.bucket.versioning:
        headers["x-amz-copy-source-version-id"] = entry.version_id
    tree = [("LastModified", xml_time(made.modified_at)), ("ETag", f'"{made.etag}"')]
    tree += [e for e in _checksum_elements(made) if e[0] != "ChecksumType"]
    return Reply(
        body=document("CopyPartResult", tree), headers=headers, content_type="application/xml"
    )
