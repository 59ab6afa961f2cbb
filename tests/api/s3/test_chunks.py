# ruff: noqa: E501 - tables of odd values read better in long lines
"""Bodies in aws-chunked: signed chunk by chunk, with and without trailers; nothing torn off or changed passes."""

import hmac
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from node.plugins.object.s3 import checksums
from tests.api.s3.conftest import ENDPOINT, Wire

EMPTY = sha256(b"").hexdigest()
DATA = [b"x" * 70_000, b"y" * 5, b"z" * 1_200_000]


class Chunked:
    """A client that signs chunks, written from the specification."""

    def __init__(self, kind: str, trailer: str = "") -> None:
        self.kind, self.trailer = kind, trailer
        self.signs = "UNSIGNED" not in kind
        self.spoil = lambda text: text

    def send(self, wire: Wire, parts: list[bytes], **changes: str) -> Any:
        url = f"{ENDPOINT}/bucket/k"
        headers = {
            "x-amz-content-sha256": self.kind,
            "x-amz-decoded-content-length": str(sum(map(len, parts))),
            "content-encoding": "aws-chunked",
        }
        if self.trailer:
            headers["x-amz-trailer"] = f"x-amz-checksum-{self.trailer}"
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        request = AWSRequest("PUT", url, headers=headers, data=b"")
        auth = S3SigV4Auth(Credentials("AK1", "SK1"), "s3", "us-east-1")
        auth.payload = lambda _request: self.kind
        auth.add_auth(request)
        del request.headers["x-amz-content-sha256"]
        request.headers["x-amz-content-sha256"] = self.kind
        text = str(request.headers["Authorization"])
        self.moment = str(request.headers["X-Amz-Date"])
        self.previous = text.rpartition("=")[2]
        body = b"".join(self.chunk(part) for part in [*parts, b""])
        return wire.send(
            "PUT", url, dict(request.headers.items()), self.spoil(body + self.end(parts))
        )

    def sign(self, kind: str, *lines: str) -> str:
        key = b"AWS4SK1"
        for part in (self.moment[:8], "us-east-1", "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        scope = f"{self.moment[:8]}/us-east-1/s3/aws4_request"
        text = "\n".join((kind, self.moment, scope, self.previous, *lines))
        self.previous = hmac.digest(key, text.encode(), "sha256").hex()
        return self.previous

    def chunk(self, data: bytes) -> bytes:
        head = f"{len(data):x}"
        if self.signs:
            found = self.sign("AWS4-HMAC-SHA256-PAYLOAD", EMPTY, sha256(data).hexdigest())
            head += f";chunk-signature={found}"
        return head.encode() + b"\r\n" + data + (b"\r\n" if data else b"")

    def end(self, parts: list[bytes]) -> bytes:
        if not self.trailer:
            return b"\r\n"
        digest = checksums.new(self.trailer)
        digest.update(b"".join(parts))
        line = f"x-amz-checksum-{self.trailer}:{b64encode(digest.digest()).decode()}"
        out = line + "\r\n"
        if self.signs:
            found = self.sign("AWS4-HMAC-SHA256-TRAILER", sha256(f"{line}\n".encode()).hexdigest())
            out += f"x-amz-trailer-signature:{found}\r\n"
        return out.encode() + b"\r\n"


SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
KINDS = [
    (SIGNED, ""),
    (f"{SIGNED}-TRAILER", "crc32c"),
    ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "crc64nvme"),
    ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "sha256"),
]


@pytest.fixture(autouse=True)
def bucket(s3: Any) -> None:
    s3.create_bucket(Bucket="bucket")


@pytest.mark.parametrize(("kind", "trailer"), KINDS)
@pytest.mark.parametrize("parts", [DATA, [], [b"one"]], ids=["three", "none", "one"])
def test_it_is_unwrapped(wire: Wire, s3: Any, kind: str, trailer: str, parts: list[bytes]) -> None:
    answer = Chunked(kind, trailer).send(wire, parts)
    assert answer.status_code == 200, answer.text
    got = s3.get_object(Bucket="bucket", Key="k")
    assert got["Body"].read() == b"".join(parts)
    assert "ContentEncoding" not in got


def flip(body: bytes) -> bytes:
    return body.replace(b"yyyyy", b"yyyyx")


def cut(body: bytes) -> bytes:
    return body[:-1000]


def drop_end(body: bytes) -> bytes:
    return body[: body.rindex(b"0;chunk") if b"0;chunk" in body else body.rindex(b"\r\n0\r\n") + 2]


def swap(body: bytes) -> bytes:
    at = body.index(b"5;") if b"5;" in body else body.index(b"5\r\n")
    return body[at:] + body[:at]


def wrong_length(body: bytes) -> bytes:
    return body.replace(b"5;", b"6;", 1).replace(b"5\r\nyyyyy", b"6\r\nyyyyy", 1)


def no_number(body: bytes) -> bytes:
    return b"-" + body


def long_line(body: bytes) -> bytes:
    return b"0" * 20_000 + body


def trailer_changed(body: bytes) -> bytes:
    at = body.rindex(b"x-amz-checksum-crc")
    return body[: at + 25] + b"AAAA" + body[at + 29 :]


SPOILERS = [flip, cut, drop_end, swap, wrong_length, no_number, long_line, trailer_changed]


@pytest.mark.parametrize(
    ("kind", "trailer", "spoil"),
    [(k, t, spoil) for k, t in KINDS[:3] for spoil in SPOILERS if t or spoil is not trailer_changed],
)
def test_what_is_spoilt_is_refused(
    wire: Wire, s3: Any, kind: str, trailer: str, spoil: Any
) -> None:
    made = Chunked(kind, trailer)
    made.spoil = spoil
    answer = made.send(wire, DATA)
    assert answer.status_code in (400, 403), answer.text
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")


def test_a_length_must_be_said_and_held(wire: Wire) -> None:
    for length, code in (("", "MissingContentLength"), ("x", "MissingContentLength"), ("1", "IncompleteBody"), ("99999999", "IncompleteBody")):  # fmt: skip
        answer = Chunked(SIGNED).send(wire, DATA, x_amz_decoded_content_length=length)
        assert f"<Code>{code}</Code>" in answer.text


def test_the_trailer_that_was_announced_must_come(wire: Wire) -> None:
    made = Chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "crc32")
    answer = made.send(wire, DATA, x_amz_trailer="x-amz-checksum-sha1")
    assert answer.status_code == 400
    assert "<Code>InvalidRequest</Code>" in answer.text


def test_signed_chunks_need_a_signature(wire: Wire) -> None:
    headers = {"x-amz-content-sha256": SIGNED, "x-amz-decoded-content-length": "1"}
    answer = wire.send("PUT", f"{ENDPOINT}/bucket/k", headers, b"1\r\nx\r\n0\r\n\r\n")
    assert "<Code>InvalidRequest</Code>" in answer.text
