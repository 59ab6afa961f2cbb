"""Signature version 4: what a client must have signed, from the bytes that came.

Hard part: a client signs the path and the query as it encodes them, and encoders differ. The decoded form, encoded
as the specification says, is tried first, then what was sent. A header that is not ASCII is tried as the bytes that
came, then as the UTF-8 of the latin-1 that they are, which is what Python's clients sign. Everything else is exact.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote_from_bytes, unquote_to_bytes

from node.plugins.object.s3.faults import S3Error
from node.sdk import Frozen

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = sha256(b"").hexdigest()

_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]*)\s*,?")
_SPACES = re.compile(rb" +")
_HEX = re.compile(r"[0-9a-f]{64}")


class Scope(Frozen):
    """What a signature says of itself."""

    access: str
    date: str
    region: str
    service: str
    signed: tuple[str, ...]
    """Names of the signed headers."""
    signature: str

    @property
    def text(self) -> str:
        """Return the credential scope."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def scope_of(credential: str, signed: str, signature: str, code: str) -> Scope:
    """Return the scope of a credential text.

    Raises:
        S3Error: `code`, something is missing or malformed.
    """
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not parts[0]:
        raise S3Error(
            code,
            "The credential is malformed: expecting <key>/YYYYMMDD/REGION/SERVICE/aws4_request.",
        )
    access, date, region, service, ending = parts
    if ending != "aws4_request" or service != "s3":
        raise S3Error(
            code,
            "The credential is malformed: it must be for the service s3 and end with aws4_request.",
        )
    if not signed or not _HEX.fullmatch(signature):
        raise S3Error(
            code, "The signature, or the list of signed headers, is missing or malformed."
        )
    return Scope(
        access=access,
        date=date,
        region=region,
        service=service,
        signature=signature,
        signed=tuple(name.lower() for name in signed.split(";")),
    )


def scope_of_header(text: str) -> Scope:
    """Return the scope of an Authorization header."""
    found = dict(_PART.findall(text.partition(" ")[2]))
    missing = {"Credential", "SignedHeaders", "Signature"} - set(found)
    code = "AuthorizationHeaderMalformed"
    if missing:
        raise S3Error(code, f"The authorization header has no {', '.join(sorted(missing))}.")
    return scope_of(found["Credential"], found["SignedHeaders"], found["Signature"], code)


@lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Return the key of a day, a region and a service."""
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def string_to_sign(kind: str, moment: str, scope: Scope, *hashes: str) -> bytes:
    """Return what the key is applied to."""
    return "\n".join((kind, moment, scope.text, *hashes)).encode()


def sign(secret: str, scope: Scope, text: bytes) -> str:
    """Return the signature of a string to sign."""
    key = signing_key(secret, scope.date, scope.region, scope.service)
    return hmac.digest(key, text, "sha256").hex()


def encoded(data: bytes, safe: str = "") -> str:
    """Return bytes in the encoding of the specification."""
    return quote_from_bytes(data, safe=safe + "-_.~")


def canonical_query(query: str) -> str:
    """Return the query as it is signed; the signature itself is no part of it."""
    if not query:
        return ""
    pairs = []
    for part in query.split("&"):
        name, _equals, value = part.partition("=")
        if part and name != "X-Amz-Signature":
            pairs.append((encoded(unquote_to_bytes(name)), encoded(unquote_to_bytes(value))))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def canonical_headers(
    names: Sequence[str], headers: Mapping[str, str], encoding: str = "latin-1"
) -> bytes:
    """Return the lines of the signed headers."""
    lines = []
    for name in names:
        value = headers.get(name, "").encode(encoding, "replace").strip()
        lines.append(name.encode("latin-1") + b":" + _SPACES.sub(b" ", value) + b"\n")
    return b"".join(lines)


def canonical_requests(
    method: str, path: str, query: str, scope: Scope, headers: Mapping[str, str], payload: str
) -> Iterator[bytes]:
    """Yield the canonical request in each way in which path and headers can have been encoded."""
    head = f"\n{canonical_query(query)}\n".encode()
    tail = f"\n{';'.join(scope.signed)}\n{payload}".encode("utf-8", "replace")
    strict = encoded(unquote_to_bytes(path), safe="/")
    plain = all(headers.get(name, "").isascii() for name in scope.signed)
    for encoding in ("latin-1",) if plain else ("latin-1", "utf-8"):
        rest = head + canonical_headers(scope.signed, headers, encoding) + tail
        for form in dict.fromkeys((strict, path)):
            yield f"{method}\n{form}".encode("utf-8", "replace") + rest


def matches(secret: str, scope: Scope, moment: str, requests: Iterator[bytes]) -> bool:
    """Return whether one of the canonical requests has the signature that the scope carries."""
    for request in requests:
        text = string_to_sign(ALGORITHM, moment, scope, sha256(request).hexdigest())
        if hmac.compare_digest(sign(secret, scope, text), scope.signature):
            return True
    return False
