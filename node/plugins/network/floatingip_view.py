"""Floating IPs as clients see them."""

from typing import Any

from node.plugins.network import port_view
from node.plugins.network.tables import FloatingIp, Port
from node.sdk import iso_utc


def status(floating: FloatingIp) -> str:
    """Return DOWN without a port, else what the router's node reports."""
    if not floating.port_id:
        return "DOWN"
    return {"active": "ACTIVE", "error": "ERROR"}.get(floating.have, "DOWN")


def view(floating: FloatingIp, port: Port | None) -> dict[str, Any]:
    """Return the JSON object of a floating IP; `port` is the one it is associated with."""
    details = None
    if port is not None:
        details = {
            "name": port.name,
            "network_id": port.network_id,
            "mac_address": port.mac_address,
            "admin_state_up": port.admin_up,
            "status": port_view.status(port),
            "device_id": port.device_id,
            "device_owner": port.device_owner,
        }
    return {
        "id": floating.id,
        "tenant_id": floating.project_id,
        "project_id": floating.project_id,
        "floating_ip_address": floating.address,
        "floating_network_id": floating.floating_network_id,
        "router_id": floating.router_id or None,
        "port_id": floating.port_id or None,
        "fixed_ip_address": floating.fixed_ip_address or None,
        "status": status(floating),
        "port_details": details,
        "dns_name": floating.dns_name,
        "dns_domain": floating.dns_domain,
        "description": floating.description,
        "tags": floating.tags,
        "created_at": iso_utc(floating.created_at),
        "updated_at": iso_utc(floating.updated_at),
        "revision_number": floating.revision,
    }
