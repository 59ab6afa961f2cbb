# ruff: noqa: E501 - tables of odd values read better in long lines
"""Browsers: websites, and uploads by forms."""

import json
from typing import Any

import pytest

from node.testing.cloud import Cloud
from tests.api.s3.conftest import ENDPOINT, Wire, client

SITE = "https://site.web.test"


@pytest.fixture
def site(s3: Any) -> str:
    s3.create_bucket(Bucket="site")
    for key in ("index.html", "docs/index.html", "error.html", "page"):
        s3.put_object(
            Bucket="site", Key=key, Body=key.encode(), ACL="public-read", ContentType="text/html"
        )
    s3.put_object(Bucket="site", Key="private", Body=b"private")
    s3.put_object(Bucket="site", Key="moved", WebsiteRedirectLocation="/page", ACL="public-read")
    s3.put_bucket_website(
        Bucket="site",
        WebsiteConfiguration={
            "IndexDocument": {"Suffix": "index.html"},
            "ErrorDocument": {"Key": "error.html"},
            "RoutingRules": [
                {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": "302"}},
                {"Condition": {"KeyPrefixEquals": "lost/", "HttpErrorCodeReturnedEquals": "403"}, "Redirect": {"HostName": "other.test", "Protocol": "http", "ReplaceKeyWith": "found"}},
            ],
        },
    )  # fmt: skip
    return "site"


@pytest.mark.parametrize(
    ("path", "status", "body", "location"),
    [("/", 200, b"index.html", None), ("/docs/", 200, b"docs/index.html", None), ("/docs", 302, b"", "/docs/"),
     ("/page", 200, b"page", None), ("/moved", 301, b"", "/page"), ("/private", 403, b"error.html", None), ("/none", 403, b"error.html", None),
     ("/old/x", 302, b"", "https://site.web.test/new/x"), ("/lost/x", 301, b"", "http://other.test/found")],
)  # fmt: skip
def test_a_website(
    wire: Wire, site: str, path: str, status: int, body: bytes, location: str | None
) -> None:
    answer = wire.send("GET", SITE + path)
    assert (answer.status_code, answer.content, answer.headers.get("location")) == (
        status,
        body,
        location,
    )
    head = wire.send("HEAD", SITE + path)
    assert (head.status_code, head.content) == (status, b"")
    assert wire.send("POST", SITE + path).status_code == 405


def test_a_website_that_may_be_listed_says_what_is_not_there(
    wire: Wire, site: str, s3: Any
) -> None:
    s3.put_bucket_acl(Bucket=site, ACL="public-read")
    assert wire.send("GET", f"{SITE}/none").status_code == 404
    s3.delete_object(Bucket=site, Key="error.html")
    answer = wire.send("GET", f"{SITE}/<none>")
    assert (answer.status_code, "NoSuchKey" in answer.text) == (404, True)
    assert answer.headers["content-type"].startswith("text/html")


def test_a_website_is_led_elsewhere(wire: Wire, site: str, s3: Any) -> None:
    s3.put_bucket_website(
        Bucket=site, WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "new.test"}}
    )
    answer = wire.send("GET", f"{SITE}/a%20b")
    assert (answer.status_code, answer.headers["location"]) == (301, "https://new.test/a%20b")
    s3.delete_bucket_website(Bucket=site)
    assert "NoSuchWebsiteConfiguration" in wire.send("GET", SITE).text
    assert "NoSuchBucket" in wire.send("GET", "https://none.web.test/").text


def form(
    fields: dict[str, str], data: bytes, filename: str = "up.txt", boundary: str = "XX"
) -> tuple[dict[str, str], bytes]:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/x\r\n\r\n'.encode()
    )
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, b"".join(
        parts
    ) + data + f"\r\n--{boundary}--\r\n".encode()


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    return "bucket"


DATA = b"\r\n--X" * 30_000 + b"end"


