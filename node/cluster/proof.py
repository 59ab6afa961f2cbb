"""How two nodes prove to each other that they hold the same token, before either says anything else.

    joiner                                    the other one (a member, or a fresh node as well)
    Hello(token id, nonce)          ->
                                    <-        Challenge(nonce, who it is, proof)
    Prove(claim, proof, signature)  ->
                                    <-        Welcome

Both proofs are HMAC-SHA256 with the token's key over everything said before, both nonces, and the public key of the TLS
server as each side sees it: a relay has to show another key, so that neither proof holds on its other side. The
joiner's claim, with the public key that is to be certified, is under its proof, and signed with that key. The joiner
speaks of itself only after the other side has proved itself. A nonce is used once, so nothing can be replayed.

Without a token there is no proof, only the signature: the claim is then shown to a human, with the key's fingerprint.
Pure: no sockets here. Source: RFC 2104; the layout is this project's.
"""

import hashlib
import hmac
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from node.cluster.authority import load_spki
from node.types import Frozen

VERSION = 1
NONCE_BYTES = 32
_LABEL = b"hedgerow join 1"

Standing = Literal["fresh", "waiting", "member"]
"""In no cluster; the same, and with no voice in who founds one; in one."""


class Hello(Frozen, tag="hello"):
    """Begin. `token_id` is empty for a node without a token."""

    nonce: bytes
    token_id: str = ""
    version: int = VERSION


class Challenge(Frozen, tag="challenge"):
    """Say who is here, and prove it."""

    nonce: bytes
    node_id: str
    standing: Standing
    cluster_id: str = ""
    ca: bytes = b""
    """PEM; empty for a fresh node."""
    proof: bytes = b""


class Claim(Frozen):
    """What a joiner says of itself."""

    node_id: str
    name: str
    public_key: bytes
    """DER SubjectPublicKeyInfo."""
    address: str = ""
    cluster_port: int = 0
    data_port: int = 0
    api_port: int = 0
    failure_domain: str = ""
    version: str = ""
    feature_level: int = 1


class Prove(Frozen, tag="prove"):
    """Claim, prove and sign. `claim` is an encoded Claim: the bytes that the proof is over."""

    claim: bytes
    signature: bytes
    proof: bytes = b""


def digest(server_key: bytes, hello: Hello, challenge: Challenge) -> bytes:
    """Return what the first proof is over; `server_key` is the TLS server's public key as this side knows it."""
    return _hash(
        b"challenge",
        server_key,
        hello.nonce,
        hello.token_id.encode(),
        str(hello.version).encode(),
        challenge.nonce,
        challenge.node_id.encode(),
        challenge.standing.encode(),
        challenge.cluster_id.encode(),
        challenge.ca,
    )


def challenge_proof(key: bytes, said: bytes) -> bytes:
    """Return the proof of whoever is asked."""
    return hmac.digest(key, _LABEL + b" server" + said, "sha256")


def claim_digest(said: bytes, challenge: Challenge, claim: bytes) -> bytes:
    """Return what the joiner's proof and signature are over."""
    return _hash(b"claim", said, challenge.proof, claim)


def claim_proof(key: bytes, said: bytes) -> bytes:
    """Return the joiner's proof."""
    return hmac.digest(key, _LABEL + b" joiner" + said, "sha256")


def is_equal(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)


def signed(said: bytes) -> bytes:
    """Return what the joiner signs."""
    return _LABEL + b" signature" + said


def read_claim(data: bytes, signature: bytes, said: bytes) -> Claim:
    """Return the claim that its own key has signed.

    Raises:
        ValueError: it is no claim, or the signature does not hold.
    """
    try:
        claim = msgspec.msgpack.decode(data, type=Claim)
        load_spki(claim.public_key).verify(signature, signed(said), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise ValueError("the claim is not signed with its key") from error
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is no claim: {error}") from error
    if not _is_sane(claim):
        raise ValueError("the claim says something that no node says of itself")
    return claim


def _is_sane(claim: Claim) -> bool:
    texts = (claim.node_id, claim.name, claim.address, claim.failure_domain, claim.version)
    ports = (claim.cluster_port, claim.data_port, claim.api_port)
    return (
        0 < len(claim.node_id) <= 64
        and all(len(text) <= 255 and text.isprintable() for text in texts)
        and all(0 <= port <= 65535 for port in ports)
    )


def _hash(*parts: bytes) -> bytes:
    made = hashlib.sha256(_LABEL)
    for part in parts:
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made.digest()
