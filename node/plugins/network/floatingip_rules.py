"""Decisions about floating IPs: which fixed address one stands for, and which router translates it.

Source: https://docs.openstack.org/api-ref/network/v2/#floating-ips-floatingips
"""

from node.plugins.network import converters as to
from node.plugins.network.attributes import ABSENT, REQUIRED, Attribute, Kind, standard
from node.plugins.network.faults import bad_request, conflict, missing, not_found
from node.plugins.network.port_rules import touch_router
from node.plugins.network.sharing_rules import is_admin
from node.plugins.network.tables import (
    ROUTER_INTERFACE,
    FloatingIp,
    IpAllocation,
    Network,
    Port,
    PortAddress,
    Router,
)
from node.sdk import AnyOp, Context, Frozen, check

KIND = Kind(
    name="floatingip",
    plural="floatingips",
    attributes=(
        *(attribute for attribute in standard() if attribute.name != "name"),
        Attribute(name="floating_network_id", convert=to.uuid, put=False, default=REQUIRED),
        Attribute(name="floating_ip_address", convert=to.ip_or_none, put=False, default=""),
        Attribute(name="subnet_id", convert=to.uuid_or_none, put=False, default=""),
        Attribute(name="port_id", convert=to.uuid_or_none, default=""),
        Attribute(name="fixed_ip_address", convert=to.ip_or_none, default=""),
        Attribute(name="dns_name", convert=to.dns_name, put=False, default=""),
        Attribute(name="dns_domain", convert=to.dns_domain, put=False, default=""),
        Attribute(name="router_id", post=False, put=False, default=ABSENT),
        Attribute(name="port_details", post=False, put=False, default=ABSENT),
    ),
)


class Association(Frozen):
    """What a floating IP stands for; all empty: nothing."""

    port_id: str = ""
    fixed_ip_address: str = ""
    router_id: str = ""


def associate(
    ctx: Context, floating: FloatingIp, port_id: str, fixed_ip: str
) -> tuple[list[AnyOp], Association]:
    """Return the association with a port and the operations that guard it.

    Raises:
        PortNotFound, ExternalGatewayForFloatingIPNotFound: 404.
        BadRequest: 400.
        FloatingIPPortAlreadyAssociated: 409.
    """
    if not port_id:
        if fixed_ip:
            raise bad_request(
                "floatingip", "fixed_ip_address cannot be specified without a port_id"
            )
        return [], Association()
    port = _port(ctx, port_id, floating.project_id)
    address = _fixed_address(port, fixed_ip)
    router = _router(ctx, floating, port, address)
    for other in ctx.db.rows(FloatingIp, port_id=port.id):
        if (
            other.id != floating.id
            and other.fixed_ip_address == address.ip_address
            and other.floating_network_id == floating.floating_network_id
        ):
            raise conflict(
                "FloatingIPPortAlreadyAssociated",
                f"Cannot associate floating IP {floating.address} ({floating.id}) with port {port.id} using "
                f"fixed IP {address.ip_address}, as that fixed IP already has a floating IP on external network "
                f"{floating.floating_network_id}.",
            )
    found = Association(port_id=port.id, fixed_ip_address=address.ip_address, router_id=router.id)
    return [check(port), *touch_router(router)], found


def _port(ctx: Context, port_id: str, project_id: str) -> Port:
    port = ctx.db.get(Port, port_id)
    admin = is_admin(ctx)
    network = ctx.db.get(Network, port.network_id) if port else None
    own_network = network is not None and network.project_id == ctx.project_id
    if port is None or not (admin or port.project_id == ctx.project_id or own_network):
        raise missing("port", port_id)
    if port.project_id != project_id and not admin:
        raise bad_request(
            "floatingip",
            f"Cannot process floating IP association with Port {port_id}, since that port is owned by a "
            "different tenant",
        )
    return port


def _fixed_address(port: Port, fixed_ip: str) -> PortAddress:
    v4 = [address for address in port.fixed_ips if ":" not in address.ip_address]
    if fixed_ip:
        for address in v4:
            if address.ip_address == fixed_ip:
                return address
        raise bad_request("floatingip", f"Port {port.id} does not have fixed ip {fixed_ip}")
    if not v4:
        raise bad_request(
            "floatingip",
            f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses",
        )
    if len(v4) > 1:
        raise bad_request(
            "floatingip",
            f"Port {port.id} has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when "
            "assigning a floating IP",
        )
    return v4[0]


def _router(ctx: Context, floating: FloatingIp, port: Port, address: PortAddress) -> Router:
    """Return the router between the fixed address's subnet and the external network."""
    holders = {row.port_id for row in ctx.db.rows(IpAllocation, subnet_id=address.subnet_id)}
    inner = ctx.db.rows(Port, network_id=port.network_id, device_owner=ROUTER_INTERFACE)
    for candidate in inner:
        if candidate.id in holders:
            router = ctx.db.get(Router, candidate.device_id)
            if router is not None and router.external_network_id == floating.floating_network_id:
                return router
    raise not_found(
        "ExternalGatewayForFloatingIPNotFound",
        f"External network {floating.floating_network_id} is not reachable from subnet {address.subnet_id}.  "
        f"Therefore, cannot associate Port {port.id} with a Floating IP.",
    )
