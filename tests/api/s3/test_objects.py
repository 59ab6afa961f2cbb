# ruff: noqa: E501 - tables of odd values read better in long lines
"""Objects: put, get, head, delete, with everything that headers can say."""

import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from node.testing.cloud import Cloud
from tests.api.s3.conftest import Wire, client, refused

BODY = bytes(range(256)) * 40


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    return "bucket"


def test_what_is_put_is_what_is_got(s3: Any, bucket: str) -> None:
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    s3.put_object(
        Bucket=bucket, Key="k", Body=BODY, ContentType="text/x", CacheControl="no-cache",
        ContentDisposition='attachment; filename="x"', ContentEncoding="gzip",
        ContentLanguage="de", Expires=expires, Metadata={"Name": "value", "two": "a  b"},
        WebsiteRedirectLocation="/other", StorageClass="STANDARD_IA",
    )  # fmt: skip
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == BODY
    head = s3.head_object(Bucket=bucket, Key="k")
    for answer in (got, head):
        assert answer["ETag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
        assert answer["ContentLength"] == len(BODY)
        assert answer["ContentType"] == "text/x"
        assert answer["CacheControl"] == "no-cache"
        assert answer["ContentDisposition"] == 'attachment; filename="x"'
        assert answer["ContentEncoding"] == "gzip"
        assert answer["ContentLanguage"] == "de"
        assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
        assert answer["Metadata"] == {"name": "value", "two": "a  b"}
        assert answer["WebsiteRedirectLocation"] == "/other"
        assert answer["StorageClass"] == "STANDARD_IA"
        assert answer["AcceptRanges"] == "bytes"
        assert "VersionId" not in answer


def test_an_object_is_replaced_and_deleted(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one", Metadata={"a": "b"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"two!")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (b"two!", {})
    assert got["ContentType"] == "binary/octet-stream"
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    s3.delete_object(Bucket=bucket, Key="k")  # again: no error
    with refused("NoSuchKey", 404) as answer:
        s3.get_object(Bucket=bucket, Key="k")
    assert answer["Error"]["Key"] == "k"
    with refused("404", 404):
        s3.head_object(Bucket=bucket, Key="k")


@pytest.mark.parametrize(
    "key",
    ["a", "/", "//", "/a", "a/", "a//b", " ", " a ", "a b", "a+b", "a%2Fb", "a%20b", "é", "日本", "a?b", "a#b", "a&b=c",
     "..", "../x", "a/../b", "./a", "'\"<>&", "~!*()';:@,$", "\x01\x7f", "a\nb", "x" * 1024, "😀/😀"],
)  # fmt: skip
def test_every_name_comes_back(s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    if key.isprintable():
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    else:  # XML cannot hold it
        s3.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in s3.list_objects(Bucket=bucket)


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=5-9", 5, 9), ("bytes=10000-", 10000, 10239), ("bytes=-5", 10235, 10239),
     ("bytes=-99999", 0, 10239), ("bytes=10000-99999", 10000, 10239)],
)  # fmt: skip
def test_a_range(s3: Any, bucket: str, header: str, first: int, last: int) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert got["ContentRange"] == f"bytes {first}-{last}/10240"
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["Body"].read() == BODY[first : last + 1]
    assert s3.head_object(Bucket=bucket, Key="k", Range=header)["ContentLength"] == last - first + 1


@pytest.mark.parametrize(
    "header", ["bytes=9-5", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes=-"]
)
def test_a_range_that_is_none_is_not_heeded(s3: Any, bucket: str, header: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["ContentLength"]) == (200, len(BODY))


def test_a_range_of_nothing_is_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    with refused("InvalidRange", 416) as answer:
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=10240-")
    assert answer["Error"]["ActualObjectSize"] == "10240"
    for key, header in (("empty", "bytes=0-"), ("k", "bytes=-0")):
        with refused("InvalidRange", 416):
            s3.get_object(Bucket=bucket, Key=key, Range=header)
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


def test_conditions_of_reads(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    at = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    hour = timedelta(hours=1)
    for held in (
        {"IfMatch": etag}, {"IfMatch": "*"}, {"IfMatch": f'"no", {etag}'}, {"IfNoneMatch": '"no"'},
        {"IfModifiedSince": at - hour}, {"IfUnmodifiedSince": at}, {"IfUnmodifiedSince": at + hour},
        {"IfMatch": etag, "IfUnmodifiedSince": at - hour}, {"IfNoneMatch": '"no"', "IfModifiedSince": at + hour},
    ):  # fmt: skip
        assert s3.get_object(Bucket=bucket, Key="k", **held)["Body"].read() == b"x", held
    for broken in ({"IfMatch": '"no"'}, {"IfUnmodifiedSince": at - hour}):
        with refused("PreconditionFailed", 412):
            s3.get_object(Bucket=bucket, Key="k", **broken)
    for same in (
        {"IfNoneMatch": etag}, {"IfNoneMatch": "*"}, {"IfModifiedSince": at},
        {"IfNoneMatch": etag, "IfModifiedSince": at - hour},
    ):  # fmt: skip
        with refused("304", 304) as answer:
            s3.get_object(Bucket=bucket, Key="k", **same)
        assert answer["ResponseMetadata"]["HTTPHeaders"]["etag"] == etag
        with refused("304", 304):
            s3.head_object(Bucket=bucket, Key="k", **same)


def test_conditions_of_writes(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch='"no"')
    with refused("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key="none", Body=b"2", IfMatch=etag)
    with refused("NotImplemented", 501):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=etag)
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"
    with refused("PreconditionFailed", 412):
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    s3.delete_object(Bucket=bucket, Key="k", IfMatch="*")


def test_headers_of_an_answer_can_be_asked_for(s3: Any, nobody: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read", CacheControl="mine")
    asked = {"ResponseContentType": "a/b", "ResponseCacheControl": "c", "ResponseContentDisposition": "d",
             "ResponseContentEncoding": "e", "ResponseContentLanguage": "f"}  # fmt: skip
    got = s3.get_object(Bucket=bucket, Key="k", **asked)
    for name, value in asked.items():
        assert got[name.removeprefix("Response")] == value
    with refused("InvalidRequest", 400):
        nobody.get_object(Bucket=bucket, Key="k", ResponseContentType="a/b")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(s3: Any, wire: Wire, bucket: str, algorithm: str) -> None:
    # As a trailer of a chunked body, the way of boto3 over TLS, and as a header.
    made = s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm=algorithm)
    value = made[f"Checksum{algorithm}"]
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == BODY  # boto3 compares it
    assert got[f"Checksum{algorithm}"] == value
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, **{f"Checksum{algorithm}": value})
    asked = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ETag", "ObjectSize", "StorageClass"])  # fmt: skip
    assert asked["Checksum"] == {f"Checksum{algorithm}": value, "ChecksumType": "FULL_OBJECT"}
    assert (asked["ObjectSize"], asked["StorageClass"]) == (len(BODY), "STANDARD")
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", **{f"Checksum{algorithm}": value})
    with refused("InvalidRequest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", **{f"Checksum{algorithm}": "eA=="})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


def test_a_digest_is_held(s3: Any, bucket: str) -> None:
    digest = b64encode(hashlib.md5(BODY).digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ContentMD5=digest)
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=BODY + b"!", ContentMD5=digest)
    for wrong in ("x", "eHg=", ""):
        with refused("InvalidDigest", 400):
            s3.put_object(Bucket=bucket, Key="k", Body=BODY, ContentMD5=wrong)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == len(BODY)


def test_what_is_too_much_is_refused(s3: Any, wire: Wire, bucket: str) -> None:
    with refused("KeyTooLongError", 400):
        s3.put_object(Bucket=bucket, Key="x" * 1025)
    with refused("KeyTooLongError", 400):
        s3.put_object(Bucket=bucket, Key="é" * 513)
    with refused("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="k", Metadata={"a": "x" * 2048})
    s3.put_object(Bucket=bucket, Key="k", Metadata={"a": "x" * 2047})

    def announce(request: Any) -> None:
        if "X-Amz-Decoded-Content-Length" in request.headers:  # unsigned: of the chunked wrapping
            raise AssertionError(request.headers)
        request.headers["Content-Length"] = str((5 << 30) + 1)

    plain = client(wire, "AK1", request_checksum_calculation="when_required")
    wire.before = announce
    with refused("EntityTooLarge", 400) as answer:
        plain.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert answer["Error"]["MaxSizeAllowed"] == str(5 << 30)
    wire.before = lambda _request: None
    with refused("InvalidStorageClass", 400):
        s3.put_object(Bucket=bucket, Key="k", StorageClass="NONE")
    with refused("NoSuchBucket", 404):
        s3.put_object(Bucket="no-such-bucket", Key="k")


def test_tags(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Tagging="a=b&c=d%20e")
    assert s3.head_object(Bucket=bucket, Key="k")["TagCount"] == 2
    tags = [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d e"}]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags[:1]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags[:1]
    assert s3.head_object(Bucket=bucket, Key="k")["LastModified"] == modified
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    eleven = [{"Key": f"k{n}", "Value": ""} for n in range(11)]
    for wrong in (eleven, [{"Key": "k" * 129, "Value": ""}], [{"Key": "k", "Value": "v" * 257}],
                  [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}], [{"Key": "aws:x", "Value": ""}]):  # fmt: skip
        with refused("InvalidTag", 400):
            s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": wrong})
    with refused("InvalidTag", 400):
        s3.put_object(Bucket=bucket, Key="k", Tagging="a=b&a=c")
    with refused("NoSuchKey", 404):
        s3.get_object_tagging(Bucket=bucket, Key="none")


def test_many_are_deleted_at_once(s3: Any, bucket: str) -> None:
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=key)
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "none"}]})
    assert [d["Key"] for d in done["Deleted"]] == ["a", "none"]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["c"]
    with refused("MalformedXML", 400):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"{n}"} for n in range(1001)]})


