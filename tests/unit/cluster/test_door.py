"""Attacks on the join protocol: what a fake node learns (nothing), and what a fake cluster gets (nothing)."""

import secrets
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from node.cluster.conversation import Conversation
from node.cluster.door import FAILURES, FORGET_S, PROTOCOL, Limits, source_of
from node.cluster.join import Acquaintance, Fake, Turned, knock
from node.cluster.join_messages import Admitted, Ask, Is, Join, Refusal, Waiting, Welcome
from node.cluster.peers import Address, Link
from node.cluster.proof import (
    NONCE_BYTES,
    Challenge,
    Claim,
    Hello,
    Prove,
    claim_digest,
    claim_proof,
    digest,
    signed,
)
from node.cluster.self_claim import claim_of
from node.cluster.tables import JoinToken
from node.cluster.token import Token, make
from node.cluster.token_rules import create
from node.control.placement import NodeRow
from node.errors import Unavailable
from node.ids import RandomIds
from node.testing.clock import FakeClock
from tests.unit.cluster.formation_nodes import Machine

IDS = RandomIds()


class Scene:
    """A cluster of one, its token, and a machine that is not in it."""

    def __init__(self, directory: Path) -> None:
        self.member = Machine(directory / "member", alone=True)
        self.outside = Machine(directory / "outside")
        self.member.begin()
        self.member.wait()
        rows = self.member.rows
        ops, self.token = create(rows.db, 1, IDS, valid_days=0, note="")
        rows.commit(*ops)

    @property
    def claim(self) -> Claim:
        return claim_of(self.outside.config, self.outside.node_id, self.outside.trust)

    def knock(self, address: Address | None = None, token: Token | None = None) -> Acquaintance:
        return knock(
            self.outside.peers,
            address or self.member.address,
            self.claim,
            self.outside.trust,
            token or self.token,
        )

    def talk(self) -> Conversation:
        """Dial the member by hand."""
        return Conversation(self.outside.peers.dial_stranger(*self.member.address, PROTOCOL, 10.0))

    def prove(
        self,
        hello: Hello,
        challenge: Challenge,
        *,
        key: bytes | None = None,
        server_key: bytes | None = None,
        claim: Claim | None = None,
    ) -> Prove:
        """Return what the outsider would say, with whatever an attacker changes."""
        data = msgspec.msgpack.encode(claim or self.claim)
        said = digest(server_key or self.member.trust.public_key, hello, challenge)
        said = claim_digest(said, challenge, data)
        return Prove(
            claim=data,
            signature=self.outside.trust.sign(signed(said)),
            proof=claim_proof(key or self.token.key, said),
        )

    def admitted(self) -> list[NodeRow]:
        return self.member.rows.db.rows(NodeRow)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.member.stop()
    made.outside.stop()


