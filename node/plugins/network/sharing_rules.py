"""Who sees what: own rows, those offered to all, and those offered to the project by RBAC policies."""

from collections.abc import Mapping
from typing import Any

from node.plugins.network.tables import (
    AddressScope,
    Network,
    RbacPolicy,
    SecurityGroup,
    Subnet,
    SubnetPool,
)
from node.sdk import Context, Reader, Row

OBJECT_TYPES: Mapping[str, type[Row]] = {
    "network": Network,
    "security_group": SecurityGroup,
    "subnetpool": SubnetPool,
    "address_scope": AddressScope,
}


def is_admin(ctx: Context) -> bool:
    """Return whether the caller sees and does everything in this service."""
    return ctx.enforcer.allows("get_agent", ctx.token, {})


def offered(
    db: Reader, object_type: str, project_id: str, action: str = "access_as_shared"
) -> set[str]:
    """Return the ids of objects that RBAC policies offer to a project."""
    rows = db.rows(
        RbacPolicy,
        target_project=[project_id, "*"],
        object_type=object_type,
        action=action,
        order_by=(),
    )
    return {row.object_id for row in rows}


class NetworkSight:
    """The networks that one caller sees, worked out once a request."""

    def __init__(self, ctx: Context) -> None:
        self.admin = is_admin(ctx)
        self.project_id = ctx.project_id
        self.shared_ids = offered(ctx.db, "network", self.project_id)
        self.external_ids = offered(ctx.db, "network", self.project_id, "access_as_external")

    def shared(self, network: Network) -> bool:
        """Return whether the network is shown as shared to the caller."""
        return network.shared or network.id in self.shared_ids

    def sees(self, network: Network) -> bool:
        """Return whether the caller may know of the network."""
        return (
            self.admin
            or network.project_id == self.project_id
            or self.shared(network)
            or network.id in self.external_ids
        )

    def may_use(self, network: Network) -> bool:
        """Return whether the caller may put ports on the network."""
        return self.admin or network.project_id == self.project_id or self.shared(network)


def network_target(ctx: Context, network: Network, project_id: str) -> dict[str, Any]:
    """Return a policy target for something of a project on a network."""
    shared = network.shared or network.id in offered(ctx.db, "network", ctx.project_id)
    return {
        "project_id": project_id,
        "network:project_id": network.project_id,
        "network:shared": str(shared),
    }


def subnet_target(subnet: Subnet, network: Network) -> dict[str, Any]:
    """Return the policy target of a subnet."""
    return {
        "project_id": subnet.project_id,
        "network:project_id": network.project_id,
        "network:shared": str(network.shared),
    }
