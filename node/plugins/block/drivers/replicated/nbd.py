"""A small NBD client: reads, writes and asks which parts of an export hold data or are dirty.

For copies between replicas and for probes, never for guests: one request at a time.
Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

ALLOCATION = "base:allocation"
MOST_BYTES = 4 << 20
"""Largest request of ours; every server takes 32 MiB."""

_OPT_STARTTLS, _OPT_GO, _OPT_STRUCTURED, _OPT_SET_META = 5, 7, 8, 10
_REP_ACK, _REP_INFO, _REP_META = 1, 3, 4
_REP_ERROR = 1 << 31
_READ, _WRITE, _DISCONNECT, _FLUSH, _ZEROES, _STATUS = 0, 1, 2, 3, 6, 7
_SIMPLE, _CHUNK = 0x67446698, 0x668E33EF
_IS_LAST = 1
_DATA, _HOLE, _EXTENTS = 1, 2, 5
_STATUS_SPAN = 1 << 30


class NbdError(Exception):
    """The server refused, failed, or went away."""


class Extent(NamedTuple):
    """A part of an export with the flags of a context: allocation 1 hole, 2 zeroes; a dirty bitmap 1 dirty."""

    offset: int
    length: int
    flags: int


def tls_over(raw: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Ask for TLS on a fresh connection and return it encrypted.

    Raises:
        NbdError: the server has none, or its certificate is not of our cluster.
    """
    try:
        _greet(raw)
        raw.sendall(_option(_OPT_STARTTLS, b""))
        kind, data = _option_reply(raw)
        if kind != _REP_ACK:
            raise NbdError(f"no TLS there: {data!r}")
        return context.wrap_socket(raw)
    except (OSError, ValueError) as error:
        raise NbdError(f"no TLS there: {error}") from error


