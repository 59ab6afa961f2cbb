"""Request bodies: raw streams that notice a short upload, and typed JSON.

Hard part: below WSGI a client that dies in the middle of its upload looks like a clean end of the body. Whoever
announced a length is held to it here, and a chunked body is held to its last chunk by the server.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from node.errors import BadRequest, ClientGone, TooLarge
from node.state.document import MAX_DEPTH, has_nul, is_deep

MAX_JSON_BYTES = 1 << 20
"""Longest JSON body that is read."""


class BodyStream(io.RawIOBase):
    """The raw body of a request."""

    def __init__(self, source: Any, length_bytes: int | None) -> None:
        super().__init__()
        self._source = source
        self._left = length_bytes
        self.bytes_read = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; an empty result is the true end of the body.

        Raises:
            ClientGone: 400, the body ended before its announced length.
        """
        if self._left == 0 or size == 0:
            return b""
        wanted = size if size > 0 else (self._left if self._left is not None else 1 << 16)
        if self._left is not None:
            wanted = min(wanted, self._left)
        try:
            data: bytes = self._source.read(wanted)
        except Exception as error:  # a broken connection, or chunks that are none
            raise ClientGone(f"The request body could not be read: {error}") from error
        if not data and self._left:
            raise ClientGone(
                f"The request body ended {self._left} bytes before its announced length"
            )
        self.bytes_read += len(data)
        if self._left is not None:
            self._left -= len(data)
        elif not data:
            self._left = 0
        return data

    def readinto(self, buffer: Any) -> int:
        """Read what has come into a buffer and return how much that was; 0 is the true end of the body.

        Raises:
            ClientGone: 400, the body ended before its announced length.
        """
        view = memoryview(buffer)
        source: Callable[[memoryview], int] | None = getattr(self._source, "readinto", None)
        if source is None or self._left is None:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        view = view[: self._left]
        if not view:
            return 0
        try:
            got = source(view)
        except Exception as error:
            raise ClientGone(f"The request body could not be read: {error}") from error
        if not got:
            raise ClientGone(
                f"The request body ended {self._left} bytes before its announced length"
            )
        self.bytes_read += got
        self._left -= got
        return got

    def read_all(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            TooLarge: 413, it is longer than the limit.
            ClientGone: 400, it ended early.
        """
        if self._left is not None and self._left > limit_bytes:
            raise TooLarge(f"The request body is larger than {limit_bytes} bytes")
        parts = []
        while data := self.read(1 << 16):
            parts.append(data)
            if self.bytes_read > limit_bytes:
                raise TooLarge(f"The request body is larger than {limit_bytes} bytes")
        return b"".join(parts)


def decode_json(data: bytes, body_type: Any = Any) -> Any:
    """Return a JSON value that a row can hold.

    Raises:
        BadRequest: 400, not JSON, nested too deep, or with a NUL character in it.
        msgspec.ValidationError: it does not fit the type.
    """
    try:
        text = data.decode()
        if is_deep(text, MAX_DEPTH - 10):  # rows keep bodies a few levels down
            raise BadRequest("Malformed JSON in the request body: it is nested too deep")
        if has_nul(text):
            raise BadRequest("Malformed JSON in the request body: it holds a NUL character")
        return msgspec.json.decode(text, type=body_type)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"Malformed JSON in the request body: {error}") from error


def decode_action(data: bytes) -> tuple[str, msgspec.Raw]:
    """Return the one key of a Nova-like action body and its undecoded value.

    Raises:
        BadRequest: 400, not an object of exactly one key.
    """
    try:
        value: dict[str, msgspec.Raw] = decode_json(data, dict[str, msgspec.Raw])
    except (BadRequest, msgspec.ValidationError) as error:
        raise BadRequest("Malformed request body") from error
    if len(value) != 1:
        raise BadRequest("The request body must hold exactly one action")
    return next(iter(value.items()))


def decode_query(params: Mapping[str, list[str]], query_type: type[Any]) -> Any:
    """Return the query parameters as a Struct; only list-typed fields take repeated ones.

    Raises:
        msgspec.ValidationError: a parameter does not fit.
    """
    lists = {
        field.encode_name
        for field in msgspec.structs.fields(query_type)
        if "list" in str(field.type) or "tuple" in str(field.type)
    }
    plain = {
        name: (values if name in lists else values[-1]) for name, values in params.items() if values
    }
    return msgspec.convert(plain, query_type, strict=False)
