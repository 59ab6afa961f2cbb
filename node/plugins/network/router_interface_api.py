"""Adding and removing a router's interfaces.

Source: https://docs.openstack.org/api-ref/network/v2/#add-interface-to-router
"""

from typing import Any

from node.plugins.network import converters as to
from node.plugins.network import port_rules
from node.plugins.network import router_rules as rules
from node.plugins.network.address_rules import Chooser
from node.plugins.network.faults import bad_request, conflict, disallowed, not_found
from node.plugins.network.port_api import find as find_port
from node.plugins.network.revise import revise, stamps
from node.plugins.network.router_find import find_router
from node.plugins.network.router_gateway import host_name, interface_ports, interface_subnets
from node.plugins.network.router_view import interface_view
from node.plugins.network.subnet_api import find as find_subnet
from node.plugins.network.tables import (
    ROUTER_INTERFACE,
    FloatingIp,
    Network,
    Port,
    PortAddress,
    Router,
    Subnet,
)
from node.sdk import AnyOp, BadRequest, Context, NodeError, Route, check

Answer = dict[str, Any]


def add_interface(ctx: Context, router_id: str) -> Answer:
    """Attach a router to a subnet, or by a port that exists."""
    subnet_id, port_id = _asked(ctx)
    if subnet_id and port_id:
        raise bad_request("router", "Cannot specify both subnet-id and port-id")
    _require(ctx, router_id, "add_router_interface")

    def plan() -> tuple[list[AnyOp], Answer]:
        router = find_router(ctx, router_id)
        ops, port, subnet_ids = (
            _by_port(ctx, router, port_id) if port_id else _by_subnet(ctx, router, subnet_id)
        )
        return [*ops, *_touch(ctx, router)], interface_view(
            router, port.id, port.network_id, subnet_ids
        )

    return ctx.transact(plan)


def remove_interface(ctx: Context, router_id: str) -> Answer:
    """Detach a router from a subnet or remove an interface's port."""
    subnet_id, port_id = _asked(ctx)
    _require(ctx, router_id, "remove_router_interface")

    def plan() -> tuple[list[AnyOp], Answer]:
        router = find_router(ctx, router_id)
        port = _interface(ctx, router, subnet_id, port_id)
        going = [subnet_id] if subnet_id else [a.subnet_id for a in port.fixed_ips]
        for ident in going:
            _refuse_used(ctx, router, ident)
        rest = tuple(a for a in port.fixed_ips if a.subnet_id not in going)
        if rest:
            ops, new = revise(ctx, port, fixed_ips=rest)
            ops += port_rules.companions(port, new)
        else:
            ops = port_rules.delete_ops(ctx.db, port)
        return [*ops, *_touch(ctx, router)], interface_view(router, port.id, port.network_id, going)

    return ctx.transact(plan, frees=True)


def _asked(ctx: Context) -> tuple[str, str]:
    """Return (subnet id, port id) of the body; one of them may be empty."""
    body = ctx.body
    unknown = set(body) - {"subnet_id", "port_id"}
    if unknown:
        raise BadRequest(f"Unrecognized attribute(s) '{', '.join(sorted(unknown))}'")
    found = [body.get("subnet_id"), body.get("port_id")]
    if not any(found):
        raise bad_request("router", "Either subnet_id or port_id must be specified")
    for name, value in zip(("subnet_id", "port_id"), found, strict=True):
        try:
            to.uuid_or_none(value)
        except ValueError as error:
            raise BadRequest(f"Invalid input for {name}. Reason: {error}.") from error
    return found[0] or "", found[1] or ""


def _require(ctx: Context, router_id: str, rule: str) -> None:
    router = find_router(ctx, router_id)
    ctx.require(rule, {"project_id": router.project_id}, hidden=disallowed(rule))


def _touch(ctx: Context, router: Router) -> list[AnyOp]:
    ops, _ = revise(ctx, router, serial=router.serial + 1)
    return ops


def _by_subnet(ctx: Context, router: Router, subnet_id: str) -> tuple[list[AnyOp], Port, list[str]]:
    subnet = find_subnet(ctx, subnet_id)
    if not subnet.gateway_ip:
        raise bad_request("router", "Subnet for router interface must have a gateway IP")
    _refuse_overlap(ctx, router, subnet)
    network = ctx.db.must(Network, subnet.network_id)
    chooser = Chooser(ctx.db, network.id, [subnet])
    address = chooser.exact(subnet, subnet.gateway_ip)
    guards: list[AnyOp] = [check(network), check(subnet)]
    present = _v6_port(ctx, router, subnet)
    if present is not None:
        ops, new = revise(ctx, present, fixed_ips=(*present.fixed_ips, address))
        return [*guards, *ops, *port_rules.companions(present, new)], new, [subnet.id]
    port = _new_port(ctx, router, network, address)
    return [*guards, *port_rules.create_ops(ctx.db, port)], port, [subnet.id]


