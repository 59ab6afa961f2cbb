"""Where strangers knock: the listening side of the join protocol.

Whoever knocks is given little: a handful of links an address, a few seconds for each message, small messages, and a
pause for an address that keeps failing. What happens behind the door is the host's: a fresh node, or a member.
"""

import contextlib
import ipaddress
import logging
import secrets
import threading
from typing import Protocol

from msgspec import structs

from node.clock import Clock
from node.cluster.conversation import Conversation, Nonsense
from node.cluster.join_messages import Code, JoinerSays, MemberSays, Refusal, Welcome
from node.cluster.peers import Link, PeerNetwork
from node.cluster.proof import (
    NONCE_BYTES,
    VERSION,
    Challenge,
    Claim,
    Hello,
    Prove,
    Standing,
    challenge_proof,
    claim_digest,
    claim_proof,
    digest,
    is_equal,
    read_claim,
)
from node.cluster.trust import Trust
from node.errors import NodeError, Unavailable

log = logging.getLogger("hedgerow.door")

PROTOCOL = "hedgerow-join"
_MESSAGE_S = 4.0
_IDLE_S = 15.0
_REQUESTS_A_LINK = 2000
_LINKS_AN_ADDRESS = 4
FAILURES = 10
FORGET_S = 60.0
_ADDRESSES = 4096


class Host(Protocol):
    """Who stands behind the door."""

    @property
    def standing(self) -> Standing:
        """Return whether this node is a member or as fresh as whoever knocks."""

    @property
    def cluster_id(self) -> str:
        """Return the cluster's id, empty while there is none."""

    def key_of(self, token_id: str) -> bytes | None:
        """Return a token's key, None for a token that is not known here."""

    def takes_strangers(self) -> bool:
        """Return whether one without a token may speak at all."""

    def answer(self, claim: Claim, token_id: str, request: JoinerSays) -> MemberSays:
        """Answer one who has signed its claim, and has proved the token if `token_id` is one."""


class Door:
    """Answers strangers on this node's cluster port. Thread-safe."""

    def __init__(self, *, node_id: str, trust: Trust, peers: PeerNetwork, clock: Clock) -> None:
        self._node_id = node_id
        self._trust = trust
        self._peers = peers
        self._limits = Limits(clock)
        self._host: Host | None = None

    def serve(self) -> None:
        """Have the port answer; until there is a host everyone is sent away."""
        self._peers.serve(PROTOCOL, self._receive, strangers=True)

    def open(self, host: Host) -> None:
        """Have this host answer from now on."""
        self._host = host

    def _receive(self, link: Link) -> None:
        host, source = self._host, source_of(link.address[0])
        if host is None or not self._limits.enter(source):
            return
        talk = Conversation(link)
        try:
            claim, token_id = self._introduce(talk, host)
            talk.say(Welcome(), _MESSAGE_S)
            for _ in range(_REQUESTS_A_LINK):
                request = talk.hear(JoinerSays, _IDLE_S)
                # The host may have changed: a fresh node that has founded its cluster is a member.
                talk.say((self._host or host).answer(claim, token_id, request), _MESSAGE_S)
        except _RefusedError as error:
            self._limits.blame(source)
            with contextlib.suppress(Unavailable):
                talk.say(error.refusal, _MESSAGE_S)
        except Nonsense:
            self._limits.blame(source)
        except Unavailable as error:
            log.debug("a stranger at %s is gone: %s", source, error.message)
        finally:
            self._limits.leave(source)

    def _introduce(self, talk: Conversation, host: Host) -> tuple[Claim, str]:
        """Have both sides prove themselves; return the claim and the token's id."""
        try:
            hello: Hello = talk.hear(Hello, _MESSAGE_S)
            key = _key(host, hello)
            challenge = Challenge(
                nonce=secrets.token_bytes(NONCE_BYTES),
                node_id=self._node_id,
                standing=host.standing,
                cluster_id=host.cluster_id,
                ca=self._trust.ca_pem if host.standing == "member" else b"",
            )
            said = digest(self._trust.public_key, hello, challenge)
            if key:
                challenge = structs.replace(challenge, proof=challenge_proof(key, said))
            talk.say(challenge, _MESSAGE_S)
            prove: Prove = talk.hear(Prove, _MESSAGE_S)
        except Nonsense:
            raise
        except (
            Unavailable
        ) as error:  # whoever only connects, or stops half-way, is not welcome for long
            raise Nonsense(error.message) from error
        said = claim_digest(said, challenge, prove.claim)
        if key and not is_equal(claim_proof(key, said), prove.proof):
            raise _RefusedError("refused", "The proof does not hold: the token is another one")
        try:
            return read_claim(prove.claim, prove.signature, said), hello.token_id
        except ValueError as error:
            raise _RefusedError("refused", f"The claim is refused: {error}") from error


def _key(host: Host, hello: Hello) -> bytes:
    """Return the key that both sides must prove, empty for a node without a token."""
    if hello.version != VERSION:
        raise _RefusedError("refused", f"This node speaks version {VERSION} of the join protocol")
    if len(hello.nonce) != NONCE_BYTES:
        raise Nonsense("The nonce has a wrong length")
    if not hello.token_id:
        if not host.takes_strangers():
            raise _RefusedError("fresh", "This node is in no cluster itself")
        return b""
    key = host.key_of(hello.token_id)
    if key is None:
        raise _RefusedError("token_unknown", "The token is not known here")
    return key


class Limits:
    """How much one address may ask for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._failures: dict[str, tuple[float, int]] = {}

    def enter(self, source: str) -> bool:
        """Return whether a link from there may speak; if so, `leave` follows."""
        with self._lock:
            since_s, failures = self._failures.get(source, (0.0, 0))
            if failures >= FAILURES and self._clock.monotonic_s() - since_s < FORGET_S:
                return False
            if self._inside.get(source, 0) >= _LINKS_AN_ADDRESS:
                return False
            self._inside[source] = self._inside.get(source, 0) + 1
            return True

    def leave(self, source: str) -> None:
        """Count a link less."""
        with self._lock:
            left = self._inside[source] - 1
            if left:
                self._inside[source] = left
            else:
                del self._inside[source]

    def blame(self, source: str) -> None:
        """Count a failure of an address."""
        now = self._clock.monotonic_s()
        with self._lock:
            since_s, failures = self._failures.pop(source, (now, 0))
            if now - since_s >= FORGET_S:
                since_s, failures = now, 0
            self._failures[source] = (since_s, failures + 1)
            if len(self._failures) > _ADDRESSES:
                self._failures.pop(next(iter(self._failures)))
        if failures + 1 == FAILURES:
            log.warning("%s failed %d times to join: it waits a minute", source, FAILURES)


def source_of(host: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


class _RefusedError(NodeError):
    """The one at the door is told why not."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code=code, message=message)
