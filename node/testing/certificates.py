"""A cluster's CA for tests, and the certificates of its nodes."""

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.cluster.peers import Credentials

_DAY = dt.timedelta(days=1)


class TestAuthority:
    """A CA in a directory."""

    __test__ = False

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("test CA")
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(_pem(self._sign(self._name, self._key.public_key(), is_ca=True)))

    def node(self, node_id: str, *, days: int = 1) -> Credentials:
        """Issue a certificate; a negative number of days gives one that is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_named(node_id), key.public_key(), is_ca=False, days=days)
        files = Credentials(
            certificate=self._directory / f"{node_id}.pem",
            key=self._directory / f"{node_id}.key",
            ca=self.ca,
        )
        files.certificate.write_bytes(_pem(certificate))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool, days: int = 1
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 9 * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
