"""This node's key and certificates, as files of its state directory.

node.key is made at the first start and never changes: its fingerprint is what the cluster knows this node by. node.pem
is the member's certificate, ca.pem the cluster's CA, server.pem what the API shows. A node that is in no cluster yet
shows self.pem, which proves its key and nothing else. ca.key stands here only from the founding until the row that
holds it is committed.

Certificates renew without asking anyone: every member holds the CA's row, also after a year without power.
Private keys are files of mode 0600 in a directory of mode 0700; nothing here is ever logged.
"""

import datetime as dt
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from node.clock import Clock
from node.cluster.authority import (
    NODE_DAYS,
    SERVER_DAYS,
    Authority,
    alternatives,
    common_name,
    fingerprint,
    issued_by,
    load_key,
    pem,
    private_pem,
    self_signed,
    spki,
    spki_of,
)
from node.cluster.peers import Credentials
from node.cluster.server_files import ServerFiles, server_files
from node.config import ApiSection, ClusterSection, Config, NodeSection
from node.errors import Conflict

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - names that no certificate can carry


class Trust:
    """What this node proves itself with. One thread changes it at a time."""

    def __init__(self, directory: Path, node_id: str, clock: Clock) -> None:
        """Open the directory, and make this node's key at the first start."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._node_id = node_id
        self._clock = clock
        self._key = self._own_key(directory / "node.key")
        self.public_key = spki(self._key.public_key())
        self.fingerprint = fingerprint(self.public_key)
        own = directory / "self.pem"
        if not own.exists():
            _write(own, pem(self_signed(node_id, self._key, self._now())), 0o644)

    @property
    def server_files(self) -> ServerFiles:
        """Return where the API's certificate is; it is there as soon as `keep` was called once."""
        return server_files(self._directory)

    @property
    def is_member(self) -> bool:
        """Return whether this node has a certificate of a cluster."""
        ca, own = self._read("ca.pem"), self._read("node.pem")
        return bool(ca and own and issued_by(own, ca) and spki_of(own) == self.public_key)

    @property
    def ca_pem(self) -> bytes:
        """Return the cluster's CA, empty before there is one."""
        path = self._directory / "ca.pem"
        return path.read_bytes() if path.exists() else b""

    def credentials(self) -> Credentials:
        """Return the files that this node shows to others now."""
        member = self.is_member
        return Credentials(
            certificate=self._directory / ("node.pem" if member else "self.pem"),
            key=self._directory / "node.key",
            ca=self._directory / "ca.pem" if member else None,
        )

    def sign(self, data: bytes) -> bytes:
        """Sign with this node's key (ECDSA, SHA-256)."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    # -- becoming a member

    def found(self, cluster_id: str) -> Authority:
        """Make the CA of a new cluster, or take the one that this directory holds, and become its first member."""
        authority = self.founded()
        if authority is None:
            authority = Authority.make(cluster_id, self._now())
            # The key goes last: without it the next start makes another CA, which nobody has seen yet.
            _write(self._directory / "ca.pem", authority.certificate_pem, 0o644)
            _write(self._directory / "ca.key", authority.key_pem, 0o600)
        self._renew_node(authority)
        return authority

    def founded(self) -> Authority | None:
        """Return the CA that this node made and whose row is not committed yet; None: there is no such CA."""
        certificate, key = self._directory / "ca.pem", self._directory / "ca.key"
        if not (certificate.exists() and key.exists()):
            return None
        return Authority.load(certificate.read_bytes(), key.read_bytes())

    def forget_founding(self) -> None:
        """Remove the file of the CA's key: its row is committed."""
        (self._directory / "ca.key").unlink(missing_ok=True)

    def join(self, ca: bytes, certificate: bytes) -> None:
        """Store what a cluster issued to this node (PEM).

        Raises:
            Conflict: it is for another node or key, or of another CA.
        """
        try:
            issuer, own = (
                x509.load_pem_x509_certificate(ca),
                x509.load_pem_x509_certificate(certificate),
            )
            good = (
                issued_by(own, issuer)
                and spki_of(own) == self.public_key
                and common_name(own) == self._node_id
            )
        except ValueError as error:
            raise Conflict(
                f"The cluster issued something that is no certificate: {error}"
            ) from error
        if not good:
            raise Conflict("The cluster issued a certificate that is not for this node")
        _write(self._directory / "node.pem", certificate, 0o644)
        _write(self._directory / "ca.pem", ca, 0o644)

    # -- staying one

    def keep(self, authority: Authority, names: Sequence[str]) -> bool:
        """Renew what is missing, too old or made for other names or by another CA; return whether something was."""
        changed = False
        if self.ca_pem != authority.certificate_pem:
            _write(self._directory / "ca.pem", authority.certificate_pem, 0o644)
            changed = True
        own = self._read("node.pem")
        if (
            own is None
            or common_name(own) != self._node_id
            or not self._is_fresh(own, authority, NODE_DAYS, self._key)
        ):
            self._renew_node(authority)
            changed = True
        return self._keep_server(authority, names) or changed

    def _renew_node(self, authority: Authority) -> None:
        made = authority.issue_node(self._node_id, self._key.public_key(), self._now())
        _write(self._directory / "node.pem", pem(made), 0o644)

    def _keep_server(self, authority: Authority, names: Sequence[str]) -> bool:
        files = self.server_files
        key = self._own_key(files.key)
        held = self._read(files.certificate.name)
        if (
            held is not None
            and self._is_fresh(held, authority, SERVER_DAYS, key)
            and _names(held) >= {str(name.value) for name in alternatives(names)}
        ):
            return False
        # The key stays: the server reads both files at each connection, and only one of them may change.
        certificate = authority.issue_server(names, key.public_key(), self._now())
        _write(files.certificate, pem(certificate) + authority.certificate_pem, 0o644)
        return True

    def _is_fresh(
        self,
        certificate: x509.Certificate,
        authority: Authority,
        days: int,
        key: ec.EllipticCurvePrivateKey,
    ) -> bool:
        now = self._now()
        return (
            certificate.not_valid_before_utc <= now
            and certificate.not_valid_after_utc - now > dt.timedelta(days=days) / 3
            and certificate.public_key() == key.public_key()
            and issued_by(certificate, authority.certificate)
        )

    def _read(self, name: str) -> x509.Certificate | None:
        try:
            return x509.load_pem_x509_certificate((self._directory / name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _own_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        if not path.exists():
            _write(path, private_pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
        return load_key(path.read_bytes())

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock.now_us() / 1_000_000, dt.UTC)


def ensure(directory: Path, names: Sequence[str], clock: Clock) -> ServerFiles:
    """Make a cluster of one's certificates in a directory, where nothing keeps rows (tools, tests)."""
    trust = Trust(directory, "node", clock)
    trust.keep(trust.found("alone"), names)
    return trust.server_files


def api_names(config: Config, address: str = "") -> list[str]:
    """Return the host names and addresses under which this node's API is reached; `address` is the cluster's for it."""
    api, cluster = config.section(ApiSection), config.section(ClusterSection)
    names = [
        config.section(NodeSection).name or socket.gethostname(), "localhost", "127.0.0.1", "::1",
        api.listen, api.public_host, address, cluster.address,
        cluster.virtual_address.partition("/")[0],
    ]  # fmt: skip
    return list(dict.fromkeys(name for name in names if name and name not in ANY_ADDRESS))


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in held}


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a whole file or nothing, and have it survive a loss of power."""
    aside = path.with_name(path.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
