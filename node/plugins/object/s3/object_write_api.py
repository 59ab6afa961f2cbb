"""Objects: put and delete.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from node.plugins.object.s3 import (
    access,
    acl_rules,
    encryption,
    events,
    lifecycle_rules,
    lock_rules,
    room_rules,
    tag_rules,
)
from node.plugins.object.s3.body import Body, Verified
from node.plugins.object.s3.call import MAX_BODY_BYTES, Call
from node.plugins.object.s3.condition_headers import write_condition
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_rules import (
    MAX_PUT_BYTES,
    checksum_headers,
    checksum_text,
    content_type_of,
    encryption_headers,
    meta_of,
    sys_of,
)
from node.plugins.object.s3.xml_input import Element, parse
from node.plugins.object.s3.xml_text import document
from node.plugins.object.store.contract import ANY, Condition, Entry, Facts, Writer
from node.plugins.object.tables import Container
from node.sdk import NodeError, NotFound, PreconditionFailed, Reply

_MAX_DELETES = 1000


class Wish:
    """What the headers of an upload ask for, besides the bytes."""

    def __init__(self, call: Call, *, owner: str | None = None) -> None:
        headers = call.headers
        bucket = call.bucket
        self.meta = meta_of(headers)
        self.content_type = content_type_of(headers)
        self.key, kept = encryption.of_upload(
            headers, bucket.sys.get("s3-encryption", ""), plain=call.ctx.plain
        )
        self.sys = {**sys_of(headers), **kept}
        self.sys |= lock_rules.of_upload(headers, bucket, call.ctx.now())
        self.sys |= acl_entries(call, owner)
        tags = headers.get("x-amz-tagging")
        if tags is not None:
            self.sys |= tag_rules.kept(tag_rules.of_header(tags))


def acl_entries(call: Call, owner: str | None = None) -> dict[str, str]:
    """Return what of `sys` says whose a new object is, and whom it is open to.

    Raises:
        S3Error: AccessDenied, the bucket blocks public lists; AccessControlListNotSupported.
    """
    bucket = call.bucket
    mine = call.project_id if owner is None else owner
    grants = acl_rules.of_headers(call.headers, mine or bucket.account, bucket.account)
    if not access.has_acls(bucket):
        if (
            grants is not None
            and grants != (("FULL_CONTROL", bucket.account),)
            and call.header("x-amz-acl") not in ("bucket-owner-full-control", "private")
        ):
            raise S3Error("AccessControlListNotSupported", "The bucket does not allow ACLs")
        return {}
    found: dict[str, str] = {}
    if mine and mine != bucket.account:
        preferred = bucket.sys.get("s3-ownership") == "BucketOwnerPreferred"
        if not (preferred and call.header("x-amz-acl") == "bucket-owner-full-control"):
            found["s3-owner"] = mine
    if grants is not None:
        refuse_public(bucket, grants)
        found["s3-acl"] = acl_rules.text_of(grants)
    return found


def refuse_public(bucket: Container, grants: acl_rules.Grants) -> None:
    """Refuse a list that is open to everybody, where the bucket blocks those.

    Raises:
        S3Error: AccessDenied.
    """
    if access.public_block(bucket).block_acls and acl_rules.is_public(grants):
        raise S3Error("AccessDenied")


def put_object(call: Call) -> Reply:
    """Store an object."""
    access.require(call, "s3:PutObject")
    _may_say(call)
    size = call.body.length
    if size is None:
        raise S3Error("MissingContentLength")
    if size > MAX_PUT_BYTES:
        raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=MAX_PUT_BYTES)
    wish = Wish(call)
    entry = store(call, wish, size)
    events.record(call, "s3:ObjectCreated:Put", entry)
    headers = written_headers(call, entry)
    headers |= checksum_headers(entry.sys)
    return Reply(headers=headers, content_type="application/xml")


def _may_say(call: Call) -> None:
    """Refuse headers that need rights of their own."""
    headers = call.headers
    for names, action in (
        (("x-amz-tagging",), "s3:PutObjectTagging"),
        (
            ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"),
            "s3:PutObjectRetention",
        ),
        (("x-amz-object-lock-legal-hold",), "s3:PutObjectLegalHold"),
    ):
        if any(name in headers for name in names):
            access.require(call, action)


def store(
    call: Call,
    wish: Wish,
    size: int | None,
    *,
    body: Body | None = None,
    condition: Condition | None = None,
) -> Entry:
    """Write the body of a call as its object."""
    held = write_condition(call.headers) if condition is None else condition
    bucket = call.bucket
    _hold_early(call, held)
    left = room_rules.hold(call, size)
    with call.store.writer(bucket.id, call.key, policy=bucket.policy, size_bytes=size) as writer:
        found, etag, more = poured(body or call.body, writer, wish.key)
        if found.size > MAX_PUT_BYTES:
            raise S3Error("EntityTooLarge", ProposedSize=found.size, MaxSizeAllowed=MAX_PUT_BYTES)
        if left is not None and found.size > left:
            raise room_rules.over()
        sys = {**wish.sys, **more, **checksum_text(found.algorithm, found.checksum)}
        facts = Facts(etag=etag, content_type=wish.content_type, meta=wish.meta, sys=sys)
        return committed(call, lambda: writer.commit(facts, held, version=versioned(bucket)), held)


def poured(
    body: Body, writer: Writer, key: encryption.CustomerKey | None, algorithm: str = ""
) -> tuple[Verified, str, dict[str, str]]:
    """Write a body; return what it was, the ETag, and what of `sys` opens it again."""
    if key is None:
        found = body.pour(writer.write, algorithm)
        return found, found.md5, {}
    from hashlib import md5

    nonce = encryption.new_nonce()
    cipher = encryption.Cipher(key, nonce)
    running = md5(usedforsecurity=False)

    def write(block: memoryview) -> None:
        data = cipher.update(block)
        running.update(data)
        writer.write(data)

    found = body.pour(write, algorithm)
    return found, running.hexdigest(), {"s3-ssec-nonce": nonce}


def _hold_early(call: Call, condition: Condition) -> None:
    """Refuse before the bytes come what would be refused after them."""
    if condition is ANY:
        return
    newest = call.store.head(call.bucket.id, call.key)
    if condition.absent and newest is not None:
        raise S3Error("PreconditionFailed", Condition="If-None-Match")
    if condition.etag and newest is None:
        raise S3Error("NoSuchKey", Key=call.key)
    if condition.etag and newest is not None and condition.etag not in ("*", newest.etag):
        raise S3Error("PreconditionFailed", Condition="If-Match")


def committed(call: Call, commit: Callable[[], Entry], condition: Condition) -> Entry:
    """Commit, with S3's errors for what may be in the way."""
    try:
        return commit()
    except PreconditionFailed as error:
        name = "If-None-Match" if condition.absent else "If-Match"
        raise S3Error("PreconditionFailed", Condition=name) from error
    except NotFound as error:
        raise S3Error("NoSuchBucket", BucketName=call.name) from error


