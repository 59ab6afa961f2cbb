"""Encryption with a customer's key: the key comes with each request and is never kept.

Data is AES-256 in counter mode, so that a range can be read alone. A counter block is 12 random bytes of its own for
each object, or each part of one, and 4 bytes of counter. What is kept of a key is a salted hash of it, so that
another key is refused rather than answered with noise.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from typing import Any

from node.plugins.object.s3.checksums import bytes_of
from node.plugins.object.s3.faults import S3Error
from node.sdk import Frozen

_CUSTOMER = "x-amz-server-side-encryption-customer-"
_PREFIX = "x-amz-server-side-encryption"
_BLOCK = 16
_NONCE = 12


class CustomerKey(Frozen):
    """A key, and its MD5 as the client sent it."""

    key: bytes
    md5: str


def customer_key(headers: Mapping[str, str], prefix: str = "") -> CustomerKey | None:
    """Return the key of a request, or None where it has none. `prefix`: `x-amz-copy-source-` for a source's.

    Raises:
        S3Error: InvalidArgument, it is incomplete or not what its MD5 says; InvalidEncryptionAlgorithmError.
    """
    begin = "x-amz-copy-source-server-side-encryption-customer-" if prefix else _CUSTOMER
    algorithm, key, digest = (headers.get(begin + name) for name in ("algorithm", "key", "key-md5"))
    if (algorithm, key, digest) == (None, None, None):
        return None
    if algorithm is None:
        raise S3Error(
            "InvalidArgument",
            "Requests with a customer provided key must provide a valid encryption algorithm.",
            ArgumentName=begin + "algorithm",
        )
    if algorithm != "AES256":
        raise S3Error(
            "InvalidEncryptionAlgorithmError",
            "The encryption request that you specified is not valid. The valid value is AES256.",
        )
    if key is None or digest is None:
        raise S3Error(
            "InvalidArgument",
            "Requests with a customer provided key must provide the key and its MD5.",
            ArgumentName=begin + "key",
        )
    raw = bytes_of(key, 32)
    if raw is None:
        raise S3Error(
            "InvalidArgument",
            "The secret key was invalid for the specified algorithm.",
            ArgumentName=begin + "key",
        )
    if bytes_of(digest, 16) != hashlib.md5(raw, usedforsecurity=False).digest():
        raise S3Error(
            "InvalidArgument",
            "The calculated MD5 hash of the key did not match the hash that was provided.",
            ArgumentName=begin + "key-MD5",
        )
    return CustomerKey(key=raw, md5=digest)


def of_upload(
    headers: Mapping[str, str], default: str, *, plain: bool
) -> tuple[CustomerKey | None, dict[str, str]]:
    """Return the customer's key of an upload, and what of `sys` says how it is kept. `default`: the bucket's.

    Raises:
        S3Error: InvalidArgument, NotImplemented for keys of a key service.
    """
    key = customer_key(headers)
    asked = headers.get(_PREFIX)
    if key is not None:
        if asked is not None:
            raise S3Error(
                "InvalidArgument",
                "A customer provided key is incompatible with the encryption method specified.",
                ArgumentName=_PREFIX,
                ArgumentValue=asked,
            )
        if plain and not _loopback(headers):
            raise S3Error(
                "InvalidRequest",
                "Requests with a customer provided key must be made over a secure connection.",
            )
        return key, {"s3-ssec-md5": key.md5, "s3-ssec-check": _check_text(key.key)}
    if asked is None:
        if headers.get(f"{_PREFIX}-aws-kms-key-id") is not None:
            raise S3Error(
                "InvalidArgument",
                "A KMS key requires the header x-amz-server-side-encryption: aws:kms.",
                ArgumentName=_PREFIX,
            )
        return None, {"s3-sse": default} if default else {}
    if asked in ("aws:kms", "aws:kms:dsse"):
        raise S3Error(
            "NotImplemented",
            "There is no key management service here: use AES256, or a key of your own.",
        )
    if asked != "AES256":
        raise S3Error(
            "InvalidArgument",
            "The encryption method specified is not supported",
            ArgumentName=_PREFIX,
            ArgumentValue=asked,
        )
    raise S3Error(
        "NotImplemented",
        "The store does not encrypt by itself: leave x-amz-server-side-encryption out, or bring a key of your own.",
    )


def _loopback(headers: Mapping[str, str]) -> bool:
    host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    return host in ("localhost", "127.0.0.1", "[::1]")


def _check_text(key: bytes) -> str:
    salt = os.urandom(16)
    return base64.b64encode(salt + hmac.digest(salt, key, "sha256")).decode()


def check_read(
    headers: Mapping[str, str], sys: Mapping[str, str], prefix: str = ""
) -> CustomerKey | None:
    """Return the key that opens an object, or None where it is not encrypted.

    Raises:
        S3Error: InvalidRequest, the key is missing or there should be none; AccessDenied, it is another one.
    """
    key = customer_key(headers, prefix)
    kept = sys.get("s3-ssec-check", "")
    if not kept:
        if key is not None:
            raise S3Error(
                "InvalidRequest", "The encryption parameters are not applicable to this object."
            )
        return None
    if key is None:
        raise S3Error(
            "InvalidRequest",
            "The object was stored with a customer provided key, which must be provided to retrieve it.",
        )
    data = base64.b64decode(kept)
    if not hmac.compare_digest(hmac.digest(data[:16], key.key, "sha256"), data[16:]):
        raise S3Error(
            "AccessDenied",
            "The provided encryption key is not the one that the object was stored with.",
        )
    return key


def new_nonce() -> str:
    """Return a nonce for one object or part, as it is kept."""
    return base64.b64encode(os.urandom(_NONCE)).decode()


class Cipher:
    """Encrypts, or decrypts, one object or part from an offset on."""

    def __init__(self, key: CustomerKey, nonce: str, offset: int = 0) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher as Aes
        from cryptography.hazmat.primitives.ciphers import algorithms, modes

        counter = (offset // _BLOCK).to_bytes(_BLOCK - _NONCE, "big")
        mode = modes.CTR(base64.b64decode(nonce) + counter)
        self._context = Aes(algorithms.AES(key.key), mode).encryptor()
        self._context.update(bytes(offset % _BLOCK))

    def update(self, data: Any) -> bytes:
        """Return more bytes, the other way round."""
        return self._context.update(data)


def opened(
    blocks: Iterator[bytes], key: CustomerKey, nonces: str, sizes: list[int], offset: int
) -> Iterator[bytes]:
    """Decrypt blocks that begin at an offset of an object of parts, each with a nonce of its own."""
    some = nonces.split(",")
    at, index = offset, 0
    while index < len(some) - 1 and at >= sizes[index]:
        at -= sizes[index]
        index += 1
    cipher = Cipher(key, some[index], at)
    for block in blocks:
        view = memoryview(block)
        while view:
            last = index >= len(some) - 1
            room = len(view) if last else min(len(view), sizes[index] - at)
            if room:
                yield cipher.update(view[:room])
            view, at = view[room:], at + room
            if not last and at >= sizes[index]:
                at, index = 0, index + 1
                cipher = Cipher(key, some[index], 0)
