"""Uploads in parts."""

import hashlib
from typing import Any

import pytest

from node.testing.cloud import Cloud
from tests.api.s3.conftest import refused

MIB = 1 << 20
PARTS = [b"a" * (5 * MIB), b"b" * (5 * MIB + 1), b"c" * 10]


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    return "bucket"


def begin(s3: Any, bucket: str, key: str = "k", **more: Any) -> str:
    return str(s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"])


def send(
    s3: Any, bucket: str, upload: str, parts: list[bytes], key: str = "k", **more: Any
) -> list[dict[str, Any]]:
    sent = []
    for number, data in enumerate(parts, 1):
        made = s3.upload_part(
            Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data, **more
        )
        sums = {n: v for n, v in made.items() if n.startswith("Checksum") and n != "ChecksumType"}
        sent.append({"PartNumber": number, "ETag": made["ETag"], **sums})
    return sent


def complete(
    s3: Any, bucket: str, upload: str, parts: list[dict[str, Any]], key: str = "k", **more: Any
) -> Any:
    return s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more
    )


def test_parts_make_an_object(s3: Any, bucket: str) -> None:
    upload = begin(
        s3, bucket, ContentType="a/b", Metadata={"m": "v"}, Tagging="t=1", CacheControl="c"
    )
    sent = send(s3, bucket, upload, PARTS)
    done = complete(s3, bucket, upload, sent)
    digest = hashlib.md5(b"".join(hashlib.md5(p).digest() for p in PARTS)).hexdigest()
    assert done["ETag"] == f'"{digest}-3"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(PARTS)
    assert (got["ContentType"], got["Metadata"], got["TagCount"], got["CacheControl"]) == (
        "a/b",
        {"m": "v"},
        1,
        "c",
    )
    assert (
        complete(s3, bucket, upload, sent)["ETag"] == done["ETag"]
    )  # who did not hear the answer asks again
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    for number, data in enumerate(PARTS, 1):
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (part["PartsCount"], part["Body"].read() == data) == (3, True)
    with refused("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=4)
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"])
    assert [p["Size"] for p in attributes["ObjectParts"]["Parts"]] == [len(p) for p in PARTS]


def test_a_part_is_sent_again_and_left_out(s3: Any, bucket: str) -> None:
    upload = begin(s3, bucket)
    send(s3, bucket, upload, [b"old", b"left out"])
    new = send(s3, bucket, upload, [b"new"])
    complete(s3, bucket, upload, new)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_what_does_not_fit_is_refused(s3: Any, bucket: str) -> None:
    upload = begin(s3, bucket)
    sent = send(s3, bucket, upload, [b"small", b"last"])
    with refused("EntityTooSmall", 400):
        complete(s3, bucket, upload, sent)
    with refused("InvalidPartOrder", 400):
        complete(s3, bucket, upload, sent[::-1])
    with refused("InvalidPartOrder", 400):
        complete(s3, bucket, upload, [sent[0], sent[0]])
    with refused("InvalidPart", 400):
        complete(s3, bucket, upload, [{"PartNumber": 1, "ETag": '"0"'}])
    with refused("InvalidPart", 400):
        complete(s3, bucket, upload, [{"PartNumber": 9, "ETag": sent[0]["ETag"]}])
    with refused("MalformedXML", 400):
        complete(s3, bucket, upload, [])
    with refused("InvalidRequest", 400):
        complete(s3, bucket, upload, sent[:1], MpuObjectSize=6)
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"there")
        complete(s3, bucket, upload, sent[:1], IfNoneMatch="*")
    for number in (0, 10_001):
        with refused("InvalidArgument", 400):
            s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"")
    complete(s3, bucket, upload, sent[:1], MpuObjectSize=5)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"small"


def test_an_upload_is_aborted(s3: Any, bucket: str, cloud: Cloud) -> None:
    upload = begin(s3, bucket)
    sent = send(s3, bucket, upload, [b"x"])
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    for again in (
        lambda: s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload),
        lambda: complete(s3, bucket, upload, sent),
        lambda: send(s3, bucket, upload, [b"x"]),
        lambda: s3.list_parts(Bucket=bucket, Key="k", UploadId=upload),
    ):
        with refused("NoSuchUpload", 404):
            again()
    assert cloud.backend.kept.get("object.store", lambda: None).blobs == {}


def test_an_upload_id_holds_for_its_own_key_and_bucket_alone(
    s3: Any, other: Any, bucket: str
) -> None:
    upload = begin(s3, bucket)
    send(s3, bucket, upload, [b"secret"])
    other.create_bucket(Bucket="others")
    s3.create_bucket(Bucket="second")
    for who, where, key in ((s3, bucket, "other-key"), (s3, "second", "k"), (other, "others", "k")):
        with refused("NoSuchUpload", 404):
            who.list_parts(Bucket=where, Key=key, UploadId=upload)
        with refused("NoSuchUpload", 404):
            who.upload_part(Bucket=where, Key=key, UploadId=upload, PartNumber=1, Body=b"")
        with refused("NoSuchUpload", 404):
            complete(who, where, upload, [{"PartNumber": 1, "ETag": "x"}], key)
    for refuse in (
        lambda: other.list_parts(Bucket=bucket, Key="k", UploadId=upload),
        lambda: other.list_multipart_uploads(Bucket=bucket),
        lambda: other.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b""),
        lambda: other.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload),
        lambda: complete(other, bucket, upload, [{"PartNumber": 1, "ETag": "x"}]),
    ):
        with refused("AccessDenied", 403):
            refuse()
    for wrong in ("x", "..", "a/b", "0" * 32, upload[:-1]):
        with refused("NoSuchUpload", 404):
            s3.list_parts(Bucket=bucket, Key="k", UploadId=wrong)


