"""The administrator's socket: what `hedgerow status` and `hedgerow debug` ask the running node.

One JSON line each way: `{"command": …, "arguments": {…}}`, then `{"result": …}` or `{"error": …}`. The socket file is
root's alone, and lives in the state directory whose path may be longer than a socket address can be: so it
is reached through a descriptor of its directory.
"""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from node.errors import BadRequest, NodeError, Unavailable
from node.types import Frozen

log = logging.getLogger("hedgerow.admin")

SOCKET_NAME = "admin.sock"
Command = Callable[..., object]

_MAX_LINE_BYTES = 64 * 1024
_CLIENT_TIMEOUT_S = 10.0
_BACKLOG = 8


class _Request(Frozen):
    command: str
    arguments: dict[str, Any] = {}


class AdminServer:
    """Answers one client at a time, from a thread of its own."""

    def __init__(self, directory: Path, commands: Mapping[str, Command]) -> None:
        """Take the commands by name; each returns what msgspec can encode, or raises a NodeError."""
        self._directory = directory
        self._commands = dict(commands)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, name="admin", daemon=True)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Listen. A socket file that an earlier process left is replaced."""
        path = self._directory / SOCKET_NAME
        path.unlink(missing_ok=True)
        with _address(path) as address:
            self._listener.bind(address)
        path.chmod(0o600)
        self._listener.listen(_BACKLOG)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and remove the socket file."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        (self._directory / SOCKET_NAME).unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(_CLIENT_TIMEOUT_S)
                try:
                    client.sendall(self._answer(_read_line(client)))
                except OSError as error:
                    log.info("an administrator's client went away: %s", error)

    def _answer(self, line: bytes) -> bytes:
        try:
            request = msgspec.json.decode(line, type=_Request)
            command = self._commands.get(request.command)
            if command is None:
                known = ", ".join(sorted(self._commands))
                raise BadRequest(f"There is no command {request.command!r}; there are: {known}")
            answer = msgspec.json.encode({"result": command(**request.arguments)})
        except (NodeError, msgspec.MsgspecError) as error:
            answer = msgspec.json.encode({"error": str(error)})
        except Exception as error:
            log.exception("an administrator's command failed")
            answer = msgspec.json.encode({"error": f"{type(error).__name__}: {error}"})
        return answer + b"\n"


def ask(directory: Path, command: str, **arguments: object) -> Any:
    """Ask the node that runs with this state directory.

    Raises:
        Unavailable: 503, no node answers there.
        BadRequest: 400, the node refuses; its own words.
    """
    line = msgspec.json.encode({"command": command, "arguments": arguments}) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_CLIENT_TIMEOUT_S)
        try:
            with _address(directory / SOCKET_NAME) as address:
                sock.connect(address)
            sock.sendall(line)
            reply = msgspec.json.decode(_read_line(sock, limit_bytes=None))
        except (OSError, msgspec.MsgspecError) as error:
            raise Unavailable(
                f"No node answers in {directory} ({error}): is it running, and are you root?"
            ) from error
    if "error" in reply:
        raise BadRequest(reply["error"])
    return reply["result"]


def _read_line(sock: socket.socket, limit_bytes: int | None = _MAX_LINE_BYTES) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        data = sock.recv(65536)
        if not data:
            break
        received += data
        if limit_bytes is not None and len(received) > limit_bytes:
            raise OSError("the request is too long")
    return bytes(received)


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    descriptor = os.open(path.parent, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
