"""The data port: bulk data between nodes, over HTTPS with both sides' certificates.

Both sides show a certificate of the cluster's CA whose common name is the node's id. The files may come, and change,
at any time (a node joins, a certificate is renewed): contexts are made anew when they did.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from node.errors import DiskFull, NotFound, Unavailable
from node.types import Frozen

Address = tuple[str, int]

_CONNECT_S = 3.0
_STALL_S = 20.0
_FILES = ("node.pem", "node.key", "ca.pem")
_ERROR_BYTES = 4096
_IDLE = 32
"""Connections to one node that are kept for later requests."""
_HEADERS = {"User-Agent": "hedgerow", "Content-Type": "application/octet-stream"}


class NodeTls:
    """TLS contexts from the files `node.pem`, `node.key` and `ca.pem` of a directory. Thread-safe."""

    def __init__(self, directory: Path) -> None:
        self._paths = [directory / name for name in _FILES]
        self._lock = threading.Lock()
        self._seen: object = None
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def context(self, *, server: bool) -> ssl.SSLContext | None:
        """Return the context of a side as the files are now; None while they are not there or do not fit."""
        with self._lock:
            seen = [_state(path) for path in self._paths]
            if None in seen:
                return None
            if seen != self._seen:
                self._contexts, self._seen = {}, seen
            if server not in self._contexts:
                try:
                    self._contexts[server] = self._make(server=server)
                except (OSError, ssl.SSLError):
                    self._seen = None  # a renewal is half written: the next one looks again
                    return None
            return self._contexts[server]

    def _make(self, *, server: bool) -> ssl.SSLContext:
        certificate, key, ca = self._paths
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # names are node ids: see `common_name`
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(ca)
        if server:
            context.num_tickets = 0  # a resumed session would not show its certificate again
        return context


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def common_name(wrapped: ssl.SSLSocket) -> str:
    """Return the common name of the other side's verified certificate, "" where it showed none."""
    certificate: Mapping[str, Any] = wrapped.getpeercert() or {}
    names = [v for rdn in certificate.get("subject", ()) for k, v in rdn if k == "commonName"]
    return str(names[0]) if len(names) == 1 else ""