def test_uploads_and_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    keys = ["a", "b/1", "b/2", "c", "c"]
    ids = [begin(s3, bucket, key) for key in keys]
    listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(u["Key"], u["UploadId"]) for u in listed] == list(zip(keys, ids, strict=True))
    assert listed[0]["Initiator"]["ID"] == "user-of-project-1"
    folded = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in folded["CommonPrefixes"]] == ["b/"]
    assert [u["Key"] for u in folded["Uploads"]] == ["a", "c", "c"]
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket, Prefix="b/")["Uploads"]] == [
        "b/1",
        "b/2",
    ]
    seen, markers = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **markers)
        seen += [u["UploadId"] for u in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert seen == ids
    send(s3, bucket, ids[0], [b"1", b"22", b"333"], "a")
    first = s3.list_parts(Bucket=bucket, Key="a", UploadId=ids[0], MaxParts=2)
    assert [(p["PartNumber"], p["Size"]) for p in first["Parts"]] == [(1, 1), (2, 2)]
    assert first["IsTruncated"]
    rest = s3.list_parts(
        Bucket=bucket, Key="a", UploadId=ids[0], PartNumberMarker=first["NextPartNumberMarker"]
    )
    assert ([p["Size"] for p in rest["Parts"]], rest["IsTruncated"]) == ([3], False)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"),
     ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")],
)  # fmt: skip
def test_checksums_of_parts_and_of_the_whole(
    s3: Any, bucket: str, algorithm: str, kind: str
) -> None:
    upload = begin(s3, bucket, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    sent = send(s3, bucket, upload, PARTS, ChecksumAlgorithm=algorithm)
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    assert [p[f"Checksum{algorithm}"] for p in listed["Parts"]] == [
        p[f"Checksum{algorithm}"] for p in sent
    ]
    if kind == "COMPOSITE":
        with refused("InvalidRequest", 400):
            complete(s3, bucket, upload, [{k: p[k] for k in ("PartNumber", "ETag")} for p in sent])
    wrong = [{**sent[0], f"Checksum{algorithm}": sent[1][f"Checksum{algorithm}"]}, *sent[1:]]
    with refused("InvalidPart", 400):
        complete(s3, bucket, upload, wrong)
    done = complete(s3, bucket, upload, sent)
    value = done[f"Checksum{algorithm}"]
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (value, kind)
    assert value.endswith("-3") == (kind == "COMPOSITE")
    if kind == "FULL_OBJECT":  # the same as of the same bytes in one piece
        whole = s3.put_object(
            Bucket=bucket, Key="whole", Body=b"".join(PARTS), ChecksumAlgorithm=algorithm
        )
        assert whole[f"Checksum{algorithm}"] == value


def test_kinds_of_checksums_that_do_not_fit_are_refused(s3: Any, bucket: str) -> None:
    for algorithm, kind in (("CRC64NVME", "COMPOSITE"), ("SHA1", "FULL_OBJECT")):
        with refused("InvalidRequest", 400):
            begin(s3, bucket, ChecksumAlgorithm=algorithm, ChecksumType=kind)


def test_a_part_is_copied(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=PARTS[0] + b"tail")
    upload = begin(s3, bucket)
    source = {"Bucket": bucket, "Key": "source"}
    parts = []
    for number, span in ((1, f"bytes=0-{5 * MIB - 1}"), (2, f"bytes={5 * MIB}-{5 * MIB + 3}")):
        made = s3.upload_part_copy(
            Bucket=bucket,
            Key="k",
            UploadId=upload,
            PartNumber=number,
            CopySource=source,
            CopySourceRange=span,
        )
        parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
    complete(s3, bucket, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == PARTS[0] + b"tail"
    for span, code in (
        ("bytes=0-99999999", "InvalidArgument"),
        ("bytes=5-", "InvalidArgument"),
        ("bytes=9-1", "InvalidArgument"),
        ("bytes=99999998-99999999", "InvalidRange"),
    ):
        upload = begin(s3, bucket)
        with refused(code):
            s3.upload_part_copy(
                Bucket=bucket,
                Key="k",
                UploadId=upload,
                PartNumber=1,
                CopySource=source,
                CopySourceRange=span,
            )


def test_completing_makes_a_version(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["VersionId"]
    upload = begin(s3, bucket)
    done = complete(s3, bucket, upload, send(s3, bucket, upload, [b"two"]))
    assert done["VersionId"] != first
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"one"
