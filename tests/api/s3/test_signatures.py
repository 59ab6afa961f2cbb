# ruff: noqa: E501 - tables of odd values read better in long lines
"""Signatures: what botocore signs is taken, whatever is in it; what anybody changed is refused."""

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import HmacV1Auth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.testing.cloud import Cloud
from tests.api.s3.conftest import ENDPOINT, Wire, client, refused

CREDENTIALS = Credentials("AK1", "SK1")
PIECES = st.sampled_from(
    ["a", "B", "0", "/", "//", "%2F", "%20", "%25", "%C3%A9", "+", "%2B", "~", "-", ".", "_", "*", "(", ")", "'", "!", ",", ";", ":", "@", "=", "$", "%00"[:0] or "&"]
)  # fmt: skip
PATHS = st.lists(PIECES, min_size=1, max_size=8).map("".join)
NAMES = st.sampled_from(["prefix", "marker", "x-id", "delimiter", "A", "~b"])
VALUES = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from(" /+%&=~*?#"), max_size=8
)
HEADERS = st.dictionaries(
    st.sampled_from(["x-amz-meta-a", "x-amz-meta-b", "content-type", "cache-control"]),
    st.text(st.sampled_from("abc  ,;:=/\"'()é"), max_size=10).map(str.strip),
    max_size=3,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.api.s3.conftest import make_cloud

    made = make_cloud(tmp_path_factory.mktemp("cloud"))
    wire = Wire(made)
    client(wire, "AK1").create_bucket(Bucket="bucket")
    yield wire
    made.machine.close()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=PATHS, query=st.dictionaries(NAMES, VALUES, max_size=3), headers=HEADERS, body=st.binary(max_size=40))  # fmt: skip
def test_what_botocore_signs_is_taken(
    shared: Wire, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    url = f"{ENDPOINT}/bucket/{path}"
    if query:
        url += "?" + "&".join(
            f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in query.items()
        )
    request = AWSRequest("PUT", url, headers=headers, data=body)
    S3SigV4Auth(CREDENTIALS, "s3", "us-east-1").add_auth(request)
    answer = shared.send("PUT", url, dict(request.headers.items()), body)
    assert answer.status_code == 200, (url, answer.text)
    got = shared.send(*signed("GET", f"{ENDPOINT}/bucket/{path}"))
    assert got.content == body


def signed(method: str, url: str, region: str = "RegionOne") -> tuple[str, str, dict[str, str]]:
    request = AWSRequest(method, url)
    S3SigV4Auth(CREDENTIALS, "s3", region).add_auth(request)
    return method, url, dict(request.headers.items())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=PATHS, query=st.dictionaries(NAMES, VALUES, max_size=3))
def test_what_botocore_presigns_is_taken(shared: Wire, path: str, query: dict[str, str]) -> None:
    url = f"{ENDPOINT}/bucket/{path}"
    request = AWSRequest("PUT", url, params=query)
    S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=60).add_auth(request)
    answer = shared.send("PUT", request.prepare().url, {}, b"x")
    assert answer.status_code == 200, (request.url, answer.text)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=PATHS, headers=HEADERS)
def test_what_botocore_signs_in_the_old_way_is_taken(
    shared: Wire, path: str, headers: dict[str, str]
) -> None:
    url = f"{ENDPOINT}/bucket/{path}"
    plain = {n: " ".join(v.encode("ascii", "ignore").decode().split()) for n, v in headers.items()}
    request = AWSRequest("PUT", url, headers=plain)
    HmacV1Auth(CREDENTIALS).add_auth(request)
    answer = shared.send("PUT", url, dict(request.headers.items()), b"x")
    assert answer.status_code == 200, (url, plain, answer.text)


def change_header(request: Any) -> None:
    request.headers["x-amz-meta-a"] = "other"


def add_header(request: Any) -> None:
    request.headers["x-amz-acl"] = "public-read"


def change_path(request: Any) -> None:
    request.url = request.url.replace("/key", "/another")


def change_query(request: Any) -> None:
    request.url += "?tagging"


def change_method(request: Any) -> None:
    request.method = "DELETE"


def change_signature(request: Any) -> None:
    text = request.headers["Authorization"]
    text = text.decode() if isinstance(text, bytes) else text
    del request.headers["Authorization"]
    request.headers["Authorization"] = text[:-1] + ("0" if text[-1] != "0" else "1")


