"""Gunicorn's threaded worker with five differences.

`100 Continue` is sent when the handler first reads the body, so a refused upload is refused before it is sent.
A second, plain listener may stand beside the TLS one (lab only, loopback). File bodies go out by sendfile there.
A thread that has answered waits a moment for the next request of its connection: to hand a connection to the poller
and back costs more than most requests. For the same reason an answer goes out in one call: each system call gives
the interpreter's lock away.

A connection on which nothing has come yet takes no thread, and one that stalls gives its thread back.

Leans on gunicorn 27's `_expected_100_continue`, `_DEFER` and `TConn`; the raw-socket tests in tests/api/test_wire.py
hold it.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.wsgi import FileWrapper, Response, create
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from node.api.dispatch import PEER
from node.data_port import NodeTls, common_name

STALL_S = 60
"""How long a client may send, or take, nothing in the middle of a request."""

_READ_AHEAD_BYTES = 8192
"""How much gunicorn reads of a connection while it looks for the end of the headers."""
_LINGER_MS = 20
_DATA_THREADS = 16
"""Threads that serve other nodes. What those ask never waits for a third one."""
_FREE_THREADS = 2
"""Threads that never wait, so that new connections are served at once."""


class LazyContinue:
    """The body of a request that waits for `100 Continue`: asks for it when it is first read."""

    def __init__(self, request: Any, sock: Any) -> None:
        self._request = request
        self._body = request.body
        self._sock = sock
        self._asked = False
        request.force_close()

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._request.must_close = False
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def read(self, size: int | None = None) -> bytes:
        """Read from the client, who is told to begin."""
        self._ask()
        data: bytes = self._body.read(size) if size is not None else self._body.read()
        return data

    def readinto(self, view: memoryview) -> int:
        """Read from the client, who is told to begin, into a buffer."""
        self._ask()
        return int(self._body.readinto(view))

    def __getattr__(self, name: str) -> Any:
        """Reach everything else of the body unchanged."""
        return getattr(self._body, name)


class SizedBody(Body):
    """A body of announced length; `readinto` takes it from the socket without copying it about."""

    def readinto(self, view: memoryview) -> int:
        """Read what has come, at most as much as the buffer takes; 0 is the end."""
        wanted = min(len(view), self.reader.length + self.buf.tell())
        if self.buf.tell() or self.reader.unreader.buf.tell():
            data = self.read(min(wanted, _READ_AHEAD_BYTES))
            view[: len(data)] = data
            return len(data)
        if not wanted:
            return 0
        sock = self.reader.unreader.sock
        try:
            # One call fills the whole buffer: each one more gives the interpreter's lock away. TLS knows no flags.
            flags = 0 if isinstance(sock, ssl.SSLSocket) else socket.MSG_WAITALL
            got: int = sock.recv_into(view[:wanted], wanted, flags)
        except Exception:
            self.failed = True
            raise
        self.reader.length -= got
        return got


def _limit_stalls(sock: socket.socket) -> None:
    """Let the kernel end waits on a client; gunicorn itself switches timeouts of Python's off again."""
    limit = struct.pack("ll", STALL_S, 0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        with contextlib.suppress(OSError):  # the client has gone
            sock.setsockopt(socket.SOL_SOCKET, option, limit)


@lru_cache(maxsize=1024)
def _cased(name: str) -> str:
    """Return a header's name as people write it: Falcon sends `x-trans-id`, which some clients do not know again."""
    return name.title()


class WholeResponse(Response):
    """A response whose headers go out with the first part of its body, in one call."""

    _held = b""

    def send_headers(self) -> None:
        """Make the headers ready to be sent."""
        if not self.headers_sent:
            given = (f"{_cased(name)}: {value}\r\n" for name, value in self.headers)
            lines = [*self.default_headers(), *given, "\r\n"]
            self._held = "".join(lines).encode("latin-1")
            self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self._held and not self.chunked:
            data, self._held = self._held + data, b""
        self._flush()
        super()._emit_body(data)

    def sendfile(self, respiter: Any) -> bool:
        """Send a file without copying it, where that can be done."""
        self.send_headers()
        self._flush()
        return bool(super().sendfile(respiter))

    def close(self) -> None:
        """End the response."""
        self.send_headers()
        self._flush()
        super().close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self.sock.sendall(held)


class ConnectionSettings:
    """Gunicorn's settings as the connections of one listener see them; read out once, as each request asks often."""

    def __init__(self, settings: Any, *, is_ssl: bool, node_tls: NodeTls | None = None) -> None:
        self._settings = settings
        vars(self).update({name: setting.get() for name, setting in settings.settings.items()})
        self.is_ssl = is_ssl
        if node_tls is not None:
            self.ssl_context = lambda _settings, _usual: node_tls.context(server=True)

    def __getattr__(self, name: str) -> Any:
        """Reach everything else unchanged."""
        return getattr(self._settings, name)


class ApiWorker(ThreadWorker):
    """Serves TLS connections, plain ones on the plain port, and other nodes on the data port."""

    plain_port = 0
    data_port = 0
    node_tls: NodeTls

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._connection = threading.local()
        super().__init__(*args, **kwargs)
        self._plain = ConnectionSettings(self._settings, is_ssl=False)
        self._tls = ConnectionSettings(self._settings, is_ssl=True)
        if self.data_port:
            tls = self.node_tls
            self._data = ConnectionSettings(self._settings, is_ssl=True, node_tls=tls)
        self._lingering = threading.BoundedSemaphore(max(1, self._settings.threads - _FREE_THREADS))

    @property
    def cfg(self) -> Any:
        """Return the settings of the connection that this thread serves."""
        return getattr(self._connection, "settings", self._settings)

    @cfg.setter
    def cfg(self, settings: Any) -> None:
        self._settings = settings

    def handle(self, conn: Any) -> Any:
        """Serve what has arrived on a connection, and what arrives soon after."""
        if not conn.initialized:
            if not conn.wait_for_data(0):
                return _DEFER
            _limit_stalls(conn.sock)
            if self._is_data(conn) and self.node_tls.context(server=True) is None:
                return False  # this node is no member of a cluster yet
        conn.cfg = self._connection.settings = self._settings_of(conn)
        try:
            while True:
                result = super().handle(conn)
                if result is not True or conn.is_http2 or not self._another(conn):
                    return result
        finally:
            del self._connection.settings

    def init_process(self) -> None:
        """Begin to serve; other nodes have threads of their own, so that two that wait for each other go on."""
        self._data_pool = ThreadPoolExecutor(_DATA_THREADS, thread_name_prefix="data")
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """Have a connection served that has something to read."""
        if not self._is_data(conn):
            super().enqueue_req(conn)
            return
        served = self._data_pool.submit(self.handle, conn)
        served.add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, conn, done)
        )

    def _is_data(self, conn: Any) -> bool:
        return bool(self.data_port) and conn.server[1] == self.data_port

    def _settings_of(self, conn: Any) -> ConnectionSettings:
        if self._is_data(conn):
            return self._data
        return self._plain if self.plain_port and conn.server[1] == self.plain_port else self._tls

    def _another(self, conn: Any) -> bool:
        """Wait a moment for the next request of a connection, unless threads are scarce."""
        if conn.parser.unreader.buf.tell() or (conn.cfg.is_ssl and conn.sock.pending()):
            return bool(self.alive)
        if not self.alive or not self._lingering.acquire(blocking=False):
            return False
        try:
            poll = select.poll()
            poll.register(conn.sock, select.POLLIN)
            return bool(poll.poll(_LINGER_MS))
        finally:
            self._lingering.release()

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve one request."""
        if isinstance(req.body.reader, LengthReader) and req.body.reader.length:
            req.body = SizedBody(req.body.reader)
        if req._expected_100_continue:  # noqa: SLF001 - see the module
            req._expected_100_continue = False  # noqa: SLF001
            req.body = LazyContinue(req, conn.sock)
        resp, environ = create(
            req, conn.sock, conn.client, conn.server, conn.cfg, response_class=WholeResponse
        )
        environ["wsgi.multithread"] = True
        if self._is_data(conn):
            environ[PEER] = common_name(conn.sock) or "nobody"
        if not self.alive or len(self.keepalived_conns) >= self.max_keepalived:
            resp.force_close()
        try:
            body = self.wsgi(environ, resp.start_response)
            try:
                if isinstance(body, FileWrapper):
                    resp.write_file(body)
                else:
                    for part in body:
                        resp.write(part)
                resp.close()
            finally:
                if hasattr(body, "close"):
                    body.close()
        except OSError:
            raise
        except Exception as error:
            if not resp.headers_sent:
                raise
            self.log.exception("Error in the middle of an answer")
            close_graceful(conn.sock)
            raise StopIteration from error
        return not resp.should_close()

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Return whether the connection can be used again; what was not read of a body is drained first."""
        if keepalive:
            body = conn.parser.mesg.body
            if isinstance(body, Body) and getattr(body.reader, "length", None) == 0:
                return not body.failed
        drained: bool = super()._keepalive_after(conn, keepalive)
        return drained
