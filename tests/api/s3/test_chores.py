# ruff: noqa: E501 - tables of odd values read better in long lines
"""What happens by itself: lifecycle rules, and notifications to a web server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from node.plugins.object.s3.lifecycle_sync import LifecycleSync
from node.plugins.object.s3.notification_sync import NotificationSync
from node.plugins.object.tables import Container
from node.testing.cloud import Cloud
from tests.api.s3.conftest import refused

DAY = 86_400


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    return "bucket"


def live(cloud: Cloud, days: float) -> None:
    """Let days go by, do the chores, and come back to the time that botocore signs by."""
    cloud.clock.advance(days * DAY)
    made = LifecycleSync(
        cloud.control, lambda: cloud.backend.kept.get("object.store", lambda: None)
    )
    cloud.reconcile(made)
    cloud.clock.advance(-days * DAY)


def rule(**more: Any) -> dict[str, Any]:
    return {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, **more}]}


def names(s3: Any, bucket: str) -> list[str]:
    return [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_objects_end(s3: Any, bucket: str, cloud: Cloud) -> None:
    for key in ("tmp/a", "tmp/b", "keep"):
        s3.put_object(Bucket=bucket, Key=key)
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration=rule(Expiration={"Days": 2})
    )
    assert 'rule-id="r"' in s3.head_object(Bucket=bucket, Key="tmp/a")["Expiration"]
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="keep")
    live(cloud, 1.9)
    assert names(s3, bucket) == ["keep", "tmp/a", "tmp/b"]
    live(cloud, 3.1)
    assert names(s3, bucket) == ["keep"]


def test_a_rule_is_about_tags_and_sizes(s3: Any, bucket: str, cloud: Cloud) -> None:
    s3.put_object(Bucket=bucket, Key="tmp/tagged", Tagging="a=b&c=d", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="tmp/small", Tagging="a=b", Body=b"1")
    s3.put_object(Bucket=bucket, Key="tmp/other", Tagging="a=c", Body=b"12345")
    where = {
        "And": {
            "Prefix": "tmp/",
            "Tags": [{"Key": "a", "Value": "b"}],
            "ObjectSizeGreaterThan": 3,
            "ObjectSizeLessThan": 9,
        }
    }
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration=rule(Filter=where, Expiration={"Date": "2020-01-01T00:00:00Z"}),
    )
    live(cloud, 0)
    assert names(s3, bucket) == ["tmp/other", "tmp/small"]


def test_versions_and_markers_end(s3: Any, bucket: str, cloud: Cloud) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2", b"3"):
        s3.put_object(Bucket=bucket, Key="tmp/a", Body=body)
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration=rule(Expiration={"Days": 1}, NoncurrentVersionExpiration={"NoncurrentDays": 5, "NewerNoncurrentVersions": 1})
    )  # fmt: skip
    live(cloud, 3)
    listed = s3.list_object_versions(Bucket=bucket)
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (3, 1)
    live(cloud, 12)
    listed = s3.list_object_versions(Bucket=bucket)
    assert [
        s3.get_object(Bucket=bucket, Key="tmp/a", VersionId=v["VersionId"])["Body"].read()
        for v in listed["Versions"]
    ] == [b"3"]
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration=rule(Expiration={"ExpiredObjectDeleteMarker": True}, NoncurrentVersionExpiration={"NoncurrentDays": 1})
    )  # fmt: skip
    live(cloud, 30)
    listed = s3.list_object_versions(Bucket=bucket)
    assert "Versions" not in listed and "DeleteMarkers" not in listed


def test_what_is_locked_does_not_end(s3: Any, cloud: Cloud) -> None:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    s3.put_object(Bucket="locked", Key="tmp/a", ObjectLockLegalHoldStatus="ON")
    s3.put_object(Bucket="locked", Key="tmp/a")
    s3.put_bucket_lifecycle_configuration(
        Bucket="locked",
        LifecycleConfiguration=rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}),
    )
    live(cloud, 9)
    assert len(s3.list_object_versions(Bucket="locked")["Versions"]) == 2


def test_uploads_end(s3: Any, bucket: str, cloud: Cloud) -> None:
    old = s3.create_multipart_upload(Bucket=bucket, Key="tmp/m")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="tmp/m", UploadId=old, PartNumber=1, Body=b"x")
    kept = s3.create_multipart_upload(Bucket=bucket, Key="keep")["UploadId"]
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration=rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    )
    live(cloud, 4)
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [kept]
    with refused("NoSuchUpload", 404):
        s3.list_parts(Bucket=bucket, Key="tmp/m", UploadId=old)


class Receiver:
    """A web server that keeps what is posted to it, or refuses it."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.status == 200:
                    outer.got.append((self.path, json.loads(body)))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self) -> list[Any]:
        got, self.got = self.got, []
        return got


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def tell(cloud: Cloud) -> None:
    made = NotificationSync(
        cloud.control, lambda: cloud.backend.kept.get("object.store", lambda: None)
    )
    for key in list(made.keys()):
        made.reconcile(key)


