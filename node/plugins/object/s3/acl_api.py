"""Access control lists of buckets and objects.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html
"""

from typing import Any

from node.plugins.object.s3 import access, acl_rules, events
from node.plugins.object.s3.call import MAX_BODY_BYTES, Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.listing_api import owner
from node.plugins.object.s3.object_read_api import find
from node.plugins.object.s3.object_write_api import refuse_public, sys_with
from node.plugins.object.s3.xml_input import parse
from node.plugins.object.s3.xml_text import document
from node.sdk import Reply

_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def _xml(call: Call, owner_id: str, grants: acl_rules.Grants) -> Reply:
    listed: list[tuple[str, Any]] = []
    for permission, grantee in grants:
        uri = acl_rules.GROUPS.get(grantee)
        kind = "Group" if uri else "CanonicalUser"
        inner = [("URI", uri)] if uri else owner(call, grantee)
        listed.append(
            (
                "Grant",
                [(f'Grantee {_XSI} xsi:type="{kind}"', list(inner)), ("Permission", permission)],
            )
        )
    tree = [("Owner", list(owner(call, owner_id))), ("AccessControlList", listed)]
    return call.xml(document("AccessControlPolicy", tree))


def get_bucket_acl(call: Call) -> Reply:
    """Show whom the bucket is open to."""
    return _xml(call, call.bucket.account, acl_rules.of_bucket(call.bucket))


def _asked(call: Call, owner_id: str) -> acl_rules.Grants:
    """Return the list that a request brings, in headers or in its body."""
    grants = acl_rules.of_headers(call.headers, owner_id, call.bucket.account)
    data = call.body.read_all(MAX_BODY_BYTES)
    if grants is not None and data:
        raise S3Error("UnexpectedContent", "This request does not support content")
    if grants is None and not data:
        raise S3Error(
            "MissingSecurityHeader", "Your request was missing a required header: x-amz-acl"
        )
    if grants is None:
        grants = acl_rules.of_xml(
            parse(data, "AccessControlPolicy", code="MalformedACLError"), owner_id
        )
    if not access.has_acls(call.bucket):
        raise S3Error("AccessControlListNotSupported", "The bucket does not allow ACLs")
    refuse_public(call.bucket, grants)
    return grants


def put_bucket_acl(call: Call) -> Reply:
    """Say whom the bucket is open to."""
    bucket = call.bucket
    grants = _asked(call, bucket.account)
    write = acl_rules.swift_write_list(
        bucket.sys.get("write", ""), acl_rules.of_bucket(bucket), grants
    )
    call.change_bucket(s3_acl=acl_rules.text_of(grants), write=write or None)
    return Reply()


def get_object_acl(call: Call) -> Reply:
    """Show whom an object is open to."""
    entry = find(call, "s3:GetObjectAcl", "s3:GetObjectVersionAcl")
    return _xml(
        call,
        acl_rules.owner_of(entry.sys, call.bucket),
        acl_rules.of_object(entry.sys, call.bucket),
    )


def put_object_acl(call: Call) -> Reply:
    """Say whom an object is open to."""
    entry = find(call, "s3:PutObjectAcl", "s3:PutObjectVersionAcl")
    grants = _asked(call, acl_rules.owner_of(entry.sys, call.bucket))
    text = acl_rules.text_of(grants)
    changed = call.store.update(entry, sys=sys_with(entry, {"s3-acl": text}), touch=False)
    events.record(call, "s3:ObjectAcl:Put", changed)
    return Reply()
