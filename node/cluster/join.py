"""The asking side of the join protocol: knock, see who is there, and speak only then."""

import secrets
from collections.abc import Callable

import msgspec
from cryptography import x509

from node.cluster.authority import fingerprint, issued_by, spki_of
from node.cluster.conversation import PROVEN_BYTES, STRANGER_BYTES, Conversation
from node.cluster.door import PROTOCOL
from node.cluster.join_messages import Admitted, JoinerSays, MemberSays, Refusal, Welcome
from node.cluster.peers import Address, Link, PeerNetwork
from node.cluster.proof import (
    NONCE_BYTES,
    Challenge,
    Claim,
    Hello,
    Prove,
    challenge_proof,
    claim_digest,
    claim_proof,
    digest,
    is_equal,
    signed,
)
from node.cluster.token import Token
from node.cluster.trust import Trust
from node.errors import Conflict, Unavailable

_MESSAGE_S = 4.0
_ANSWER_S = 15.0
"""Admission waits for a commit."""


class Fake(Unavailable):
    """Someone who cannot prove what it claims to be: it was told nothing."""


class Turned(Unavailable):
    """The other side refused; `refusal` says why. Before it has proved itself this is no more than a hint."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Acquaintance:
    """One who has proved itself, or, without a token, whose certificate is the one of the cluster that it names."""

    def __init__(self, talk: Conversation, challenge: Challenge, key: bytes) -> None:
        self._talk = talk
        self._key = key
        self.challenge = challenge
        self.address = talk.link.address
        self.node_id = challenge.node_id
        self.fingerprint = fingerprint(key)

    @property
    def ca_fingerprint(self) -> str:
        """Return the fingerprint of the CA that it names, empty for a fresh node."""
        return ca_fingerprint(self.challenge.ca) if self.challenge.ca else ""

    def ask(self, request: JoinerSays) -> MemberSays:
        """Ask once both have proved themselves.

        Raises:
            Unavailable: no answer, or one that nobody understands.
        """
        self._talk.say(request, _MESSAGE_S)
        answer: MemberSays = self._talk.hear(MemberSays, _ANSWER_S, PROVEN_BYTES)
        if isinstance(answer, Admitted) and answer.ca != self.challenge.ca:
            raise Fake(f"{self.node_id} admits to another cluster than it named")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._talk.close()


def knock(
    peers: PeerNetwork,
    address: Address,
    claim: Claim,
    trust: Trust,
    token: Token | None,
    *,
    expects: Callable[[Challenge], None] = lambda _challenge: None,
    timeout_s: float = 2.0,
) -> Acquaintance:
    """Dial whoever is there and have both sides prove themselves. Whoever gets the acquaintance closes it.

    `expects` is asked before this node says who it is, and raises to say nothing.

    Raises:
        Fake: it cannot prove that it has our token, or is no member of the cluster that it names.
        Turned: it refuses.
        Unavailable: nobody is there.
    """
    link = peers.dial_stranger(*address, PROTOCOL, timeout_s)
    try:
        return _introduce(link, claim, trust, token, expects)
    except BaseException:
        link.close()
        raise


def _introduce(
    link: Link,
    claim: Claim,
    trust: Trust,
    token: Token | None,
    expects: Callable[[Challenge], None],
) -> Acquaintance:
    talk = Conversation(link)
    try:
        key = spki_of(link.certificate)
    except ValueError as error:
        raise Fake(f"Whoever is at {link.address[0]} shows no certificate of a node") from error
    hello = Hello(nonce=secrets.token_bytes(NONCE_BYTES), token_id=token.token_id if token else "")
    talk.say(hello, _MESSAGE_S)
    challenge = _heard(talk.hear(Challenge | Refusal, _MESSAGE_S, STRANGER_BYTES))
    said = digest(key, hello, challenge)
    if len(challenge.nonce) != NONCE_BYTES:
        raise Fake(f"{link.address[0]} gives no nonce")
    if token and not is_equal(challenge_proof(token.key, said), challenge.proof):
        raise Fake(f"{link.address[0]} cannot prove that it has this node's token")
    if challenge.standing == "member":
        _check_certificate(link, challenge)
    if token and challenge.cluster_id not in ("", token.cluster_id):
        raise Fake(f"{link.address[0]} names another cluster than the token does")
    expects(challenge)
    encoded = msgspec.msgpack.encode(claim)
    said = claim_digest(said, challenge, encoded)
    talk.say(
        Prove(
            claim=encoded,
            signature=trust.sign(signed(said)),
            proof=claim_proof(token.key, said) if token else b"",
        ),
        _MESSAGE_S,
    )
    answer = talk.hear(Welcome | Refusal, _MESSAGE_S, STRANGER_BYTES)
    if isinstance(answer, Refusal):
        raise Turned(answer)
    return Acquaintance(talk, challenge, key)


def _heard(answer: Challenge | Refusal) -> Challenge:
    if isinstance(answer, Refusal):
        raise Turned(answer)
    return answer


def _check_certificate(link: Link, challenge: Challenge) -> None:
    """Have the one who says it is a member show the certificate of one."""
    try:
        ca = x509.load_pem_x509_certificate(challenge.ca)
        good = issued_by(x509.load_der_x509_certificate(link.certificate), ca)
    except ValueError:
        good = False
    if not good:
        raise Fake(f"{link.address[0]} shows no certificate of the cluster that it names")


def ca_fingerprint(ca: bytes) -> str:
    """Return the fingerprint of a CA's key (PEM certificate).

    Raises:
        Conflict: it is no certificate.
    """
    try:
        return fingerprint(spki_of(x509.load_pem_x509_certificate(ca)))
    except ValueError as error:
        raise Conflict(f"The cluster's CA is no certificate of ours: {error}") from error
