"""This node's one TLS port for other nodes, and the way to theirs.

Protocols share the port and are told apart by ALPN. Both sides of a member's link show a certificate of the cluster's
CA whose common name is the node id. A stranger, who has no such certificate yet, reaches only the protocols that
expect strangers, and these trust nothing that TLS said. A node that is in no cluster yet has no CA: then everyone is
a stranger.
"""

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from node.cluster.authority import fingerprint, spki_of
from node.cluster.witness_vote import is_witness
from node.errors import NodeError, Unavailable
from node.types import Frozen

log = logging.getLogger("hedgerow.peers")

Address = tuple[str, int]
AddressBook = Callable[[str], Address | None]
"""Returns where a node's cluster port is, None when nobody knows."""

MemberCheck = Callable[[str, str], bool]
"""Says whether a node with this id and key fingerprint (SHA-256 of the SubjectPublicKeyInfo, hex) is a member."""

_HANDSHAKE_S = 3.0
_HANDSHAKES_AT_ONCE = 64
_LINKS_AT_ONCE = 1024
_STRANGERS_AT_ONCE = 32
_BACKLOG = 128
_USER_TIMEOUT_MS = 10_000
_RETRY_ACCEPT_S = 0.2
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME. Source: X509_VERIFY_PARAM_set_flags(3)."""


class Credentials(Frozen):
    """Files of this node's certificate (self-signed before it is a member), its key, and the cluster's CA."""

    certificate: Path
    key: Path
    ca: Path | None


class Link(Frozen):
    """One connection to another node. Whoever gets it closes it."""

    socket: ssl.SSLSocket
    node_id: str
    """From the verified certificate; empty: a stranger."""
    certificate: bytes
    """The other side's certificate, DER; empty when it showed none."""
    address: Address

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.socket.close()


Handler = Callable[[Link], bool | None]
"""Serves one link; when it returns True the link stays open and is the handler's to close."""


class _Service(Frozen):
    handler: Handler
    strangers: bool
    witnesses: bool