def test_text_in_metadata_comes_back(wire: Wire, s3: Any, bucket: str) -> None:
    # Headers are bytes on the wire, UTF-8 for most clients; WSGI shows them as latin-1.
    signer = client(wire, "AK1", signature_version="s3v4")
    url = signer.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    sent = "é 日本".encode().decode("latin-1")
    assert wire.send("PUT", url, {"X-Amz-Meta-N": sent}, b"x").status_code == 403  # not signed
    params = {
        "Bucket": bucket,
        "Key": "k",
        "MetadataDirective": "REPLACE",
        "CopySource": f"{bucket}/k",
    }
    s3.put_object(Bucket=bucket, Key="k")
    s3.copy_object(**params, Metadata={"n": "=?UTF-8?B?w6k=?="})
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"n": "=?UTF-8?B?w6k=?="}


def test_what_there_is_not_is_said_so(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k")
    with refused("NotImplemented", 501):
        s3.restore_object(Bucket=bucket, Key="k", RestoreRequest={"Days": 1})
    with refused("NotImplemented", 501):
        s3.get_object_torrent(Bucket=bucket, Key="k")
    with refused("NotImplemented", 501):
        s3.select_object_content(
            Bucket=bucket, Key="k", Expression="x", ExpressionType="SQL",
            InputSerialization={"CSV": {}}, OutputSerialization={"CSV": {}},
        )  # fmt: skip
    for kms in ({"ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "AES256"}):
        with refused("NotImplemented", 501):
            s3.put_object(Bucket=bucket, Key="k", **kms)


def test_an_object_that_has_ended_is_not_there(s3: Any, bucket: str, cloud: Cloud) -> None:
    # Swift sets the end; both views hold to it.
    from node.plugins.object.store.contract import Facts
    from node.plugins.object.tables import Container

    row = cloud.db.rows(Container)[0]
    store = cloud.backend.kept.get("object.store", lambda: None)
    ends = cloud.clock.now_us() + 10_000_000
    store.store(row.id, "k", b"x", Facts(etag="e", expires_at=ends))
    assert "Expiration" in s3.head_object(Bucket=bucket, Key="k")
    cloud.clock.advance(11)
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="k")