def versioned(bucket: Container) -> bool:
    """Return whether a write makes a version of its own."""
    return bucket.versioning == "enabled"


def written_headers(call: Call, entry: Entry) -> dict[str, str]:
    """Return what the answer to a write says of the new object."""
    headers = {"ETag": f'"{entry.etag}"', **encryption_headers(entry.sys)}
    if call.bucket.versioning == "enabled":
        headers["x-amz-version-id"] = entry.version_id
    if "s3-lifecycle" in call.bucket.sys:
        headers |= lifecycle_rules.header_of(call.document("lifecycle"), entry)
    return headers


def delete_object(call: Call) -> Reply:
    """Delete an object, hide it, or delete a version for good."""
    version = call.version_id
    headers = _deleted(call, call.key, version, write_condition(call.headers))
    return Reply(status=204, headers=headers)


def _deleted(call: Call, key: str, version: str | None, condition: Condition) -> dict[str, str]:
    """Delete; return the headers that say what became of it."""
    bucket = call.bucket
    access.require(
        call,
        "s3:DeleteObject" if version is None else "s3:DeleteObjectVersion",
        key=key,
        container=bucket,
    )
    if condition.absent:
        raise S3Error("NotImplemented", Header="If-None-Match")
    permanent = version if version is not None else "null" if not bucket.versioning else None
    if permanent is not None:
        _check_lock(call, key, permanent)
    marker = {"enabled": "version", "suspended": "null"}.get(bucket.versioning, "")
    if marker == "null" and version is None:
        _check_lock(call, key, "null")
    try:
        gone = call.store.delete(
            bucket.id,
            key,
            version,
            marker="" if version is not None else marker,
            condition=condition,
        )
    except PreconditionFailed as error:
        raise S3Error("PreconditionFailed", Condition="If-Match") from error
    if gone is None:
        return {"x-amz-version-id": version} if version is not None else {}
    made_marker = gone.is_marker and version is None
    kind = "DeleteMarkerCreated" if made_marker else "Delete"
    events.record(call, f"s3:ObjectRemoved:{kind}", gone)
    headers = {}
    if bucket.versioning and (version is not None or made_marker):
        headers["x-amz-version-id"] = gone.version_id
    if gone.is_marker:
        headers["x-amz-delete-marker"] = "true"
    return headers