class DataAnswer(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int:
        """Return 200, or 206 for a part."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers, names in lower case."""

    def read(self, size: int = -1) -> bytes:
        """Read at most that much of the body, all of it by default; b"" is its end.

        Raises:
            Unavailable: 503, the other node went away or stalled.
        """


class DataUpload(Protocol):
    """A body on its way to another node. Must be ended by `finish` or `close`."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes. Raises Unavailable."""

    def finish(self) -> bytes:
        """End the body and return the answer. Raises as `DataPort.send`."""

    def close(self) -> None:
        """Give it up: the other node sees a torn body. Harmless after `finish`."""


class DataPort(Protocol):
    """The way to other nodes' data. In tests: `node.testing.members`."""

    def get(
        self, node_id: str, path: str, *, offset: int = 0, last: int | None = None
    ) -> contextlib.AbstractContextManager[DataAnswer]:
        """Open what a node serves at a path (`/image/…`, percent-encoded), from byte `offset` to byte `last`.

        Raises:
            NotFound: 404, that node has no such thing.
            Unavailable: 503, nobody knows where it is, it does not answer, or refuses.
        """


    def send(self, node_id: str, method: str, path: str, body: bytes = b"") -> bytes:
        """Send a request with a body and return the whole answer; connections are kept for the next one.

        A request whose connection breaks may have been carried out, and is sent again on a new one: it must be
        harmless when repeated.

        Raises:
            NotFound: 404, that node has no such thing.
            DiskFull: 507, of that node.
            Unavailable: 503, it does not answer, or refuses.
        """

    def upload(self, node_id: str, method: str, path: str) -> DataUpload:
        """Begin a request whose body comes piece by piece. Raises Unavailable."""


class Stream(Frozen):
    """A connection to another member; whoever opened it closes it."""

    socket: socket.socket
    node_id: str


class Streams(Protocol):
    """Connections between members, for what is neither rows nor files."""

    def serve(self, name: str, handler: Callable[[Stream], None]) -> None:
        """Have a handler called, in a thread of its own, for each stream of a name; it ends with the handler."""

    def open(self, node_id: str, name: str) -> Stream:
        """Connect to what a member serves under a name.

        Raises:
            Unavailable: 503, it cannot be reached, or does not serve that.
        """


class NoStreams:
    """The streams of a node that is alone."""

    def serve(self, name: str, handler: Callable[[Stream], None]) -> None:
        """Do nothing: nobody comes."""

    def open(self, node_id: str, name: str) -> Stream:
        """Refuse."""
        raise Unavailable(f"This node has no way to node {node_id} for {name}: [cluster] port is 0")


class NoDataPort:
    """The data port of a node that is alone."""

    def send(self, node_id: str, method: str, path: str, body: bytes = b"") -> bytes:
        """Refuse."""
        del method, path, body
        raise Unavailable(f"This node has no way to node {node_id}: [cluster] data_port is 0")

    def upload(self, node_id: str, method: str, path: str) -> DataUpload:
        """Refuse."""
        del method, path
        raise Unavailable(f"This node has no way to node {node_id}: [cluster] data_port is 0")

    def get(
        self, node_id: str, path: str, *, offset: int = 0, last: int | None = None
    ) -> contextlib.AbstractContextManager[DataAnswer]:
        """Refuse."""
        del path, offset, last
        raise Unavailable(f"This node has no way to node {node_id}: [cluster] data_port is 0")


class Place(Frozen):
    """Where a node's data port is."""

    address: str
    port: int
    name: str


class TlsDataPort:
    """Data of other nodes over the network."""

    def __init__(self, tls: NodeTls, locate: Callable[[str], Place | None]) -> None:
        self._tls = tls
        self._locate = locate
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()

    def send(self, node_id: str, method: str, path: str, body: bytes = b"") -> bytes:
        """Send a request with a body on a kept connection."""
        place = self._place(node_id)
        while True:
            connection, is_kept = self._take(node_id, place)
            try:
                connection.request(method, path, body, _HEADERS)
                raw = connection.getresponse()
                status, data = raw.status, raw.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_kept:  # the other side may have ended it while it was idle
                    continue
                raise Unavailable(f"Node {place.name} does not answer: {error}") from error
            self._give(node_id, connection, raw)
            return _whole(status, data, place.name, path)

    def upload(self, node_id: str, method: str, path: str) -> DataUpload:
        """Begin a request whose body comes piece by piece."""
        place = self._place(node_id)
        connection = http.client.HTTPConnection(place.address, place.port, timeout=_STALL_S)
        connection.sock = self._connect(node_id, place)
        return _Upload(connection, place.name, method, path)

    def _place(self, node_id: str) -> Place:
        place = self._locate(node_id)
        if place is None or not place.address or not place.port:
            raise Unavailable(f"The data port of node {node_id} is not known")
        return place

    def _take(self, node_id: str, place: Place) -> tuple[http.client.HTTPConnection, bool]:
        """Return a connection, and whether it is one that was used before."""
        with self._lock:
            idle = self._idle.get(node_id)
            while idle:
                kept = idle.pop()
                if (kept.host, kept.port) == (place.address, place.port):
                    return kept, True
                kept.close()
        connection = http.client.HTTPConnection(place.address, place.port, timeout=_STALL_S)
        connection.sock = self._connect(node_id, place)
        return connection, False

    def _give(
        self, node_id: str, connection: http.client.HTTPConnection, raw: http.client.HTTPResponse
    ) -> None:
        """Keep a connection for the next request."""
        if raw.will_close or connection.sock is None:
            connection.close()
            return
        with self._lock:
            idle = self._idle.setdefault(node_id, [])
            if len(idle) < _IDLE:
                idle.append(connection)
                return
        connection.close()

    @contextlib.contextmanager
    def get(
        self, node_id: str, path: str, *, offset: int = 0, last: int | None = None
    ) -> Iterator[DataAnswer]:
        """Open what a node serves at a path."""
        headers = {"User-Agent": "hedgerow", "Connection": "close"}
        if offset or last is not None:
            headers["Range"] = f"bytes={offset}-{'' if last is None else last}"
        place = self._place(node_id)
        connection = http.client.HTTPConnection(place.address, place.port, timeout=_STALL_S)
        try:
            connection.sock = self._connect(node_id, place)
            try:
                connection.request("GET", path, headers=headers)
                raw = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise Unavailable(f"Node {place.name} does not answer: {error}") from error
            answer = _Answer(raw, place.name)
            _check(answer, place.name, path, partly="Range" in headers)
            yield answer
        finally:
            connection.close()

    def _connect(self, node_id: str, place: Place) -> ssl.SSLSocket:
        context = self._tls.context(server=False)
        if context is None:
            raise Unavailable("This node has no certificate of its cluster yet")
        raw: socket.socket | None = None
        try:
            raw = socket.create_connection((place.address, place.port), _CONNECT_S)
            wrapped = context.wrap_socket(raw)
        except (OSError, ValueError) as error:
            if raw is not None:
                raw.close()
            raise Unavailable(f"Node {place.name} cannot be reached: {error}") from error
        if (found := common_name(wrapped)) != node_id:
            wrapped.close()
            raise Unavailable(f"{place.address}:{place.port} is node {found}, not {node_id}")
        wrapped.settimeout(_STALL_S)
        return wrapped


class _Upload:
    """A body that is sent in chunks. Source: RFC 9112, section 7.1."""

    def __init__(
        self, connection: http.client.HTTPConnection, name: str, method: str, path: str
    ) -> None:
        self._connection = connection
        self._name = name
        self._path = path
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for header, value in {**_HEADERS, "Transfer-Encoding": "chunked"}.items():
                connection.putheader(header, value)
            connection.endheaders()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unavailable(f"Node {name} does not answer: {error}") from error

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            return
        try:
            self._connection.send(b"%x\r\n" % len(data))
            self._connection.send(data)
            self._connection.send(b"\r\n")
        except OSError as error:
            self.close()
            raise Unavailable(f"Node {self._name} went away: {error}") from error

    def finish(self) -> bytes:
        try:
            self._connection.send(b"0\r\n\r\n")
            raw = self._connection.getresponse()
            return _whole(raw.status, raw.read(), self._name, self._path)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"Node {self._name} went away: {error}") from error
        finally:
            self.close()

    def close(self) -> None:
        self._connection.close()


