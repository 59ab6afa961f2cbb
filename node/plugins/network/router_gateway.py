"""A router's side to the outer network: setting, changing and clearing its gateway."""

from typing import Any

from msgspec.structs import replace

from node.plugins.network import port_rules
from node.plugins.network import router_rules as rules
from node.plugins.network.address_rules import Chooser
from node.plugins.network.attributes import disallowed_attribute
from node.plugins.network.faults import bad_request, conflict
from node.plugins.network.network_api import find as find_network
from node.plugins.network.revise import stamps
from node.plugins.network.router_rules import GatewayWish
from node.plugins.network.sharing_rules import NetworkSight
from node.plugins.network.tables import (
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    FloatingIp,
    Network,
    Port,
    Router,
    Subnet,
)
from node.sdk import AnyOp, Context, NodeRow, check, patch


def check_policies(ctx: Context, action: str, wish: GatewayWish, project_id: str) -> None:
    """Refuse what only an admin may say about a gateway.

    Raises:
        PolicyNotAuthorized: 403.
    """
    asked = {
        "enable_snat": wish.enable_snat is not None,
        "external_fixed_ips": wish.external_fixed_ips is not None,
    }
    for name, given in asked.items():
        rule = f"{action}:external_gateway_info:{name}"
        if given and not ctx.allows(rule, {"project_id": project_id}):
            raise disallowed_attribute(action, rule)


def changes(ctx: Context, router: Router, wish: GatewayWish) -> tuple[list[AnyOp], dict[str, Any]]:
    """Return the operations and the row fields that bring a router's gateway to what is wished.

    Raises:
        NodeError: 400, 404 or 409 in Neutron's words.
    """
    snat = True if wish.enable_snat is None else wish.enable_snat
    if router.external_network_id and router.external_network_id == wish.network_id:
        fields: dict[str, Any] = {"enable_snat": snat}
        ops: list[AnyOp] = []
        if wish.external_fixed_ips is not None:
            ops, port = _readdressed(ctx, router, wish)
            fields["external_fixed_ips"] = port.fixed_ips
        return ops, fields
    ops = []
    if router.external_network_id:
        ops += clear_ops(ctx, router)
    if not wish.network_id:
        return ops, {
            "external_network_id": "",
            "gateway_port_id": "",
            "external_fixed_ips": (),
            "enable_snat": True,
        }
    more, port = _new_gateway(ctx, router, wish)
    return [*ops, *more], {
        "external_network_id": wish.network_id,
        "gateway_port_id": port.id,
        "external_fixed_ips": port.fixed_ips,
        "enable_snat": snat,
    }


def clear_ops(ctx: Context, router: Router) -> list[AnyOp]:
    """Return the operations that remove the gateway port.

    Raises:
        RouterExternalGatewayInUseByFloatingIp: 409.
    """
    if ctx.db.count(FloatingIp, router_id=router.id):
        raise conflict(
            "RouterExternalGatewayInUseByFloatingIp",
            f"Gateway cannot be updated for router {router.id}, since a gateway to external network "
            f"{router.external_network_id} is required by one or more floating IPs.",
        )
    port = ctx.db.get(Port, router.gateway_port_id)
    return port_rules.delete_ops(ctx.db, port) if port else []


def _new_gateway(ctx: Context, router: Router, wish: GatewayWish) -> tuple[list[AnyOp], Port]:
    sight = NetworkSight(ctx)
    network = find_network(ctx, wish.network_id, sight)
    if not network.external:
        raise bad_request("router", f"Network {network.id} is not an external network")
    subnets = ctx.db.rows(Subnet, network_id=network.id)
    inner = interface_subnets(ctx, router.id)
    for subnet in subnets:
        rules.check_overlap(subnet, inner)
    chooser = Chooser(ctx.db, network.id, subnets)
    mac = port_rules.new_mac()
    wished = wish.external_fixed_ips
    if wished is None:
        addresses = chooser.default(mac, ROUTER_GATEWAY, router=True)
    else:
        addresses = chooser.wished(wished, mac, router=True)
    port = Port(
        id=ctx.ids.uuid(),
        network_id=network.id,
        mac_address=mac,
        device_id=router.id,
        device_owner=ROUTER_GATEWAY,
        fixed_ips=addresses,
        port_security=False,
        node_id=router.node_id,
        binding_host=host_name(ctx, router.node_id),
        **stamps(ctx),
    )
    guards: list[AnyOp] = [check(network), *(check(subnet) for subnet in subnets)]
    return [*guards, *port_rules.create_ops(ctx.db, port)], port


def _readdressed(ctx: Context, router: Router, wish: GatewayWish) -> tuple[list[AnyOp], Port]:
    port = ctx.db.must(Port, router.gateway_port_id)
    network = ctx.db.must(Network, port.network_id)
    chooser = Chooser(ctx.db, network.id, ctx.db.rows(Subnet, network_id=network.id))
    addresses = chooser.wished(
        wish.external_fixed_ips or (), port.mac_address, own=port.fixed_ips, router=True
    )
    new = replace(port, fixed_ips=addresses, updated_at=ctx.now(), revision=port.revision + 1)
    change = patch(
        Port, port.id, fixed_ips=addresses, updated_at=new.updated_at, revision=new.revision
    )
    return [check(network), check(port), change, *port_rules.companions(port, new)], new


def interface_ports(ctx: Context, router_id: str) -> list[Port]:
    """Return a router's inner ports."""
    return ctx.db.rows(Port, device_id=router_id, device_owner=ROUTER_INTERFACE)


def interface_subnets(ctx: Context, router_id: str) -> list[Subnet]:
    """Return the subnets that a router's inner ports are on."""
    idents = {a.subnet_id for port in interface_ports(ctx, router_id) for a in port.fixed_ips}
    return ctx.db.rows(Subnet, id=idents) if idents else []


def host_name(ctx: Context, node_id: str) -> str:
    """Return the name of a node, or an empty string."""
    node = ctx.db.get(NodeRow, node_id) if node_id else None
    return node.name if node else ""
