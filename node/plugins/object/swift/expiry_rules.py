"""When objects expire.

Source: https://docs.openstack.org/swift/latest/overview_expiring_objects.html
"""

from collections.abc import Mapping

from node.plugins.object.swift.faults import Refusal
from node.sdk import Micros

_MOST = 10**10


def delete_at(headers: Mapping[str, str], now_us: int) -> int | None:
    """Return the second at which an object is to be deleted, as the headers say; None: never.

    Raises:
        Refusal: 400, it is no number, or it has passed.
    """
    now = now_us // 1_000_000
    if "x-delete-after" in headers:
        after = _number(headers["x-delete-after"], "X-Delete-After")
        if after <= 0:
            raise Refusal(400, "X-Delete-After in past")
        if now + after >= _MOST:
            raise Refusal(400, "X-Delete-After too far in the future")
        return now + after
    if headers.get("x-delete-at"):
        at = _number(headers["x-delete-at"], "X-Delete-At")
        if at <= now:
            raise Refusal(400, "X-Delete-At in past")
        if at >= _MOST:
            raise Refusal(400, "X-Delete-At too far in the future")
        return at
    return None


def micros(at_s: int | None) -> Micros | None:
    """Return a second as rows and entries have it."""
    return None if at_s is None else Micros(at_s * 1_000_000)


def _number(text: str, header: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Refusal(400, f"Non-integer {header}") from None
