"""Uploads in parts: begin, send, copy, complete, abort.

Hard part: completing twice. A client that did not hear the answer asks again; the upload is gone then, so its id is
kept with the object that came of it, and the same answer is given again.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from hashlib import md5
from typing import Any

from node.plugins.object.hidden_containers import parts_id, uploads_id
from node.plugins.object.s3 import access, checksums, encryption, events, room_rules, uploads
from node.plugins.object.s3.call import MAX_BODY_BYTES, Call
from node.plugins.object.s3.complete_rules import Completion, check_parts, named_parts
from node.plugins.object.s3.condition_headers import write_condition
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_read_api import part_number
from node.plugins.object.s3.object_rules import (
    MAX_PUT_BYTES,
    checksum_headers,
    checksum_text,
    encryption_headers,
    part_sizes_text,
)
from node.plugins.object.s3.object_write_api import Wish, committed, poured, versioned
from node.plugins.object.s3.xml_input import parse
from node.plugins.object.s3.xml_text import document
from node.plugins.object.store.contract import Entry, Facts
from node.sdk import NotFound, Reply

DEFAULT_TYPE = {
    "sha1": checksums.COMPOSITE,
    "sha256": checksums.COMPOSITE,
    "crc64nvme": checksums.FULL_OBJECT,
}


def create_upload(call: Call) -> Reply:
    """Begin an upload."""
    access.require(call, "s3:PutObject")
    wish = Wish(call)
    upload_id = uploads.new_id(call.ctx.now(), call.ctx.ids.hex())
    sys = {**wish.sys, "s3-by": _by(call)}
    algorithm = call.header("x-amz-checksum-algorithm")
    headers = {}
    if algorithm:
        name = checksums.algorithm_of(algorithm)
        kind = call.header("x-amz-checksum-type").upper() or DEFAULT_TYPE.get(
            name, checksums.COMPOSITE
        )
        _check_kind(name, kind)
        sys["s3-want"] = f"{name}:{kind}"
        headers = {"x-amz-checksum-algorithm": name.upper(), "x-amz-checksum-type": kind}
    elif call.header("x-amz-checksum-type"):
        raise S3Error(
            "InvalidRequest",
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )
    facts = Facts(etag="", content_type=wish.content_type, meta=wish.meta, sys=sys)
    hidden = uploads_id(call.bucket.id)
    name = uploads.upload_name(call.key, upload_id)
    with call.store.writer(hidden, name, policy=call.bucket.policy, size_bytes=0) as writer:
        writer.commit(facts)
    tree = [("Bucket", call.name), ("Key", call.key), ("UploadId", upload_id)]
    return Reply(
        body=document("InitiateMultipartUploadResult", tree),
        content_type="application/xml",
        headers={**headers, **encryption_headers(sys)},
    )


def _by(call: Call) -> str:
    """Return who begins an upload, in words of two ids."""
    token = call.ctx.token_or_none
    return f"{token.project_id} {token.user_id}" if token is not None else " "


def _check_kind(algorithm: str, kind: str) -> None:
    fits = {
        checksums.COMPOSITE: algorithm != "crc64nvme",
        checksums.FULL_OBJECT: not algorithm.startswith("sha"),
    }
    if not fits.get(kind, False):
        raise S3Error(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.",
        )


def upload_part(call: Call) -> Reply:
    """Take one part."""
    access.require(call, "s3:PutObject")
    number = part_number(call.param("partNumber"))
    size = call.body.length
    if size is None:
        raise S3Error("MissingContentLength")
    if size > MAX_PUT_BYTES:
        raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=MAX_PUT_BYTES)
    upload = uploads.find(call.store, call.bucket.id, call.key, call.param("uploadId"))
    key = encryption.check_read(call.headers, upload.sys)
    algorithm = upload.sys.get("s3-want", "").partition(":")[0]
    room_rules.hold_part(call, size)
    given, _value = checksums.expected(call.headers)
    if algorithm and given and given != algorithm:
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {algorithm}, actual checksum Type: {given}",
        )
    name = uploads.part_name(call.param("uploadId"), number)
    hidden = parts_id(call.bucket.id)
    with call.store.writer(hidden, name, policy=call.bucket.policy, size_bytes=size) as writer:
        found, etag, more = poured(call.body, writer, key, algorithm)
        sys = {**more, **checksum_text(found.algorithm, found.checksum)}
        entry = writer.commit(Facts(etag=etag, sys=sys))
    _still_wanted(call, upload, entry)
    headers = {"ETag": f'"{etag}"', **encryption_headers(upload.sys)}
    headers |= {n: v for n, v in checksum_headers(sys).items() if n != "x-amz-checksum-type"}
    return Reply(headers=headers, content_type="application/xml")


def _still_wanted(call: Call, upload: Entry, part: Entry) -> None:
    """Undo a part whose upload ended while it was sent."""
    if call.store.head(upload.container_id, upload.name) is None:
        call.store.delete(part.container_id, part.name)
        raise S3Error("NoSuchUpload", UploadId=call.param("uploadId"))


def abort_upload(call: Call) -> Reply:
    """Forget an upload."""
    access.require(call, "s3:AbortMultipartUpload")
    upload_id = call.param("uploadId")
    uploads.find(call.store, call.bucket.id, call.key, upload_id)
    uploads.drop(call.store, call.bucket.id, call.key, upload_id)
    return Reply(status=204)


def complete_upload(call: Call) -> Reply:
    """Make an object of the parts."""
    access.require(call, "s3:PutObject")
    upload_id = call.param("uploadId")
    named = named_parts(parse(call.body.read_all(2 * MAX_BODY_BYTES), "CompleteMultipartUpload"))
    try:
        upload = uploads.find(call.store, call.bucket.id, call.key, upload_id)
    except S3Error:
        done = call.store.head(call.bucket.id, call.key)
        if done is None or done.sys.get("s3-upload") != upload_id:
            raise
        return _completed(call, done)
    there = dict(uploads.parts(call.store, call.bucket.id, upload_id))
    completion = check_parts(named, there, upload.sys.get("s3-want", ""), call.headers)
    entry = _composed(call, upload, upload_id, completion)
    uploads.drop(call.store, call.bucket.id, call.key, upload_id)
    events.record(call, "s3:ObjectCreated:CompleteMultipartUpload", entry)
    return _completed(call, entry)


def _composed(call: Call, upload: Entry, upload_id: str, completion: Completion) -> Entry:
    bucket = call.bucket
    parts = completion.parts
    digest = md5(b"".join(bytes.fromhex(p.etag) for p in parts), usedforsecurity=False)
    sys = {n: v for n, v in upload.sys.items() if n not in ("s3-want", "s3-by")}
    sys |= {"s3-parts": part_sizes_text([p.size_bytes for p in parts]), "s3-upload": upload_id}
    if "s3-ssec-check" in sys:
        sys["s3-ssec-nonce"] = ",".join(p.sys["s3-ssec-nonce"] for p in parts)
    sys |= completion.sys
    facts = Facts(
        etag=f"{digest.hexdigest()}-{len(parts)}",
        content_type=upload.content_type,
        meta=upload.meta,
        sys=sys,
    )
    held = write_condition(call.headers)
    room_rules.hold(call, sum(part.size_bytes for part in parts))

    def commit() -> Entry:
        try:
            return call.store.compose(
                bucket.id, call.key, parts, facts, held, version=versioned(bucket)
            )
        except NotFound as error:  # a part was sent again, or the upload aborted, in this moment
            raise S3Error("InvalidPart") from error

    return committed(call, commit, held)


def _completed(call: Call, entry: Entry) -> Reply:
    ctx = call.ctx
    tree: list[tuple[str, Any]] = [
        ("Location", f"{ctx.base_url}{ctx.service_path}/{call.name}/{call.key}"),
        ("Bucket", call.name),
        ("Key", call.key),
        ("ETag", f'"{entry.etag}"'),
    ]
    for name, value in checksum_headers(entry.sys).items():
        short = name.removeprefix(checksums.PREFIX)
        tree.append(("ChecksumType" if short == "type" else f"Checksum{short.upper()}", value))
    headers = encryption_headers(entry.sys)
    if call.bucket.versioning:
        headers["x-amz-version-id"] = entry.version_id
    return Reply(
        body=document("CompleteMultipartUploadResult", tree),
        headers=headers,
        content_type="application/xml",
    )
