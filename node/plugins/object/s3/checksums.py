"""Checksums of uploads: the five that S3 knows, over a whole object or over the checksums of its parts.

CRC32C and CRC64NVME come from awscrt, which is loaded when the first upload has one.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from node.plugins.object.s3.faults import S3Error

LENGTHS = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
"""Length in bytes by algorithm, in lower case as in `x-amz-checksum-crc32`."""
PREFIX = "x-amz-checksum-"
COMPOSITE = "COMPOSITE"
FULL_OBJECT = "FULL_OBJECT"


class Digest(Protocol):
    """A running checksum."""

    def update(self, data: Any, /) -> None:
        """Take more bytes."""

    def digest(self) -> bytes:
        """Return the checksum of what was taken."""


class _Crc:
    def __init__(self, function: Callable[[Any, int], int], length: int) -> None:
        self._function = function
        self._length = length
        self._value = 0

    def update(self, data: Any, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


def new(algorithm: str) -> Digest:
    """Return a running checksum of an algorithm of LENGTHS."""
    match algorithm:
        case "sha1":
            return hashlib.sha1(usedforsecurity=False)
        case "sha256":
            return hashlib.sha256()
        case "crc32":
            return _Crc(zlib.crc32, 4)
    from awscrt.checksums import crc32c, crc64nvme

    return _Crc(crc32c if algorithm == "crc32c" else crc64nvme, LENGTHS[algorithm])


def text_of(digest: bytes) -> str:
    """Return a checksum as headers have it."""
    return base64.b64encode(digest).decode()


def bytes_of(text: str, length: int) -> bytes | None:
    """Return the bytes of a header's value, or None where it is no base64 of this length."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == length else None


def algorithm_of(name: str) -> str:
    """Return an algorithm by its name in any case.

    Raises:
        S3Error: InvalidRequest, there is no such algorithm.
    """
    lower = name.lower()
    if lower not in LENGTHS:
        raise S3Error(
            "InvalidRequest",
            "Checksum algorithm provided is unsupported: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    return lower


def expected(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return (algorithm, value) that the headers of an upload announce; ("", "") where they announce none.

    The value is empty where it follows in a trailer, or where only the algorithm is given.

    Raises:
        S3Error: InvalidRequest, more than one, or one that is no checksum.
    """
    given = [name for name in headers if name.startswith(PREFIX) and name[len(PREFIX) :] in LENGTHS]
    if len(given) > 1:
        raise S3Error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    if given:
        algorithm = given[0][len(PREFIX) :]
        value = headers[given[0]]
        if bytes_of(value, LENGTHS[algorithm]) is None:
            raise S3Error("InvalidRequest", f"Value for {given[0]} header is invalid.")
        named = headers.get("x-amz-sdk-checksum-algorithm", algorithm).lower()
        if named != algorithm:
            raise S3Error(
                "InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid."
            )
        return algorithm, value
    trailer = headers.get("x-amz-trailer", "").strip().lower()
    if trailer.startswith(PREFIX):
        return algorithm_of(trailer[len(PREFIX) :]), ""
    named = headers.get("x-amz-sdk-checksum-algorithm", "")
    return (algorithm_of(named), "") if named else ("", "")
