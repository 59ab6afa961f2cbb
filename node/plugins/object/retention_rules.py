"""Whether a version may be deleted: S3's object lock, which holds in both views.

A retention is kept in an entry's `sys` as `s3-lock-mode` and `s3-lock-until` (ISO 8601), a legal hold as `s3-hold`.
"""

from collections.abc import Mapping

from node.plugins.object.tables import Container
from node.sdk import parse_iso


def has_lock(container: Container) -> bool:
    """Return whether a bucket can lock objects."""
    return bool(container.sys.get("s3-lock"))


def is_locked(sys: Mapping[str, str], now_us: int, *, bypass: bool = False) -> bool:
    """Return whether a version may not be deleted. `bypass`: the caller may override governance."""
    if sys.get("s3-hold") == "ON":
        return True
    mode = sys.get("s3-lock-mode", "")
    if not mode or parse_iso(sys.get("s3-lock-until", "1970-01-01")) <= now_us:
        return False
    return mode == "COMPLIANCE" or not bypass
