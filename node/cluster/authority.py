"""The cluster's certificate authority: what it is made of, and the certificates that it issues.

Its key is a row of the cluster, so that every member can admit a node and renew a certificate. A member is known by the
key that its row names, never by a date: so node certificates begin long ago, and a clock that is wrong hurts no one.
"""

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NODE_DAYS = 90
SERVER_DAYS = 397
_CA_YEARS = 30
_EARLIER_DAYS = 2
"""A server's certificate begins this much before now: a client's clock may be behind."""
_LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_USAGES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


class Authority:
    """A CA's certificate with its private key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @staticmethod
    def make(cluster_id: str, now: dt.datetime) -> "Authority":
        """Return a new CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
                x509.NameAttribute(NameOID.COMMON_NAME, "Hedgerow cluster CA"),
            ]
        )
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        end = now + dt.timedelta(days=365 * _CA_YEARS)
        certificate = (
            _builder(name, name, key.public_key(), _LONG_AGO, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return Authority(certificate, key)

    @staticmethod
    def load(certificate_pem: bytes, key_pem: bytes) -> "Authority":
        """Return the CA of a pair of PEM texts.

        Raises:
            ValueError: one is not what it should be, or they do not belong together.
        """
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = load_key(key_pem)
        if certificate.public_key() != key.public_key():
            raise ValueError("the CA's certificate and its key do not belong together")
        return Authority(certificate, key)

    @property
    def cluster_id(self) -> str:
        """Return the cluster that it was made for; empty for one that is older than clusters."""
        return _text(self.certificate.subject, NameOID.ORGANIZATION_NAME)

    @property
    def certificate_pem(self) -> bytes:
        """Return the CA's certificate."""
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        """Return the CA's private key: a secret."""
        return private_pem(self._key)

    def issue_node(
        self, node_id: str, key: ec.EllipticCurvePublicKey, now: dt.datetime
    ) -> x509.Certificate:
        """Return a member's certificate: its common name is the node id."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
        return self._issue(subject, key, _LONG_AGO, now + dt.timedelta(days=NODE_DAYS), ())

    def issue_server(
        self, names: Sequence[str], key: ec.EllipticCurvePublicKey, now: dt.datetime
    ) -> x509.Certificate:
        """Return the certificate of an API server with these host names and addresses, the first of them its own."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        start = now - dt.timedelta(days=_EARLIER_DAYS)
        end = now + dt.timedelta(days=SERVER_DAYS)
        return self._issue(subject, key, start, end, names)

    def _issue(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        start: dt.datetime,
        end: dt.datetime,
        names: Sequence[str],
    ) -> x509.Certificate:
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(subject, self.certificate.subject, key, start, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_USAGES, critical=False)
            .add_extension(issuer_id, critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives(names)), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def common_name(certificate: x509.Certificate) -> str:
    """Return whom a certificate is for, empty when it does not say."""
    return _text(certificate.subject, NameOID.COMMON_NAME)


def issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Return whether this CA signed the certificate, whatever the date."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def self_signed(
    node_id: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.Certificate:
    """Return the certificate that a node shows while it is in no cluster: it proves its key and nothing else."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
    end = now + dt.timedelta(days=365 * _CA_YEARS)
    return _builder(name, name, key.public_key(), _LONG_AGO, end).sign(key, hashes.SHA256())


def fingerprint(spki: bytes) -> str:
    """Return the SHA-256 of a public key (SubjectPublicKeyInfo, DER), 64 hex digits."""
    return hashlib.sha256(spki).hexdigest()


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as DER SubjectPublicKeyInfo."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki_of(certificate: x509.Certificate | bytes) -> bytes:
    """Return the public key of a certificate (or its DER) as DER SubjectPublicKeyInfo.

    Raises:
        ValueError: it holds no key of the curve that nodes have.
    """
    if isinstance(certificate, bytes):
        certificate = x509.load_der_x509_certificate(certificate)
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the certificate holds no key of an elliptic curve")
    return spki(key)


def load_spki(data: bytes) -> ec.EllipticCurvePublicKey:
    """Return the P-256 key of a DER SubjectPublicKeyInfo.

    Raises:
        ValueError: it is no such key.
    """
    key = serialization.load_der_public_key(data)
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise ValueError("the key is not one of the curve P-256")
    return key


def load_key(data: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the private key of a PEM text.

    Raises:
        ValueError: it is no key of an elliptic curve.
    """
    key = serialization.load_pem_private_key(data, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the file holds no key of an elliptic curve")
    return key


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    """Return host names and addresses as a certificate carries them."""
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _text(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: dt.datetime,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
