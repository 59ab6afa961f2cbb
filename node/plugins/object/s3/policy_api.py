"""Bucket policies, and what keeps them from being too open.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html
"""

from node.plugins.object.s3 import access, acl_rules, policy_rules
from node.plugins.object.s3.bucket_api import OWNERSHIP
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import parse
from node.plugins.object.s3.xml_text import document
from node.sdk import Reply

_BLOCKS = {
    "BlockPublicAcls": "block_acls",
    "IgnorePublicAcls": "ignore_acls",
    "BlockPublicPolicy": "block_policy",
    "RestrictPublicBuckets": "restrict",
}


def get_policy(call: Call) -> Reply:
    """Show the policy as it was set."""
    text = call.document("policy")
    if not text:
        raise S3Error("NoSuchBucketPolicy", BucketName=call.name)
    return Reply(body=text.encode(), content_type="application/json")


def put_policy(call: Call) -> Reply:
    """Set the policy."""
    data = call.read_document("MalformedPolicy")
    if len(data) > policy_rules.MAX_POLICY_BYTES:
        raise S3Error("MalformedPolicy", "The policy is too large")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise S3Error(
            "MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'"
        ) from error
    statements = policy_rules.parse(text, call.bucket.name)
    if access.public_block(call.bucket).block_policy and policy_rules.is_public(statements):
        raise S3Error("AccessDenied", "The bucket blocks public policies")
    call.change_bucket(s3_policy=text)
    return Reply(status=204)


def delete_policy(call: Call) -> Reply:
    """Take the policy away."""
    call.change_bucket(s3_policy=None)
    return Reply(status=204)


def get_policy_status(call: Call) -> Reply:
    """Say whether the policy is open to everybody."""
    if not call.document("policy"):
        raise S3Error("NoSuchBucketPolicy", BucketName=call.name)
    return call.xml(document("PolicyStatus", [("IsPublic", access.is_public(call.bucket))]))


def get_public_block(call: Call) -> Reply:
    """Show which public access is blocked."""
    if not call.document("public-access-block"):
        raise S3Error("NoSuchPublicAccessBlockConfiguration", BucketName=call.name)
    block = access.public_block(call.bucket)
    tree = [(name, bool(getattr(block, field))) for name, field in _BLOCKS.items()]
    return call.xml(document("PublicAccessBlockConfiguration", tree))


def put_public_block(call: Call) -> Reply:
    """Say which public access is blocked."""
    root = parse(call.read_document(), "PublicAccessBlockConfiguration").only(*_BLOCKS)
    words = ["set"]
    for name, field in _BLOCKS.items():
        text = root.value(name, "false").strip().lower()
        if text not in ("true", "false"):
            raise S3Error("MalformedXML")
        if text == "true":
            words.append(field)
    call.change_bucket(s3_public_access_block=" ".join(words))
    return Reply()


def delete_public_block(call: Call) -> Reply:
    """Block nothing."""
    call.change_bucket(s3_public_access_block=None)
    return Reply(status=204)


def get_ownership(call: Call) -> Reply:
    """Show whose new objects are."""
    text = call.document("ownership")
    if not text:
        raise S3Error("OwnershipControlsNotFoundError", BucketName=call.name)
    return call.xml(document("OwnershipControls", [("Rule", [("ObjectOwnership", text)])]))


def put_ownership(call: Call) -> Reply:
    """Say whose new objects are."""
    rules = parse(call.read_document(), "OwnershipControls").all("Rule")
    if len(rules) != 1 or rules[0].value("ObjectOwnership") not in OWNERSHIP:
        raise S3Error("MalformedXML")
    text = rules[0].value("ObjectOwnership")
    grants = acl_rules.of_bucket(call.bucket)
    if text == "BucketOwnerEnforced" and any(g != call.bucket.account for _p, g in grants):
        raise S3Error(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )
    call.change_bucket(s3_ownership=text)
    return Reply()


def delete_ownership(call: Call) -> Reply:
    """Let new objects be their writers'."""
    call.change_bucket(s3_ownership=None)
    return Reply(status=204)
