"""The store process's socket: length-prefixed msgpack, one request at a time on each of many connections."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from node.plugins.object.store.index_ops import IndexOp, Result
from node.sdk import Frozen, Unavailable

MAX_FRAME_BYTES = 1 << 28


class WriteRequest(Frozen, tag="write", array_like=True):
    """Operations for disks of this node."""

    disk_ids: Sequence[str]
    ops: Sequence[IndexOp]
    layout: int


class AskRequest(Frozen, tag="ask", array_like=True):
    """A question about one disk, or ("" as the disk) about the process."""

    disk_id: str
    question: str
    argument: Any = None


Request = WriteRequest | AskRequest


class Reply(Frozen):
    """What came of it: the results of a write, or the answer to a question."""

    results: Mapping[str, Sequence[Result]] = {}
    answer: Any = None
    error: str = ""


_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Request)
_replies = msgspec.msgpack.Decoder(Reply)


def frame(value: Request | Reply) -> bytes:
    """Return a value as it is sent."""
    body = _encoder.encode(value)
    return len(body).to_bytes(4, "big") + body


def request_of(body: bytes | memoryview) -> Request:
    """Return the request in a frame. Raises msgspec.MsgspecError."""
    found: Request = _requests.decode(body)
    return found


def reply_of(body: bytes | memoryview) -> Reply:
    """Return the reply in a frame. Raises msgspec.MsgspecError."""
    return _replies.decode(body)


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Name a socket by a path that may be longer than a socket's address."""
    fd = os.open(path.parent, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)


class Connection:
    """One connection to the store process, of one thread."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Connect.

        Raises:
            Unavailable: 503, nobody listens.
        """
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout_s)
        try:
            with socket_address(path) as address:
                self._sock.connect(address)
        except OSError as error:
            self._sock.close()
            raise Unavailable(f"The store process of this node does not run: {error}") from error

    def send(self, request: Request) -> None:
        """Send a request. Raises OSError."""
        self._sock.sendall(frame(request))

    def receive(self) -> Reply:
        """Wait for the answer. Raises OSError."""
        head = self._read(4)
        return reply_of(self._read(int.from_bytes(head, "big")))

    def _read(self, size: int) -> bytes:
        data = self._sock.recv(size)
        if len(data) == size:
            return data
        parts = bytearray(data)
        while len(parts) < size:
            data = self._sock.recv(size - len(parts))
            if not data:
                raise OSError("the store process went away")
            parts += data
        return bytes(parts)

    def close(self) -> None:
        """Close it."""
        self._sock.close()
