"""Signature version 2: HMAC-SHA1 over a handful of headers and the resource. Old clients still send it.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
"""

import base64
import hmac
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl

_SUBRESOURCES = frozenset((
    "accelerate", "acl", "analytics", "cors", "delete", "encryption", "inventory", "legal-hold",
    "lifecycle", "location", "logging", "metrics", "notification", "object-lock",
    "ownershipControls", "partNumber", "policy", "policyStatus", "publicAccessBlock", "replication",
    "requestPayment", "response-cache-control", "response-content-disposition",
    "response-content-encoding", "response-content-language", "response-content-type",
    "response-expires", "restore", "retention", "select", "select-type", "storageClass", "tagging",
    "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
    "attributes",
))  # fmt: skip


def resource_text(path: str, query: str) -> str:
    """Return a path with the parts of the query that are signed."""
    signed = sorted(
        (name, value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name in _SUBRESOURCES
    )
    parts = [f"{name}={value}" if value else name for name, value in signed]
    return path + ("?" + "&".join(parts) if parts else "")


def amz_headers(headers: Mapping[str, str]) -> str:
    """Return the lines of Amazon's own headers."""
    names = sorted(name for name in headers if name.startswith("x-amz-"))
    return "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)


def strings_to_sign(
    method: str,
    paths: Sequence[str],
    query: str,
    headers: Mapping[str, str],
    expires: str = "",
) -> Iterator[str]:
    """Yield what is signed, for each way to name the resource; `expires` stands for the date in a signed URL."""
    date = expires or ("" if "x-amz-date" in headers else headers.get("date", ""))
    head = "\n".join(
        (method, headers.get("content-md5", ""), headers.get("content-type", ""), date)
    )
    for path in paths:
        yield f"{head}\n{amz_headers(headers)}{resource_text(path, query)}"


def sign(secret: str, text: str) -> str:
    """Return the signature of a string."""
    digest = hmac.digest(secret.encode(), text.encode("utf-8", "replace"), "sha1")
    return base64.b64encode(digest).decode()


def matches(secret: str, signature: str, texts: Iterator[str]) -> bool:
    """Return whether one of the strings has this signature."""
    given = signature.encode()
    return any(hmac.compare_digest(sign(secret, text).encode(), given) for text in texts)