@pytest.mark.parametrize("way", ["s3v4", "s3"])
def test_a_signed_form_uploads(wire: Wire, s3: Any, bucket: str, way: str) -> None:
    signer = client(wire, "AK1", signature_version=way)
    made = signer.generate_presigned_post(
        bucket, "up/${filename}", Fields={"acl": "public-read", "x-amz-meta-a": "é", "success_action_status": "201"},
        Conditions=[{"acl": "public-read"}, ["starts-with", "$x-amz-meta-a", ""], {"success_action_status": "201"}, ["content-length-range", 5, 1 << 20]],
    )  # fmt: skip
    answer = wire.send("POST", made["url"], *form(made["fields"], DATA))
    assert answer.status_code == 201, answer.text
    assert "<Key>up/up.txt</Key>" in answer.text
    got = s3.get_object(Bucket=bucket, Key="up/up.txt")
    assert (got["Body"].read(), got["ContentType"]) == (DATA, "text/x")
    assert client(wire, None).get_object(Bucket=bucket, Key="up/up.txt")["ContentLength"] == len(
        DATA
    )
    for data, code in ((b"1234", "EntityTooSmall"), (b"x" * ((1 << 20) + 1), "EntityTooLarge")):
        answer = wire.send("POST", made["url"], *form(made["fields"], data, "size"))
        assert f"<Code>{code}</Code>" in answer.text
    for change, code in (
        ({"acl": "private"}, "AccessDenied"),
        ({"x-amz-meta-b": "more"}, "AccessDenied"),
        ({"key": "elsewhere"}, "AccessDenied"),
        ({"policy": "e30="}, "SignatureDoesNotMatch"),
    ):
        answer = wire.send(
            "POST", made["url"], *form({**made["fields"], **change}, DATA, "changed")
        )
        assert f"<Code>{code}</Code>" in answer.text, change
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["up/up.txt"]
    other = made["url"].replace("/bucket", "/other")
    s3.create_bucket(Bucket="other")
    assert wire.send("POST", other, *form(made["fields"], DATA)).status_code == 403


def test_a_form_leads_on(wire: Wire, s3: Any, bucket: str) -> None:
    made = s3.generate_presigned_post(
        bucket, "k", Fields={"success_action_redirect": "https://app.test/done?a=1"},
        Conditions=[["starts-with", "$success_action_redirect", "https://app.test/"]],
    )  # fmt: skip
    answer = wire.send("POST", made["url"], *form(made["fields"], b"x"))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(
        "https://app.test/done?a=1&bucket=bucket&key=k&etag="
    )


def test_a_policy_of_a_form_ends(wire: Wire, s3: Any, bucket: str, cloud: Cloud) -> None:
    made = s3.generate_presigned_post(bucket, "k", ExpiresIn=60)
    cloud.clock.advance(600)
    answer = wire.send("POST", made["url"], *form(made["fields"], b"x"))
    assert "Policy expired" in answer.text


def test_nobodys_form_needs_an_open_bucket(wire: Wire, s3: Any, bucket: str) -> None:
    url = f"{ENDPOINT}/bucket"
    assert wire.send("POST", url, *form({"key": "k"}, b"x")).status_code == 403
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    assert wire.send("POST", url, *form({"key": "k"}, b"x")).status_code == 204
    for headers, body, code in (
        ({"Content-Type": "text/plain"}, b"x", "PreconditionFailed"),
        ({"Content-Type": "multipart/form-data"}, b"x", "MalformedPOSTRequest"),
        ({"Content-Type": "multipart/form-data; boundary=XX"}, b"x", "MalformedPOSTRequest"),
        (
            {"Content-Type": "multipart/form-data; boundary=XX"},
            b"--XX--\r\n",
            "MalformedPOSTRequest",
        ),
        (*form({}, b"x"), "InvalidArgument"),
        (*form({"key": "k", "x": "y" * 100_000}, b"x"), "MaxPostPreDataLengthExceeded"),
        (*form({"key": "k" * 1025}, b"x"), "KeyTooLongError"),
    ):
        answer = wire.send("POST", url, headers, body)
        assert f"<Code>{code}</Code>" in answer.text, (body[:50], answer.text)
    headers, body = form({"key": "torn"}, b"x" * 200_000)
    answer = wire.send("POST", url, headers, body[:100_000])
    assert "<Code>IncompleteBody</Code>" in answer.text
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    assert json.dumps(s3.get_bucket_acl(Bucket=bucket)["Grants"]).count("AllUsers") == 2
