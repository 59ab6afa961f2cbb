"""Who may do what: the owner, the bucket's policy, access control lists, and the block on public access.

Hard part: the order. A Deny of the policy holds for everybody, the owner too, but for the policy itself, so that
nobody is locked out for good. Then the owner's project is allowed, then the policy's Allow, then the lists.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-s3-evaluates-access-control.html
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from node.plugins.object.s3 import acl_rules, policy_rules
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.policy_rules import Who
from node.plugins.object.store.contract import Entry
from node.plugins.object.tables import Container
from node.sdk import Frozen, iso_utc

_READS = ("s3:Get", "s3:List", "s3:Head")
_SPARED = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
_ON_BUCKET = {
    "s3:ListBucket": "READ",
    "s3:ListBucketVersions": "READ",
    "s3:ListBucketMultipartUploads": "READ",
    "s3:PutObject": "WRITE",
    "s3:DeleteObject": "WRITE",
    "s3:AbortMultipartUpload": "WRITE",
    "s3:ListMultipartUploadParts": "WRITE",
    "s3:GetBucketAcl": "READ_ACP",
    "s3:PutBucketAcl": "WRITE_ACP",
}
_ON_OBJECT = {
    "s3:GetObject": "READ",
    "s3:GetObjectVersion": "READ",
    "s3:GetObjectAcl": "READ_ACP",
    "s3:GetObjectVersionAcl": "READ_ACP",
    "s3:PutObjectAcl": "WRITE_ACP",
    "s3:PutObjectVersionAcl": "WRITE_ACP",
}


class PublicBlock(Frozen):
    """The bucket's block on public access."""

    block_acls: bool = False
    ignore_acls: bool = False
    block_policy: bool = False
    restrict: bool = False


@lru_cache(maxsize=256)
def _block_of(text: str) -> PublicBlock:
    words = set(text.split())
    return PublicBlock(**{name: name in words for name in PublicBlock.__struct_fields__})


def public_block(container: Container) -> PublicBlock:
    """Return the block of a bucket."""
    return _block_of(container.sys.get("s3-public-access-block", ""))


def has_acls(container: Container) -> bool:
    """Return whether access control lists count."""
    return container.sys.get("s3-ownership", "") != "BucketOwnerEnforced"


def who_asks(call: Call) -> Who:
    """Return who asks."""
    token = call.ctx.token_or_none
    if token is None:
        return Who()
    return Who(project_id=token.project_id, user_id=token.user_id, user_name=token.user_name)


