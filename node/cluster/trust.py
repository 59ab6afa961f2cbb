"""Keys and certificates: the cluster's CA and this node's server certificate.

Private keys are files of mode 0600 in a directory of mode 0700; nothing here is ever logged.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.clock import Clock
from node.types import Frozen

_CA_YEARS = 30
_SERVER_DAYS = 397
_RENEW_DAYS = 30
_EARLIER_DAYS = 2
"""Certificates begin this much before now: a peer's clock may be behind."""


class ServerFiles(Frozen):
    """Where the API server finds its certificate."""

    ca: Path
    certificate: Path
    key: Path


def ensure(directory: Path, names: Sequence[str], clock: Clock) -> ServerFiles:
    """Make what is missing, too old or made for other names, and say where it is."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = ServerFiles(
        ca=directory / "ca.pem", certificate=directory / "server.pem", key=directory / "server.key"
    )
    now = dt.datetime.fromtimestamp(clock.now_us() / 1_000_000, dt.UTC)
    ca_key_file = directory / "ca.key"
    if not (files.ca.exists() and ca_key_file.exists()):
        ca_key = ec.generate_private_key(ec.SECP256R1())
        _write(ca_key_file, _private(ca_key), 0o600)
        _write(
            files.ca,
            _certificate_authority(ca_key, now).public_bytes(serialization.Encoding.PEM),
            0o644,
        )
    if not _is_good(files, names, now):
        ca_key = _load_key(ca_key_file)
        ca = x509.load_pem_x509_certificate(files.ca.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _server(key, ca_key, ca, names, now)
        chain = certificate.public_bytes(serialization.Encoding.PEM) + files.ca.read_bytes()
        _write(files.key, _private(key), 0o600)
        _write(files.certificate, chain, 0o644)
    return files


def _is_good(files: ServerFiles, names: Sequence[str], now: dt.datetime) -> bool:
    if not (files.certificate.exists() and files.key.exists()):
        return False
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        matches = certificate.public_key() == _load_key(files.key).public_key()
    except (ValueError, x509.ExtensionNotFound):
        return False
    wanted = {str(name.value) for name in _alternatives(names)}
    fresh = certificate.not_valid_after_utc - now > dt.timedelta(days=_RENEW_DAYS)
    return (
        matches
        and fresh
        and certificate.not_valid_before_utc <= now
        and wanted <= {str(n.value) for n in held}
    )


def _certificate_authority(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hedgerow cluster CA")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    return (
        _builder(name, name, key.public_key(), now, dt.timedelta(days=365 * _CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    names: Sequence[str],
    now: dt.datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    usages = x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(subject, ca.subject, key.public_key(), now, dt.timedelta(days=_SERVER_DAYS))
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=_EARLIER_DAYS))
        .not_valid_after(now + lifetime)
    )


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds no key of an elliptic curve")
    return key


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a whole file or nothing."""
    aside = path.with_name(path.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.rename(path)
