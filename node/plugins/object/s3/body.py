"""The body of a request, unwrapped and verified while it is read.

Whoever reads to the end has had checked what the client promised: the length, the SHA-256 of the signature, the
signature of each chunk, Content-MD5 and a checksum in a header or a trailer. Nothing is committed before that end.

Blocks are views of one buffer of the thread: each is valid until the next is asked for.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

import base64
import binascii
import hmac
import threading
from collections.abc import Callable, Iterator, Mapping
from hashlib import md5, sha256
from typing import Any

from node.plugins.object.s3 import checksums
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.signature_v4 import EMPTY_SHA256
from node.sdk import Frozen

BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
_MAX_LINE_BYTES = 8192
_buffers = threading.local()

Signer = Callable[[str, tuple[str, ...]], str]
"""Called with the kind of a string to sign and its last lines; returns the signature."""


class Promise(Frozen):
    """How a body is wrapped and what it must turn out to be."""

    length: int | None
    """Of the object's bytes."""
    sha256: str = ""
    chunked: bool = False
    """Wrapped in aws-chunked."""
    seed: str = ""
    """Signature of the headers, where chunks are signed."""
    signer: Signer | None = None
    trailer: bool = False


class Verified(Frozen):
    """What was found at the end."""

    md5: str
    size: int
    algorithm: str = ""
    checksum: str = ""


def buffer(size: int = BLOCK_BYTES) -> memoryview:
    """Return a buffer of this thread: a small one for what is known to be small."""
    name = "small" if size <= _SMALL_BYTES else "large"
    found: memoryview | None = getattr(_buffers, name, None)
    if found is None:
        found = memoryview(bytearray(_SMALL_BYTES if name == "small" else BLOCK_BYTES))
        setattr(_buffers, name, found)
    return found


class Body:
    """See the module. Read it once: `blocks` or `read_all`."""

    def __init__(self, stream: Any, headers: Mapping[str, str], promise: Promise) -> None:
        self._stream = stream
        self._headers = headers
        self._promise = promise
        self.trailers: dict[str, str] = {}

    @property
    def length(self) -> int | None:
        """Return how many bytes were announced."""
        return self._promise.length

    def read_all(self, limit: int, code: str = "MaxMessageLengthExceeded") -> bytes:
        """Return a small body, verified.

        Raises:
            S3Error: `code`, it is larger than the limit.
        """
        parts = []
        size = 0
        for block in self.blocks():
            size += len(block)
            if size > limit:
                raise S3Error(code)
            parts.append(bytes(block))
        data = b"".join(parts)
        self._check_md5(md5(data, usedforsecurity=False))
        self._check_checksum(data)
        return data

    def _check_checksum(self, data: bytes) -> None:
        algorithm, _value = checksums.expected(self._headers)
        if algorithm:
            digest = checksums.new(algorithm)
            digest.update(data)
            self._checked(algorithm, checksums.text_of(digest.digest()))

    def pour(self, write: Callable[[memoryview], object], algorithm: str = "") -> Verified:
        """Hand all bytes to `write` and return what they are.

        `algorithm`: a checksum that is wanted where the client announces none.
        """
        named, _value = checksums.expected(self._headers)
        named = named or algorithm
        whole = md5(usedforsecurity=False)
        extra = checksums.new(named) if named else None
        size = 0
        for block in self.blocks():
            whole.update(block)
            if extra is not None:
                extra.update(block)
            write(block)
            size += len(block)
        self._check_md5(whole)
        found = ""
        if extra is not None:
            found = checksums.text_of(extra.digest())
            self._checked(named, found)
        return Verified(md5=whole.hexdigest(), size=size, algorithm=named, checksum=found)

    def _check_md5(self, digest: Any) -> None:
        given = self._headers.get("content-md5")
        if given is None:
            return
        if digest.digest() != content_md5(given):
            raise S3Error("BadDigest")

    def _checked(self, algorithm: str, found: str) -> None:
        name = checksums.PREFIX + algorithm
        given = self._headers.get(name) or self.trailers.get(name)
        if given is not None and given != found:
            raise S3Error(
                "BadDigest",
                f"The {algorithm.upper()} you specified did not match the calculated checksum.",
            )

    def blocks(self) -> Iterator[memoryview]:
        """Yield the bytes."""
        if self._promise.chunked:
            yield from self._unwrapped()
            return
        announced = self._promise.length or 0
        view = buffer(announced)
        running = sha256() if self._promise.sha256 not in ("", EMPTY_SHA256) else None
        size = 0
        while got := self._stream.readinto(view):
            size += got
            block = view[:got]
            if running is not None:
                running.update(block)
            yield block
        if running is not None and running.hexdigest() != self._promise.sha256:
            raise S3Error("XAmzContentSHA256Mismatch")
        if self._promise.sha256 == EMPTY_SHA256 and size:
            raise S3Error("XAmzContentSHA256Mismatch")

    def _unwrapped(self) -> Iterator[memoryview]:
        promise = self._promise
        source = _Source(self._stream, buffer((promise.length or 0) + 1024))
        previous, total = promise.seed, 0
        while True:
            size, signature = _chunk_head(source.line())
            total += size
            if promise.length is not None and total > promise.length:
                raise S3Error(
                    "IncompleteBody", "The body is longer than x-amz-decoded-content-length says."
                )
            running = sha256() if promise.signer is not None else None
            for block in source.take(size):
                if running is not None:
                    running.update(block)
                yield block
            if promise.signer is not None and running is not None:
                hashes = (previous, EMPTY_SHA256, running.hexdigest())
                wanted = promise.signer("AWS4-HMAC-SHA256-PAYLOAD", hashes)
                if not hmac.compare_digest(wanted.encode(), signature.encode()):
                    raise S3Error("SignatureDoesNotMatch")
                previous = wanted
            if size == 0:
                break
            source.expect_end_of_line()
        if promise.length is not None and total != promise.length:
            raise S3Error("IncompleteBody")
        self._read_trailers(source, previous)

    def _read_trailers(self, source: "_Source", previous: str) -> None:
        """Read what stands behind the last chunk, and check its signature."""
        signed = []
        while line := source.line(may_end=True):
            name, _colon, value = line.decode("latin-1").partition(":")
            name, value = name.strip().lower(), value.strip()
            if name != "x-amz-trailer-signature":
                signed.append(f"{name}:{value}\n")
            self.trailers[name] = value
        promise = self._promise
        if not promise.trailer:
            return
        wanted = {
            n.strip().lower()
            for n in self._headers.get("x-amz-trailer", "").split(",")
            if n.strip()
        }
        if {name for name in self.trailers if name != "x-amz-trailer-signature"} != wanted:
            raise S3Error("InvalidRequest", "The trailers are not those that x-amz-trailer names.")
        if promise.signer is None:
            return
        text = promise.signer(
            "AWS4-HMAC-SHA256-TRAILER",
            (previous, sha256("".join(signed).encode("latin-1")).hexdigest()),
        )
        given = self.trailers.get("x-amz-trailer-signature", "")
        if not hmac.compare_digest(text.encode(), given.encode("latin-1")):
            raise S3Error("SignatureDoesNotMatch")


