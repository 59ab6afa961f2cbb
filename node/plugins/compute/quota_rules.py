"""Quota limits of compute: names, defaults, and which of them a microversion shows."""

from collections.abc import Mapping
from types import MappingProxyType

from node.plugins.compute.server_ops import quota_counter
from node.plugins.compute.tables import ComputeQuota, FlavorFacts, Server, ServerGroup
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


def user_row(project_id: str, user_id: str) -> str:
    """Return the id of the row that holds a user's limits within a project."""
    return f"{project_id}/{user_id}"


def user_limits(db: Reader, project_id: str, user_id: str) -> dict[str, int]:
    """Return the limits of a user within a project: the project's where the user has none."""
    row = db.get(ComputeQuota, user_row(project_id, user_id)) if user_id else None
    return {**limits_of(db, project_id), **(row.limits if row else {})}


def user_in_use(db: Reader, project_id: str, user_id: str) -> dict[str, int]:
    """Return what a user uses within a project, counted from rows."""
    flavors = [
        s.flavor for s in db.rows(Server, project_id=project_id, user_id=user_id) if s.flavor
    ]
    return {
        **dict.fromkeys(DEFAULTS, 0),
        "instances": len(flavors),
        "cores": sum(flavor.vcpus for flavor in flavors),
        "ram": sum(flavor.memory_mib for flavor in flavors),
        "server_groups": db.count(ServerGroup, project_id=project_id, user_id=user_id),
    }


def affordable(
    db: Reader, project_id: str, user_id: str, flavor: FlavorFacts, least: int, most: int
) -> int:
    """Return how many servers of a flavor the quotas of project and user allow, at most `most`.

    Raises:
        Forbidden: 403, fewer than `least`.
    """
    scopes = [(limits_of(db, project_id), in_use(db, project_id))]
    if db.get(ComputeQuota, user_row(project_id, user_id)) is not None:
        scopes.append((user_limits(db, project_id, user_id), user_in_use(db, project_id, user_id)))
    for limits, used in scopes:
        for name, each in (("instances", 1), ("cores", flavor.vcpus), ("ram", flavor.memory_mib)):
            if limits[name] < 0:
                continue
            room = (limits[name] - used[name]) // each
            if room < least:
                error = OverQuota(counter=name, used=used[name], limit=limits[name])
                raise exceeded(error, {name: each * least})
            most = min(most, room)
    return most


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