def require(
    call: Call,
    action: str,
    entry: Entry | None = None,
    *,
    container: Container | None = None,
    key: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Refuse what the caller may not do to the bucket, or to an object in it.

    Raises:
        S3Error: AccessDenied.
    """
    if not allows(call, action, entry, container=container, key=key, facts=facts):
        raise S3Error("AccessDenied")


def allows(
    call: Call,
    action: str,
    entry: Entry | None = None,
    *,
    container: Container | None = None,
    key: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> bool:
    """Return whether the caller may do something. `container`, `key`: of another bucket than the call's."""
    bucket = container if container is not None else call.bucket
    name = call.key if key is None and container is None else key or ""
    said = _policy_says(call, bucket, action, name, entry, facts)
    owns = call.project_id == bucket.account and _has_role(call, action)
    if said == "Deny" and not (owns and action in _SPARED):
        return False
    foreign = entry is not None and action in _ON_OBJECT and has_acls(bucket)
    if owns and not (
        foreign and entry is not None and acl_rules.owner_of(entry.sys, bucket) != bucket.account
    ):
        return True
    block = public_block(bucket)
    if said == "Allow":
        return not (block.restrict and _is_public(bucket))
    if not has_acls(bucket):
        return False
    if block.restrict and _is_public(bucket) and call.project_id != bucket.account:
        return False
    return _lists_allow(call, bucket, action, entry, block)


def _has_role(call: Call, action: str) -> bool:
    return call.ctx.allows("s3:read" if action.startswith(_READS) else "s3:operate")


def _lists_allow(
    call: Call, bucket: Container, action: str, entry: Entry | None, block: PublicBlock
) -> bool:
    if call.project_id == bucket.account and not _has_role(call, action):
        return False
    token = call.ctx.token_or_none
    grants = acl_rules.of_bucket(bucket)
    if action in _ON_OBJECT:
        if entry is None:
            return False
        wanted = _ON_OBJECT[action]
        grants = acl_rules.of_object(entry.sys, bucket)
        swift = wanted
    else:
        wanted = _ON_BUCKET.get(action, "")
        swift = wanted
    if not wanted:
        return False
    if block.ignore_acls:
        grants = acl_rules.without_public(grants)
    if acl_rules.allows(grants, wanted, call.project_id):
        return True
    if swift not in ("READ", "WRITE") or (block.ignore_acls and not call.project_id):
        return False
    user_id = token.user_id if token is not None else ""
    if wanted == "READ" and action not in _ON_OBJECT and not call.project_id:
        words = bucket.sys.get("read", "").split(",")
        return ".rlistings" in words and ".r:*" in words
    return acl_rules.swift_allows(bucket, swift, call.project_id, user_id)


def _is_public(bucket: Container) -> bool:
    text = bucket.sys.get("s3-policy", "")
    if text and policy_rules.is_public(policy_rules.loaded(text, bucket.name)):
        return True
    return has_acls(bucket) and acl_rules.is_public(acl_rules.of_bucket(bucket))


def is_public(bucket: Container) -> bool:
    """Return whether the bucket's policy is open to everybody."""
    text = bucket.sys.get("s3-policy", "")
    return bool(text) and policy_rules.is_public(policy_rules.loaded(text, bucket.name))


def _policy_says(
    call: Call,
    bucket: Container,
    action: str,
    key: str,
    entry: Entry | None,
    facts: Mapping[str, Any] | None,
) -> str:
    text = bucket.sys.get("s3-policy", "")
    if not text:
        return ""
    resource = f"{bucket.name}/{key}" if key else bucket.name
    known = {**_facts(call, entry), **(facts or {})}
    statements = policy_rules.loaded(text, bucket.name)
    return policy_rules.verdict(statements, who_asks(call), action, resource, known)


def _facts(call: Call, entry: Entry | None) -> dict[str, list[str]]:
    """Return what conditions may ask of a request."""
    ctx = call.ctx
    now_us = ctx.clock.now_us()
    token = ctx.token_or_none
    some = {
        "aws:sourceip": str(ctx.environ.get("REMOTE_ADDR", "")).removeprefix("::ffff:"),
        "aws:securetransport": "false" if ctx.plain else "true",
        "aws:referer": call.header("referer"),
        "aws:useragent": call.header("user-agent"),
        "aws:currenttime": iso_utc(now_us),
        "aws:epochtime": str(now_us // 1_000_000),
        "aws:username": token.user_name if token else "",
        "aws:userid": token.user_id if token else "",
        "aws:principalaccount": token.project_id if token else "",
        "aws:principaltype": "User" if token else "Anonymous",
        "s3:prefix": ctx.param("prefix"),
        "s3:delimiter": ctx.param("delimiter"),
        "s3:max-keys": ctx.param("max-keys"),
        "s3:versionid": ctx.param("versionId"),
        "s3:authtype": _auth_type(call),
        "s3:x-amz-content-sha256": call.header("x-amz-content-sha256"),
    }
    found = {
        key: [value]
        for key, value in some.items()
        if value or (value == "" and key in ("s3:prefix", "s3:delimiter"))
    }
    found |= {
        f"s3:{name}": [value] for name, value in ctx.headers.items() if name.startswith("x-amz-")
    }
    if entry is not None:
        for tag, value in parse_qsl(entry.sys.get("s3-tags", ""), keep_blank_values=True):
            found[f"s3:existingobjecttag/{tag}"] = [value]
    asked = parse_qsl(call.header("x-amz-tagging"), keep_blank_values=True)
    for tag, value in asked:
        found[f"s3:requestobjecttag/{tag}"] = [value]
    if asked:
        found["s3:requestobjecttagkeys"] = [tag for tag, _value in asked]
    return found


def _auth_type(call: Call) -> str:
    if call.ctx.token_or_none is None:
        return ""
    return "REST-HEADER" if "authorization" in call.headers else "REST-QUERY-STRING"
