"""The store process's listener: one thread reads all connections; the disks' writers answer from their own.

A connection has one request at a time, so an answer never meets another one on its way.
"""

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.wire import (
    MAX_FRAME_BYTES,
    AskRequest,
    Reply,
    frame,
    request_of,
    socket_address,
)

log = logging.getLogger("hedgerow.object")

_READ_BYTES = 1 << 20
_SEND_TIMEOUT_S = 30.0


class _Client:
    """One connection and what has come of its next request."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    def receive(self) -> list[bytes] | None:
        """Return the whole requests that have come; None when the other side is gone."""
        try:
            data = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self._buffer += data
        found = []
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > MAX_FRAME_BYTES:
                return None
            if len(self._buffer) < size + 4:
                break
            found.append(bytes(self._buffer[4 : size + 4]))
            del self._buffer[: size + 4]
        return found

    def answer(self, reply: Reply) -> None:
        """Send an answer; a client that has gone does not get it."""
        try:
            data = memoryview(frame(reply))
            while data:
                try:
                    data = data[self.sock.send(data) :]
                except BlockingIOError:
                    selector = selectors.PollSelector()
                    selector.register(self.sock, selectors.EVENT_WRITE)
                    if not selector.select(_SEND_TIMEOUT_S):
                        return
        except (OSError, ValueError):
            log.debug("a client of the object store went away")


class StoreServer:
    """Listens on a socket in a directory."""

    def __init__(self, path: Path, host: DiskHost, answer: Callable[[str, str, Any], Any]) -> None:
        """`answer(disk_id, question, argument)` is called from a thread of its own."""
        self._path = path
        self._host = host
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="store-server", daemon=True)

    def start(self) -> None:
        """Listen. A socket file that an earlier process left is replaced."""
        self._path.unlink(missing_ok=True)
        with socket_address(self._path) as address:
            self._listener.bind(address)
        self._path.chmod(0o600)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._waker.send(b"x")
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            for key, _events in self._selector.select():
                if key.fileobj is self._wake:
                    self._close_all()
                    return
                if key.fileobj is self._listener:
                    self._accept()
                    continue
                self._serve(key.data)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, _Client(sock))

    def _serve(self, client: _Client) -> None:
        requests = client.receive()
        if requests is None:
            self._selector.unregister(client.sock)
            client.sock.close()
            return
        for raw in requests:
            try:
                request = request_of(raw)
            except msgspec.MsgspecError as error:
                client.answer(Reply(error=f"not understood: {error}"))
                continue
            if isinstance(request, AskRequest):
                threading.Thread(
                    target=self._ask, args=(client, request), name="store-ask", daemon=True
                ).start()
                continue
            self._host.submit(
                request.disk_ids,
                request.ops,
                request.layout,
                lambda results, client=client: client.answer(Reply(results=results)),  # type: ignore[misc]
            )

    def _ask(self, client: _Client, request: AskRequest) -> None:
        try:
            reply = Reply(answer=self._answer(request.disk_id, request.question, request.argument))
        except Exception as error:  # noqa: BLE001 - the answer says it
            log.warning("the question %s failed: %s", request.question, error)
            reply = Reply(error=f"{type(error).__name__}: {error}")
        client.answer(reply)

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Client):
                key.data.sock.close()
        self._listener.close()
        self._wake.close()
        self._waker.close()
        self._selector.close()
