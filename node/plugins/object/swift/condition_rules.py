"""Conditions of a request: ETags and dates.

Source: RFC 9110, 13.1.
"""

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

from node.plugins.object.swift.faults import Refusal


def etags(header: str) -> set[str]:
    """Return the ETags of a header, without quotes."""
    return {
        word.strip().removeprefix("W/").strip('"') for word in header.split(",") if word.strip()
    }


def hold(
    headers: Mapping[str, str], known: Iterable[str], modified_s: int, answer: Mapping[str, str]
) -> bool:
    """Return whether the body is to be sent: False means 304.

    `known`: the ETags that the object goes by; `answer`: the headers that a refusal carries too.

    Raises:
        Refusal: 412, a condition does not hold.
    """
    ours = {etag.strip('"') for etag in known}
    told = {
        name: answer[name] for name in ("ETag", "Last-Modified", "X-Timestamp") if name in answer
    }
    if "if-match" in headers:
        wanted = etags(headers["if-match"])
        if "*" not in wanted and not wanted & ours:
            raise Refusal(412, headers=told)
    elif (since := _second(headers.get("if-unmodified-since"))) is not None and modified_s > since:
        raise Refusal(412, headers=told)
    if "if-none-match" in headers:
        unwanted = etags(headers["if-none-match"])
        return not ("*" in unwanted or unwanted & ours)
    since = _second(headers.get("if-modified-since"))
    return since is None or modified_s > since


def range_holds(headers: Mapping[str, str], known: Iterable[str], modified_s: int) -> bool:
    """Return whether ranges count: `If-Range` names what the object is now."""
    condition = headers.get("if-range", "").strip()
    if not condition:
        return True
    if condition.startswith('"') or _second(condition) is None:
        return condition.strip('"') in {etag.strip('"') for etag in known}
    return _second(condition) == modified_s


def _second(text: str | None) -> int | None:
    """Return the time of a header in seconds; None: there is none that can be understood."""
    if not text:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
