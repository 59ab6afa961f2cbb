"""Key pairs as pure functions: fingerprints, names, generation.

What knows X.509 and OpenSSH's keys is loaded when it is first used: key pairs are rare, API processes are many.
"""

import base64
import binascii
import hashlib
import string
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from node.sdk import BadRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

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
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    problem = BadRequest("Keypair data is invalid: failed to generate fingerprint")
    try:
        load_ssh_public_key(public_key.strip().encode())
        blob = base64.b64decode(public_key.split()[1])
    except (ValueError, IndexError, binascii.Error, UnsupportedAlgorithm) as error:
        raise problem from error
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def x509_fingerprint(certificate: str) -> str:
    """Return the SHA-1 fingerprint of a certificate in PEM, in pairs of hex digits.

    Raises:
        BadRequest: 400, it is no certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    try:
        found = x509.load_pem_x509_certificate(certificate.strip().encode())
    except ValueError as error:
        raise BadRequest("Keypair data is invalid: failed to generate X509 fingerprint") from error
    digest = found.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - Nova's form, no protection
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def generate_x509(user_id: str, now_us: int) -> tuple[str, str]:
    """Return a new key in PEM and a certificate of it that names the user, for ten years."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = _rsa_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, user_id[:64])])
    begin = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=3650))
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private.decode(), certificate.public_bytes(Encoding.PEM).decode()


def generate() -> tuple[str, str]:
    """Return a new key pair: the private key in PEM, the public key in OpenSSH's form."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = _rsa_key()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return private.decode(), f"{public.decode()} Generated-by-Nova"


def _rsa_key() -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