class PeerNetwork:
    """All links of one node. Thread-safe."""

    def __init__(
        self,
        *,
        node_id: str,
        credentials: Callable[[], Credentials],
        addresses: AddressBook,
        is_member: MemberCheck = lambda _node_id, _fingerprint: True,
        listen: Address | None = None,
        unreachable: Callable[[str], None] = lambda _node_id: None,
    ) -> None:
        """Take the parts. `unreachable` is told of a node that is not where `addresses` said."""
        self._unreachable = unreachable
        self._node_id = node_id
        self._credentials = credentials
        self._addresses = addresses
        self._is_member = is_member
        self._listen = listen
        self._services: dict[str, _Service] = {}
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._stopping = threading.Event()
        self._handshakes = threading.Semaphore(_HANDSHAKES_AT_ONCE)
        self._strangers = threading.Semaphore(_STRANGERS_AT_ONCE)
        self._room = threading.Semaphore(_LINKS_AT_ONCE)
        self._open: set[socket.socket] = set()

    def serve(
        self,
        protocol: str,
        handler: Handler,
        *,
        strangers: bool = False,
        witnesses: bool = False,
    ) -> None:
        """Have a handler called, in a thread of its own, for each link of a protocol.

        A witness is a member that gets no rows: it reaches only what is also for strangers, or for `witnesses`.
        """
        self._services[protocol] = _Service(
            handler=handler, strangers=strangers, witnesses=witnesses or strangers
        )
        self.reload()

    @property
    def port(self) -> int:
        """Return the port that is listened on, 0 for none."""
        return int(self._socket.getsockname()[1]) if self._socket else 0

    def start(self) -> None:
        """Listen.

        Raises:
            Unavailable: the address cannot be bound; names it.
        """
        if self._listen is None:
            return
        host, port = self._listen
        try:
            self._socket = socket.create_server(
                (host or "::", port),
                family=socket.AF_INET6 if ":" in (host or "::") else socket.AF_INET,
                backlog=_BACKLOG,
                dualstack_ipv6=not host,
            )
        except OSError as error:
            raise Unavailable(
                f"The cluster port {host or '*'}:{port} cannot be listened on ({error}): "
                "free it, or set another one in [cluster] port"
            ) from error
        threading.Thread(target=self._accept, name="peers-accept", daemon=True).start()

    def stop(self) -> None:
        """Close the port and every link."""
        self._stopping.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        with self._lock:
            links = list(self._open)
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def reload(self) -> None:
        """Use the certificate and CA as they are on the disk now, for links made from now on."""
        with self._lock:
            self._contexts = {}

    def dial(self, node_id: str, protocol: str, timeout_s: float = 1.0) -> Link:
        """Connect to a member.

        Raises:
            Unavailable: no address is known, nobody answers, or the one who answers is not that node.
        """
        address = self._addresses(node_id)
        if address is None:
            raise Unavailable(f"Nobody knows the address of node {node_id}")
        try:
            link = self._connect(address, protocol, timeout_s, self._context("member", protocol))
        except Unavailable:
            self._unreachable(node_id)
            raise
        if link.node_id != node_id:
            link.close()
            self._unreachable(node_id)
            raise Unavailable(f"{address[0]}:{address[1]} is node {link.node_id}, not {node_id}")
        if not self._is_known(link.node_id, link.certificate):
            link.close()
            raise Unavailable(f"{address[0]}:{address[1]} shows a key that is not node {node_id}'s")
        return link

    def dial_stranger(self, host: str, port: int, protocol: str, timeout_s: float = 2.0) -> Link:
        """Connect to whoever is there, showing no certificate and verifying none.

        Raises:
            Unavailable: nobody answers, or not with this protocol.
        """
        context = self._context("stranger", protocol)
        return self._connect((host, port), protocol, timeout_s, context)

    def _connect(
        self, address: Address, protocol: str, timeout_s: float, context: ssl.SSLContext
    ) -> Link:
        raw: socket.socket | None = None
        try:
            raw = socket.create_connection(address, timeout_s)
            _tune(raw)
            wrapped = context.wrap_socket(raw)
        except (OSError, ValueError) as error:
            if raw is not None:
                raw.close()
            raise Unavailable(f"No link to {address[0]}:{address[1]}: {error}") from error
        certificate = wrapped.getpeercert(binary_form=True) or b""
        link = Link(
            socket=wrapped,
            node_id=common_name(certificate) if context.verify_mode is ssl.CERT_REQUIRED else "",
            certificate=certificate,
            address=address,
        )
        if wrapped.selected_alpn_protocol() != protocol:
            link.close()
            raise Unavailable(f"{address[0]}:{address[1]} does not serve {protocol}")
        return link

    def _context(self, side: str, protocol: str) -> ssl.SSLContext:
        """Return the context of a side: server, member (dialing a member) or stranger (dialing anyone)."""
        with self._lock:
            made = self._contexts.get((side, protocol))
            if made is None:
                made = self._contexts[side, protocol] = self._make(side, protocol)
            return made

    def _make(self, side: str, protocol: str) -> ssl.SSLContext:
        files = self._credentials()
        context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_SERVER if side == "server" else ssl.PROTOCOL_TLS_CLIENT
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([protocol] if protocol else list(self._services))
        if side == "stranger":
            return context
        try:
            context.load_cert_chain(files.certificate, files.key)
            if files.ca is not None:
                context.load_verify_locations(files.ca)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"This node's certificate cannot be read: {error}") from error
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
        if side == "member":
            context.verify_mode = ssl.CERT_REQUIRED
        else:
            context.num_tickets = 0
            context.verify_mode = ssl.CERT_NONE if files.ca is None else ssl.CERT_OPTIONAL
        return context

    # -- the listening side

    def _accept(self) -> None:
        assert self._socket is not None
        while not self._stopping.is_set():
            try:
                raw, address = self._socket.accept()
            except OSError as error:
                if not self._stopping.wait(_RETRY_ACCEPT_S):
                    log.warning("the cluster port cannot take a connection: %s", error)
                continue
            if not self._handshakes.acquire(blocking=False):
                raw.close()
                continue
            threading.Thread(
                target=self._greet, args=(raw, address[:2]), name="peers-greet", daemon=True
            ).start()

    def _greet(self, raw: socket.socket, address: Address) -> None:
        link: Link | None = None
        try:
            link = self._handshake(raw, address)
        except (OSError, ValueError, NodeError) as error:
            log.debug("no link with %s:%s: %s", *address, error)
        finally:
            self._handshakes.release()
        if link is None:
            raw.close()
            return
        service = self._services.get(link.socket.selected_alpn_protocol() or "")
        limit = self._room if link.node_id else self._strangers
        is_welcome = service is not None and (
            service.witnesses if is_witness(link.node_id) else link.node_id or service.strangers
        )
        if service is None or not is_welcome:
            link.close()
        elif limit.acquire(blocking=False):
            try:
                self._handle(service.handler, link)
            finally:
                limit.release()
        else:
            log.warning("too many links: the one from %s:%s is closed", *address)
            link.close()

    def _handshake(self, raw: socket.socket, address: Address) -> Link:
        raw.settimeout(_HANDSHAKE_S)
        _tune(raw)
        wrapped = self._context("server", "").wrap_socket(raw, server_side=True)
        certificate = wrapped.getpeercert(binary_form=True) or b""
        # Without a CA nothing was verified, so nothing is believed.
        verified = certificate and wrapped.context.verify_mode is ssl.CERT_OPTIONAL
        node_id = common_name(certificate) if verified else ""
        if node_id and not self._is_known(node_id, certificate):
            log.warning("node %s at %s:%s is no member: it is a stranger here", node_id, *address)
            node_id = ""
        return Link(socket=wrapped, node_id=node_id, certificate=certificate, address=address)

    def _is_known(self, node_id: str, certificate: bytes) -> bool:
        key = spki_of(x509.load_der_x509_certificate(certificate))
        return self._is_member(node_id, fingerprint(key))

    def _handle(self, handler: Handler, link: Link) -> None:
        with self._lock:
            self._open.add(link.socket)
        kept = False
        try:
            kept = not self._stopping.is_set() and handler(link) is True
        except Exception:
            log.exception("the link with %s failed", link.node_id or link.address)
        finally:
            with self._lock:
                self._open.discard(link.socket)
            if not kept:
                link.close()


def common_name(certificate: bytes) -> str:
    """Return the common name of a DER certificate, empty when it has none."""
    subject = x509.load_der_x509_certificate(certificate).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _tune(raw: socket.socket) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
