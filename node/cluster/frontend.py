"""The unix socket through which API workers propose, served by the loop thread's own poller.

Each connection has its own buffers and limits, so that a client that sends garbage, stops reading or vanishes
harms itself only.
"""

import contextlib
import logging
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pysyncobj.poller import POLL_EVENT_TYPE

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.library import ClusterFault
from node.cluster.proposals import Proposals
from node.cluster.wire import LENGTH, Code, FrameError, decode_request, frame, split

_READ_BYTES = 256 * 1024
_MAX_UNSENT_BYTES = 8 * 1024 * 1024
_MAX_OPEN_REQUESTS = 512
_MAX_OPEN_BYTES = 4 * 1024 * 1024
_SOCKET_PATH_BYTES = 107
_BACKLOG = 256
_MOST_CONNECTIONS = 512

_log = logging.getLogger(__name__)


class Connection:
    """One client: a sink of answers."""

    def __init__(self, frontend: "Frontend", sock: socket.socket) -> None:
        self._frontend = frontend
        self.sock: socket.socket | None = sock
        self._received = bytearray()
        self._unsent = bytearray()
        self._open: dict[int, tuple[int, int]] = {}  # tag → the client's number, bytes
        self._open_bytes = 0
        self._next_tag = 0
        self._mask = 0
        self._ending = False
        self._watch()

    def on_event(self, _: int, event: int) -> None:
        """Read, write or close, as the poller says."""
        if self.sock is None:
            return
        try:
            if event & POLL_EVENT_TYPE.WRITE:
                self.send()
            if event & (POLL_EVENT_TYPE.READ | POLL_EVENT_TYPE.ERROR):
                self._read()
        except FrameError as error:
            self._answer((0, "error", "malformed", str(error)))
            self._ending = True
        except OSError:
            self.close()
        except Exception:  # noqa: BLE001 - one client must not end the log for all
            _log.exception("A connection on %s failed and is closed", self._frontend.path)
            self.close()

    def _read(self) -> None:
        if self.sock is None:
            return
        try:
            data = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self._received += data
        self._take_frames()

    def _take_frames(self) -> None:
        done = 0
        bodies = split(self._received)
        try:
            for body in bodies:
                client_seq, txn = decode_request(body)
                done += LENGTH.size + len(body)
                self._take(client_seq, txn)
        finally:
            for body in bodies:
                body.release()
            bodies.clear()
        del self._received[:done]
        self._watch()

    def _take(self, client_seq: int, txn: bytes | None) -> None:
        self._next_tag += 1
        tag = self._next_tag
        size_bytes = 0 if txn is None else len(txn)
        self._open[tag] = (client_seq, size_bytes)
        self._open_bytes += size_bytes
        if txn is None:
            self._frontend.read_index(lambda is_fresh: self._freshness(tag, is_fresh=is_fresh))
        else:
            self._frontend.proposals.offer(txn, self, tag)

    def _freshness(self, tag: int, *, is_fresh: bool) -> None:
        if is_fresh:
            self.resolve(tag, b"")
        else:
            self.reject(tag, "no_quorum", "The cluster has no leader or quorum: reads may be old")

    def resolve(self, tag: int, outcome: bytes) -> None:
        """Answer a request with its outcome."""
        self._answer((self._done(tag), "ok", outcome))

    def reject(self, tag: int, code: Code, message: str) -> None:
        """Answer a request with an error."""
        self._answer((self._done(tag), "error", code, message))

    def _done(self, tag: int) -> int:
        client_seq, size_bytes = self._open.pop(tag)
        self._open_bytes -= size_bytes
        return client_seq

    def _answer(self, body: tuple[object, ...]) -> None:
        if self.sock is None:
            return
        self._unsent += frame(body)
        self._frontend.unsent.add(self)

    def send(self) -> None:
        """Send what the client takes; drop a client that lets too much pile up."""
        if self.sock is None:
            return
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if len(self._unsent) > _MAX_UNSENT_BYTES or (self._ending and not self._unsent):
            self.close()
        else:
            self._watch()

    def _watch(self) -> None:
        """Tell the poller what to wait for, when that has changed."""
        if self.sock is None:
            return
        busy = len(self._open) >= _MAX_OPEN_REQUESTS or self._open_bytes >= _MAX_OPEN_BYTES
        mask: int = POLL_EVENT_TYPE.ERROR
        if not busy and not self._ending and len(self._unsent) < _MAX_UNSENT_BYTES // 2:
            mask |= POLL_EVENT_TYPE.READ
        if self._unsent:
            mask |= POLL_EVENT_TYPE.WRITE
        if mask != self._mask:
            self._mask = mask
            self._frontend.poller.subscribe(self.sock.fileno(), self.on_event, mask)

    def close(self) -> None:
        """End the connection; answers still to come are dropped."""
        sock, self.sock = self.sock, None
        if sock is None:
            return
        self._frontend.poller.unsubscribe(sock.fileno())
        self._frontend.connections.discard(self)
        self._frontend.unsent.discard(self)
        sock.close()


class Frontend:
    """Listens on the socket. Used from the loop thread only."""

    def __init__(
        self,
        path: Path,
        poller: Any,
        proposals: Proposals,
        read_index: Callable[[Callable[[bool], None]], None],
    ) -> None:
        self.path = path
        self.poller = poller
        self.proposals = proposals
        self.read_index = read_index
        self.connections: set[Connection] = set()
        self.unsent: set[Connection] = set()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_connections = min(_MOST_CONNECTIONS, files // 2)
        self._sock = _listen(path)
        self._inode = path.stat().st_ino
        poller.subscribe(self._sock.fileno(), self._on_connect, POLL_EVENT_TYPE.READ)

    def _on_connect(self, _: int, __: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                try:
                    sock, _peer = self._sock.accept()
                except OSError as error:
                    if isinstance(error, BlockingIOError | ConnectionAbortedError):
                        raise
                    _log.warning("Cannot accept a connection on %s: %s", self.path, error)
                    return
                if len(self.connections) >= self._most_connections:
                    _log.warning(
                        "More than %d connections on %s", self._most_connections, self.path
                    )
                    sock.close()
                    continue
                sock.setblocking(False)
                self.connections.add(Connection(self, sock))

    def send(self) -> None:
        """Send the answers that have gathered."""
        while self.unsent:
            batch, self.unsent = self.unsent, set()
            for connection in batch:
                connection.send()

    def close(self) -> None:
        """Send what can be sent, end all connections and remove the socket file, if it is still ours."""
        self.send()
        for connection in list(self.connections):
            connection.close()
        self.poller.unsubscribe(self._sock.fileno())
        self._sock.close()
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()


def _listen(path: Path) -> socket.socket:
    """Open a listening socket under a temporary name and move it to its place, for the owner only."""
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES - 8:
        raise ClusterFault(
            f"The socket path {path} is too long for the kernel: choose a shorter directory"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid() % 100_000}")
    draft.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(str(draft))
        draft.chmod(0o600)
        sock.listen(_BACKLOG)
        draft.rename(path)
    except OSError:
        sock.close()
        draft.unlink(missing_ok=True)
        raise
    return sock