def test_events_are_told(s3: Any, bucket: str, cloud: Cloud, receiver: Receiver) -> None:
    where = {
        "Key": {
            "FilterRules": [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".jpg"}]
        }
    }
    wanted = {
        "TopicConfigurations": [
            {
                "Id": "all",
                "TopicArn": f"{receiver.url}/all",
                "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
            },
            {
                "TopicArn": f"arn:aws:sns:::{receiver.url}/some",
                "Events": ["s3:ObjectCreated:Put"],
                "Filter": where,
            },
        ]
    }
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    got = s3.get_bucket_notification_configuration(Bucket=bucket)["TopicConfigurations"]
    assert [t["Id"] for t in got] == ["all", "target-2"]
    tell(cloud)
    assert [(path, body["Event"]) for path, body in receiver.take()] == [
        ("/all", "s3:TestEvent"),
        ("/some", "s3:TestEvent"),
    ]
    etag = s3.put_object(Bucket=bucket, Key="in/a b.jpg", Body=b"12345")["ETag"].strip('"')
    s3.put_object(Bucket=bucket, Key="out.jpg")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/out.jpg")
    s3.delete_object(Bucket=bucket, Key="out.jpg")
    s3.delete_object(Bucket=bucket, Key="never-there")
    tell(cloud)
    told = receiver.take()
    assert [(path, body["Records"][0]["eventName"]) for path, body in told] == [
        ("/all", "ObjectCreated:Put"), ("/some", "ObjectCreated:Put"), ("/all", "ObjectCreated:Put"),
        ("/all", "ObjectCreated:Copy"), ("/all", "ObjectRemoved:Delete"),
    ]  # fmt: skip
    first = told[0][1]["Records"][0]
    assert first["s3"]["bucket"]["arn"] == "arn:aws:s3:::bucket"
    assert first["s3"]["object"] | {"sequencer": ""} == {
        "key": "in/a+b.jpg",
        "size": 5,
        "eTag": etag,
        "sequencer": "",
    }
    tell(cloud)
    assert receiver.take() == []


def test_events_wait_for_who_does_not_take_them(
    s3: Any, bucket: str, cloud: Cloud, receiver: Receiver
) -> None:
    wanted = {"TopicConfigurations": [{"TopicArn": receiver.url, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=wanted, SkipDestinationValidation=True
    )
    receiver.status = 503
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key)
    tell(cloud)
    receiver.status = 200
    tell(cloud)
    assert [body["Records"][0]["s3"]["object"]["key"] for _path, body in receiver.take()] == [
        "a",
        "b",
    ]
    receiver.status = 503
    s3.put_object(Bucket=bucket, Key="c")
    cloud.clock.advance(25 * 3600)
    tell(cloud)
    cloud.clock.advance(-25 * 3600)
    receiver.status = 200
    tell(cloud)
    assert receiver.take() == []


def test_nobody_inside_is_told(s3: Any, bucket: str, cloud: Cloud, receiver: Receiver) -> None:
    inside = receiver.url.replace(
        "127.0.0.1", "localhost"
    )  # allowed is 127.0.0.1 by that name alone
    wanted = {"TopicConfigurations": [{"TopicArn": inside, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    tell(cloud)
    assert receiver.take() == []
    assert cloud.db.rows(Container)
