"""Quota limits of compute: names, defaults, and which of them a microversion shows."""

from collections.abc import Mapping
from types import MappingProxyType

from node.plugins.compute.server_ops import quota_counter
from node.plugins.compute.tables import ComputeQuota
from node.sdk import Forbidden, OverQuota, Reader

DEFAULTS: Mapping[str, int] = MappingProxyType(
    {
        "instances": 10,
        "cores": 20,
        "ram": 51200,
        "fixed_ips": -1,
        "floating_ips": -1,
        "injected_file_content_bytes": 10240,
        "injected_file_path_bytes": 255,
        "injected_files": 5,
        "key_pairs": 100,
        "metadata_items": 128,
        "security_groups": -1,
        "security_group_rules": -1,
        "server_groups": 10,
        "server_group_members": 10,
    }
)
"""Limit by resource; -1 is no limit. ram is in MiB."""
COUNTED = frozenset({"instances", "cores", "ram", "server_groups"})
"""Resources whose use is counted by project."""
DEFAULT_CLASS = "class/default"

_NETWORK = frozenset({"fixed_ips", "floating_ips", "security_groups", "security_group_rules"})
_INJECTED = frozenset({"injected_file_content_bytes", "injected_file_path_bytes", "injected_files"})


def defaults(db: Reader) -> dict[str, int]:
    """Return the limits of a project that has none of its own."""
    row = db.get(ComputeQuota, DEFAULT_CLASS)
    return {**DEFAULTS, **(row.limits if row else {})}


def limits_of(db: Reader, project_id: str) -> dict[str, int]:
    """Return the limits of a project."""
    row = db.get(ComputeQuota, project_id)
    return {**defaults(db), **(row.limits if row else {})}


def shown(version: tuple[int, int]) -> list[str]:
    """Return the resources that a microversion knows."""
    hidden: frozenset[str] = frozenset()
    if version >= (2, 36):
        hidden |= _NETWORK
    if version >= (2, 57):
        hidden |= _INJECTED
    return [name for name in DEFAULTS if name not in hidden]


def in_use(db: Reader, project_id: str) -> dict[str, int]:
    """Return what a project uses, by resource."""
    return {
        name: db.counter(quota_counter(project_id, name)) if name in COUNTED else 0
        for name in DEFAULTS
    }


def exceeded(error: OverQuota, requested: Mapping[str, int]) -> Forbidden:
    """Return Nova's words for a counter that is at its limit."""
    name = str(error.detail.get("counter", "")).rpartition(":")[2]
    used, limit = error.detail.get("used", 0), error.detail.get("limit", 0)
    return Forbidden(
        f"Quota exceeded for {name}: Requested {requested.get(name, 1)},"
        f" but already used {used} of {limit} {name}"
    )
