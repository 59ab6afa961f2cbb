"""Networks as clients see them."""

from typing import Any

from node.plugins.network.tables import Network
from node.sdk import iso_utc

PROVIDER = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")


def view(network: Network, *, shared: bool, external: bool, provider: bool) -> dict[str, Any]:
    """Return the JSON object of a network; `provider` adds what only an admin sees."""
    item: dict[str, Any] = {
        "id": network.id,
        "name": network.name,
        "tenant_id": network.project_id,
        "project_id": network.project_id,
        "admin_state_up": network.admin_up,
        "mtu": network.mtu_bytes,
        "status": "ACTIVE",
        "subnets": network.subnet_ids,
        "shared": shared,
        "availability_zone_hints": network.zone_hints,
        "availability_zones": ["nova"],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "router:external": external,
        "description": network.description,
        "port_security_enabled": network.port_security,
        "dns_domain": network.dns_domain,
        "tags": network.tags,
        "created_at": iso_utc(network.created_at),
        "updated_at": iso_utc(network.updated_at),
        "revision_number": network.revision,
    }
    if external:
        item["is_default"] = network.is_default
    if provider:
        item["provider:network_type"] = network.network_type
        item["provider:physical_network"] = network.physical_network or None
        item["provider:segmentation_id"] = network.segmentation_id or None
    return item
