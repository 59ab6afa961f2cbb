"""What the nodes offer, as Neutron lists it: agents, availability zones, service providers, free addresses.

There are no agents here: each node serves its part. What Neutron's clients look for is computed from the rows.

Source: https://docs.openstack.org/api-ref/network/v2/#agents
"""

import ipaddress
import uuid
from typing import Any

from node.plugins.network.attributes import Attribute, Kind
from node.plugins.network.faults import missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.tables import IpAllocation, Network, Subnet
from node.sdk import Context, NodeRow, Route, iso_utc

_AGENTS = (
    ("L3 agent", "hedgerow-l3", "l3_agent"),
    ("DHCP agent", "hedgerow-dhcp", "dhcp_agent"),
    ("Metadata agent", "hedgerow-metadata", "N/A"),
    ("Linux bridge agent", "hedgerow-bridge", "N/A"),
)
_NAMES = (
    "id",
    "agent_type",
    "binary",
    "topic",
    "host",
    "admin_state_up",
    "alive",
    "availability_zone",
    "created_at",
    "started_at",
    "heartbeat_timestamp",
    "description",
    "resources_synced",
    "configurations",
)
_AGENT = Kind(
    name="agent", plural="agents", attributes=tuple(Attribute(name=name) for name in _NAMES)
)
_ZONE = Kind(
    name="availability_zone",
    plural="availability_zones",
    attributes=tuple(Attribute(name=name) for name in ("name", "resource", "state")),
)
_AVAILABILITY = Kind(
    name="network_ip_availability",
    plural="network_ip_availabilities",
    attributes=tuple(
        Attribute(name=name)
        for name in (
            "network_id",
            "network_name",
            "project_id",
            "tenant_id",
            "ip_version",
            "total_ips",
            "used_ips",
        )
    ),
)


def list_agents(ctx: Context) -> dict[str, Any]:
    """List what each node does for the network."""
    seen = _agents(ctx) if ctx.allows("get_agent") else []
    return Ask(ctx, _AGENT, _AGENT.by_name).answer(seen, {})


def show_agent(ctx: Context, agent_id: str) -> dict[str, Any]:
    """Show one node's part."""
    for item in _agents(ctx) if ctx.allows("get_agent") else []:
        if item["id"] == agent_id:
            return shown(ctx, _AGENT, item)
    raise missing("agent", agent_id)


def list_zones(ctx: Context) -> dict[str, Any]:
    """List availability zones: there is one."""
    items = [
        {"name": "nova", "resource": resource, "state": "available"}
        for resource in ("network", "router")
    ]
    return Ask(ctx, _ZONE, _ZONE.by_name).answer(items, {})


def list_providers(_ctx: Context) -> dict[str, Any]:
    """List service providers: none is pluggable."""
    return {"service_providers": []}


def list_availability(ctx: Context) -> dict[str, Any]:
    """List how many addresses each network has and uses."""
    ask = Ask(ctx, _AVAILABILITY, _AVAILABILITY.by_name)
    version = ctx.param("ip_version")
    ask.filters.pop("ip_version", None)
    items = [_availability(ctx, network, version) for network in ctx.db.rows(Network)]
    return ask.answer(items, {})


def show_availability(ctx: Context, network_id: str) -> dict[str, Any]:
    """Show how many addresses one network has and uses."""
    network = ctx.db.get(Network, network_id)
    if network is None:
        raise missing("network", network_id)
    return {"network_ip_availability": _availability(ctx, network, None)}


def _agents(ctx: Context) -> list[dict[str, Any]]:
    found = []
    for node in ctx.db.rows(NodeRow):
        for kind, binary, topic in _AGENTS:
            found.append(_agent(node, kind, binary, topic))
    return found


def _agent(node: NodeRow, kind: str, binary: str, topic: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{node.id}/{binary}")),
        "agent_type": kind,
        "binary": binary,
        "topic": topic,
        "host": node.name,
        "admin_state_up": not node.maintenance,
        "alive": node.state == "up",
        "availability_zone": "nova",
        "created_at": _stamp(node.created_at),
        "started_at": _stamp(node.boot_at or node.created_at),
        "heartbeat_timestamp": _stamp(node.updated_at),
        "description": None,
        "resources_synced": None,
        "configurations": {},
    }


def _stamp(at_us: int) -> str:
    return iso_utc(at_us, suffix="").replace("T", " ")


def _availability(ctx: Context, network: Network, version: str | None) -> dict[str, Any]:
    parts = [
        {
            "subnet_id": subnet.id,
            "subnet_name": subnet.name,
            "cidr": subnet.cidr,
            "ip_version": subnet.ip_version,
            "total_ips": _size(subnet),
            "used_ips": ctx.db.count(IpAllocation, subnet_id=subnet.id),
        }
        for subnet in ctx.db.rows(Subnet, network_id=network.id)
        if version in (None, str(subnet.ip_version))
    ]
    return {
        "network_id": network.id,
        "network_name": network.name,
        "tenant_id": network.project_id,
        "project_id": network.project_id,
        "total_ips": sum(part["total_ips"] for part in parts),
        "used_ips": sum(part["used_ips"] for part in parts),
        "subnet_ip_availability": parts,
    }


def _size(subnet: Subnet) -> int:
    return sum(
        int(ipaddress.ip_address(pool.end)) - int(ipaddress.ip_address(pool.start)) + 1
        for pool in subnet.allocation_pools
    )


_FREE = "/v2.0/network-ip-availabilities"
ROUTES = (
    Route(method="GET", path="/v2.0/agents", handler=list_agents, policy="any"),
    Route(method="GET", path="/v2.0/agents/{agent_id}", handler=show_agent, policy="any"),
    Route(
        method="GET",
        path="/v2.0/availability_zones",
        handler=list_zones,
        policy="get_availability_zone",
    ),
    Route(
        method="GET",
        path="/v2.0/service-providers",
        handler=list_providers,
        policy="get_service_provider",
    ),
    Route(
        method="GET", path=_FREE, handler=list_availability, policy="get_network_ip_availability"
    ),
    Route(
        method="GET",
        path=_FREE + "/{network_id}",
        handler=show_availability,
        policy="get_network_ip_availability",
    ),
)
