"""Object lock: what may not be deleted yet.

An object's retention is kept as `s3-lock-mode` and `s3-lock-until` (ISO 8601), its legal hold as `s3-hold`; a
bucket's default as `s3-lock`: "on", or "on GOVERNANCE 3 Days".

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from collections.abc import Mapping

from node.plugins.object.retention_rules import has_lock, is_locked
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import Element
from node.plugins.object.s3.xml_text import xml_time
from node.plugins.object.tables import Container
from node.sdk import Frozen, parse_iso

__all__ = ["has_lock", "is_locked"]

MODES = ("GOVERNANCE", "COMPLIANCE")
_DAY_US = 86_400 * 1_000_000
_MAX = {"Days": 36_500, "Years": 100}


class Default(Frozen):
    """The retention of new objects."""

    mode: str
    unit: str
    count: int

    def until(self, now_us: int) -> str:
        """Return when the retention of an object that is made now ends."""
        days = self.count * (365 if self.unit == "Years" else 1)
        return xml_time(now_us + days * _DAY_US)


def default_of(container: Container) -> Default | None:
    """Return a bucket's default retention."""
    words = container.sys.get("s3-lock", "").split()
    if len(words) != 4:
        return None
    return Default(mode=words[1], count=int(words[2]), unit=words[3])


def configuration(root: Element) -> str:
    """Return an ObjectLockConfiguration as it is kept.

    Raises:
        S3Error: MalformedXML, InvalidArgument.
    """
    root.only("ObjectLockEnabled", "Rule")
    if root.value("ObjectLockEnabled") != "Enabled":
        raise S3Error("MalformedXML")
    rule = root.get("Rule")
    if rule is None:
        return "on"
    default = rule.get("DefaultRetention")
    if default is None or default.value("Mode") not in MODES:
        raise S3Error("MalformedXML")
    given = [unit for unit in _MAX if default.get(unit) is not None]
    if len(given) != 1:
        raise S3Error("MalformedXML")
    count = default.value(given[0])
    if not count.removeprefix("-").isdigit():
        raise S3Error("MalformedXML")
    if not 0 < int(count[:9]) <= _MAX[given[0]]:
        raise S3Error(
            "InvalidArgument", "Default retention period must be a positive integer value."
        )
    return f"on {default.value('Mode')} {int(count)} {given[0]}"


def until_us(text: str, now_us: int, *, future: bool = True) -> int:
    """Return a retain-until date.

    Raises:
        S3Error: InvalidArgument, it is none, or lies in the past.
    """
    try:
        at = parse_iso(text)
    except (ValueError, OverflowError) as error:
        raise S3Error(
            "InvalidArgument",
            "The retain until date must be provided in ISO 8601 format",
            ArgumentName="x-amz-object-lock-retain-until-date",
            ArgumentValue=text,
        ) from error
    if future and at <= now_us:
        raise S3Error(
            "InvalidArgument",
            "The retain until date must be in the future!",
            ArgumentName="x-amz-object-lock-retain-until-date",
            ArgumentValue=text,
        )
    return at


def of_upload(headers: Mapping[str, str], container: Container, now_us: int) -> dict[str, str]:
    """Return what of `sys` locks a new object: what its headers say, or the bucket's default.

    Raises:
        S3Error: InvalidRequest, the bucket has no lock; InvalidArgument.
    """
    mode = headers.get("x-amz-object-lock-mode")
    until = headers.get("x-amz-object-lock-retain-until-date")
    hold = headers.get("x-amz-object-lock-legal-hold")
    if (mode, until, hold) != (None, None, None) and not has_lock(container):
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")
    if (mode is None) != (until is None):
        raise S3Error(
            "InvalidArgument",
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
        )
    found: dict[str, str] = {}
    if mode is not None and until is not None:
        if mode not in MODES:
            raise S3Error(
                "InvalidArgument",
                "Unknown wormMode directive.",
                ArgumentName="x-amz-object-lock-mode",
                ArgumentValue=mode,
            )
        found = {"s3-lock-mode": mode, "s3-lock-until": xml_time(until_us(until, now_us))}
    elif (default := default_of(container)) is not None:
        found = {"s3-lock-mode": default.mode, "s3-lock-until": default.until(now_us)}
    if hold is not None:
        if hold not in ("ON", "OFF"):
            raise S3Error(
                "InvalidArgument",
                "Legal Hold must be either of 'ON' or 'OFF'",
                ArgumentName="x-amz-object-lock-legal-hold",
                ArgumentValue=hold,
            )
        found["s3-hold"] = hold
    return found


def check_change(
    old: Mapping[str, str], mode: str, until_at_us: int, now_us: int, *, bypass: bool
) -> None:
    """Refuse to weaken a retention that holds.

    Raises:
        S3Error: AccessDenied.
    """
    held = old.get("s3-lock-mode", "")
    ends = parse_iso(old.get("s3-lock-until", "1970-01-01"))
    if not held or ends <= now_us:
        return
    weaker = until_at_us < ends or mode != held
    if held == "COMPLIANCE" and weaker:
        raise S3Error("AccessDenied", "Access Denied because object protected by object lock.")
    if held == "GOVERNANCE" and not bypass and (until_at_us < ends or not mode):
        raise S3Error("AccessDenied", "Access Denied because object protected by object lock.")