def change_host(request: Any) -> None:
    request.url = request.url.replace("cloud.test", "evil.test")
    del request.headers["host"]


@pytest.mark.parametrize(
    ("change", "code"),
    [(change_header, "SignatureDoesNotMatch"), (add_header, "AccessDenied"), (change_path, "SignatureDoesNotMatch"),
     (change_query, "SignatureDoesNotMatch"), (change_method, "SignatureDoesNotMatch"),
     (change_signature, "SignatureDoesNotMatch"), (change_host, "SignatureDoesNotMatch")],
)  # fmt: skip
def test_what_was_changed_on_the_way_is_refused(
    wire: Wire, s3: Any, change: Any, code: str
) -> None:
    s3.create_bucket(Bucket="bucket")
    wire.before = change
    with refused(code, 403):
        s3.put_object(Bucket="bucket", Key="key", Body=b"x", Metadata={"a": "b"})
    wire.before = lambda _request: None
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")


@pytest.mark.parametrize("trailer", [True, False])
def test_a_changed_body_is_refused(wire: Wire, trailer: bool) -> None:
    how = "when_supported" if trailer else "when_required"
    made = client(wire, "AK1", request_checksum_calculation=how, s3={"addressing_style": "path", "payload_signing_enabled": True})  # fmt: skip
    made.create_bucket(Bucket="bucket")

    def change(request: Any) -> None:
        request.body = b"other"

    wire.before = change
    with pytest.raises(Exception, match=r"XAmzContentSHA256Mismatch|BadDigest|IncompleteBody|InvalidRequest|SignatureDoesNotMatch"):  # fmt: skip
        made.put_object(Bucket="bucket", Key="key", Body=b"right")
    wire.before = lambda _request: None
    assert "Contents" not in made.list_objects_v2(Bucket="bucket")


def test_unknown_keys_and_wrong_secrets_are_refused(wire: Wire, s3: Any) -> None:
    s3.create_bucket(Bucket="bucket")
    with refused("InvalidAccessKeyId", 403):
        client(wire, "NONE").list_buckets()
    for way in ("s3v4", "s3"):
        made = client(wire, "AK1", signature_version=way)
        made._request_signer._credentials = Credentials("AK1", "wrong")
        with refused("SignatureDoesNotMatch", 403):
            made.list_buckets()


@pytest.mark.parametrize("way", ["s3v4", "s3"])
def test_a_request_of_another_hour_is_refused(cloud: Cloud, wire: Wire, way: str) -> None:
    made = client(wire, "AK1", signature_version=way)
    made.list_buckets()
    cloud.clock.advance(12 * 60)
    made.list_buckets()
    cloud.clock.advance(10 * 60)
    with refused("RequestTimeTooSkewed", 403) as answer:
        made.list_buckets()
    assert answer["Error"]["MaxAllowedSkewMilliseconds"] == "900000"
    cloud.clock.advance(-44 * 60)
    with refused("RequestTimeTooSkewed", 403):
        made.list_buckets()


@pytest.mark.parametrize("way", ["s3v4", "s3"])
def test_a_presigned_url_ends(cloud: Cloud, wire: Wire, way: str) -> None:
    made = client(wire, "AK1", signature_version=way)
    made.create_bucket(Bucket="bucket")
    made.put_object(Bucket="bucket", Key="k", Body=b"x")
    url = made.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"}, ExpiresIn=60)  # fmt: skip
    assert wire.send("GET", url).content == b"x"
    assert wire.send("PUT", url, {}, b"y").status_code == 403
    assert wire.send("GET", url.replace("/k?", "/other?")).status_code == 403
    cloud.clock.advance(600)  # botocore's clock goes on meanwhile
    answer = wire.send("GET", url)
    assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True)
    assert "Request has expired" in answer.text
    if way == "s3v4":
        cloud.clock.advance(-7200)
        assert "not valid yet" in wire.send("GET", url).text


