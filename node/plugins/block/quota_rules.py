"""Quotas of block storage: names, defaults, counters.

Counters are kept by project and, for volumes and gigabytes, by project and volume type as well.
"""

from collections.abc import Mapping
from types import MappingProxyType

from node.plugins.block.section import BlockSection
from node.plugins.block.tables import VolumeQuota, VolumeType
from node.sdk import AnyOp, Config, Count, Reader

DEFAULT_CLASS = "class/default"
DEFAULTS: Mapping[str, int] = MappingProxyType(
    {
        "volumes": 10,
        "snapshots": 10,
        "gigabytes": 1000,
        "backups": 10,
        "backup_gigabytes": 1000,
        "per_volume_gigabytes": -1,
        "groups": 10,
    }
)
"""Limit by resource; -1 is no limit."""
BY_TYPE = ("volumes", "gigabytes", "snapshots")
"""Resources that are also counted for each volume type, as `volumes_{name of the type}`."""


def counter(project_id: str, resource: str) -> str:
    """Return the name of a counter."""
    return f"volume-quota:{project_id}:{resource}"


def names(db: Reader) -> dict[str, int]:
    """Return the default of every resource, those of volume types included."""
    found = dict(DEFAULTS)
    for row in db.rows(VolumeType):
        found |= {f"{resource}_{row.name}": -1 for resource in BY_TYPE}
    return found


def defaults(db: Reader, config: Config) -> dict[str, int]:
    """Return the limits of a project that has none of its own."""
    row = db.get(VolumeQuota, DEFAULT_CLASS)
    gigabytes = config.section(BlockSection).quota_gigabytes
    return {**names(db), "gigabytes": gigabytes, **(row.limits if row else {})}


def limits_of(db: Reader, config: Config, project_id: str) -> dict[str, int]:
    """Return the limits of a project."""
    row = db.get(VolumeQuota, project_id)
    return {**defaults(db, config), **(row.limits if row else {})}


def in_use(db: Reader, project_id: str) -> dict[str, int]:
    """Return what a project uses, by resource."""
    prefix = counter(project_id, "")
    counted = {name[len(prefix) :]: value for name, value in db.counters(prefix).items()}
    used = {resource: counted.get(resource, 0) for resource in DEFAULTS}
    for row in db.rows(VolumeType):
        for resource in BY_TYPE:
            used[f"{resource}_{row.name}"] = counted.get(f"{resource}_{row.id}", 0)
    return used


def take(
    db: Reader, config: Config, project_id: str, amounts: Mapping[str, int], type_id: str = ""
) -> list[AnyOp]:
    """Return the operations that count what a project gets, each refused beyond its limit."""
    limits = limits_of(db, config, project_id)
    kind = db.get(VolumeType, type_id) if type_id else None
    ops: list[AnyOp] = []
    for resource, amount in amounts.items():
        ops.append(Count(counter(project_id, resource), amount, limits.get(resource)))
        if kind is not None and resource in BY_TYPE:
            limit = limits.get(f"{resource}_{kind.name}")
            ops.append(Count(counter(project_id, f"{resource}_{kind.id}"), amount, limit))
    return ops


def give_back(project_id: str, amounts: Mapping[str, int], type_id: str = "") -> list[AnyOp]:
    """Return the operations that count what a project does not have any more."""
    ops: list[AnyOp] = []
    for resource, amount in amounts.items():
        ops.append(Count(counter(project_id, resource), -amount))
        if type_id and resource in BY_TYPE:
            ops.append(Count(counter(project_id, f"{resource}_{type_id}"), -amount))
    return ops
