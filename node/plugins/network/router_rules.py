"""Decisions about routers: what gateway is asked for, which subnets may meet, which routes lead somewhere.

Source: https://docs.openstack.org/api-ref/network/v2/#routers-routers
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from node.plugins.network import converters as to
from node.plugins.network.attributes import Attribute, Kind, standard
from node.plugins.network.converters import WishedAddress
from node.plugins.network.faults import bad, bad_request
from node.plugins.network.gateway_rules import choose
from node.plugins.network.tables import HostRoute, Port, Router, Subnet
from node.sdk import Frozen, NodeError, NodeRow, Reader

_MAX_ROUTES = 30


class GatewayWish(Frozen):
    """What `external_gateway_info` asks for; no network: no gateway."""

    network_id: str = ""
    enable_snat: bool | None = None
    external_fixed_ips: tuple[WishedAddress, ...] | None = None


def gateway(value: Any) -> GatewayWish:
    """Take `external_gateway_info`: null or an empty object for no gateway."""
    if value is None or value == {}:
        return GatewayWish()
    if not isinstance(value, dict):
        raise ValueError(f"'{value}' is not a dictionary")
    unknown = set(value) - {"network_id", "enable_snat", "external_fixed_ips", "qos_policy_id"}
    if unknown or value.get("qos_policy_id") is not None:
        raise ValueError(
            f"Unexpected keys supplied: {', '.join(sorted(unknown) or ['qos_policy_id'])}"
        )
    if "network_id" not in value:
        raise ValueError("Expected keys not found: network_id")
    if value["network_id"] is None:
        return GatewayWish()
    addresses = value.get("external_fixed_ips")
    return GatewayWish(
        network_id=to.uuid(value["network_id"]),
        enable_snat=to.boolean(value["enable_snat"])
        if value.get("enable_snat") is not None
        else None,
        external_fixed_ips=to.fixed_ips(addresses) if addresses else None,
    )


KIND = Kind(
    name="router",
    plural="routers",
    attributes=standard(
        Attribute(name="admin_state_up", convert=to.boolean, default=True),
        Attribute(name="external_gateway_info", convert=gateway, default=GatewayWish()),
        Attribute(name="routes", convert=to.host_routes, default=()),
        Attribute(
            name="availability_zone_hints", convert=to.items(to.text(255)), put=False, default=()
        ),
        Attribute(name="availability_zones", post=False, put=False),
    ),
)

FIELDS = {
    "name": "name",
    "description": "description",
    "admin_state_up": "admin_up",
}


def place(db: Reader) -> str:
    """Return the id of the live node with the fewest routers, or an empty string."""
    load: dict[str, int] = {}
    for router in db.rows(Router, order_by=()):
        load[router.node_id] = load.get(router.node_id, 0) + 1
    return choose(db.rows(NodeRow, order_by=()), load)


def check_overlap(subnet: Subnet, others: Iterable[Subnet]) -> None:
    """Refuse a subnet that a router has already, or that overlaps one it has.

    Raises:
        BadRequest: 400.
    """
    new = ipaddress.ip_network(subnet.cidr)
    for other in others:
        if other.id == subnet.id:
            raise bad_request("router", f"Router already has a port on subnet {subnet.id}")
        present = ipaddress.ip_network(other.cidr)
        if present.version == new.version and present.overlaps(new):
            raise bad_request(
                "router",
                f"Cidr {new} of subnet {subnet.id} overlaps with cidr {present} of subnet {other.id}",
            )


def check_routes(
    routes: Sequence[HostRoute], ports: Sequence[Port], subnets: Sequence[Subnet]
) -> None:
    """Refuse routes whose next hop the router does not reach directly.

    Raises:
        InvalidRoutes, RoutesExhausted: 400.
    """
    if len(routes) > _MAX_ROUTES:
        raise bad(
            "RoutesExhausted",
            f"Unable to complete operation. The number of routes exceeds the maximum {_MAX_ROUTES}.",
        )
    own = {address.ip_address for port in ports for address in port.fixed_ips}
    nets = [ipaddress.ip_network(subnet.cidr) for subnet in subnets]
    for route in routes:
        hop = ipaddress.ip_address(route.nexthop)
        target = ipaddress.ip_network(route.destination)
        if target.version != hop.version:
            raise _bad_routes(routes, "the destination and nexthop differ in IP version")
        if not any(hop in net for net in nets):
            raise _bad_routes(routes, "the nexthop is not connected with router")
        if str(hop) in own:
            raise _bad_routes(routes, "the nexthop is used by router")


def needed_by_route(routes: Sequence[HostRoute], subnet: Subnet) -> bool:
    """Return whether a route's next hop lies in the subnet."""
    net = ipaddress.ip_network(subnet.cidr)
    return any(ipaddress.ip_address(route.nexthop) in net for route in routes)


def _bad_routes(routes: Sequence[HostRoute], reason: str) -> NodeError:
    shown = [{"destination": r.destination, "nexthop": r.nexthop} for r in routes]
    return bad("InvalidRoutes", f"Invalid format for routes: {shown}, {reason}")