@pytest.mark.parametrize(
    ("change", "code"),
    [(("X-Amz-Expires=60", "X-Amz-Expires=604801"), "AuthorizationQueryParametersError"),
     (("X-Amz-Expires=60", "X-Amz-Expires=x"), "AuthorizationQueryParametersError"),
     (("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "AuthorizationQueryParametersError"),
     (("%2Fs3%2F", "%2Fec2%2F"), "AuthorizationQueryParametersError"),
     (("X-Amz-Date=", "X-Amz-Nothing="), "AuthorizationQueryParametersError"),
     (("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=range"), "AccessDenied"),
     (("X-Amz-Signature=", "X-Amz-Signature=0"), "AuthorizationQueryParametersError")],
)  # fmt: skip
def test_a_crippled_presigned_url_is_refused(
    wire: Wire, change: tuple[str, str], code: str
) -> None:
    made = client(wire, "AK1", signature_version="s3v4")
    url = made.generate_presigned_url("list_buckets", ExpiresIn=60)
    assert change[0] in url
    answer = wire.send("GET", url.replace(*change))
    assert f"<Code>{code}</Code>" in answer.text


@pytest.mark.parametrize(
    ("text", "code"),
    [("AWS4-HMAC-SHA256 x", "AuthorizationHeaderMalformed"), ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", "AuthorizationHeaderMalformed"),
     ("AWS x", "InvalidArgument"), ("Basic eDp5", "InvalidArgument"), ("Bearer x", "InvalidArgument"), ("AWS AK1:x", "AccessDenied")],
)  # fmt: skip
def test_an_authorization_that_is_none_is_refused(wire: Wire, text: str, code: str) -> None:
    answer = wire.send("GET", ENDPOINT, {"Authorization": text})
    assert (answer.status_code // 100, f"<Code>{code}</Code>" in answer.text) == (4, True), (
        answer.text
    )


def test_two_ways_at_once_are_refused(wire: Wire) -> None:
    url = client(wire, "AK1", signature_version="s3v4").generate_presigned_url("list_buckets")
    answer = wire.send("GET", url, {"Authorization": "AWS AK1:x"})
    assert "<Code>InvalidArgument</Code>" in answer.text


def test_a_token_is_as_good_as_a_key(cloud: Cloud, wire: Wire) -> None:
    token = cloud.token(project_id="project-1")
    assert wire.send("PUT", f"{ENDPOINT}/bucket", {"X-Auth-Token": token}).status_code == 200
    assert wire.send("GET", f"{ENDPOINT}/bucket", {"X-Auth-Token": token}).status_code == 200
    assert wire.send("GET", f"{ENDPOINT}/bucket", {"X-Auth-Token": "x"}).status_code == 401


def test_the_date_header_will_do(wire: Wire) -> None:
    request = AWSRequest("GET", ENDPOINT + "/")
    S3SigV4Auth(CREDENTIALS, "s3", "us-east-1").add_auth(request)
    assert wire.send("GET", ENDPOINT + "/", dict(request.headers.items())).status_code == 200
    assert abs(time.time() - datetime.now(UTC).timestamp()) < 5


@pytest.mark.parametrize("style", ["root", "host", "prefix"])
def test_it_is_served_at_the_root_and_under_names_of_its_own(wire: Wire, style: str) -> None:
    endpoint = {"root": "https://cloud.test", "host": "https://s3.test", "prefix": ENDPOINT}[style]
    virtual = {"addressing_style": "virtual" if style == "host" else "path"}
    made = client(wire, "AK1", endpoint=endpoint, s3=virtual)
    seen = []
    wire.before = lambda request: seen.append(request.url)
    made.create_bucket(Bucket="bucket")
    for key in ("a/b c", "/", "dir/", "é"):
        made.put_object(Bucket="bucket", Key=key, Body=key.encode())
        assert made.get_object(Bucket="bucket", Key=key)["Body"].read() == key.encode()
    assert len(made.list_objects_v2(Bucket="bucket")["Contents"]) == 4
    assert made.list_buckets()["Buckets"][0]["Name"] == "bucket"
    url = made.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "dir/"})
    assert wire.send("GET", url).content == b"dir/"
    if style == "host":
        assert seen[0].startswith("https://bucket.s3.test/")
        assert wire.send("GET", "https://bucket.s3.test/a%20b").status_code == 403


def test_the_root_is_not_s3s_without_a_sign_of_it(wire: Wire) -> None:
    assert "services" in wire.send("GET", "https://cloud.test/").json
    assert wire.send("GET", "https://cloud.test/bucket/key").status_code == 404