def _check_lock(call: Call, key: str, version: str) -> None:
    """Refuse to delete a version that is locked.

    Raises:
        S3Error: AccessDenied.
    """
    bucket = call.bucket
    if not lock_rules.has_lock(bucket):
        return
    entry = call.store.head(bucket.id, key, version)
    if entry is None or entry.is_marker:
        return
    if lock_rules.is_locked(entry.sys, call.ctx.now(), bypass=may_bypass(call, key)):
        raise S3Error("AccessDenied", "Access Denied because object protected by object lock.")


def may_bypass(call: Call, key: str) -> bool:
    """Return whether the caller asks to override governance and may do so."""
    if call.header("x-amz-bypass-governance-retention").lower() != "true":
        return False
    return access.allows(call, "s3:BypassGovernanceRetention", key=key, container=call.bucket)


def delete_objects(call: Call) -> Reply:
    """Delete up to a thousand objects; each has an outcome of its own."""
    has_digest = "content-md5" in call.headers or any(
        n.startswith(("x-amz-checksum-", "x-amz-sdk-checksum", "x-amz-trailer"))
        for n in call.headers
    )
    if not has_digest:
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5")
    root = parse(call.body.read_all(2 * MAX_BODY_BYTES), "Delete")
    wanted = root.all("Object")
    if not wanted or len(wanted) > _MAX_DELETES:
        raise S3Error("MalformedXML")
    quiet = root.value("Quiet").lower() == "true"
    tree: list[tuple[str, Any]] = []
    for one in wanted:
        name, outcome = _delete_one(call, one)
        if name == "Error" or not quiet:
            tree.append((name, outcome))
    return call.xml(document("DeleteResult", tree))


def _delete_one(call: Call, one: Element) -> tuple[str, list[tuple[str, Any]]]:
    key, version = one.value("Key"), one.value("VersionId") or None
    if not key:
        raise S3Error("MalformedXML" if one.get("Key") is None else "UserKeyMustBeSpecified")
    etag = one.value("ETag").strip('"')
    said: list[tuple[str, Any]] = [("Key", key), ("VersionId", version)]
    try:
        headers = _deleted(call, key, version, Condition(etag=etag) if etag else ANY)
    except NodeError as error:
        code = error.code if isinstance(error, S3Error) else "InternalError"
        return "Error", [*said, ("Code", code), ("Message", error.message)]
    if "x-amz-delete-marker" in headers:
        said.append(("DeleteMarker", True))
        said.append(("DeleteMarkerVersionId", headers.get("x-amz-version-id")))
    return "Deleted", said


def sys_with(entry: Entry, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the `sys` of an entry with some of it changed; None takes one out."""
    kept = {**entry.sys}
    for name, value in changes.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = value
    return kept
