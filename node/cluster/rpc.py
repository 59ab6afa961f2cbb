"""Requests between cores: HTTP/1.1 over links of members. Bodies are streamed both ways; nothing is ever unpickled."""

import contextlib
import http.client
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlencode, urlsplit

from node.cluster.peers import Link, PeerNetwork
from node.errors import NodeError, Unavailable
from node.types import Frozen

log = logging.getLogger("hedgerow.rpc")

PROTOCOL = "hedgerow-rpc"
_IDLE_S = 60.0
_CHUNK_BYTES = 1 << 18
_IDLE_LINKS = 2
MAX_BODY_BYTES = 16 << 20
"""The most that a request's body, or an answer read as a whole, may hold."""


class RpcRequest(Frozen):
    """What another member asks."""

    node_id: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes


class RpcReply(Frozen):
    """An answer. `stream`, when given, is read to its end, `length` bytes, instead of `body`, and closed."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    stream: BinaryIO | None = None
    length: int = 0


Answer = Callable[[RpcRequest], RpcReply]


class Rpc:
    """Both sides of the requests of one node. Thread-safe."""

    def __init__(self, peers: PeerNetwork) -> None:
        self._peers = peers
        self._routes: dict[tuple[str, str], Answer] = {}
        self._idle: dict[str, list[_Connection]] = {}
        self._lock = threading.Lock()
        peers.serve(PROTOCOL, self._serve)

    def route(self, method: str, path: str, answer: Answer) -> None:
        """Serve an exact path. A NodeError of the answer becomes its status and message."""
        self._routes[method, path] = answer

    def call(
        self,
        node_id: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 5.0,
    ) -> RpcReply:
        """Ask a member and read its whole answer, whatever its status.

        Raises:
            Unavailable: no answer in time (the request may have been served), or one that is too long.
        """
        with self.open(
            node_id, method, path, query=query, body=body, timeout_s=timeout_s
        ) as answer:
            data = _read(answer)
            return RpcReply(status=answer.status, body=data, headers=dict(answer.getheaders()))

    @contextmanager
    def open(
        self,
        node_id: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 5.0,
    ) -> Iterator[http.client.HTTPResponse]:
        """Ask a member and hand out the answer to be read in parts; each read has the same time limit.

        Raises:
            Unavailable: no answer in time, or the connection broke inside the `with`.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        connection, fresh = self._take(node_id, timeout_s), False
        try:
            if connection is None:
                connection, fresh = self._dial(node_id, timeout_s), True
            try:
                answer = connection.ask(method, target, body, timeout_s)
            except (OSError, http.client.HTTPException) as error:
                if fresh or isinstance(error, TimeoutError):
                    raise
                # The other side had closed it while it was idle: no byte of an answer came.
                connection.close()
                connection = self._dial(node_id, timeout_s)
                answer = connection.ask(method, target, body, timeout_s)
            yield answer
            whole = answer.isclosed()
        except (OSError, http.client.HTTPException) as error:
            if connection is not None:
                connection.close()
            raise Unavailable(f"Node {node_id} did not answer {method} {path}: {error}") from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if whole and not answer.will_close:
            self._keep(node_id, connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _dial(self, node_id: str, timeout_s: float) -> "_Connection":
        return _Connection(self._peers.dial(node_id, PROTOCOL, min(timeout_s, 3.0)))

    def _take(self, node_id: str, timeout_s: float) -> "_Connection | None":
        with self._lock:
            waiting = self._idle.get(node_id)
            connection = waiting.pop() if waiting else None
        if connection is not None:
            connection.limit(timeout_s)
        return connection

    def _keep(self, node_id: str, connection: "_Connection") -> None:
        with self._lock:
            waiting = self._idle.setdefault(node_id, [])
            if len(waiting) < _IDLE_LINKS:
                waiting.append(connection)
                return
        connection.close()

    def _serve(self, link: Link) -> None:
        link.socket.settimeout(_IDLE_S)
        with contextlib.suppress(OSError):  # the other side has gone
            _Server(link, self._routes)


class _Connection(http.client.HTTPConnection):
    """A client's connection over a link."""

    def __init__(self, link: Link) -> None:
        super().__init__("peer")
        self._link = link
        self.sock = link.socket

    def ask(
        self, method: str, target: str, body: bytes, timeout_s: float
    ) -> http.client.HTTPResponse:
        self.limit(timeout_s)
        self.request(method, target, body or None, {"Content-Length": str(len(body))})
        return self.getresponse()

    def limit(self, timeout_s: float) -> None:
        self._link.socket.settimeout(timeout_s)

    def connect(self) -> None:
        raise http.client.NotConnected("the link was closed")

    def close(self) -> None:
        super().close()
        self._link.close()


class _Server(BaseHTTPRequestHandler):
    """Serves one link until the other side closes it."""

    protocol_version = "HTTP/1.1"
    server_version = "hedgerow"
    timeout = _IDLE_S
    wbufsize = -1

    def __init__(self, link: Link, routes: Mapping[tuple[str, str], Answer]) -> None:
        self._link = link
        self._routes = routes
        super().__init__(link.socket, link.address, None)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        found = urlsplit(self.path)
        reply = self._reply(found.path, dict(parse_qsl(found.query)))
        length = reply.length if reply.stream is not None else len(reply.body)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if reply.stream is None:
            self.wfile.write(reply.body)
        else:
            with reply.stream as stream:
                self._send(stream, length)
        self.wfile.flush()

    def _reply(self, path: str, query: dict[str, str]) -> RpcReply:
        answer = self._routes.get((self.command, path))
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return RpcReply(status=413, body=b"The body is too long")
        body = self.rfile.read(int(length))
        if answer is None:
            return RpcReply(status=404, body=b"Nothing is served there")
        request = RpcRequest(
            node_id=self._link.node_id, query=query, headers=dict(self.headers.items()), body=body
        )
        try:
            return answer(request)
        except NodeError as error:
            return RpcReply(status=error.status, body=error.message.encode())
        except Exception:
            log.exception("%s %s of node %s failed", self.command, path, self._link.node_id)
            return RpcReply(status=500, body=b"The request failed; see this node's log")

    def _send(self, stream: BinaryIO, length: int) -> None:
        while length:
            data = stream.read(min(_CHUNK_BYTES, length))
            if not data:
                self.close_connection = True
                raise ConnectionError("the stream ended early")
            self.wfile.write(data)
            length -= len(data)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def _read(answer: http.client.HTTPResponse) -> bytes:
    data = answer.read(MAX_BODY_BYTES + 1)
    if len(data) > MAX_BODY_BYTES:
        raise Unavailable("The answer is too long")
    if not answer.isclosed():
        answer.read()
    return data
