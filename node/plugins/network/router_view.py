"""Routers as clients see them."""

from typing import Any

from node.plugins.network.tables import Router
from node.sdk import iso_utc


def view(router: Router) -> dict[str, Any]:
    """Return the JSON object of a router."""
    return {
        "id": router.id,
        "name": router.name,
        "tenant_id": router.project_id,
        "project_id": router.project_id,
        "admin_state_up": router.admin_up,
        "status": "ACTIVE",
        "external_gateway_info": gateway_view(router),
        "routes": [{"destination": r.destination, "nexthop": r.nexthop} for r in router.routes],
        "description": router.description,
        "availability_zone_hints": router.zone_hints,
        "availability_zones": ["nova"],
        "tags": router.tags,
        "created_at": iso_utc(router.created_at),
        "updated_at": iso_utc(router.updated_at),
        "revision_number": router.revision,
    }


def gateway_view(router: Router) -> dict[str, Any] | None:
    """Return the `external_gateway_info` of a router."""
    if not router.external_network_id:
        return None
    return {
        "network_id": router.external_network_id,
        "enable_snat": router.enable_snat,
        "external_fixed_ips": [
            {"subnet_id": a.subnet_id, "ip_address": a.ip_address}
            for a in router.external_fixed_ips
        ],
    }


def interface_view(
    router: Router, port_id: str, network_id: str, subnet_ids: list[str]
) -> dict[str, Any]:
    """Return the answer to adding or removing an interface."""
    return {
        "id": router.id,
        "tenant_id": router.project_id,
        "project_id": router.project_id,
        "port_id": port_id,
        "network_id": network_id,
        "subnet_id": subnet_ids[0] if subnet_ids else "",
        "subnet_ids": subnet_ids,
        "tags": router.tags,
    }
