"""The S3 service: every operation in one literal.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from collections.abc import Iterator

from node.plugins.object.s3 import (
    acl_api,
    bucket_api,
    copy_api,
    listing_api,
    multipart_api,
    multipart_listing_api,
    object_part_api,
    object_read_api,
    object_write_api,
    policy_api,
    post_object_api,
    root_claim,
)
from node.plugins.object.s3 import bucket_document_api as documents
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error, fault
from node.plugins.object.s3.operation import Operation, route
from node.sdk import Reply, Route, Service

BUCKET = "/{bucket}"
KEY = "/{bucket}/{key:path}"

RULES = {
    "s3:operator": "role:admin or role:manager or role:member or role:swiftoperator",
}
POLICIES = {
    "s3:operate": "rule:s3:operator",
    "s3:read": "rule:s3:operator or role:reader",
}


def put_object(call: Call) -> Reply:
    """Store an object, or copy one."""
    return (
        copy_api.copy_object(call)
        if copy_api.HEADER in call.headers
        else object_write_api.put_object(call)
    )


def put_part(call: Call) -> Reply:
    """Take a part of an upload, or copy one."""
    return (
        copy_api.upload_part_copy(call)
        if copy_api.HEADER in call.headers
        else multipart_api.upload_part(call)
    )


def post_nothing(call: Call) -> Reply:
    """Refuse a POST to an object that says not what for.

    Raises:
        S3Error: MethodNotAllowed.
    """
    del call
    raise S3Error("MethodNotAllowed", ResourceType="OBJECT")


_Document = tuple[str, str, Operation, Operation | None, Operation | None]
_none_of, _refuse = documents.none_of, documents.refuse
DOCUMENTS: tuple[_Document, ...] = (
    ("acl", "BucketAcl", acl_api.get_bucket_acl, acl_api.put_bucket_acl, None),
    ("policy", "BucketPolicy", policy_api.get_policy, policy_api.put_policy, policy_api.delete_policy),
    ("policyStatus", "BucketPolicyStatus", policy_api.get_policy_status, None, None),
    ("publicAccessBlock", "BucketPublicAccessBlock",
     policy_api.get_public_block, policy_api.put_public_block, policy_api.delete_public_block),
    ("ownershipControls", "BucketOwnershipControls",
     policy_api.get_ownership, policy_api.put_ownership, policy_api.delete_ownership),
    ("cors", "BucketCORS", documents.get_cors, documents.put_cors, documents.delete_cors),
    ("lifecycle", "LifecycleConfiguration",
     documents.get_lifecycle, documents.put_lifecycle, documents.delete_lifecycle),
    ("website", "BucketWebsite", documents.get_website, documents.put_website, documents.delete_website),
    ("notification", "BucketNotification", documents.get_notification, documents.put_notification, None),
    ("tagging", "BucketTagging", documents.get_tags, documents.put_tags, documents.delete_tags),
    ("versioning", "BucketVersioning", documents.get_versioning, documents.put_versioning, None),
    ("object-lock", "BucketObjectLockConfiguration", documents.get_lock, documents.put_lock, None),
    ("encryption", "EncryptionConfiguration",
     documents.get_encryption, documents.put_encryption, documents.delete_encryption),
    ("replication", "ReplicationConfiguration", documents.get_replication, _refuse, _refuse),
    ("requestPayment", "BucketRequestPayment", documents.get_payment, documents.put_payment, None),
    ("logging", "BucketLogging", documents.get_logging, documents.put_logging, None),
    ("accelerate", "AccelerateConfiguration",
     documents.get_acceleration, documents.put_acceleration, None),
    ("analytics", "AnalyticsConfiguration",
     _none_of("ListBucketAnalyticsConfigurationsResult"), _refuse, _refuse),
    ("inventory", "InventoryConfiguration",
     _none_of("ListInventoryConfigurationsResult"), _refuse, _refuse),
    ("metrics", "MetricsConfiguration", _none_of("ListMetricsConfigurationsResult"), _refuse, _refuse),
    ("intelligent-tiering", "IntelligentTieringConfiguration",
     _none_of("ListBucketIntelligentTieringConfigurationsOutput"), _refuse, _refuse),
)  # fmt: skip
"""What can be set for a bucket: query, name in actions, get, put, delete."""


def _documents() -> Iterator[Route]:
    """Yield the routes of what can be set for a bucket."""
    for query, what, get, put, delete in DOCUMENTS:
        yield route("GET", BUCKET, get, f"s3:Get{what}", select=query)
        if put is not None:
            yield route("PUT", BUCKET, put, f"s3:Put{what}", select=query)
        if delete is not None:
            verb = "Delete" if query in ("policy", "website") else "Put"
            yield route("DELETE", BUCKET, delete, f"s3:{verb}{what}", select=query)


ROUTES: tuple[Route, ...] = (
    route("GET", "/", bucket_api.list_buckets),
    *_documents(),
    route("GET", BUCKET, bucket_api.get_location, "s3:GetBucketLocation", select="location"),
    route("GET", BUCKET, listing_api.list_versions, "s3:ListBucketVersions", select="versions"),
    route(
        "GET",
        BUCKET,
        multipart_listing_api.list_uploads,
        "s3:ListBucketMultipartUploads",
        select="uploads",
    ),
    route("GET", BUCKET, listing_api.list_objects_v2, "s3:ListBucket"),
    route("HEAD", BUCKET, bucket_api.head_bucket),
    route("PUT", BUCKET, bucket_api.create_bucket),
    route("DELETE", BUCKET, bucket_api.delete_bucket, "s3:DeleteBucket"),
    route("POST", BUCKET, object_write_api.delete_objects, select="delete"),
    route("POST", BUCKET, post_object_api.post_object),
    route("OPTIONS", BUCKET, bucket_api.preflight),
    route("OPTIONS", KEY, bucket_api.preflight),
    route("GET", KEY, acl_api.get_object_acl, select="acl"),
    route("PUT", KEY, acl_api.put_object_acl, select="acl"),
    route("GET", KEY, object_part_api.get_tags, select="tagging"),
    route("PUT", KEY, object_part_api.put_tags, select="tagging"),
    route("DELETE", KEY, object_part_api.delete_tags, select="tagging"),
    route("GET", KEY, object_part_api.get_retention, select="retention"),
    route("PUT", KEY, object_part_api.put_retention, select="retention"),
    route("GET", KEY, object_part_api.get_hold, select="legal-hold"),
    route("PUT", KEY, object_part_api.put_hold, select="legal-hold"),
    route("GET", KEY, object_read_api.get_object_attributes, select="attributes"),
    route("GET", KEY, object_part_api.refuse, select="torrent"),
    route("GET", KEY, multipart_listing_api.list_parts, select="uploadId"),
    route("GET", KEY, object_read_api.get_object),
    route("HEAD", KEY, object_read_api.head_object),
    route("PUT", KEY, put_part, select="uploadId"),
    route("PUT", KEY, put_object),
    route("DELETE", KEY, multipart_api.abort_upload, select="uploadId"),
    route("DELETE", KEY, object_write_api.delete_object),
    route("POST", KEY, multipart_api.create_upload, select="uploads"),
    route("POST", KEY, multipart_api.complete_upload, select="uploadId"),
    route("POST", KEY, object_part_api.refuse, select="restore"),
    route("POST", KEY, object_part_api.refuse, select="select"),
    route("POST", KEY, post_nothing),
)

SERVICE = Service(
    name="s3",
    type="s3",
    path=root_claim.PREFIX,
    endpoint=root_claim.PREFIX,
    routes=ROUTES,
    fault=fault,
    policies=POLICIES,
    rules=RULES,
    claim=root_claim.claim,
    description="Hedgerow Object Storage, S3 API",
)