def patiently(knocking: Callable[[], Acquaintance]) -> Acquaintance:
    """Knock until someone answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return knocking()
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def hello_of(token: Token) -> Hello:
    return Hello(nonce=secrets.token_bytes(NONCE_BYTES), token_id=token.token_id)


def test_with_the_token_both_know_each_other(scene: Scene) -> None:
    one = scene.knock()
    assert one.node_id == scene.member.node_id
    assert one.fingerprint == scene.member.trust.fingerprint
    assert one.ask(Ask()) == Is(standing="unknown")
    assert isinstance(one.ask(Join()), Admitted)
    assert one.ask(Ask()) == Is(standing="member")
    one.close()
    assert [row.id for row in scene.admitted()] == [scene.outside.node_id]


def test_a_node_with_a_wrong_secret_says_nothing_of_itself_and_gets_nothing(scene: Scene) -> None:
    wrong = msgspec.structs.replace(scene.token, secret=bytes(32))
    with pytest.raises(Fake):
        scene.knock(token=wrong)
    talk = scene.talk()
    hello = hello_of(wrong)
    talk.say(hello, 10)
    challenge = talk.hear(Challenge, 10)
    talk.say(scene.prove(hello, challenge, key=wrong.key), 10)
    answer = talk.hear(Welcome | Refusal, 10)
    assert isinstance(answer, Refusal)
    assert talk.link.socket.recv(1) == b"", "the link is closed"
    assert scene.admitted() == []


def test_an_unknown_token_is_told_so(scene: Scene) -> None:
    with pytest.raises(Turned) as caught:
        scene.knock(token=make(IDS, founders=1))
    assert caught.value.refusal.code == "token_unknown"


def test_what_was_said_once_cannot_be_said_again(scene: Scene) -> None:
    first, hello = scene.talk(), hello_of(scene.token)
    first.say(hello, 10)
    proof = scene.prove(hello, first.hear(Challenge, 10))
    first.say(proof, 10)
    assert isinstance(first.hear(Welcome | Refusal, 10), Welcome)
    first.close()
    second = scene.talk()
    second.say(hello, 10)
    second.hear(Challenge, 10)
    second.say(proof, 10)
    assert isinstance(second.hear(Welcome | Refusal, 10), Refusal)
    second.close()


def test_a_proof_that_was_made_for_another_server_does_not_hold(scene: Scene) -> None:
    talk, hello = scene.talk(), hello_of(scene.token)
    talk.say(hello, 10)
    challenge = talk.hear(Challenge, 10)
    talk.say(scene.prove(hello, challenge, server_key=scene.outside.trust.public_key), 10)
    assert isinstance(talk.hear(Welcome | Refusal, 10), Refusal)
    talk.close()


def test_nobody_gets_a_certificate_for_a_key_that_is_not_its_own(scene: Scene) -> None:
    talk, hello = scene.talk(), hello_of(scene.token)
    talk.say(hello, 10)
    challenge = talk.hear(Challenge, 10)
    stolen = msgspec.structs.replace(scene.claim, public_key=scene.member.trust.public_key)
    talk.say(scene.prove(hello, challenge, claim=stolen), 10)
    answer = talk.hear(Welcome | Refusal, 10)
    assert isinstance(answer, Refusal)
    assert "not signed" in answer.message
    talk.close()


class Rogue:
    """A TLS server with a key of its own that does what an attacker does."""

    def __init__(self, machine: Machine, act: Callable[[Conversation], None]) -> None:
        self.errors: list[Exception] = []
        self._act = act
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = machine.trust.credentials()
        self._context.load_cert_chain(files.certificate, files.key)
        self._context.set_alpn_protocols([PROTOCOL])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listener.getsockname()[:2]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        raw, address = self._listener.accept()
        raw.settimeout(20)
        with self._listener, self._context.wrap_socket(raw, server_side=True) as wrapped:
            link = Link(socket=wrapped, node_id="", certificate=b"", address=address[:2])
            try:
                self._act(Conversation(link))
            except Unavailable as error:
                self.errors.append(error)


def test_a_fake_cluster_gets_nothing(scene: Scene, tmp_path: Path) -> None:
    heard: list[object] = []
    fake = Machine(tmp_path / "fake", alone=True)
    fake.begin()
    fake.wait()

    def act(talk: Conversation) -> None:
        heard.append(talk.hear(Hello, 10))
        talk.say(
            Challenge(
                nonce=secrets.token_bytes(NONCE_BYTES),
                node_id="evil",
                standing="member",
                cluster_id=scene.token.cluster_id,
                ca=fake.trust.ca_pem,
                proof=secrets.token_bytes(32),
            ),
            10,
        )
        heard.append(talk.hear(Prove, 10))

    rogue = Rogue(fake, act)
    with pytest.raises(Fake):
        scene.knock(rogue.address)
    rogue.thread.join(30)
    fake.stop()
    assert len(heard) == 1, "only the greeting, with the token's id"
    said = msgspec.msgpack.encode(heard[0])
    for private in (scene.token.secret, scene.token.key, scene.outside.node_id.encode()):
        assert private not in said


def test_a_relay_between_node_and_cluster_gains_nothing(scene: Scene, tmp_path: Path) -> None:
    evil = Machine(tmp_path / "evil")
    passed: list[object] = []

    def act(talk: Conversation) -> None:
        onward = Conversation(evil.peers.dial_stranger(*scene.member.address, PROTOCOL, 10.0))
        onward.say(talk.hear(Hello, 10), 10)
        talk.say(onward.hear(Challenge, 10), 10)
        passed.append(talk.hear(Prove, 10))

    rogue = Rogue(evil, act)
    with pytest.raises(Fake):
        scene.knock(rogue.address)
    rogue.thread.join(30)
    evil.stop()
    assert passed == []
    assert scene.admitted() == []


def test_a_relay_between_fresh_nodes_gains_nothing(scene: Scene, tmp_path: Path) -> None:
    token = make(IDS, founders=3)
    fresh, evil = Machine(tmp_path / "fresh", token=token), Machine(tmp_path / "evil")
    fresh.begin()
    passed: list[object] = []

    def act(talk: Conversation) -> None:
        onward = Conversation(evil.peers.dial_stranger(*fresh.address, PROTOCOL, 10.0))
        onward.say(talk.hear(Hello, 10), 10)
        talk.say(onward.hear(Challenge, 10), 10)
        passed.append(talk.hear(Prove, 10))

    patiently(lambda: scene.knock(fresh.address, token)).close()
    rogue = Rogue(evil, act)
    with pytest.raises(Fake):
        scene.knock(rogue.address, token)
    rogue.thread.join(30)
    assert passed == []
    fresh.stop()
    evil.stop()


def test_without_a_token_a_borrowed_ca_is_not_believed(scene: Scene, tmp_path: Path) -> None:
    evil = Machine(tmp_path / "evil")
    heard: list[object] = []

    def act(talk: Conversation) -> None:
        heard.append(talk.hear(Hello, 10))
        talk.say(
            Challenge(
                nonce=bytes(NONCE_BYTES),
                node_id=scene.member.node_id,
                standing="member",
                ca=scene.member.trust.ca_pem,
            ),
            10,
        )
        heard.append(talk.hear(Prove, 10))

    rogue = Rogue(evil, act)
    with pytest.raises(Fake, match="no certificate of the cluster"):
        knock(scene.outside.peers, rogue.address, scene.claim, scene.outside.trust, None)
    rogue.thread.join(30)
    evil.stop()
    assert len(heard) == 1


def test_a_cluster_cannot_admit_to_another_one_than_it_has_proved_to_be(scene: Scene) -> None:
    one = scene.knock()
    other = msgspec.structs.replace(one.challenge, ca=b"another")
    one.challenge = other
    with pytest.raises(Fake):
        one.ask(Join())
    one.close()


def test_without_a_token_a_stranger_only_waits_and_learns_no_address(scene: Scene) -> None:
    one = knock(scene.outside.peers, scene.member.address, scene.claim, scene.outside.trust, None)
    assert one.ask(Join()) == Waiting()
    assert one.ask(Ask()) == Is(standing="pending")
    one.close()
    assert scene.admitted() == []


def test_a_fresh_node_does_not_speak_with_strangers(scene: Scene) -> None:
    fresh = scene.outside
    fresh.begin()
    deadline = time.monotonic() + 60
    said = ""
    while said != "fresh":  # before it has begun it says nothing
        with pytest.raises(Unavailable) as caught:
            knock(scene.member.peers, fresh.address, scene.claim, scene.member.trust, None)
        said = caught.value.refusal.code if isinstance(caught.value, Turned) else ""
        assert time.monotonic() < deadline


_SHORT = msgspec.msgpack.encode(Hello(nonce=b"x", token_id="t"))
GARBAGE = {
    "noise": secrets.token_bytes(4000),
    "a claim of four gigabytes": struct.pack(">I", 0xFFFFFFFF) + b"x" * 100,
    "too long for a stranger": struct.pack(">I", 16 * 1024 + 1) + bytes(100),
    "a frame without a message": struct.pack(">I", 0),
    "deep": struct.pack(">I", 9000) + b"\x91" * 9000,
    "another message": struct.pack(">I", 20) + msgspec.msgpack.encode({"type": "join"}).ljust(20),
    "a nonce of one byte": struct.pack(">I", len(_SHORT)) + _SHORT,
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_ends_the_link_and_nothing_else(scene: Scene, data: bytes) -> None:
    talk = scene.talk()
    talk.link.socket.sendall(data)
    with pytest.raises(Unavailable):
        talk.hear(Challenge, 10)
    talk.close()
    scene.knock().close()


def test_garbage_after_the_welcome_ends_the_link(scene: Scene) -> None:
    one = scene.knock()
    one._talk.link.socket.sendall(struct.pack(">I", 0xFFFF))
    with pytest.raises(Unavailable):
        one._talk.hear(Refusal, 10)
    one.close()
    assert scene.admitted() == []


def test_byte_by_byte_gains_no_time_and_keeps_nobody_out(scene: Scene) -> None:
    slow = [scene.talk() for _ in range(3)]
    began_s = time.monotonic()
    open_ones = list(slow)
    for talk in slow:
        talk.link.socket.sendall(struct.pack(">I", 10_000))
    scene.knock().close()
    while open_ones and time.monotonic() - began_s < 60:
        for talk in list(open_ones):
            try:
                talk.link.socket.sendall(b"\0")
                talk.link.socket.settimeout(0.2)
                if talk.link.socket.recv(1) == b"":
                    open_ones.remove(talk)
            except TimeoutError:
                continue
            except OSError:
                open_ones.remove(talk)
    assert open_ones == []
    for talk in slow:
        talk.close()


def test_an_address_has_a_handful_of_links_at_a_time(scene: Scene) -> None:
    held = [scene.knock() for _ in range(4)]
    with pytest.raises(Unavailable):
        scene.knock()
    held.pop().close()
    patiently(scene.knock).close()
    for one in held:
        one.close()


def test_whoever_keeps_failing_waits_a_minute() -> None:
    clock = FakeClock()
    limits = Limits(clock)
    for _ in range(FAILURES):
        assert limits.enter("bad")
        limits.blame("bad")
        limits.leave("bad")
    assert not limits.enter("bad")
    assert limits.enter("good")
    clock.advance(FORGET_S)
    assert limits.enter("bad")


def test_the_memory_of_failures_is_bounded() -> None:
    limits = Limits(FakeClock())
    for number in range(10_000):
        limits.blame(f"192.0.2.{number}")
    assert len(limits._failures) <= 4096


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("strange", "strange"),
    ],
)
def test_what_counts_as_one_address(host: str, source: str) -> None:
    assert source_of(host) == source


def test_no_secret_is_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    scene.knock().close()
    with pytest.raises(Unavailable):
        scene.knock(token=make(IDS, founders=1))
    row = scene.member.rows.db.get(JoinToken, scene.token.token_id)
    assert row is not None
    for secret in (scene.token.text, row.key, scene.token.secret.hex()):
        assert secret not in caplog.text
