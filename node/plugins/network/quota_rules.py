"""Quotas: the limits of projects and what counts against them."""

from collections.abc import Mapping

from node.plugins.network.revise import quota_counter
from node.plugins.network.tables import NetworkQuota
from node.sdk import Count, Reader

DEFAULTS: Mapping[str, int] = {
    "network": 100,
    "subnet": 100,
    "subnetpool": -1,
    "port": 500,
    "router": 10,
    "floatingip": 50,
    "security_group": 10,
    "security_group_rule": 100,
    "rbac_policy": 10,
    "address_scope": -1,
}
"""Limit by resource as a new OpenStack has it; -1: none."""


def limits(db: Reader, project_id: str) -> dict[str, int]:
    """Return all limits of a project."""
    row = db.get(NetworkQuota, project_id)
    return {**DEFAULTS, **(row.limits if row else {})}


def take(db: Reader, project_id: str, resource: str, number: int = 1) -> Count:
    """Return the operation that counts new resources and is refused above the limit."""
    return Count(quota_counter(project_id, resource), number, limits(db, project_id)[resource])


def give_back(project_id: str, resource: str, number: int = 1) -> Count:
    """Return the operation that counts removed resources."""
    return Count(quota_counter(project_id, resource), -number)