class Nbd:
    """One connection to one export. Not for several threads at once."""

    def __init__(self, connected: socket.socket, export: str, contexts: Sequence[str] = ()) -> None:
        """Open an export over a socket, which is closed with this.

        Raises:
            NbdError: there is no such export, or not with these contexts.
        """
        self._socket = connected
        self._handle = 0
        self._contexts: dict[str, int] = {}
        self.size_bytes = 0
        try:
            if not isinstance(connected, ssl.SSLSocket):
                _greet(connected)
            self._go(export, contexts)
        except OSError as error:
            connected.close()
            raise NbdError(f"export {export}: {error}") from error
        except NbdError:
            connected.close()
            raise

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def socket(self) -> socket.socket:
        """Return the connection, for who waits for its end."""
        return self._socket

    def close(self) -> None:
        """Say goodbye and close."""
        try:
            self._socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, _DISCONNECT, 0, 0, 0))
        except OSError:
            pass
        finally:
            self._socket.close()

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the export.

        Raises:
            NbdError: the server failed or is gone; so do the other requests.
        """
        return self._request(_READ, offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; they are durable after `flush`."""
        self._request(_WRITE, offset, len(data), data)

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make a part zero, with a hole where that is possible."""
        self._request(_ZEROES, offset, length)

    def flush(self) -> None:
        """Make what was written durable."""
        self._request(_FLUSH, 0, 0)

    def extents(self, context: str, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """Yield the export, or a range of it, in parts by a context that was asked for, in order."""
        end = self.size_bytes if length is None else min(self.size_bytes, offset + length)
        while offset < end:
            span = min(_STATUS_SPAN, end - offset)
            data = self._request(_STATUS, offset, span, context=self._contexts[context])
            for size, flags in struct.iter_unpack(">II", data):
                part = min(size, end - offset)
                if part:
                    yield Extent(offset, part, flags)
                offset += part
            if not data:
                raise NbdError(f"no answer about {context}")

    # -- the handshake

    def _go(self, export: str, contexts: Sequence[str]) -> None:
        self._socket.sendall(_option(_OPT_STRUCTURED, b""))
        kind, _ = _option_reply(self._socket)
        if kind != _REP_ACK:
            raise NbdError("the server has no structured replies")
        name = export.encode()
        if contexts:
            asked = b"".join(_text(one.encode()) for one in contexts)
            self._socket.sendall(
                _option(_OPT_SET_META, _text(name) + struct.pack(">I", len(contexts)) + asked)
            )
            while (found := _option_reply(self._socket))[0] == _REP_META:
                self._contexts[found[1][4:].decode()] = int.from_bytes(found[1][:4], "big")
            if found[0] != _REP_ACK or set(contexts) - set(self._contexts):
                raise NbdError(f"export {export} has not all of {', '.join(contexts)}")
        self._socket.sendall(_option(_OPT_GO, _text(name) + b"\0\0"))
        while (found := _option_reply(self._socket))[0] == _REP_INFO:
            if found[1][:2] == b"\0\0":
                self.size_bytes = int.from_bytes(found[1][2:10], "big")
        if found[0] != _REP_ACK:
            raise NbdError(f"export {export}: {found[1].decode('utf-8', 'replace')}")

    # -- requests

    def _request(
        self, kind: int, offset: int, length: int, data: bytes = b"", *, context: int = -1
    ) -> bytes:
        self._handle += 1
        header = struct.pack(">IHHQQI", 0x25609513, 0, kind, self._handle, offset, length)
        try:
            self._socket.sendall(header + data if len(data) < 65536 else header)
            if len(data) >= 65536:
                self._socket.sendall(data)
            return self._answer(offset, length if kind == _READ else 0, context)
        except (OSError, struct.error) as error:
            raise NbdError(f"the server is gone: {error}") from error

    def _answer(self, offset: int, length: int, context: int) -> bytes:
        whole = bytearray(length)
        extents = b""
        while True:
            magic = int.from_bytes(_exactly(self._socket, 4), "big")
            if magic == _SIMPLE:
                error, handle = struct.unpack(">IQ", _exactly(self._socket, 12))
                self._expect(handle, error, "")
                return bytes(whole)
            if magic != _CHUNK:
                raise NbdError("the server does not speak NBD")
            flags, kind, handle, size = struct.unpack(">HHQI", _exactly(self._socket, 16))
            payload = _exactly(self._socket, size)
            if kind & 0x8000:
                self._expect(handle, int.from_bytes(payload[:4], "big") or 5, payload[6:].decode())
            if kind == _DATA:
                begin = int.from_bytes(payload[:8], "big") - offset
                whole[begin : begin + size - 8] = payload[8:]
            elif kind == _EXTENTS and int.from_bytes(payload[:4], "big") == context:
                extents = payload[4:]
            # a hole is zero already
            if flags & _IS_LAST:
                self._expect(handle, 0, "")
                return extents if context >= 0 else bytes(whole)

    def _expect(self, handle: int, error: int, text: str) -> None:
        if error:
            raise NbdError(f"the server failed with error {error} {text}".rstrip())
        if handle != self._handle:
            raise NbdError("the server answered another request")


def _greet(raw: socket.socket) -> None:
    greeting = _exactly(raw, 18)
    if greeting[:16] != b"NBDMAGICIHAVEOPT" or not greeting[17] & 1:
        raise NbdError("the server does not speak NBD")
    raw.sendall(struct.pack(">I", 3))


def _option(option: int, data: bytes) -> bytes:
    return b"IHAVEOPT" + struct.pack(">II", option, len(data)) + data


def _text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _option_reply(raw: socket.socket) -> tuple[int, bytes]:
    _magic, _asked, kind, length = struct.unpack(">QIII", _exactly(raw, 20))
    return kind, _exactly(raw, length)


def _exactly(raw: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        part = raw.recv(min(length - len(found), 1 << 20))
        if not part:
            raise NbdError("the server ended the connection")
        found += part
    return bytes(found)
