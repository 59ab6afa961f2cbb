"""Listings: pages, prefixes and markers, compared with what a sorted list says; versions."""

from typing import Any

import pytest

from tests.api.s3.conftest import refused

KEYS = ["a", "a/1", "a/2", "a/b/3", "b", "b//x", "c/1", "d", "é", "日/x"]


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    for key in KEYS:
        s3.put_object(Bucket="bucket", Key=key, Body=key.encode())
    return "bucket"


def expected(prefix: str, delimiter: str, after: str) -> list[str]:
    """Return names and folded prefixes in order."""
    found: list[str] = []
    for key in sorted(KEYS, key=str.encode):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        name = key[: at + len(delimiter)] if at >= 0 else key
        if name.encode() > after.encode() and (not found or found[-1] != name):
            if at >= 0 and after.startswith(name):
                continue
            found.append(name)
    return found


def pages(s3: Any, version: int, size: int, **asked: str) -> list[str]:
    """Return all of a listing, page by page."""
    found: list[str] = []
    more: dict[str, str] = {}
    for _page in range(50):
        call = s3.list_objects if version == 1 else s3.list_objects_v2
        page = call(Bucket="bucket", MaxKeys=size, **asked, **more)
        names = [o["Key"] for o in page.get("Contents", [])]
        names += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
        assert len(names) <= size
        found += sorted(names, key=str.encode)
        if not page["IsTruncated"]:
            return found
        if version == 1:
            asked.pop("Marker", None)
            more = {"Marker": page.get("NextMarker") or names[-1]}
        else:
            assert page["KeyCount"] == size
            more = {"ContinuationToken": page["NextContinuationToken"]}
    raise AssertionError("it does not end")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("delimiter", ["", "/", "b", "//"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "b/", "none", "日"])
def test_pages_are_what_a_sorted_list_says(
    s3: Any, bucket: str, version: int, prefix: str, delimiter: str
) -> None:
    for size in (1, 3):
        for after in ("", "a/1", "b"):
            name = "Marker" if version == 1 else "StartAfter"
            found = pages(s3, version, size, Prefix=prefix, Delimiter=delimiter, **{name: after})
            assert found == expected(prefix, delimiter, after), (size, after)


def test_what_a_listing_says_of_an_object(s3: Any, bucket: str) -> None:
    etag = s3.head_object(Bucket=bucket, Key="a/1")["ETag"]
    one = s3.list_objects(Bucket=bucket, Prefix="a/1")["Contents"][0]
    assert (one["Size"], one["ETag"], one["StorageClass"]) == (3, etag, "STANDARD")
    assert one["Owner"]["ID"] == "project-1"
    assert "Owner" not in s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (
        s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
        == "project-1"
    )
    empty = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (empty["KeyCount"], empty["IsTruncated"], empty["MaxKeys"]) == (0, False, 0)
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)["MaxKeys"] == 1000


def test_questions_that_are_none_are_refused(s3: Any, bucket: str) -> None:
    for wrong in (
        {"MaxKeys": -1},
        {"EncodingType": "xml"},
        {"ContinuationToken": "!"},
        {"ContinuationToken": ""},
    ):
        with refused("InvalidArgument", 400):
            s3.list_objects_v2(Bucket=bucket, **wrong)
    with refused("InvalidArgument", 400):
        s3.list_object_versions(Bucket=bucket, VersionIdMarker="x")


@pytest.fixture
def versioned(s3: Any) -> str:
    s3.create_bucket(Bucket="versioned")
    s3.put_object(Bucket="versioned", Key="k", Body=b"null")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return "versioned"


def test_versions(s3: Any, versioned: str) -> None:
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"one")["VersionId"]
    second = s3.put_object(Bucket=versioned, Key="k", Body=b"two")["VersionId"]
    marker = s3.delete_object(Bucket=versioned, Key="k")
    assert marker["DeleteMarker"]
    with refused("NoSuchKey", 404) as answer:
        s3.get_object(Bucket=versioned, Key="k")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    with refused("MethodNotAllowed", 405):
        s3.get_object(Bucket=versioned, Key="k", VersionId=marker["VersionId"])
    for version, body in ((first, b"one"), (second, b"two"), ("null", b"null")):
        got = s3.get_object(Bucket=versioned, Key="k", VersionId=version)
        assert (got["Body"].read(), got["VersionId"]) == (body, version)
    with refused("NoSuchVersion", 404):
        s3.get_object(Bucket=versioned, Key="k", VersionId="none")
    listed = s3.list_object_versions(Bucket=versioned)
    assert [v["VersionId"] for v in listed["Versions"]] == [second, first, "null"]
    assert [v["IsLatest"] for v in listed["Versions"]] == [False, False, False]
    assert [(m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [
        (marker["VersionId"], True)
    ]
    s3.delete_object(Bucket=versioned, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"two"
    gone = s3.delete_objects(
        Bucket=versioned, Delete={"Objects": [{"Key": "k", "VersionId": second}]}
    )
    assert gone["Deleted"] == [{"Key": "k", "VersionId": second}]
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"one"


def test_versions_in_pages(s3: Any, versioned: str) -> None:
    written = [s3.put_object(Bucket=versioned, Key="k", Body=b"%d" % n) for n in range(4)]
    ids = ["null", *(one["VersionId"] for one in written)]
    ids.append(s3.delete_object(Bucket=versioned, Key="k")["VersionId"])
    after = s3.put_object(Bucket=versioned, Key="l")["VersionId"]
    wanted = [("k", one) for one in reversed(ids)] + [("l", after)]
    for size in (1, 2, 3):
        seen: list[tuple[str, str]] = []
        more: dict[str, str] = {}
        while True:
            page = s3.list_object_versions(Bucket=versioned, MaxKeys=size, **more)
            some = [
                (v["Key"], v["VersionId"])
                for v in [*page.get("DeleteMarkers", []), *page.get("Versions", [])]
            ]
            seen += sorted(some, key=wanted.index)
            if not page["IsTruncated"]:
                break
            more = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page["NextVersionIdMarker"],
            }
        assert seen == wanted


def test_versioning_is_suspended(s3: Any, versioned: str) -> None:
    kept = s3.put_object(Bucket=versioned, Key="k", Body=b"kept")["VersionId"]
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket=versioned)["Status"] == "Suspended"
    s3.put_object(Bucket=versioned, Key="k", Body=b"null again")
    assert (
        s3.get_object(Bucket=versioned, Key="k", VersionId="null")["Body"].read() == b"null again"
    )
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=kept)["Body"].read() == b"kept"
    marker = s3.delete_object(Bucket=versioned, Key="k")
    assert (marker["DeleteMarker"], marker["VersionId"]) == (True, "null")
    listed = s3.list_object_versions(Bucket=versioned)
    assert [v["VersionId"] for v in listed["Versions"]] == [kept]


def test_a_bucket_without_versions_says_nothing_of_them(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert {(v["VersionId"], v["IsLatest"]) for v in listed} == {("null", True)}
    s3.delete_object(Bucket=bucket, Key="a", VersionId="null")
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="a")
