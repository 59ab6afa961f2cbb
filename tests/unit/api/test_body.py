"""Bodies: announced lengths are kept, JSON is what rows can hold."""

import contextlib
import io
import socket
from typing import Any

import msgspec
import pytest
from gunicorn.http.body import LengthReader
from gunicorn.http.unreader import SocketUnreader
from hypothesis import given
from hypothesis import strategies as st

from node.api.body import MAX_JSON_BYTES, BodyStream, decode_action, decode_json, decode_query
from node.api.worker import SizedBody
from node.errors import BadRequest, ClientGone, TooLarge
from node.types import Frozen


class Broken(io.RawIOBase):
    """A connection that ends in the middle."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


@given(data=st.binary(max_size=300), sizes=st.lists(st.integers(1, 90), min_size=1, max_size=9))
def test_a_whole_body_is_read_in_any_steps(data: bytes, sizes: list[int]) -> None:
    stream, got, turn = BodyStream(io.BytesIO(data + b"next request"), len(data)), b"", 0
    while part := stream.read(sizes[turn % len(sizes)]):
        got += part
        turn += 1
    assert got == data
    assert stream.bytes_read == len(data)
    assert stream.read(10) == b""


@given(data=st.binary(max_size=300), sizes=st.lists(st.integers(1, 90), min_size=1, max_size=9))
def test_a_whole_body_is_read_into_any_buffers(data: bytes, sizes: list[int]) -> None:
    stream, got, turn = BodyStream(io.BytesIO(data + b"next request"), len(data)), b"", 0
    while True:
        buffer = bytearray(sizes[turn % len(sizes)])
        count = stream.readinto(buffer)
        if not count:
            break
        got += buffer[:count]
        turn += 1
    assert got == data
    assert stream.bytes_read == len(data)


@pytest.mark.parametrize("early", [0, 1, 4])
def test_a_sized_body_comes_straight_from_the_socket(early: int) -> None:
    client, server = socket.socketpair()
    with client, server:
        client.sendall(b"body that goes on" + b"GET / HTTP/1.1")
        unreader = SocketUnreader(server)
        unreader.unread(server.recv(early) if early else b"")
        body = SizedBody(LengthReader(unreader, 17))
        got, buffer = b"", bytearray(6)
        while count := body.readinto(memoryview(buffer)):
            got += buffer[:count]
        assert got == b"body that goes on"
        assert unreader.read() == b"GET / HTTP/1.1"


def test_reading_into_a_buffer_notices_a_short_body() -> None:
    stream = BodyStream(io.BytesIO(b"short"), 9)
    assert stream.readinto(bytearray(9)) == 5
    with pytest.raises(ClientGone):
        stream.readinto(bytearray(9))


@given(data=st.binary(max_size=100), missing=st.integers(1, 50))
def test_a_short_body_is_never_taken_for_a_whole_one(data: bytes, missing: int) -> None:
    stream = BodyStream(io.BytesIO(data), len(data) + missing)
    with pytest.raises(ClientGone, match=f"{missing} bytes before") as caught:
        stream.read_all(1000)
    assert caught.value.status == 400


@given(data=st.binary(max_size=300))
def test_a_body_of_unknown_length_ends_where_it_ends(data: bytes) -> None:
    stream = BodyStream(io.BytesIO(data), None)
    assert stream.read_all(1000) == data
    assert stream.read(5) == b""


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("bad chunk")])
def test_a_broken_connection_is_the_clients(error: Exception) -> None:
    for length in (None, 5):
        with pytest.raises(ClientGone):
            BodyStream(Broken(error), length).read(5)


@pytest.mark.parametrize("length", [None, 11])
def test_too_long(length: int | None) -> None:
    with pytest.raises(TooLarge):
        BodyStream(io.BytesIO(b"x" * 11), length).read_all(10)
    assert BodyStream(io.BytesIO(b"x" * 10), length and 10).read_all(10) == b"x" * 10


BAD_JSON = [
    b"",
    b"{",
    b"\xff",
    b'"\xff"',
    b'{"a":"\\ud800"}',
    b"NaN",
    b'{"a":1}{',
    b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 95 + b"1" + b"}" * 95,
    b'{"a":"x\\u0000"}',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("data", BAD_JSON, ids=range(len(BAD_JSON)))
def test_what_is_no_json_is_400(data: bytes) -> None:
    with pytest.raises(BadRequest, match="JSON"):
        decode_json(data)
    with pytest.raises(BadRequest, match="Malformed"):
        decode_action(data)


@given(data=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for decode in (decode_json, decode_action, lambda d: decode_json(d, dict[str, int])):
        with contextlib.suppress(BadRequest, msgspec.ValidationError):
            decode(data)


def test_action_bodies() -> None:
    name, value = decode_action(b'{"reboot": {"type": "HARD"}}')
    assert (name, bytes(value)) == ("reboot", b'{"type": "HARD"}')
    for data in (b"{}", b'{"a":1,"b":2}', b"[]", b"null"):
        with pytest.raises(BadRequest):
            decode_action(data)


class Query(Frozen, forbid_unknown_fields=True):
    limit: int | None = None
    is_on: bool = False
    tags: list[str] = []


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, Query()),
        ({"limit": ["5"]}, Query(limit=5)),
        ({"limit": ["4", "5"]}, Query(limit=5)),
        ({"tags": ["a", "b"]}, Query(tags=["a", "b"])),
        ({"is_on": ["true"]}, Query(is_on=True)),
    ],
)
def test_query(params: dict[str, list[str]], expected: Any) -> None:
    assert decode_query(params, Query) == expected


@pytest.mark.parametrize("params", [{"limit": ["x"]}, {"nope": ["1"]}, {"is_on": ["perhaps"]}])
def test_query_that_does_not_fit(params: dict[str, list[str]]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_query(params, Query)


def test_the_longest_json_body_is_a_mebibyte() -> None:
    assert MAX_JSON_BYTES == 1 << 20
