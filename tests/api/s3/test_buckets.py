"""Buckets: names, who has which, what is set for them."""

from typing import Any

import pytest

from node.plugins.object.tables import Container
from node.testing.cloud import Cloud
from tests.api.s3.conftest import Wire, client, refused


def test_a_bucket_is_made_listed_and_deleted(s3: Any, other: Any) -> None:
    assert s3.create_bucket(Bucket="one")["Location"] == "/one"
    s3.create_bucket(Bucket="two", CreateBucketConfiguration={"LocationConstraint": "RegionOne"})
    listed = s3.list_buckets()
    assert [b["Name"] for b in listed["Buckets"]] == ["one", "two"]
    assert listed["Owner"] == {"ID": "project-1", "DisplayName": "project-1"}
    assert other.list_buckets()["Buckets"] == []
    assert s3.get_bucket_location(Bucket="one")["LocationConstraint"] is None
    assert s3.get_bucket_location(Bucket="two")["LocationConstraint"] == "RegionOne"
    assert s3.head_bucket(Bucket="two")["BucketRegion"] == "RegionOne"
    s3.delete_bucket(Bucket="one")
    with refused("404", 404):
        s3.head_bucket(Bucket="one")
    with refused("NoSuchBucket", 404):
        s3.delete_bucket(Bucket="one")


def test_buckets_are_listed_in_pages(wire: Wire) -> None:
    s3 = client(wire, "AK1", parameter_validation=False)
    for name in ("aaa", "bbb", "ccc"):
        s3.create_bucket(Bucket=name)
    page = s3.list_buckets(MaxBuckets=2)
    assert [b["Name"] for b in page["Buckets"]] == ["aaa", "bbb"]
    rest = s3.list_buckets(MaxBuckets=2, ContinuationToken=page["ContinuationToken"])
    assert [b["Name"] for b in rest["Buckets"]] == ["ccc"]
    assert "ContinuationToken" not in rest
    assert [b["Name"] for b in s3.list_buckets(Prefix="b")["Buckets"]] == ["bbb"]
    with refused("InvalidArgument", 400):
        s3.list_buckets(MaxBuckets=10_001)


def test_a_name_is_one_projects_alone(s3: Any, other: Any, cloud: Cloud) -> None:
    s3.create_bucket(Bucket="mine")
    with refused("BucketAlreadyOwnedByYou", 409):
        s3.create_bucket(Bucket="mine")
    with refused("BucketAlreadyExists", 409):
        other.create_bucket(Bucket="mine")
    with refused("403", 403):
        other.head_bucket(Bucket="mine")
    with refused("AccessDenied", 403):
        other.delete_bucket(Bucket="mine")
    s3.delete_bucket(Bucket="mine")
    other.create_bucket(Bucket="mine")
    assert [row.account for row in cloud.db.rows(Container)] == ["project-2"]


def test_the_name_of_a_container_that_swift_deleted_is_free(
    s3: Any, other: Any, cloud: Cloud
) -> None:
    from node.sdk import delete

    s3.create_bucket(Bucket="mine")
    row = cloud.db.rows(Container)[0]
    cloud.commit(delete(Container, row.id))
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket="mine")
    other.create_bucket(Bucket="mine")


def test_a_container_of_swift_is_a_bucket_of_its_project(s3: Any, other: Any, cloud: Cloud) -> None:
    from node.sdk import insert

    cloud.commit(insert(Container(id="c1", account="project-1", name="From_Swift", created_at=1)))
    s3.put_object(Bucket="From_Swift", Key="k", Body=b"x")
    assert s3.get_object(Bucket="From_Swift", Key="k")["Body"].read() == b"x"
    with refused("InvalidBucketName", 400):
        other.get_object(Bucket="From_Swift", Key="k")


@pytest.mark.parametrize(
    "name",
    ["ab", "A-b", "a_b", "a..b", "a.-b", "-abc", "abc-", "192.168.1.1", "x" * 64, "xn--abc", "a-s3alias"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(s3: Any, wire: Wire, name: str) -> None:
    s3.meta.events.unregister("before-parameter-build.s3.CreateBucket")
    with refused("InvalidBucketName", 400):
        client(wire, "AK1", parameter_validation=False).create_bucket(Bucket=name)


def test_a_bucket_with_objects_stays(s3: Any) -> None:
    s3.create_bucket(Bucket="full")
    s3.put_object(Bucket="full", Key="k")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket="full")
    s3.delete_object(Bucket="full", Key="k")
    upload = s3.create_multipart_upload(Bucket="full", Key="m")["UploadId"]
    s3.upload_part(Bucket="full", Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    s3.delete_bucket(Bucket="full")
    s3.create_bucket(Bucket="full")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="full")
    with refused("NoSuchUpload", 404):
        s3.list_parts(Bucket="full", Key="m", UploadId=upload)


def test_a_place_that_is_none_is_refused(s3: Any) -> None:
    with refused("InvalidLocationConstraint", 400):
        s3.create_bucket(Bucket="one", CreateBucketConfiguration={"LocationConstraint": "mars-1"})


def test_too_many_buckets_are_refused(s3: Any, cloud: Cloud) -> None:
    from node.sdk import insert

    for number in range(20):
        cloud.commit(insert(Container(id=f"c{number}", account="project-1", name=f"b{number}")))
    with refused("TooManyBuckets", 400):
        s3.create_bucket(Bucket="one-more")


def test_a_reader_reads_and_no_more(wire: Wire, s3: Any) -> None:
    s3.create_bucket(Bucket="one")
    s3.put_object(Bucket="one", Key="k", Body=b"x")
    reader = client(wire, "RO1")
    assert reader.list_buckets()["Buckets"][0]["Name"] == "one"
    assert reader.get_object(Bucket="one", Key="k")["Body"].read() == b"x"
    for refuse in (
        lambda: reader.put_object(Bucket="one", Key="k", Body=b"y"),
        lambda: reader.delete_object(Bucket="one", Key="k"),
        lambda: reader.create_bucket(Bucket="two"),
        lambda: reader.put_bucket_policy(Bucket="one", Policy="{}"),
        lambda: reader.put_object_tagging(Bucket="one", Key="k", Tagging={"TagSet": []}),
        lambda: reader.put_object_acl(Bucket="one", Key="k", ACL="public-read"),
        lambda: reader.create_multipart_upload(Bucket="one", Key="k"),
    ):
        with refused("AccessDenied", 403):
            refuse()


def test_another_owner_is_not_expected(s3: Any) -> None:
    s3.create_bucket(Bucket="one")
    s3.list_objects_v2(Bucket="one", ExpectedBucketOwner="project-1")
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket="one", ExpectedBucketOwner="project-2")


def test_nobody_lists_buckets(nobody: Any) -> None:
    with refused("AccessDenied", 403):
        nobody.list_buckets()
