# ruff: noqa: E501 - calls read better in one line
"""One container, two views: what one writes the other reads, and neither opens what the other keeps closed."""

import json
from hashlib import md5
from typing import Any

import pytest

from node.testing.cloud import Answer, Cloud
from tests.api.s3.conftest import refused

V1 = "/object-store/v1/AUTH_project-1"


class Swift:
    """A caller of Swift."""

    def __init__(self, cloud: Cloud, project: str = "project-1") -> None:
        self.cloud = cloud
        self.token = cloud.token(project_id=project, user_id=f"user-of-{project}")

    def ask(
        self, method: str, path: str, body: bytes = b"", expect: int = 0, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "PUT":
            sent["Content-Length"] = str(len(body))
        answer = self.cloud.request(method, V1 + path, body=body, token=self.token, headers=sent)
        assert not expect or answer.status == expect, answer.body
        return answer


@pytest.fixture
def swift(cloud: Cloud) -> Swift:
    return Swift(cloud)


def test_both_see_the_same(s3: Any, swift: Swift) -> None:
    s3.create_bucket(Bucket="both")
    s3.put_object(
        Bucket="both",
        Key="from s3",
        Body=b"one",
        ContentType="a/b",
        Metadata={"m": "v"},
        CacheControl="c",
    )
    got = swift.ask("GET", "/both/from%20s3", expect=200)
    assert (got.body, got.headers["content-type"], got.headers["x-object-meta-m"]) == (
        b"one",
        "a/b",
        "v",
    )
    swift.ask(
        "PUT",
        "/both/from-swift",
        b"two",
        201,
        Content_Type="c/d",
        X_Object_Meta_N="w",
        Content_Disposition="x",
    )
    seen = s3.get_object(Bucket="both", Key="from-swift")
    assert (seen["Body"].read(), seen["ContentType"], seen["Metadata"]) == (
        b"two",
        "c/d",
        {"n": "w"},
    )
    assert seen["ContentDisposition"] == "x"
    names = [one["name"] for one in json.loads(swift.ask("GET", "/both?format=json").body)]
    assert names == [one["Key"] for one in s3.list_objects_v2(Bucket="both")["Contents"]]
    swift.ask("DELETE", "/both/from%20s3", expect=204)
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket="both", Key="from s3")
    swift.ask("PUT", "/made-by-swift", expect=201)
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["both", "made-by-swift"]


