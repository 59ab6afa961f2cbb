"""Lifecycle: which objects, versions and uploads have had their time.

Days are counted as S3 does: from when something was written, rounded up to the next midnight UTC.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from node.plugins.object.s3 import tag_rules
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import Element, parse
from node.plugins.object.s3.xml_text import http_time
from node.plugins.object.store.contract import Entry
from node.sdk import Frozen, parse_iso

_DAY_US = 86_400 * 1_000_000
_MAX_RULES = 1000
_PARTS = (
    "ID",
    "Filter",
    "Prefix",
    "Status",
    "Expiration",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
)
_MOVES = ("Transition", "NoncurrentVersionTransition")


class LifecycleRule(Frozen):
    """One rule that is enabled. Days of 0 mean: not."""

    id: str
    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    above_bytes: int = -1
    below_bytes: int = 0
    days: int = 0
    date_us: int = 0
    markers: bool = False
    """Delete markers that hide nothing any more go."""
    noncurrent_days: int = 0
    keep_noncurrent: int = 0
    abort_days: int = 0

    def fits(self, name: str, size: int, sys: Mapping[str, str]) -> bool:
        """Return whether it is about an object."""
        if not name.startswith(self.prefix) or size <= self.above_bytes:
            return False
        if self.below_bytes and size >= self.below_bytes:
            return False
        return not self.tags or set(self.tags) <= set(tag_rules.read(sys))

    def expires_us(self, entry: Entry) -> int | None:
        """Return when the newest version of an object ends by it, or None."""
        if self.days:
            return due_us(entry.modified_at, self.days)
        return self.date_us or None


def due_us(from_us: int, days: int) -> int:
    """Return when so many days are over."""
    return -(-(from_us + days * _DAY_US) // _DAY_US) * _DAY_US


def _number(element: Element, name: str, *, least: int = 1) -> int:
    text = element.value(name).strip()
    if not re.fullmatch(r"-?\d{1,10}", text):
        raise S3Error("MalformedXML")
    if int(text) < least:
        raise S3Error(
            "InvalidArgument", f"'{name}' for Expiration action must be a positive integer"
        )
    return int(text)


def read(root: Element) -> tuple[LifecycleRule, ...]:
    """Return the rules of a LifecycleConfiguration that are enabled.

    Raises:
        S3Error: MalformedXML, InvalidArgument, InvalidRequest, NotImplemented.
    """
    elements = root.only("Rule").all("Rule")
    if not elements or len(elements) > _MAX_RULES:
        raise S3Error("MalformedXML")
    ids = [element.value("ID") for element in elements if element.value("ID")]
    if len(set(ids)) != len(ids):
        raise S3Error(
            "InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule"
        )
    rules = [(_rule(e), e.value("Status").strip()) for e in elements]
    return tuple(rule for rule, status in rules if status == "Enabled")


def _rule(element: Element) -> LifecycleRule:
    if any(element.get(name) is not None for name in _MOVES):
        raise S3Error(
            "NotImplemented", "There is one storage class here: nothing can be moved to another."
        )
    element.only(*_PARTS)
    if element.value("Status").strip() not in ("Enabled", "Disabled"):
        raise S3Error("MalformedXML")
    if len(element.value("ID")) > 255:
        raise S3Error("InvalidArgument", "ID length should not exceed allowed limit of 255")
    fields: dict[str, object] = {"id": element.value("ID"), **_filter(element)}
    expiration = element.get("Expiration")
    noncurrent = element.get("NoncurrentVersionExpiration")
    abort = element.get("AbortIncompleteMultipartUpload")
    if expiration is None and noncurrent is None and abort is None:
        raise S3Error("InvalidRequest", "At least one action needs to be specified in a rule")
    if expiration is not None:
        fields |= _expiration(expiration)
    if noncurrent is not None:
        noncurrent.only("NoncurrentDays", "NewerNoncurrentVersions")
        fields["noncurrent_days"] = _number(noncurrent, "NoncurrentDays")
        if noncurrent.get("NewerNoncurrentVersions") is not None:
            fields["keep_noncurrent"] = _number(noncurrent, "NewerNoncurrentVersions")
    if abort is not None:
        if fields.get("tags"):
            raise S3Error(
                "InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags."
            )
        fields["abort_days"] = _number(abort, "DaysAfterInitiation")
    return LifecycleRule(**fields)  # type: ignore[arg-type]


def _filter(element: Element) -> dict[str, object]:
    found = element.get("Filter")
    if found is None:
        if element.get("Prefix") is None:
            raise S3Error("MalformedXML")
        return {"prefix": element.value("Prefix")}
    if element.get("Prefix") is not None:
        raise S3Error("MalformedXML")
    inner = found.get("And")
    if inner is None:
        if len(list(found)) > 1:
            raise S3Error("MalformedXML")
        inner = found
    inner.only("Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
    fields: dict[str, object] = {"prefix": inner.value("Prefix")}
    tags = tuple((tag.value("Key"), tag.value("Value")) for tag in inner.all("Tag"))
    if len({name for name, _value in tags}) != len(tags):
        raise S3Error("InvalidRequest", "Duplicate Tag Keys are not allowed.")
    fields["tags"] = tags
    if inner.get("ObjectSizeGreaterThan") is not None:
        fields["above_bytes"] = _number(inner, "ObjectSizeGreaterThan", least=0)
    if inner.get("ObjectSizeLessThan") is not None:
        fields["below_bytes"] = _number(inner, "ObjectSizeLessThan")
    return fields


def _expiration(element: Element) -> dict[str, object]:
    given = [n for n in ("Days", "Date", "ExpiredObjectDeleteMarker") if element.get(n) is not None]
    if len(given) != 1:
        raise S3Error("MalformedXML")
    if given[0] == "Days":
        return {"days": _number(element, "Days")}
    if given[0] == "ExpiredObjectDeleteMarker":
        return {"markers": element.value(given[0]).strip().lower() == "true"}
    try:
        at = parse_iso(element.value("Date").strip())
    except (ValueError, OverflowError) as error:
        raise S3Error("MalformedXML") from error
    if at % _DAY_US:
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    return {"date_us": at}


@lru_cache(maxsize=256)
def loaded(text: str) -> tuple[LifecycleRule, ...]:
    """Return the rules of a configuration that was accepted."""
    return read(parse(text)) if text else ()


def header_of(text: str, entry: Entry) -> dict[str, str]:
    """Return the header that says when an object ends; `text` is the bucket's configuration."""
    ends = [
        (at, rule.id)
        for rule in loaded(text)
        if rule.fits(entry.name, entry.size_bytes, entry.sys)
        and (at := rule.expires_us(entry)) is not None
    ]
    if not ends:
        return {}
    at, rule_id = min(ends)
    return {"x-amz-expiration": f'expiry-date="{http_time(at)}", rule-id="{quote(rule_id)}"'}


def is_expired(rules: Sequence[LifecycleRule], entry: Entry, now_us: int) -> bool:
    """Return whether the newest version of an object has had its time."""
    for rule in rules:
        at = rule.expires_us(entry)
        if at is not None and at <= now_us and rule.fits(entry.name, entry.size_bytes, entry.sys):
            return True
    return False


def is_outdated(
    rules: Sequence[LifecycleRule], entry: Entry, since_us: int, newer: int, now_us: int
) -> bool:
    """Return whether an older version has had its time.

    `since_us`: when it was replaced; `newer`: how many others, the newest not counted, are newer.
    """
    return any(
        rule.noncurrent_days
        and due_us(since_us, rule.noncurrent_days) <= now_us
        and newer >= rule.keep_noncurrent
        and rule.fits(entry.name, entry.size_bytes, entry.sys)
        for rule in rules
    )
