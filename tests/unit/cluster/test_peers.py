"""Links between nodes over real TLS on loopback: who gets through, and requests over them."""

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from node.cluster.authority import fingerprint, spki_of
from node.cluster.peers import Address, Credentials, Link, PeerNetwork
from node.cluster.rpc import Rpc, RpcReply, RpcRequest
from node.errors import NotFound, Unavailable
from node.testing.certificates import TestAuthority

LOOPBACK = ("127.0.0.1", 0)


class Net:
    """Some nodes on loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = TestAuthority(directory / "ca")
        self.book: dict[str, Address] = {}
        self.members: set[str] = set()
        self.banned: set[str] = set()
        self.running: list[PeerNetwork] = []

    def node(
        self, name: str, files: Credentials | None = None, setup: Callable[[PeerNetwork], object] | None = None
    ) -> PeerNetwork:  # fmt: skip
        files = files or self.authority.node(name)
        made = PeerNetwork(
            node_id=name,
            credentials=lambda: files,
            addresses=self.book.get,
            is_member=lambda node_id, key: node_id in self.members and key not in self.banned,
            listen=LOOPBACK,
        )
        if setup:
            setup(made)
        made.start()
        self.book[name] = ("127.0.0.1", made.port)
        self.members.add(name)
        self.running.append(made)
        return made


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    made = Net(tmp_path)
    yield made
    for one in made.running:
        one.stop()


def echo(link: Link) -> None:
    link.socket.settimeout(10)
    link.socket.sendall(b"from " + (link.node_id or "a stranger").encode())
    link.socket.recv(1)


def said(link: Link) -> bytes:
    link.socket.settimeout(10)
    try:
        return link.socket.recv(100)
    except OSError:
        return b""
    finally:
        link.close()


def test_a_member_reaches_a_member_and_both_know_who_it_is(net: Net) -> None:
    net.node("a", setup=lambda peers: peers.serve("echo", echo))
    b = net.node("b")
    link = b.dial("a", "echo")
    assert link.node_id == "a"
    assert said(link) == b"from b"


def test_a_stranger_reaches_only_what_expects_strangers(net: Net) -> None:
    def setup(peers: PeerNetwork) -> None:
        peers.serve("echo", echo)
        peers.serve("join", echo, strangers=True)

    net.node("a", setup=setup)
    b = net.node("b")
    assert said(b.dial_stranger(*net.book["a"], "join")) == b"from a stranger"
    assert said(b.dial_stranger(*net.book["a"], "echo")) == b""


def refused(dialer: PeerNetwork) -> bool:
    try:
        return said(dialer.dial("a", "echo")) == b""
    except Unavailable:
        return True


def test_a_foreign_certificate_another_key_and_a_former_member_are_refused(net: Net) -> None:
    net.node("a", setup=lambda peers: peers.serve("echo", echo))
    foreign = TestAuthority(net.directory / "other").node("b")
    assert refused(net.node("b", foreign))
    stolen = net.authority.node("c")
    net.banned.add(key_of(stolen))
    assert refused(net.node("c", stolen))
    former = net.node("d")
    assert not refused(former)
    net.members.discard("d")
    assert refused(former)


def key_of(files: Credentials) -> str:
    return fingerprint(spki_of(x509.load_pem_x509_certificate(files.certificate.read_bytes())))


def test_a_certificate_whose_time_is_over_still_proves_who_it_is(net: Net) -> None:
    net.node("a", setup=lambda peers: peers.serve("echo", echo))
    assert said(net.node("b", net.authority.node("b", days=-1)).dial("a", "echo")) == b"from b"


def test_a_key_that_is_not_the_members_is_noticed_by_the_one_who_dials(net: Net) -> None:
    files = net.authority.node("a")
    net.node("a", files, lambda peers: peers.serve("echo", echo))
    net.banned.add(key_of(files))
    with pytest.raises(Unavailable, match="not node a's"):
        net.node("b").dial("a", "echo")


def test_a_node_at_another_ones_address_is_noticed(net: Net) -> None:
    net.node("a", setup=lambda peers: peers.serve("echo", echo))
    b = net.node("b")
    net.book["c"] = net.book["a"]
    with pytest.raises(Unavailable, match="is node a, not c"):
        b.dial("c", "echo")
    with pytest.raises(Unavailable, match="Nobody knows"):
        b.dial("x", "echo")
    with pytest.raises(Unavailable, match=r"does not serve|No link"):
        b.dial("a", "other")


def test_a_node_without_a_cluster_believes_no_certificate(net: Net) -> None:
    lonely = net.authority.node("a")
    files = Credentials(certificate=lonely.certificate, key=lonely.key, ca=None)
    a = net.node("a", files, lambda peers: peers.serve("join", echo, strangers=True))
    b = net.node("b")
    assert said(b.dial_stranger("127.0.0.1", a.port, "join")) == b"from a stranger"


def test_those_who_say_nothing_do_not_keep_others_out(net: Net) -> None:
    net.node("a", setup=lambda peers: peers.serve("echo", echo))
    b = net.node("b")
    with contextlib.ExitStack() as silent:
        for _ in range(30):
            silent.enter_context(socket.create_connection(net.book["a"]))
        assert said(b.dial("a", "echo", 10.0)) == b"from b"


def test_requests(net: Net) -> None:
    rpcs: dict[str, Rpc] = {}

    def who(request: RpcRequest) -> RpcReply:
        return RpcReply(body=f"{request.node_id} {request.query} ".encode() + request.body)

    def missing(_request: RpcRequest) -> RpcReply:
        raise NotFound("no such thing")

    def large(_request: RpcRequest) -> RpcReply:
        return RpcReply(stream=io.BytesIO(b"x" * 3_000_000), length=3_000_000)

    def setup(peers: PeerNetwork) -> None:
        rpcs["a"] = Rpc(peers)
        for path, answer in (("/who", who), ("/missing", missing), ("/large", large)):
            rpcs["a"].route("POST", path, answer)

    net.node("a", setup=setup)
    rpc = Rpc(net.node("b"))
    for _ in range(3):  # over one link
        reply = rpc.call("a", "POST", "/who", query={"k": "v"}, body=b"data")
        assert (reply.status, reply.body) == (200, b"b {'k': 'v'} data")
    reply = rpc.call("a", "POST", "/missing")
    assert (reply.status, reply.body) == (404, b"no such thing")
    assert rpc.call("a", "GET", "/nothing").status == 404
    with rpc.open("a", "POST", "/large", timeout_s=10) as answer:
        assert sum(len(part) for part in iter(lambda: answer.read(1 << 16), b"")) == 3_000_000
    assert rpc.call("a", "POST", "/who").status == 200
    with pytest.raises(Unavailable):
        rpc.call("x", "GET", "/who")
    rpc.close()


def test_a_request_after_the_other_side_closed_the_idle_link(net: Net) -> None:
    rpcs: list[Rpc] = []
    net.node("a", setup=lambda peers: rpcs.append(Rpc(peers)))
    rpc = Rpc(net.node("b"))
    rpcs[0].route("GET", "/", lambda _request: RpcReply(body=b"ok"))
    assert rpc.call("a", "GET", "/").body == b"ok"
    net.running[0].stop()
    with pytest.raises(Unavailable):
        rpc.call("a", "GET", "/", timeout_s=2)
    again: list[Rpc] = []
    net.node("a", setup=lambda peers: again.append(Rpc(peers)))
    again[0].route("GET", "/", lambda _request: RpcReply(body=b"back"))
    assert rpc.call("a", "GET", "/").body == b"back"
    rpc.close()


def test_a_slow_answer_is_given_up(net: Net) -> None:
    rpcs: list[Rpc] = []
    net.node("a", setup=lambda peers: rpcs.append(Rpc(peers)))
    free = threading.Event()

    def slow(_request: RpcRequest) -> RpcReply:
        free.wait(30)
        return RpcReply()

    rpcs[0].route("GET", "/", slow)
    rpc = Rpc(net.node("b"))
    with pytest.raises(Unavailable):
        rpc.call("a", "GET", "/", timeout_s=0.3)
    free.set()
    rpc.close()
