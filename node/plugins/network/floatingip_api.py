"""`/v2.0/floatingips`.

Source: https://docs.openstack.org/api-ref/network/v2/#floating-ips-floatingips
"""

from typing import Any

from msgspec.structs import replace

from node.plugins.network import floatingip_rules as rules
from node.plugins.network import port_rules, quota_rules
from node.plugins.network.address_rules import Chooser
from node.plugins.network.attributes import Wish, check_attributes, parse_create, parse_update
from node.plugins.network.collection import collection
from node.plugins.network.converters import WishedAddress
from node.plugins.network.faults import bad_request, disallowed, missing
from node.plugins.network.floatingip_view import view
from node.plugins.network.listing import Ask, owned, shown
from node.plugins.network.revise import constrained, revise, stamps
from node.plugins.network.sharing_rules import NetworkSight, is_admin
from node.plugins.network.tables import FLOATING_IP, FloatingIp, Network, Port, Subnet
from node.sdk import AnyOp, Context, Reply, check, delete, insert

_COLUMNS = {
    "id": "id",
    "project_id": "project_id",
    "floating_network_id": "floating_network_id",
    "floating_ip_address": "address",
    "fixed_ip_address": "fixed_ip_address",
    "port_id": "port_id",
    "router_id": "router_id",
    "description": "description",
}


def list_floatingips(ctx: Context) -> dict[str, Any]:
    """List the project's floating IPs; an admin sees all."""
    ask = Ask(ctx, rules.KIND, rules.KIND.by_name)
    columns = ask.columns(_COLUMNS)
    if not is_admin(ctx):
        columns = owned(columns, ctx.project_id)
    rows = ctx.db.rows(FloatingIp, **columns)
    idents = {row.port_id for row in rows if row.port_id}
    ports = {port.id: port for port in ctx.db.rows(Port, id=idents, order_by=())} if idents else {}
    return ask.answer([view(row, ports.get(row.port_id)) for row in rows], {})


def show_floatingip(ctx: Context, floatingip_id: str) -> dict[str, Any]:
    """Show one floating IP."""
    return shown(ctx, rules.KIND, _view(ctx, find(ctx, floatingip_id)))


def create_floatingips(ctx: Context) -> Reply:
    """Take an address of an external network, and associate it where a port is given."""
    wishes, bulk = parse_create(ctx, rules.KIND)
    for wish in wishes:
        check_attributes(ctx, "create_floatingip", wish.given, {"project_id": wish["project_id"]})

    def plan() -> tuple[list[AnyOp], list[FloatingIp]]:
        ops: list[AnyOp] = []
        rows = []
        choosers: dict[str, Chooser] = {}
        for wish in wishes:
            more, row = _new(ctx, wish, choosers)
            ops += more
            rows.append(row)
        return ops, rows

    items = [_view(ctx, row) for row in ctx.transact(plan)]
    return Reply(status=201, body={"floatingips": items} if bulk else {"floatingip": items[0]})


def update_floatingip(ctx: Context, floatingip_id: str) -> dict[str, Any]:
    """Associate a floating IP with a port, part it from its port, or describe it."""
    target = {"project_id": find(ctx, floatingip_id).project_id}
    ctx.require("update_floatingip", target, hidden=disallowed("update_floatingip"))
    wish = parse_update(ctx, rules.KIND, target)

    def plan() -> tuple[list[AnyOp], FloatingIp]:
        row = constrained(ctx, find(ctx, floatingip_id))
        changes: dict[str, Any] = {}
        ops: list[AnyOp] = []
        if "description" in wish:
            changes["description"] = wish["description"]
        if "port_id" in wish or "fixed_ip_address" in wish or not wish.values:
            port_id = wish.get("port_id", row.port_id) if wish.values else ""
            ops, found = rules.associate(ctx, row, port_id, wish.get("fixed_ip_address", ""))
            changes |= {
                "port_id": found.port_id,
                "fixed_ip_address": found.fixed_ip_address,
                "router_id": found.router_id,
            }
            if any(getattr(row, name) != value for name, value in changes.items()):
                changes |= {"have": "", "fault": ""}
        more, new = revise(ctx, row, **changes)
        return ([*ops, *more] if more else []), new

    return {"floatingip": _view(ctx, ctx.transact(plan))}


