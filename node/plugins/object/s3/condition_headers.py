"""Conditional requests: If-Match and its kin, for reads, copies and writes.

Source: RFC 9110, section 13, and https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_rules import entry_headers
from node.plugins.object.store.contract import ANY, Condition, Entry

_SECOND_US = 1_000_000


class NotModified(S3Error):
    """304: the client has it already."""

    def __init__(self, entry: Entry) -> None:
        headers = entry_headers(entry)
        kept = ("ETag", "Last-Modified", "Cache-Control", "Expires", "x-amz-version-id")
        super().__init__("InvalidRequest", headers={n: headers[n] for n in kept if n in headers})
        vars(self)["status"] = 304


def _names(etag: str, header: str) -> bool:
    """Return whether a list of ETags has this one."""
    given = (part.strip().removeprefix("W/").strip('"') for part in header.split(","))
    return any(one in ("*", etag) for one in given)


def _moment(text: str) -> int | None:
    """Return a date in microseconds, or None where it is none: such headers do not count."""
    try:
        found = parsedate_to_datetime(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()) * _SECOND_US
    except (ValueError, TypeError, OverflowError):
        return None


def check_read(headers: Mapping[str, str], entry: Entry, prefix: str = "") -> None:
    """Hold a read, or with the prefix `x-amz-copy-source-` a copy, to its conditions.

    Raises:
        S3Error: PreconditionFailed; NotModified in reads.
    """
    match, none = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    since = headers.get(f"{prefix}if-modified-since")
    unmodified = headers.get(f"{prefix}if-unmodified-since")
    changed_at = entry.modified_at // _SECOND_US * _SECOND_US
    if match is not None:
        if not _names(entry.etag, match):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    elif unmodified is not None:
        at = _moment(unmodified)
        if at is not None and changed_at > at:
            raise S3Error("PreconditionFailed", Condition="If-Unmodified-Since")
    if none is not None:
        if _names(entry.etag, none):
            raise (
                S3Error("PreconditionFailed", Condition="If-None-Match")
                if prefix
                else NotModified(entry)
            )
    elif since is not None:
        at = _moment(since)
        if at is not None and changed_at <= at:
            raise (
                S3Error("PreconditionFailed", Condition="If-Modified-Since")
                if prefix
                else NotModified(entry)
            )


def write_condition(headers: Mapping[str, str]) -> Condition:
    """Return what must hold of the object that a write replaces.

    Raises:
        S3Error: NotImplemented, a condition that S3 does not have for writes.
    """
    match, none = headers.get("if-match"), headers.get("if-none-match")
    if match is None and none is None:
        return ANY
    if none is not None and (none.strip() != "*" or match is not None):
        raise S3Error("NotImplemented", Header="If-None-Match")
    if none is not None:
        return Condition(absent=True)
    return Condition(etag=(match or "").strip().strip('"'))