def test_an_upload_in_parts_is_one_object_in_swift(s3: Any, swift: Swift) -> None:
    s3.create_bucket(Bucket="both")
    upload = s3.create_multipart_upload(Bucket="both", Key="k")["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(Bucket="both", Key="k", UploadId=upload, PartNumber=n, Body=data)["ETag"]}
        for n, data in ((1, b"a" * (5 << 20)), (2, b"b"))
    ]  # fmt: skip
    assert json.loads(swift.ask("GET", "/both?format=json").body) == []
    s3.complete_multipart_upload(
        Bucket="both", Key="k", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert swift.ask("GET", "/both/k", expect=200).body == b"a" * (5 << 20) + b"b"


def test_large_objects_and_links_of_swift(s3: Any, swift: Swift, other: Any) -> None:
    swift.ask("PUT", "/both", expect=201)
    swift.ask("PUT", "/segments", expect=201)
    for number in (1, 2):
        swift.ask("PUT", f"/segments/s{number}", b"%d" % number * 1000, 201)
    manifest = [
        {"path": f"/segments/s{n}", "etag": md5(b"%d" % n * 1000).hexdigest(), "size_bytes": 1000}
        for n in (1, 2)
    ]
    swift.ask("PUT", "/both/slo?multipart-manifest=put", json.dumps(manifest).encode(), 201)
    swift.ask("PUT", "/both/dlo", b"", 201, X_Object_Manifest="segments/s")
    swift.ask(
        "PUT",
        "/both/link",
        b"",
        201,
        X_Symlink_Target="segments/s2",
        Content_Type="application/symlink",
    )
    for key in ("slo", "dlo"):
        assert s3.get_object(Bucket="both", Key=key)["Body"].read() == b"1" * 1000 + b"2" * 1000
        assert (
            s3.get_object(Bucket="both", Key=key, Range="bytes=998-1001")["Body"].read() == b"1122"
        )
        assert s3.head_object(Bucket="both", Key=key)["ContentLength"] == 2000
        s3.copy_object(Bucket="both", Key="copy", CopySource=f"both/{key}")
        assert s3.get_object(Bucket="both", Key="copy")["ContentLength"] == 2000
    assert s3.get_object(Bucket="both", Key="link")["Body"].read() == b"2" * 1000
    sizes = {one["Key"]: one["Size"] for one in s3.list_objects_v2(Bucket="both")["Contents"]}
    assert sizes["slo"] == 2000
    # Who may read the manifest alone learns nothing of what it names.
    token = {"X_Container_Read": "project-2:*"}
    swift.ask("POST", "/both", expect=204, **token)
    other.create_bucket(Bucket="theirs")
    for key, code in (
        ("slo", "InvalidObjectState"),
        ("dlo", "AccessDenied"),
        ("link", "AccessDenied"),
    ):
        with refused(code, 403):
            s3_of(other, swift).get_object(Bucket="both", Key=key)


def s3_of(other: Any, swift: Swift) -> Any:
    """Return the other project's client, for which the container's name is claimed as a bucket's is."""
    from node.plugins.object.s3.tables import BucketName
    from node.plugins.object.tables import Container
    from node.sdk import put

    row = swift.cloud.db.one(Container, name="both")
    assert row is not None
    swift.cloud.commit(put(BucketName(id="both", container_id=row.id)))
    return other


def test_swift_holds_to_s3s_locks_and_keys(s3: Any, swift: Swift) -> None:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket="locked", Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")[
        "VersionId"
    ]
    swift.ask("DELETE", "/locked/k")
    swift.ask("DELETE", f"/locked/k?version-id={version}")
    assert s3.get_object(Bucket="locked", Key="k", VersionId=version)["Body"].read() == b"x"
    s3.create_bucket(Bucket="both")
    s3.put_object(
        Bucket="both",
        Key="k",
        Body=b"secret",
        SSECustomerAlgorithm="AES256",
        SSECustomerKey=bytes(32),
    )
    assert swift.ask("GET", "/both/k").status == 409


def test_swift_deletes_a_bucket_with_all_of_it(
    s3: Any, swift: Swift, cloud: Cloud, other: Any
) -> None:
    s3.create_bucket(Bucket="both")
    upload = s3.create_multipart_upload(Bucket="both", Key="k")["UploadId"]
    s3.upload_part(Bucket="both", Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    swift.ask("DELETE", "/both", expect=204)
    assert cloud.backend.kept.get("object.store", lambda: None).blobs == {}
    other.create_bucket(Bucket="both")


def test_swifts_quotas_hold(s3: Any, swift: Swift) -> None:
    s3.create_bucket(Bucket="both")
    s3.create_bucket(Bucket="big")
    s3.put_object(Bucket="big", Key="k", Body=b"x" * 200)
    swift.ask("POST", "/both", expect=204, X_Container_Meta_Quota_Bytes="100", X_Container_Meta_Quota_Count="2")
    s3.put_object(Bucket="both", Key="a", Body=b"x" * 60)
    upload = s3.create_multipart_upload(Bucket="both", Key="m")["UploadId"]
    part = {"Bucket": "both", "Key": "m", "UploadId": upload}
    sent = s3.upload_part(**part, PartNumber=1, Body=b"x" * 30)
    for refuse in (
        lambda: s3.put_object(Bucket="both", Key="b", Body=b"x" * 41),
        lambda: s3.copy_object(Bucket="both", Key="b", CopySource="big/k"),
        lambda: s3.upload_part(**part, PartNumber=2, Body=b"x" * 20),
        lambda: s3.upload_part_copy(**part, PartNumber=2, CopySource="big/k"),
    ):
        with refused("QuotaExceeded", 403):
            refuse()
    s3.put_object(Bucket="both", Key="b", Body=b"x")
    with refused("QuotaExceeded", 403):  # two objects are there by now
        s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]})