def _whole(status: int, data: bytes, name: str, path: str) -> bytes:
    """Return the body of a good answer; raise what another one says."""
    if 200 <= status < 300:
        return data
    if status == 404:
        raise NotFound(f"Node {name} does not have {path}")
    if status == 507:
        raise DiskFull(f"Node {name} has no room")
    text = data[:_ERROR_BYTES].decode("utf-8", "replace")
    raise Unavailable(f"Node {name} refuses {path} ({status}): {text[:200]}")


class _Answer:
    """The body of an answer, with the errors of this product."""

    def __init__(self, raw: http.client.HTTPResponse, name: str) -> None:
        self.status = raw.status
        self.headers: Mapping[str, str] = {k.lower(): value for k, value in raw.getheaders()}
        self._raw = raw
        self._name = name

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._raw.read(None if size < 0 else size)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"Node {self._name} went away: {error}") from error
        if not data and self._raw.length:
            raise Unavailable(f"Node {self._name} ended early")
        return data


def _check(answer: _Answer, name: str, path: str, *, partly: bool) -> None:
    if answer.status == 206 or (answer.status == 200 and not partly):
        return
    text = answer.read(_ERROR_BYTES).decode("utf-8", "replace")
    if answer.status == 404:
        raise NotFound(f"Node {name} does not have {path}")
    raise Unavailable(f"Node {name} refuses {path} ({answer.status}): {text[:200]}")
