"""The data port with real TLS: who gets in, what is served there, and what a client of it takes."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.data_port import NodeTls, Place, TlsDataPort
from node.errors import NotFound, Unavailable
from node.testing.certificates import TestAuthority
from tests.api.wire import REPO, free_port

BLOB = os.urandom(3 << 20)
LIMIT_S = 60.0


class Authority(TestAuthority):
    """A CA that puts a node's files where the node looks for them."""

    def issue(self, directory: Path, node_id: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        files = self.node(node_id)
        assert files.ca is not None
        names = {"node.key": files.key, "node.pem": files.certificate, "ca.pem": files.ca}
        for name, source in names.items():
            aside = directory / f"{name}.new"
            aside.write_bytes(source.read_bytes())
            aside.rename(directory / name)


class DataServer:
    """The process under test, node-1."""

    def __init__(self, directory: Path, listen: str) -> None:
        self.directory = directory
        self.ports = {"api": free_port(), "data": free_port()}
        script = str(Path(__file__).with_name("data_port_server.py"))
        argv = [
            sys.executable,
            script,
            str(directory),
            *map(str, self.ports.values()),
            listen or "-",
        ]
        self.log = (directory / "server.log").open("wb")
        self.process = subprocess.Popen(
            argv,
            env={**os.environ, "PYTHONPATH": str(REPO)},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports["data"]), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.directory / "server.log").read_text()
                time.sleep(0.1)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[DataServer]:
    directory = tmp_path_factory.mktemp("data-port")
    (directory / "blob").write_bytes(BLOB)
    authority.issue(directory / "tls", "node-1")
    made = DataServer(directory, "")
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def client(server: DataServer, directory: Path) -> TlsDataPort:
    place = Place(address="127.0.0.1", port=server.ports["data"], name="one")
    return TlsDataPort(NodeTls(directory), lambda _node_id: place)


@pytest.fixture
def member(server: DataServer, authority: Authority, tmp_path: Path) -> TlsDataPort:
    authority.issue(tmp_path / "member", "node-2")
    return client(server, tmp_path / "member")


def test_a_member_is_served_and_known_by_its_certificate(member: TlsDataPort) -> None:
    with member.get("node-1", "/thing/who") as answer:
        assert answer.read() == b'{"peer":"node-2","node":"node-1"}'


def test_bodies_go_on_kept_connections(member: TlsDataPort) -> None:
    for size in (0, 1, 100_000, 3 << 20):
        assert member.send("node-1", "POST", "/thing/echo", BLOB[:size]) == BLOB[:size][::-1]
    assert len(member._idle["node-1"]) == 1
    member._idle["node-1"][0].sock.shutdown(socket.SHUT_RDWR)
    assert member.send("node-1", "POST", "/thing/echo", b"abc") == b"cba"
    with pytest.raises(NotFound):
        member.send("node-1", "POST", "/thing/nothing", b"abc")
    assert member.send("node-1", "POST", "/thing/echo", b"abc") == b"cba"


def test_a_body_goes_piece_by_piece(member: TlsDataPort) -> None:
    upload = member.upload("node-1", "POST", "/thing/echo")
    for at in range(0, len(BLOB), 1_000_000):
        upload.write(memoryview(BLOB)[at : at + 1_000_000])
    assert upload.finish() == BLOB[::-1]


def test_bytes_come_whole_and_from_an_offset(member: TlsDataPort) -> None:
    with member.get("node-1", "/thing/blob") as answer:
        parts = iter(lambda: answer.read(1 << 16), b"")
        assert b"".join(parts) == BLOB
    with member.get("node-1", "/thing/blob", offset=1_000_001) as answer:
        assert answer.status == 206
        assert answer.read() == BLOB[1_000_001:]


def test_only_what_is_for_peers_is_served(member: TlsDataPort) -> None:
    for path in ("/thing/open", "/", "/openapi.json", "/thing/nothing"):
        with pytest.raises(NotFound), member.get("node-1", path):
            pass


def test_what_is_for_peers_is_unknown_on_the_public_port(server: DataServer) -> None:
    context = ssl.create_default_context(cafile=str(server.directory / "tls" / "ca.pem"))
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    answers = []
    for path in ("/thing/who", "/thing/nothing"):
        for method in ("GET", "DELETE"):
            connection = http.client.HTTPSConnection(
                "127.0.0.1", server.ports["api"], timeout=LIMIT_S, context=context
            )
            connection.request(method, path, headers={"hedgerow.peer": "node-2"})
            response = connection.getresponse()
            answers.append((response.status, response.read()))
            connection.close()
    assert {status for status, _body in answers} == {404}
    assert len(set(answers)) == 1


def test_strangers_are_refused(server: DataServer, tmp_path: Path) -> None:
    """No certificate, one of another CA, one of this CA whose name is no member, TLS 1.2, no TLS."""
    address = ("127.0.0.1", server.ports["data"])
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    foreign.check_hostname, foreign.verify_mode = False, ssl.CERT_NONE
    Authority(tmp_path / "strange").issue(tmp_path / "foreign", "node-2")
    foreign.load_cert_chain(tmp_path / "foreign" / "node.pem", tmp_path / "foreign" / "node.key")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (bare, foreign, old, None):
        with socket.create_connection(address, LIMIT_S) as raw:
            try:
                sock = context.wrap_socket(raw) if context else raw
                sock.sendall(b"GET /thing/who HTTP/1.1\r\nHost: x\r\n\r\n")
                got = sock.recv(4096)
            except OSError:
                got = b""
        assert b"200 OK" not in got
        assert b"peer" not in got


def test_a_node_that_is_no_member_is_refused(
    server: DataServer, authority: Authority, tmp_path: Path
) -> None:
    authority.issue(tmp_path / "other", "node-9")
    with (
        pytest.raises(Unavailable, match="no member"),
        client(server, tmp_path / "other").get("node-1", "/thing/who"),
    ):
        pass


def test_a_server_that_is_another_node_or_of_another_cluster_is_not_believed(
    server: DataServer, member: TlsDataPort, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="is node node-1, not node-2"), member.get("node-2", "/x"):
        pass
    Authority(tmp_path / "strange").issue(tmp_path / "foreign", "node-2")
    with (
        pytest.raises(Unavailable, match="cannot be reached"),
        client(server, tmp_path / "foreign").get("node-1", "/thing/who"),
    ):
        pass


def test_the_port_opens_with_the_certificate_and_follows_its_renewal(
    tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    node = DataServer(tmp_path, "127.0.0.1")
    try:
        node.wait()
        authority.issue(tmp_path / "member", "node-2")
        port = client(node, tmp_path / "member")
        with pytest.raises(Unavailable), port.get("node-1", "/thing/who"):
            pass
        authority.issue(tmp_path / "tls", "node-1")
        with port.get("node-1", "/thing/who") as answer:
            assert answer.status == 200
        renewed = Authority(tmp_path / "strange")
        renewed.issue(tmp_path / "tls", "node-1")
        with pytest.raises(Unavailable), port.get("node-1", "/thing/who"):
            pass
        renewed.issue(tmp_path / "member", "node-2")
        with port.get("node-1", "/thing/who") as answer:
            assert answer.status == 200
    finally:
        node.stop()