class _Source:
    """Lines and runs of bytes of a stream, through one buffer."""

    def __init__(self, stream: Any, view: memoryview) -> None:
        self._stream = stream
        self._view = view
        self._at = self._end = 0

    def _fill(self) -> bool:
        if self._at == self._end:
            self._at, self._end = 0, self._stream.readinto(self._view)
        return self._end > self._at

    def line(self, *, may_end: bool = False) -> bytes:
        """Return the next line without its end."""
        parts = bytearray()
        while True:
            if not self._fill():
                if may_end and not parts:
                    return b""
                raise S3Error("IncompleteBody")
            found = bytes(self._view[self._at : min(self._end, self._at + _MAX_LINE_BYTES)])
            cut = found.find(b"\n")
            parts += found[: cut + 1] if cut >= 0 else found
            self._at += cut + 1 if cut >= 0 else len(found)
            if cut >= 0:
                return bytes(parts).rstrip(b"\r\n")
            if len(parts) >= _MAX_LINE_BYTES:
                raise S3Error("InvalidRequest", "A line of the chunked body is too long.")

    def take(self, size: int) -> Iterator[memoryview]:
        """Yield this many bytes."""
        while size:
            if not self._fill():
                raise S3Error("IncompleteBody")
            got = min(size, self._end - self._at)
            block = self._view[self._at : self._at + got]
            self._at += got
            size -= got
            yield block

    def expect_end_of_line(self) -> None:
        """Read past the end of a chunk."""
        if self.line():
            raise S3Error("InvalidRequest", "A chunk is longer than its header says.")


def _chunk_head(line: bytes) -> tuple[int, str]:
    """Return the size and the signature in the header of a chunk."""
    size, _semicolon, extension = line.partition(b";")
    try:
        count = int(size, 16) if size.strip(b"0123456789abcdefABCDEF") == b"" else -1
    except ValueError:
        count = -1
    if count < 0:
        raise S3Error("InvalidRequest", "The header of a chunk is malformed.")
    name, _equals, value = extension.decode("latin-1").partition("=")
    return count, value.strip() if name.strip() == "chunk-signature" else ""


def content_md5(text: str) -> bytes:
    """Return the bytes of a Content-MD5 header.

    Raises:
        S3Error: InvalidDigest.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise S3Error("InvalidDigest") from error
    if len(found) != 16:
        raise S3Error("InvalidDigest")
    return found
