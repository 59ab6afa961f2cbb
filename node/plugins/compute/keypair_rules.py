"""Key pairs as pure functions: fingerprints, names, generation."""

import base64
import binascii
import hashlib
import string

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from node.sdk import BadRequest

_SAFE = frozenset(string.ascii_letters + string.digits + "_- ")
_SAFE_SINCE_292 = _SAFE | frozenset("@.")


def check_name(name: str, version: tuple[int, int]) -> None:
    """Refuse a name with characters that key pairs may not have.

    Raises:
        BadRequest: 400.
    """
    if set(name) - (_SAFE_SINCE_292 if version >= (2, 92) else _SAFE) or name != name.strip():
        raise BadRequest("Keypair data is invalid: Keypair name contains unsafe characters")


def fingerprint(public_key: str) -> str:
    """Return the MD5 fingerprint of an OpenSSH public key, in pairs of hex digits.

    Raises:
        BadRequest: 400, it is no public key.
    """
    problem = BadRequest("Keypair data is invalid: failed to generate fingerprint")
    try:
        load_ssh_public_key(public_key.strip().encode())
        blob = base64.b64decode(public_key.split()[1])
    except (ValueError, IndexError, binascii.Error, UnsupportedAlgorithm) as error:
        raise problem from error
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def generate() -> tuple[str, str]:
    """Return a new key pair: the private key in PEM, the public key in OpenSSH's form."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return private.decode(), f"{public.decode()} Generated-by-Nova"
