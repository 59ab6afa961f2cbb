"""Ports as clients see them."""

from typing import Any

from node.plugins.network.tables import DHCP, FLOATING_IP, Port, tap_name
from node.sdk import iso_utc

BINDING = ("binding:host_id", "binding:vif_type", "binding:vif_details", "binding:profile")
DNS_DOMAIN = "openstacklocal."


def status(port: Port) -> str:
    """Return a port's status: what its node reports of it, N/A for a mere reservation."""
    if port.device_owner == FLOATING_IP:
        return "N/A"
    if port.device_owner == DHCP:
        return "ACTIVE" if port.admin_up else "DOWN"
    return "ACTIVE" if port.have == "active" else "DOWN"


def view(port: Port, *, binding: bool) -> dict[str, Any]:
    """Return the JSON object of a port; `binding` adds what only an admin sees."""
    item: dict[str, Any] = {
        "id": port.id,
        "name": port.name,
        "network_id": port.network_id,
        "tenant_id": port.project_id,
        "project_id": port.project_id,
        "mac_address": port.mac_address,
        "admin_state_up": port.admin_up,
        "status": status(port),
        "device_id": port.device_id,
        "device_owner": port.device_owner,
        "fixed_ips": [
            {"subnet_id": a.subnet_id, "ip_address": a.ip_address} for a in port.fixed_ips
        ],
        "allowed_address_pairs": [
            {"mac_address": pair.mac_address, "ip_address": pair.ip_address}
            for pair in port.address_pairs
        ],
        "extra_dhcp_opts": [
            {
                "opt_name": option.opt_name,
                "opt_value": option.opt_value,
                "ip_version": option.ip_version,
            }
            for option in port.dhcp_options
        ],
        "security_groups": port.security_group_ids,
        "description": port.description,
        "port_security_enabled": port.port_security,
        "binding:vnic_type": port.vnic_type,
        "dns_name": port.dns_name,
        "dns_domain": port.dns_domain,
        "dns_assignment": _assignment(port),
        "ip_allocation": "immediate" if port.fixed_ips else "none",
        "tags": port.tags,
        "created_at": iso_utc(port.created_at),
        "updated_at": iso_utc(port.updated_at),
        "revision_number": port.revision,
    }
    if binding:
        item["binding:host_id"] = port.binding_host
        item["binding:profile"] = port.binding_profile
        item["binding:vif_type"] = vif_type(port)
        item["binding:vif_details"] = (
            {"port_filter": True, "connectivity": "l2", "vif_name": tap_name(port.id)}
            if port.node_id
            else {}
        )
    return item


def vif_type(port: Port) -> str:
    """Return how the port is plugged: by a tap, not yet, or not at all as its host is unknown."""
    if not port.binding_host:
        return "unbound"
    return "tap" if port.node_id else "binding_failed"


def _assignment(port: Port) -> list[dict[str, str]]:
    found = []
    for address in port.fixed_ips:
        name = port.dns_name or "host-" + address.ip_address.replace(".", "-").replace(":", "-")
        found.append(
            {"ip_address": address.ip_address, "hostname": name, "fqdn": f"{name}.{DNS_DOMAIN}"}
        )
    return found
