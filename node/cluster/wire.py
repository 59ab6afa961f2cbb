"""Frames between a client and the core: four length bytes, then one msgpack array.

Request: `[client_seq, txn]`; a txn of nil asks when a read of the local rows is fresh.
Answer: `[client_seq, "ok", outcome]` or `[client_seq, "error", code, message]`.
"""

import struct
from typing import Any, Literal

import msgspec

Code = Literal["disk_full", "no_quorum", "timeout", "too_large", "shutting_down", "malformed"]
"""Why a transaction was not answered. After `timeout` it may have been applied: repeat it with its request id."""

MAX_FRAME_BYTES = 1024 * 1024
LENGTH = struct.Struct(">I")

_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(tuple[int, bytes | None])


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """One answer frame; `outcome` of "ok" is bytes, of "error" it is the code."""

    client_seq: int
    status: str
    outcome: Any
    message: str = ""


_answer_decoder = msgspec.msgpack.Decoder(Answered)


class FrameError(Exception):
    """Bytes that are no frame: the connection is of no more use."""


def frame(body: tuple[object, ...]) -> bytes:
    """Encode one frame."""
    data = _encoder.encode(body)
    return LENGTH.pack(len(data)) + data


def split(buffer: bytearray) -> list[memoryview]:
    """Return the bodies of the whole frames in a buffer, without removing them.

    Raises:
        FrameError: a frame claims more than any frame may have.
    """
    bodies: list[memoryview] = []
    view = memoryview(buffer)
    at, end = 0, len(buffer)
    while end - at >= LENGTH.size:
        (length,) = LENGTH.unpack_from(buffer, at)
        if length > MAX_FRAME_BYTES:
            raise FrameError(f"A frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
        start = at + LENGTH.size
        if end - start < length:
            break
        bodies.append(view[start : start + length])
        at = start + length
    return bodies


def decode_request(body: memoryview) -> tuple[int, bytes | None]:
    """Decode a request.

    Raises:
        FrameError: the body is no request.
    """
    try:
        return _request_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"A request is not [client_seq, txn]: {error}") from error


def decode_answer(body: bytes | bytearray | memoryview) -> Answered:
    """Decode an answer.

    Raises:
        FrameError: the body is no answer.
    """
    try:
        return _answer_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"An answer cannot be read: {error}") from error
