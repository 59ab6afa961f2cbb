"""HTTP as it is on the wire: what a test client inside the process would never notice."""

import contextlib
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.api.wire import GADGETS, Server, Wire, chunked

LENGTH = "Content-Length: {}"
CHUNKED = "Transfer-Encoding: chunked"
EXPECT = "Expect: 100-continue"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("wire"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(params=["tls", "plain"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def wire(server: Server, kind: str) -> Iterator[Wire]:
    with server.connect(kind) as made:
        yield made


@pytest.fixture
def path() -> str:
    return f"{GADGETS}/{uuid4()}"


def size_of(server: Server, path: str) -> int | None:
    with server.connect("plain") as wire:
        wire.ask("GET", path)
        answer = wire.read()
        return answer.json["size"] if answer.status == 200 else None


def test_a_body_is_asked_for_when_its_sender_may_send_it(
    wire: Wire, server: Server, path: str
) -> None:
    wire.ask("PUT", path, EXPECT, LENGTH.format(5))
    assert wire.read().status == 100
    wire.send(b"12345")
    assert wire.read().status == 201
    wire.ask("GET", path)  # the connection goes on
    assert wire.read().json["size"] == 5


@pytest.mark.parametrize(("token", "status"), [("", 401), ("wrong", 401), ("reader", 403)])
def test_a_refused_upload_is_refused_before_it_is_sent(
    wire: Wire, server: Server, path: str, token: str, status: int
) -> None:
    wire.ask("PUT", path, EXPECT, LENGTH.format(5), token=token)
    answer = wire.read()
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert wire.is_closed()
    assert size_of(server, path) is None


def test_an_expected_body_in_chunks(wire: Wire, server: Server, path: str) -> None:
    wire.ask("PUT", path, EXPECT, CHUNKED)
    assert wire.read().status == 100
    wire.send(chunked(b"abc", b"defg"))
    assert wire.read().status == 201
    assert size_of(server, path) == 7


def test_a_json_body_that_is_expected(wire: Wire) -> None:
    body = b'{"name": "%s"}' % uuid4().hex.encode()
    wire.ask("POST", GADGETS, EXPECT, LENGTH.format(len(body)))
    assert wire.read().status == 100
    wire.send(body)
    assert wire.read().status == 201


@pytest.mark.parametrize("extension", [b"", b";name=value", b';q="quoted \\" text"', b" ;a"])
def test_bodies_in_chunks(wire: Wire, server: Server, path: str, extension: bytes) -> None:
    wire.ask("PUT", path, CHUNKED)
    for byte in chunked(b"x" * 10, b"y" * 300, extension=extension)[:12]:
        wire.send(bytes([byte]))
    wire.send(chunked(b"x" * 10, b"y" * 300, extension=extension)[12:])
    assert wire.read().status == 201
    assert size_of(server, path) == 310


def test_a_client_that_dies_in_its_upload_stores_nothing(
    wire: Wire, server: Server, path: str
) -> None:
    wire.ask("PUT", path, LENGTH.format(500), body=b"x" * 499)
    wire.hang_up()
    assert stays_absent(server, path)


CUT = [
    b"3\r\nabc\r\n",
    b"3\r\nab",
    b"3\r\nabc\r\n0\r\n",
    b"5\r\n",
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcX\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("cut", CUT, ids=range(len(CUT)))
def test_chunks_without_their_end_store_nothing(
    wire: Wire, server: Server, path: str, cut: bytes
) -> None:
    wire.ask("PUT", path, CHUNKED)
    wire.send(cut)
    with contextlib.suppress(OSError):
        wire.sock.shutdown(1)
    with contextlib.suppress(EOFError, OSError):
        assert wire.read().status == 400
    wire.hang_up()
    assert stays_absent(server, path)


def stays_absent(server: Server, path: str) -> bool:
    """The server notices at once or not at all: ask a few times, other requests in between."""
    for _ in range(4):
        if size_of(server, path) is not None:
            return False
        time.sleep(0.05)
    return True


def test_requests_in_one_packet_are_answered_in_order(wire: Wire, path: str) -> None:
    wire.send(
        f"PUT {path} HTTP/1.1\r\nHost: c\r\nX-Auth-Token: member\r\nContent-Length: 3\r\n\r\nabc"
        f"GET {path} HTTP/1.1\r\nHost: c\r\nX-Auth-Token: member\r\n\r\n"
        f"GET {GADGETS} HTTP/1.1\r\nHost: c\r\nX-Auth-Token: member\r\n\r\n"
    )
    assert wire.read().status == 201
    assert wire.read().json["size"] == 3
    assert wire.read().json["limit"] == 10


def test_a_nul_in_a_path_is_nothing_that_is_here(wire: Wire) -> None:
    wire.ask("GET", "/gadget/v1/echo/a%00b")
    assert wire.read().status == 404


def test_many_requests_on_one_connection(wire: Wire) -> None:
    for number in range(20):
        wire.ask("GET", f"{GADGETS}?limit={number}")
        assert wire.read().json["limit"] == number


@pytest.mark.parametrize(
    ("sent", "rest"),
    [
        ("a%2Fb", "a/b"),
        ("a//b", "a//b"),
        ("%C3%A9", "é"),
        ("a%20b+c", "a b+c"),
        ("..%2f..", "../.."),
        ("a/../b", "a/../b"),
    ],
)
def test_paths_come_as_they_were_sent(wire: Wire, sent: str, rest: str) -> None:
    wire.ask("GET", f"/gadget/v1/echo/{sent}")
    answer = wire.read()
    assert answer.status == 200
    assert answer.json["rest"] == rest
    assert answer.json["raw"] == f"/gadget/v1/echo/{sent}"


def test_an_absolute_target_and_a_strange_one(wire: Wire) -> None:
    wire.ask("GET", f"http://cloud:1{GADGETS}")
    assert wire.read().status in (200, 400)


NO_HTTP = [
    "GET",
    "GET /",
    "FOO / HTTP/1.1",
    "GET / HTTP/9.9",
    "GET  / HTTP/1.1",
    "\x00\x01",
    "GET /\x00 HTTP/1.1",
    "get / HTTP/1.1",
    "GET /gadget/v1/echo/é HTTP/1.1",
]


@pytest.mark.parametrize("line", NO_HTTP, ids=range(len(NO_HTTP)))
def test_what_is_no_http_is_answered_with_400s(wire: Wire, line: str) -> None:
    wire.send(f"{line}\r\nHost: c\r\n\r\n")
    assert 400 <= wire.read().status < 506


HOSTILE = [
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Content-Length: -5",
    "Content-Length: 1e3",
    "Content-Length: " + "9" * 5000,
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked, identity",
    "Bad Header: x",
    "X-A: b\r\n folded",
    ": nothing",
    "X-A\x00: b",
]


@pytest.mark.parametrize("header", HOSTILE, ids=range(len(HOSTILE)))
def test_headers_that_smuggle_are_refused(
    wire: Wire, server: Server, path: str, header: str
) -> None:
    wire.ask("PUT", path, header)
    answer = wire.read()
    assert 400 <= answer.status < 500 or answer.status == 501
    assert size_of(server, path) is None


def test_underscores_count_as_hyphens_in_metadata_only(wire: Wire) -> None:
    names = ["X-Object-Meta-a_b: 1", "X_Object_Meta_c: 2", "X_Auth_Token: 3", "X-Other_d: 4"]
    names.append("Transfer_Encoding: chunked")
    wire.ask("GET", "/gadget/v1/header", *names)
    seen = wire.read().json
    assert seen == {"x-object-meta-a-b": "1", "x-auth-token": "member"}


def test_large_headers(wire: Wire) -> None:
    wire.ask("GET", GADGETS, "X-Large: " + "x" * 14000)
    assert wire.read().status == 200
    wire.ask("GET", GADGETS, "X-Larger: " + "x" * 20000)
    assert 400 <= wire.read().status < 500


def test_long_tokens_and_queries(wire: Wire) -> None:
    wire.ask("GET", GADGETS, token="t" * 8000)
    assert wire.read().status == 401
    wire.ask("GET", f"{GADGETS}?tag={'x' * 8000}")
    assert wire.read().json["tags"] == ["x" * 8000]
    wire.ask("GET", f"{GADGETS}?tag={'x' * 20000}")
    assert 400 <= wire.read().status < 500


def test_head_has_no_body(wire: Wire, path: str) -> None:
    wire.ask("PUT", path, body=b"abc")
    assert wire.read().status == 201
    wire.ask("HEAD", path)
    head = wire.read(bodyless=True)
    assert head.status == 200
    wire.ask("GET", GADGETS)  # would read a stray body as its answer
    assert wire.read().json["limit"] == 10


def test_delete_has_no_body(wire: Wire, path: str) -> None:
    wire.ask("DELETE", path)
    assert wire.read().status == 204
    wire.ask("GET", GADGETS)
    assert wire.read().status == 200


@pytest.mark.parametrize(("offset", "length"), [(0, 3_000_000), (0, 1000), (5, 2_000_000), (2_999_999, 1)])  # fmt: skip
def test_files_are_sent_whole_and_in_parts(
    wire: Wire, server: Server, offset: int, length: int
) -> None:
    data = bytes(range(256)) * (3_000_000 // 256 + 1)
    data = data[:3_000_000]
    (server.directory / "blob").write_bytes(data)
    for _twice in range(2):
        wire.ask("GET", f"/gadget/v1/file?offset={offset}&length={length}")
        answer = wire.read()
        assert answer.headers["content-length"] == str(length)
        assert answer.body == data[offset : offset + length]


def test_a_body_that_breaks_off_is_not_taken_for_whole(wire: Wire) -> None:
    wire.ask("GET", "/gadget/v1/torn")
    with pytest.raises((EOFError, OSError)):
        wire.read()


def test_no_query_can_add_a_header(wire: Wire) -> None:
    wire.ask("GET", "/gadget/v1/header?value=a%0d%0aX-Evil:%201%0d%0a%0d%0aHTTP/1.1%20200%20OK")
    answer = wire.read()
    assert "x-evil" not in answer.headers
    wire.ask("GET", GADGETS)
    assert wire.read().json["limit"] == 10


def test_a_refused_body_in_flight_does_not_hold_the_server_up(
    wire: Wire, server: Server, path: str
) -> None:
    wire.ask("PUT", path, LENGTH.format(50 * 2**20), token="")
    assert wire.read().status == 401
    with contextlib.suppress(OSError):
        for _ in range(50):
            wire.send(b"x" * 2**20)
    assert size_of(server, path) is None


def test_slow_clients_hold_up_nobody(server: Server, path: str) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(5):
            slow = stack.enter_context(server.connect("plain" if number % 2 else "tls"))
            slow.send("PUT /gadget/v1/gadgets/slow HTTP/1.1\r\nHost: c\r\nX-Auth-Token: member\r\n")
            if number > 2:
                slow.send("Content-Length: 100\r\n\r\nhalf")
        for _idle in range(40):
            stack.enter_context(server.connect("plain"))
        begin = time.monotonic()
        for kind in ("tls", "plain"):
            with server.connect(kind) as wire:
                wire.ask("GET", GADGETS)
                assert wire.read().status == 200
        assert time.monotonic() - begin < 10


def test_clients_at_once(server: Server) -> None:
    failed: list[object] = []

    def work(number: int) -> None:
        try:
            with server.connect("tls" if number % 2 else "plain") as wire:
                for turn in range(10):
                    name = f"{number}-{turn}-{uuid4().hex}"
                    wire.ask("PUT", f"{GADGETS}/{name}", body=b"x" * (number * 1000 + turn))
                    assert wire.read().status == 201
                    wire.ask("GET", f"{GADGETS}/{name}")
                    assert wire.read().json["size"] == number * 1000 + turn
        except Exception as error:  # noqa: BLE001 - the test's thread reads it
            failed.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