def delete_floatingip(ctx: Context, floatingip_id: str) -> None:
    """Give a floating IP back."""
    target = {"project_id": find(ctx, floatingip_id).project_id}
    ctx.require("delete_floatingip", target, hidden=disallowed("delete_floatingip"))

    def plan() -> tuple[list[AnyOp], None]:
        row = constrained(ctx, find(ctx, floatingip_id))
        ops: list[AnyOp] = [check(row), delete(FloatingIp, row.id)]
        port = ctx.db.get(Port, row.floating_port_id)
        if port is not None:
            ops += port_rules.delete_ops(ctx.db, port)
        return [*ops, quota_rules.give_back(row.project_id, "floatingip")], None

    ctx.transact(plan, frees=True)


def find(ctx: Context, floatingip_id: str) -> FloatingIp:
    """Return a floating IP of the caller's project; an admin sees all.

    Raises:
        FloatingIPNotFound: 404.
    """
    row = ctx.db.get(FloatingIp, floatingip_id)
    if row is None or not (row.project_id == ctx.project_id or is_admin(ctx)):
        raise missing("floatingip", floatingip_id)
    return row


def _view(ctx: Context, row: FloatingIp) -> dict[str, Any]:
    return view(row, ctx.db.get(Port, row.port_id) if row.port_id else None)


def _new(ctx: Context, wish: Wish, choosers: dict[str, Chooser]) -> tuple[list[AnyOp], FloatingIp]:
    network = _external(ctx, wish["floating_network_id"])
    ident = ctx.ids.uuid()
    subnets = [s for s in ctx.db.rows(Subnet, network_id=network.id) if s.ip_version == 4]
    if not subnets:
        raise bad_request("floatingip", f"Network {network.id} does not contain any IPv4 subnet")
    chooser = choosers.setdefault(network.id, Chooser(ctx.db, network.id, subnets))
    port = _reservation(ctx, wish, network, chooser, ident)
    row = FloatingIp(
        id=ident,
        project_id=wish["project_id"],
        description=wish["description"],
        floating_network_id=network.id,
        address=port.fixed_ips[0].ip_address,
        floating_port_id=port.id,
        dns_name=wish["dns_name"],
        dns_domain=wish["dns_domain"],
        tags=wish.get("tags", ()),
        **stamps(ctx),
    )
    guards, found = rules.associate(ctx, row, wish["port_id"], wish["fixed_ip_address"])
    row = replace(
        row,
        port_id=found.port_id,
        fixed_ip_address=found.fixed_ip_address,
        router_id=found.router_id,
    )
    ops: list[AnyOp] = [
        quota_rules.take(ctx.db, row.project_id, "floatingip"),
        check(network),
        *(check(subnet) for subnet in subnets),
        *port_rules.create_ops(ctx.db, port),
        *guards,
        insert(row),
    ]
    return ops, row


def _external(ctx: Context, network_id: str) -> Network:
    sight = NetworkSight(ctx)
    network = ctx.db.get(Network, network_id)
    if network is None or not sight.sees(network):
        raise missing("network", network_id)
    if not network.external:
        raise bad_request("floatingip", f"Network {network_id} is not a valid external network")
    return network


def _reservation(ctx: Context, wish: Wish, network: Network, chooser: Chooser, ident: str) -> Port:
    mac = port_rules.new_mac()
    if wish["floating_ip_address"] or wish["subnet_id"]:
        wanted = WishedAddress(subnet_id=wish["subnet_id"], ip_address=wish["floating_ip_address"])
        addresses = chooser.wished([wanted], mac)
    else:
        addresses = chooser.default(mac, FLOATING_IP)
    return Port(
        id=ctx.ids.uuid(),
        network_id=network.id,
        mac_address=mac,
        device_id=ident,
        device_owner=FLOATING_IP,
        fixed_ips=addresses,
        port_security=False,
        **stamps(ctx),
    )


ROUTES = collection(
    "floatingip",
    "floatingips",
    index=list_floatingips,
    create=create_floatingips,
    show=show_floatingip,
    update=update_floatingip,
    remove=delete_floatingip,
)
