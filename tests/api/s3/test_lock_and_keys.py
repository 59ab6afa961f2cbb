"""What may not be deleted yet, and what only its owner's key opens."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from node.testing.cloud import Cloud
from tests.api.s3.conftest import Wire, client, refused


@pytest.fixture
def locked(s3: Any) -> str:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    return "locked"


def in_days(cloud: Cloud, days: float) -> datetime:
    return datetime.fromtimestamp(cloud.clock.now_us() / 1e6, UTC).replace(
        microsecond=0
    ) + timedelta(days=days)


def test_a_default_locks_new_objects(s3: Any, locked: str, cloud: Cloud, wire: Wire) -> None:
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled"
    }
    rule = {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 2}},
    }
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=rule)
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == rule
    version = s3.put_object(Bucket=locked, Key="k", Body=b"x")["VersionId"]
    head = s3.head_object(Bucket=locked, Key="k")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    with refused("AccessDenied", 403):
        s3.delete_object(Bucket=locked, Key="k", VersionId=version)
    with refused("AccessDenied", 403):
        s3.delete_object(Bucket=locked, Key="k", VersionId=version, BypassGovernanceRetention=True)
    many = s3.delete_objects(
        Bucket=locked, Delete={"Objects": [{"Key": "k", "VersionId": version}]}
    )
    assert many["Errors"][0]["Code"] == "AccessDenied"
    s3.delete_object(Bucket=locked, Key="k")  # hides it only
    assert s3.get_object(Bucket=locked, Key="k", VersionId=version)["Body"].read() == b"x"
    for change in (
        {"Mode": "COMPLIANCE", "RetainUntilDate": in_days(cloud, 1)},
        {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(cloud, 9)},
    ):
        with refused("AccessDenied", 403):
            s3.put_object_retention(
                Bucket=locked,
                Key="k",
                VersionId=version,
                Retention=change,
                BypassGovernanceRetention=True,
            )
    s3.put_object_retention(
        Bucket=locked,
        Key="k",
        VersionId=version,
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": in_days(cloud, 3)},
    )
    with refused("InvalidBucketState", 409):
        s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration={"Status": "Suspended"})
    cloud.clock.advance(4 * 86_400)
    later(wire, cloud).delete_object(Bucket=locked, Key="k", VersionId=version)


def later(wire: Wire, cloud: Cloud) -> Any:
    """Return a client that a token speaks for: botocore signs by the time of day."""
    made = client(wire, None)
    token = cloud.token(project_id="project-1")
    made.meta.events.register(
        "before-sign.s3", lambda request, **_more: request.headers.add_header("X-Auth-Token", token)
    )
    return made


def test_governance_gives_way_to_those_who_may(
    s3: Any, locked: str, cloud: Cloud, wire: Wire
) -> None:
    until = in_days(cloud, 5)
    version = s3.put_object(
        Bucket=locked,
        Key="k",
        Body=b"x",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=until,
    )["VersionId"]
    got = s3.get_object_retention(Bucket=locked, Key="k")["Retention"]
    assert (got["Mode"], got["RetainUntilDate"]) == ("GOVERNANCE", until)
    with refused("AccessDenied", 403):
        s3.delete_object(Bucket=locked, Key="k", VersionId=version)
    sooner = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(cloud, 1)}
    with refused("AccessDenied", 403):
        s3.put_object_retention(Bucket=locked, Key="k", Retention=sooner)
    s3.put_object_retention(
        Bucket=locked, Key="k", Retention=sooner, BypassGovernanceRetention=True
    )
    with refused("AccessDenied", 403):
        client(wire, "RO1").delete_object(
            Bucket=locked, Key="k", VersionId=version, BypassGovernanceRetention=True
        )
    s3.delete_object(Bucket=locked, Key="k", VersionId=version, BypassGovernanceRetention=True)


def test_a_legal_hold(s3: Any, locked: str) -> None:
    version = s3.put_object(Bucket=locked, Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")[
        "VersionId"
    ]
    assert s3.get_object_legal_hold(Bucket=locked, Key="k")["LegalHold"] == {"Status": "ON"}
    with refused("AccessDenied", 403):
        s3.delete_object(Bucket=locked, Key="k", VersionId=version, BypassGovernanceRetention=True)
    with refused("NoSuchObjectLockConfiguration", 404):
        s3.get_object_retention(Bucket=locked, Key="k")
    s3.put_object_legal_hold(Bucket=locked, Key="k", LegalHold={"Status": "OFF"})
    s3.delete_object(Bucket=locked, Key="k", VersionId=version)


def test_locks_that_are_none_are_refused(s3: Any, locked: str, cloud: Cloud) -> None:
    for wrong, code in (
        ({"ObjectLockMode": "GOVERNANCE"}, "InvalidArgument"),
        (
            {"ObjectLockMode": "SOFT", "ObjectLockRetainUntilDate": in_days(cloud, 1)},
            "InvalidArgument",
        ),
        (
            {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_days(cloud, -1)},
            "InvalidArgument",
        ),
        ({"ObjectLockLegalHoldStatus": "MAYBE"}, "InvalidArgument"),
    ):
        with refused(code, 400):
            s3.put_object(Bucket=locked, Key="k", **wrong)
    s3.create_bucket(Bucket="plain")
    s3.put_object(Bucket="plain", Key="k")
    with refused("InvalidRequest", 400):
        s3.put_object(Bucket="plain", Key="k", ObjectLockLegalHoldStatus="ON")
    with refused("InvalidRequest", 400):
        s3.get_object_retention(Bucket="plain", Key="k")
    with refused("ObjectLockConfigurationNotFoundError", 404):
        s3.get_object_lock_configuration(Bucket="plain")


KEY = bytes(range(32))
SSE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
WRONG = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(32)}
DATA = bytes(range(256)) * 300


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    return "bucket"


def test_a_customers_key_opens_what_it_closed(s3: Any, bucket: str, cloud: Cloud) -> None:
    made = s3.put_object(Bucket=bucket, Key="k", Body=DATA, **SSE)
    assert made["SSECustomerAlgorithm"] == "AES256"
    blobs = cloud.backend.kept.get("object.store", lambda: None).blobs
    assert all(DATA[:64] not in blob for blob in blobs.values())
    got = s3.get_object(Bucket=bucket, Key="k", **SSE)
    assert (got["Body"].read(), got["SSECustomerKeyMD5"]) == (DATA, made["SSECustomerKeyMD5"])
    for first, last in ((0, 0), (15, 17), (16, 31), (70_001, 70_900)):
        part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}", **SSE)
        assert part["Body"].read() == DATA[first : last + 1]
    with refused("InvalidRequest", 400):
        s3.get_object(Bucket=bucket, Key="k")
    with refused("AccessDenied", 403):
        s3.get_object(Bucket=bucket, Key="k", **WRONG)
    with refused("400", 400):
        s3.head_object(Bucket=bucket, Key="k")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    with refused("InvalidRequest", 400):
        s3.get_object(Bucket=bucket, Key="plain", **SSE)


def test_copies_change_keys(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, **SSE)
    source = {f"CopySource{name}": value for name, value in SSE.items()}
    s3.copy_object(Bucket=bucket, Key="other", CopySource=f"{bucket}/k", **source, **WRONG)
    assert s3.get_object(Bucket=bucket, Key="other", **WRONG)["Body"].read() == DATA
    s3.copy_object(Bucket=bucket, Key="open", CopySource=f"{bucket}/k", **source)
    assert s3.get_object(Bucket=bucket, Key="open")["Body"].read() == DATA
    with refused("InvalidRequest", 400):
        s3.copy_object(Bucket=bucket, Key="x", CopySource=f"{bucket}/k")


def test_parts_are_closed_each_by_itself(s3: Any, bucket: str) -> None:
    parts = [b"a" * (5 << 20), DATA, b""]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **SSE)["UploadId"]
    with refused("InvalidRequest", 400):
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    with refused("AccessDenied", 403):
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x", **WRONG)
    sent = [
        {
            "PartNumber": n,
            "ETag": s3.upload_part(
                Bucket=bucket, Key="k", UploadId=upload, PartNumber=n, Body=data, **SSE
            )["ETag"],
        }
        for n, data in enumerate(parts[:2], 1)
    ]
    s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": sent}
    )
    whole = b"".join(parts)
    assert s3.get_object(Bucket=bucket, Key="k", **SSE)["Body"].read() == whole
    for first, last in ((5 << 20, (5 << 20) + 5), ((5 << 20) - 7, (5 << 20) + 33), (1, 6 << 18)):
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}", **SSE)
        assert got["Body"].read() == whole[first : last + 1]
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=2, **SSE)["Body"].read() == DATA


def test_keys_that_are_none_are_refused(s3: Any, bucket: str) -> None:
    for wrong in (
        {"SSECustomerAlgorithm": "AES256"},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"short"},
        {**SSE, "SSECustomerKey": b64encode(KEY).decode(), "SSECustomerKeyMD5": "eA=="},
        {**SSE, "ServerSideEncryption": "AES256"},
    ):
        with refused("InvalidArgument", 400):
            s3.put_object(Bucket=bucket, Key="k", **wrong)
    with refused("InvalidEncryptionAlgorithmError", 400):
        s3.put_object(Bucket=bucket, Key="k", SSECustomerAlgorithm="DES", SSECustomerKey=KEY)
