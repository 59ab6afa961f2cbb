"""Buckets: list, make, look at, delete.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from collections.abc import Sequence

from node.plugins.object import container_rules
from node.plugins.object.s3 import acl_rules, bucket_rules, cors_rules
from node.plugins.object.s3.access import allows
from node.plugins.object.s3.call import MAX_BODY_BYTES, Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.section import S3Section
from node.plugins.object.s3.xml_input import parse
from node.plugins.object.s3.xml_text import document, xml_time
from node.plugins.object.tables import Container
from node.sdk import AnyOp, Conflict, NodeSection, Reply

OWNERSHIP = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
_MAX_PAGE = 10_000
_DEFAULT_REGIONS = ("", "us-east-1", "EU", "US")


def list_buckets(call: Call) -> Reply:
    """List the caller's buckets."""
    token = call.ctx.token_or_none
    if token is None or not token.project_id or not call.ctx.allows("s3:read"):
        raise S3Error("AccessDenied")
    prefix, after = call.param("prefix"), call.param("continuation-token")
    size = call.param("max-buckets") or str(_MAX_PAGE)
    if not size.isascii() or not size.isdigit() or not 1 <= int(size[:9]) <= _MAX_PAGE:
        raise S3Error(
            "InvalidArgument",
            "max-buckets is not valid",
            ArgumentName="max-buckets",
            ArgumentValue=size,
        )
    where = [("name", ">", after)] if after else []
    rows = [
        row
        for row in call.ctx.db.rows(
            Container, account=token.project_id, where=where, order_by=(("name", "asc"),)
        )
        if row.name.startswith(prefix) and not row.closing
    ]
    page = rows[: int(size)]
    listed = [
        ("Bucket", [("Name", row.name), ("CreationDate", xml_time(row.created_at))]) for row in page
    ]
    tree = [
        ("Owner", [("ID", token.project_id), ("DisplayName", token.project_name)]),
        ("Buckets", listed),
        ("Prefix", prefix or None),
        ("ContinuationToken", page[-1].name if len(rows) > len(page) else None),
    ]
    return call.xml(document("ListAllMyBucketsResult", tree))


def create_bucket(call: Call) -> Reply:
    """Make a bucket.

    Raises:
        S3Error: BucketAlreadyOwnedByYou, BucketAlreadyExists, InvalidBucketName, TooManyBuckets, …
    """
    ctx = call.ctx
    token = ctx.token_or_none
    if token is None or not token.project_id or not ctx.allows("s3:operate"):
        raise S3Error("AccessDenied")
    bucket_rules.check_bucket_name(call.name)
    region = _asked_region(call)
    grants = acl_rules.of_headers(call.headers, token.project_id, token.project_id)
    lock = call.header("x-amz-bucket-object-lock-enabled").lower()
    if lock not in ("", "true", "false"):
        raise S3Error("InvalidArgument", ArgumentName="x-amz-bucket-object-lock-enabled")
    ownership = call.header("x-amz-object-ownership")
    if ownership and ownership not in OWNERSHIP:
        raise S3Error(
            "InvalidArgument",
            "Invalid x-amz-object-ownership header",
            ArgumentName="x-amz-object-ownership",
        )
    if ownership == "BucketOwnerEnforced" and grants is not None and len(grants) > 1:
        raise S3Error(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )
    sys = {"s3-region": region}
    if grants is not None:
        sys["s3-acl"] = acl_rules.text_of(grants)
        sys["write"] = acl_rules.swift_write_list("", (), grants)
    if lock == "true":
        sys["s3-lock"] = "on"
    if ownership:
        sys["s3-ownership"] = ownership
    sys = {name: value for name, value in sys.items() if value}
    made, _is_new = container_rules.make(
        ctx,
        token.project_id,
        call.name,
        via="s3",
        sys=sys,
        versioning="enabled" if lock == "true" else "",
        exists=_owned,
        also=lambda row: _claimed(call, row),
    )
    del made
    return Reply(headers={"Location": f"/{call.name}"})


def _owned(found: Container) -> Container | None:
    raise S3Error("BucketAlreadyOwnedByYou", BucketName=found.name)


def _claimed(call: Call, row: Container) -> Sequence[AnyOp]:
    limit = call.ctx.config.section(S3Section).max_buckets
    if limit and len(call.ctx.db.rows(Container, account=row.account, order_by=())) >= limit:
        raise S3Error("TooManyBuckets", "You have attempted to create more buckets than allowed")
    return bucket_rules.claim_ops(call.ctx.db, row.name, row.id, call.ctx.now())


def _asked_region(call: Call) -> str:
    """Return the location constraint of a body; every name that clients use for this place is taken."""
    data = call.body.read_all(MAX_BODY_BYTES)
    if not data:
        return ""
    root = parse(data, "CreateBucketConfiguration")
    asked = root.value("LocationConstraint")
    region = call.ctx.config.section(NodeSection).region
    if asked not in (*_DEFAULT_REGIONS, region) and asked.lower() != region.lower():
        raise S3Error(
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
            LocationConstraint=asked,
        )
    return asked


def head_bucket(call: Call) -> Reply:
    """Say whether the bucket is there and may be listed."""
    bucket = call.bucket
    if not allows(call, "s3:ListBucket"):
        raise S3Error("AccessDenied")
    region = bucket.sys.get("s3-region") or call.ctx.config.section(NodeSection).region
    return Reply(headers={"x-amz-bucket-region": region}, content_type="application/xml")


def delete_bucket(call: Call) -> Reply:
    """Delete an empty bucket; uploads in progress go with it."""
    bucket = call.bucket
    try:
        container_rules.remove(
            call.ctx, bucket, also=lambda: bucket_rules.release_ops(call.ctx.db, bucket)
        )
    except Conflict as error:
        raise S3Error("BucketNotEmpty", BucketName=bucket.name) from error
    return Reply(status=204)


def get_location(call: Call) -> Reply:
    """Say where the bucket is."""
    region = call.bucket.sys.get("s3-region", "")
    text = region if region != "us-east-1" else ""
    return call.xml(document("LocationConstraint", []).replace(b"></", f">{text}</".encode()))


def preflight(call: Call) -> Reply:
    """Tell a browser whether it may ask."""
    origin = call.header("origin")
    method = call.header("access-control-request-method")
    if not origin:
        raise S3Error("InvalidRequest", "Insufficient information. Origin request header needed.")
    if method not in cors_rules.METHODS:
        raise S3Error(
            "InvalidRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}"
        )
    found = call.container and cors_rules.preflight(
        call.container, origin, method, call.header("access-control-request-headers")
    )
    if not found:
        raise S3Error(
            "AccessDenied",
            "CORSResponse: This CORS request is not allowed.",
            Method=method,
            ResourceType="OBJECT" if call.key else "BUCKET",
        )
    return Reply(headers=found)
