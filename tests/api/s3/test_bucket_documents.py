# ruff: noqa: E501 - tables of odd values read better in long lines
"""What can be set for a bucket: it comes back as it was set, and what is none is refused."""

from typing import Any

import pytest

from tests.api.s3.conftest import ENDPOINT, Wire, refused


@pytest.fixture(autouse=True)
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    return "bucket"


CORS = {
    "CORSRules": [
        {"AllowedOrigins": ["https://*.good.test"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["x-amz-*"],
         "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60},
        {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
    ]
}  # fmt: skip
LIFECYCLE = {
    "Rules": [
        {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}},
        {"ID": "two", "Status": "Disabled", "Filter": {"And": {"Prefix": "x", "Tags": [{"Key": "a", "Value": "b"}], "ObjectSizeGreaterThan": 5}},
         "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 1}},
        {"ID": "three", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
    ]
}  # fmt: skip
WEBSITE = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "error.html"},
    "RoutingRules": [{"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": "302"}}],
}  # fmt: skip


def test_documents_come_back(s3: Any, bucket: str) -> None:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == CORS["CORSRules"]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=LIFECYCLE)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == LIFECYCLE["Rules"]
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=WEBSITE)
    got = s3.get_bucket_website(Bucket=bucket)
    assert {name: got[name] for name in WEBSITE} == WEBSITE
    tags = [{"Key": "a", "Value": "b c"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    for remove, get, code in (
        (s3.delete_bucket_cors, s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        (
            s3.delete_bucket_lifecycle,
            s3.get_bucket_lifecycle_configuration,
            "NoSuchLifecycleConfiguration",
        ),
        (s3.delete_bucket_website, s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (s3.delete_bucket_tagging, s3.get_bucket_tagging, "NoSuchTagSet"),
    ):
        remove(Bucket=bucket)
        with refused(code, 404):
            get(Bucket=bucket)


def test_what_is_never_set(s3: Any, bucket: str) -> None:
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_bucket_request_payment(
        Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"}
    )
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.list_bucket_analytics_configurations(Bucket=bucket)["IsTruncated"] is False
    assert s3.list_bucket_inventory_configurations(Bucket=bucket)["IsTruncated"] is False
    assert s3.list_bucket_metrics_configurations(Bucket=bucket)["IsTruncated"] is False
    with refused("NoSuchConfiguration", 404):
        s3.get_bucket_metrics_configuration(Bucket=bucket, Id="x")
    with refused("ServerSideEncryptionConfigurationNotFoundError", 404):
        s3.get_bucket_encryption(Bucket=bucket)
    with refused("ReplicationConfigurationNotFoundError", 404):
        s3.get_bucket_replication(Bucket=bucket)
    for refuse in (
        lambda: s3.put_bucket_request_payment(
            Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"}
        ),
        lambda: s3.put_bucket_logging(
            Bucket=bucket,
            BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "b", "TargetPrefix": ""}},
        ),
        lambda: s3.put_bucket_accelerate_configuration(
            Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"}
        ),
        lambda: s3.put_bucket_encryption(
            Bucket=bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        ),
    ):
        with refused("NotImplemented", 501):
            refuse()


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [("cors", "<x/>", "MalformedXML"), ("cors", "<CORSConfiguration/>", "MalformedXML"), ("cors", "", "MalformedXML"),
     ("cors", "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>", "MalformedXML"),
     ("cors", "<CORSConfiguration><CORSRule><AllowedMethod>FLY</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>", "InvalidRequest"),
     ("cors", "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>**</AllowedOrigin></CORSRule></CORSConfiguration>", "InvalidRequest"),
     ("cors", '<!DOCTYPE x [<!ENTITY a "b">]><CORSConfiguration/>', "MalformedXML"), ("cors", "<CORSConfiguration>" + "<a>" * 5000, "MalformedXML"),
     ("cors", "<CORSConfiguration>" + "<a>" * 500 + "</a>" * 500 + "</CORSConfiguration>", "MalformedXML"), ("cors", "x" * (1 << 20) + "y", "MaxMessageLengthExceeded"),
     ("lifecycle", "<LifecycleConfiguration/>", "MalformedXML"),
     ("lifecycle", "<LifecycleConfiguration><Rule><Status>On</Status><Prefix/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>", "MalformedXML"),
     ("lifecycle", "<LifecycleConfiguration><Rule><Status>Enabled</Status><Prefix/><Expiration><Days>0</Days></Expiration></Rule></LifecycleConfiguration>", "InvalidArgument"),
     ("lifecycle", "<LifecycleConfiguration><Rule><Status>Enabled</Status><Prefix/></Rule></LifecycleConfiguration>", "InvalidRequest"),
     ("lifecycle", "<LifecycleConfiguration><Rule><Status>Enabled</Status><Prefix/><Expiration><Date>2030-01-01T05:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>", "InvalidArgument"),
     ("lifecycle", "<LifecycleConfiguration><Rule><Status>Enabled</Status><Prefix/><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>", "NotImplemented"),
     ("website", "<WebsiteConfiguration/>", "InvalidArgument"), ("website", "<WebsiteConfiguration><IndexDocument><Suffix>a/b</Suffix></IndexDocument></WebsiteConfiguration>", "InvalidArgument"),
     ("versioning", "<VersioningConfiguration/>", "IllegalVersioningConfigurationException"), ("versioning", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>", "MalformedXML"),
     ("tagging", "<Tagging/>", "MalformedXML"), ("acl", "<AccessControlPolicy/>", "MalformedACLError"), ("acl", "x", "MalformedACLError"),
     ("notification", "<NotificationConfiguration><TopicConfiguration><Topic>arn:aws:sns:x</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration></NotificationConfiguration>", "InvalidArgument"),
     ("object-lock", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>", "InvalidBucketState"),
     ("publicAccessBlock", "<PublicAccessBlockConfiguration><BlockPublicAcls>maybe</BlockPublicAcls></PublicAccessBlockConfiguration>", "MalformedXML"),
     ("ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>Mine</ObjectOwnership></Rule></OwnershipControls>", "MalformedXML"),
     ("encryption", "x", "MalformedXML")],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_what_is_no_document_is_refused(
    cloud: Any, wire: Wire, query: str, body: str, code: str
) -> None:
    token = cloud.token(project_id="project-1")
    answer = wire.send("PUT", f"{ENDPOINT}/bucket?{query}", {"X-Auth-Token": token}, body.encode())
    assert f"<Code>{code}</Code>" in answer.text, answer.text
    assert answer.status_code in (400, 409, 501)
    for encoding in ("utf-16", "utf-16-le"):
        answer = wire.send(
            "PUT",
            f"{ENDPOINT}/bucket?{query}",
            {"X-Auth-Token": token},
            body[:2000].encode(encoding),
        )
        assert answer.status_code in (400, 409, 501)


def test_browsers_are_answered(s3: Any, nobody: Any, wire: Wire, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    url = f"{ENDPOINT}/bucket/k"
    asked = {
        "Origin": "https://a.good.test",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "x-amz-acl, X-Amz-Date",
    }
    assert wire.send("OPTIONS", url, asked).status_code == 403
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
    answer = wire.send("OPTIONS", url, asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://a.good.test"
    assert answer.headers["access-control-allow-methods"] == "GET, PUT"
    assert answer.headers["access-control-allow-headers"] == "x-amz-acl, x-amz-date"
    assert answer.headers["access-control-max-age"] == "60"
    for wrong in (
        {"Origin": "https://evil.test"},
        {"Access-Control-Request-Method": "DELETE"},
        {"Access-Control-Request-Headers": "x-other"},
    ):
        assert wire.send("OPTIONS", url, {**asked, **wrong}).status_code == 403
    assert wire.send("OPTIONS", url, {"Origin": "https://a.good.test"}).status_code == 400
    got = wire.send("GET", url, {"Origin": "https://evil.test"})
    assert (got.content, got.headers["access-control-allow-origin"]) == (b"x", "*")
    assert "access-control-allow-credentials" not in got.headers
    got = wire.send("GET", url, {"Origin": "https://a.good.test"})
    assert got.headers["access-control-expose-headers"] == "ETag"
    missing = wire.send("GET", f"{ENDPOINT}/bucket/none", {"Origin": "https://a.good.test"})
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (
        403,
        "https://a.good.test",
    )
    assert "access-control-allow-origin" not in wire.send("GET", url).headers