def _new_port(ctx: Context, router: Router, network: Network, address: PortAddress) -> Port:
    return Port(
        id=ctx.ids.uuid(),
        project_id=router.project_id,
        network_id=network.id,
        mac_address=port_rules.new_mac(),
        device_id=router.id,
        device_owner=ROUTER_INTERFACE,
        fixed_ips=(address,),
        port_security=False,
        node_id=router.node_id,
        binding_host=host_name(ctx, router.node_id),
        **stamps(ctx),
    )


def _by_port(ctx: Context, router: Router, port_id: str) -> tuple[list[AnyOp], Port, list[str]]:
    port = find_port(ctx, port_id)
    if port.device_id:
        raise conflict(
            "PortInUse",
            f"Unable to complete operation on port {port.id} for network {port.network_id}. Port already has "
            f"an attached device {port.device_id}.",
        )
    if not port.fixed_ips:
        raise bad_request("router", "Router port must have at least one fixed IP")
    subnets = [ctx.db.must(Subnet, a.subnet_id) for a in port.fixed_ips]
    if sum(subnet.ip_version == 4 for subnet in subnets) > 1:
        raise bad_request("router", "Cannot have multiple IPv4 subnets on router port")
    for subnet in subnets:
        _refuse_overlap(ctx, router, subnet)
    ops, new = revise(
        ctx,
        port,
        device_id=router.id,
        device_owner=ROUTER_INTERFACE,
        security_group_ids=(),
        port_security=False,
        address_pairs=(),
        node_id=router.node_id,
        binding_host=host_name(ctx, router.node_id),
        have="",
    )
    return [*ops, *port_rules.companions(port, new)], new, [subnet.id for subnet in subnets]


def _v6_port(ctx: Context, router: Router, subnet: Subnet) -> Port | None:
    """Return the router's port on the same network that carries IPv6 only: one port holds all IPv6 subnets."""
    if subnet.ip_version != 6:
        return None
    for port in interface_ports(ctx, router.id):
        if port.network_id == subnet.network_id and all(
            ":" in a.ip_address for a in port.fixed_ips
        ):
            return port
    return None


def _refuse_overlap(ctx: Context, router: Router, subnet: Subnet) -> None:
    others = interface_subnets(ctx, router.id)
    if router.external_network_id:
        others += ctx.db.rows(Subnet, network_id=router.external_network_id)
    rules.check_overlap(subnet, others)


def _interface(ctx: Context, router: Router, subnet_id: str, port_id: str) -> Port:
    for port in interface_ports(ctx, router.id):
        on_subnet = any(a.subnet_id == subnet_id for a in port.fixed_ips)
        if (not port_id or port.id == port_id) and (not subnet_id or on_subnet):
            return port
    if port_id and subnet_id:
        raise conflict(
            "SubnetMismatchForPort",
            f"Subnet on port {port_id} does not match the requested subnet {subnet_id}.",
        )
    if port_id:
        raise not_found(
            "RouterInterfaceNotFound",
            f"Router {router.id} does not have an interface with id {port_id}",
        )
    raise not_found(
        "RouterInterfaceNotFoundForSubnet",
        f"Router {router.id} has no interface on subnet {subnet_id}",
    )


def _refuse_used(ctx: Context, router: Router, subnet_id: str) -> None:
    """Refuse to part from a subnet that floating IPs or routes of the router need."""
    for floating in ctx.db.rows(FloatingIp, router_id=router.id):
        inner = ctx.db.get(Port, floating.port_id)
        addresses = inner.fixed_ips if inner else ()
        if any(
            a.subnet_id == subnet_id and a.ip_address == floating.fixed_ip_address
            for a in addresses
        ):
            raise _in_use(router, subnet_id, "RouterInterfaceInUseByFloatingIP", "floating IPs")
    subnet = ctx.db.get(Subnet, subnet_id)
    if subnet is not None and rules.needed_by_route(router.routes, subnet):
        raise _in_use(router, subnet_id, "RouterInterfaceInUseByRoute", "routes")


def _in_use(router: Router, subnet_id: str, kind: str, by: str) -> NodeError:
    return conflict(
        kind,
        f"Router interface for subnet {subnet_id} on router {router.id} cannot be deleted, as it is required by "
        f"one or more {by}.",
    )


_PATH = "/v2.0/routers/{router_id}"
ROUTES = tuple(
    Route(
        method="PUT",
        path=f"{_PATH}/{name}",
        handler=handler,
        policy="get_router",
        body=dict[str, Any],
    )
    for name, handler in (
        ("add_router_interface", add_interface),
        ("remove_router_interface", remove_interface),
    )
)
