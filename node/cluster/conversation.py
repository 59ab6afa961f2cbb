"""Framed messages with someone who is not trusted yet: bounded in size, and each with a time by which it is there.

Four length bytes, then one msgpack object. The time is for a whole message, so that sending it byte by byte gains
nothing.
"""

import struct
import time
from typing import Any

import msgspec

from node.cluster.peers import Link
from node.errors import Unavailable
from node.types import Frozen

STRANGER_BYTES = 16 * 1024
"""The most that anyone may say before they have proved themselves, and what a joiner may say at all."""
PROVEN_BYTES = 1024 * 1024
_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


class Conversation:
    """One link, from one thread."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def say(self, message: Frozen, timeout_s: float) -> None:
        """Send a message.

        Raises:
            Unavailable: the other side went, or does not read.
        """
        data = _encoder.encode(message)
        try:
            self.link.socket.settimeout(timeout_s)
            self.link.socket.sendall(_LENGTH.pack(len(data)) + data)
        except (OSError, ValueError) as error:
            raise Unavailable(f"The other node went away: {error}") from error

    def hear(self, expected: Any, timeout_s: float, limit_bytes: int = STRANGER_BYTES) -> Any:
        """Return the next message, which is one of the expected type or union.

        Raises:
            Unavailable: none came in time, or the other side went.
            Nonsense: it is too long or something else.
        """
        until_s = time.monotonic() + timeout_s
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size, until_s))
        if length > limit_bytes:
            raise Nonsense(
                f"The other node's message has {length} bytes, and may have {limit_bytes}"
            )
        try:
            return msgspec.msgpack.decode(self._exactly(length, until_s), type=expected)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise Nonsense(f"The other node says what nobody understands: {error}") from error

    def close(self) -> None:
        """Close the link."""
        self.link.close()

    def _exactly(self, size: int, until_s: float) -> bytes:
        received = bytearray()
        try:
            while len(received) < size:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("it takes too long")
                self.link.socket.settimeout(left_s)
                data = self.link.socket.recv(size - len(received))
                if not data:
                    raise ConnectionError("it hung up")
                received += data
        except (OSError, ValueError) as error:
            raise Unavailable(f"The other node does not answer: {error}") from error
        return bytes(received)


class Nonsense(Unavailable):
    """Bytes that are no message of this protocol."""
