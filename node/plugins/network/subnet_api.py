"""`/v2.0/subnets`.

Source: https://docs.openstack.org/api-ref/network/v2/#subnets
"""

from typing import Any

from msgspec.structs import replace

from node.plugins.network import port_rules, quota_rules, subnetpool_rules
from node.plugins.network import subnet_rules as rules
from node.plugins.network.address_rules import allocation_id, eui64, is_auto
from node.plugins.network.attributes import Wish, check_attributes, parse_create, parse_update
from node.plugins.network.collection import collection
from node.plugins.network.dhcp_rules import server_ops
from node.plugins.network.faults import bad_request, conflict, disallowed, invalid_input, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.network_api import find as find_network
from node.plugins.network.network_rules import check_subnet_mtu
from node.plugins.network.revise import constrained, in_use_counter, revise, stamps
from node.plugins.network.sharing_rules import NetworkSight, offered
from node.plugins.network.subnet_view import view
from node.plugins.network.tables import (
    DHCP,
    ROUTER_INTERFACE,
    IpAllocation,
    Network,
    Port,
    PortAddress,
    Subnet,
    SubnetPool,
)
from node.sdk import AnyOp, Context, Count, Reply, check, delete, insert, patch

_COLUMNS = {
    "id": "id",
    "name": "name",
    "project_id": "project_id",
    "network_id": "network_id",
    "cidr": "cidr",
    "subnetpool_id": "subnetpool_id",
    "description": "description",
}


def list_subnets(ctx: Context) -> dict[str, Any]:
    """List the subnets of the caller's networks and of shared ones."""
    ask = Ask(ctx, rules.KIND, [*rules.KIND.by_name, "shared"])
    sight = NetworkSight(ctx)
    rows = ctx.db.rows(Subnet, **ask.columns(_COLUMNS))
    networks = (
        ctx.db.rows(Network, order_by=()) if not sight.admin or "shared" in ask.filters else []
    )
    if not sight.admin:
        usable = {row.id for row in networks if sight.may_use(row)}
        rows = [row for row in rows if row.project_id == ctx.project_id or row.network_id in usable]
    shared = {row.id for row in networks if sight.shared(row)}

    def shared_fits(item: dict[str, Any], wanted: list[str]) -> bool:
        return (item["network_id"] in shared) in {text.lower() in ("true", "1") for text in wanted}

    return ask.answer([view(row) for row in rows], {"shared": shared_fits})


def show_subnet(ctx: Context, subnet_id: str) -> dict[str, Any]:
    """Show one subnet."""
    return shown(ctx, rules.KIND, view(find(ctx, subnet_id)))


def create_subnets(ctx: Context) -> Reply:
    """Create one subnet or several."""
    wishes, bulk = parse_create(ctx, rules.KIND)
    sight = NetworkSight(ctx)
    for wish in wishes:
        network = find_network(ctx, wish["network_id"], sight)
        target = {"project_id": wish["project_id"], "network:project_id": network.project_id}
        if not ctx.allows("create_subnet", target):
            raise disallowed("create_subnet")
        check_attributes(ctx, "create_subnet", wish.given, target)

    def plan() -> tuple[list[AnyOp], list[Subnet]]:
        ops: list[AnyOp] = []
        rows: list[Subnet] = []
        for network_id in dict.fromkeys(wish["network_id"] for wish in wishes):
            network = find_network(ctx, network_id, sight)
            present = ctx.db.rows(Subnet, network_id=network_id)
            new: list[Subnet] = []
            for wish in wishes:
                if wish["network_id"] == network_id:
                    more, row = _new_subnet(ctx, wish, network, [*present, *new])
                    ops += more
                    new.append(row)
            changed, network = revise(
                ctx, network, subnet_ids=(*network.subnet_ids, *(row.id for row in new))
            )
            ops += [*changed, *server_ops(ctx, network, [*present, *new]), *_self_made(ctx, new)]
            rows += new
        return ops, rows

    rows = ctx.transact(plan)
    items = [view(row) for row in rows]
    return Reply(status=201, body={"subnets": items} if bulk else {"subnet": items[0]})


def update_subnet(ctx: Context, subnet_id: str) -> dict[str, Any]:
    """Change a subnet."""
    subnet = find(ctx, subnet_id)
    target = _target(ctx, subnet)
    ctx.require("update_subnet", target, hidden=disallowed("update_subnet"))
    wish = parse_update(ctx, rules.KIND, target)

    def plan() -> tuple[list[AnyOp], Subnet]:
        row = constrained(ctx, find(ctx, subnet_id))
        changes = wish.fields(rules.FIELDS)
        _check_changes(ctx, row, wish, changes)
        ops, new = revise(ctx, row, **changes)
        network = ctx.db.get(Network, row.network_id)
        if network is not None and new.enable_dhcp != row.enable_dhcp:
            others = ctx.db.rows(Subnet, network_id=row.network_id)
            after = [new if other.id == new.id else other for other in others]
            ops += [check(network), *server_ops(ctx, network, after)]
            ops.append(
                patch(Network, network.id, revision=network.revision + 1, updated_at=ctx.now())
            )
        return ops, new

    return {"subnet": view(ctx.transact(plan))}


def delete_subnet(ctx: Context, subnet_id: str) -> None:
    """Delete a subnet; 409 while ports have addresses on it that they did not make themselves."""
    subnet = find(ctx, subnet_id)
    ctx.require("delete_subnet", _target(ctx, subnet), hidden=disallowed("delete_subnet"))
    counter = in_use_counter(Subnet, subnet_id)

    def plan() -> tuple[list[AnyOp], None]:
        row = constrained(ctx, find(ctx, subnet_id))
        network = ctx.db.must(Network, row.network_id)
        ops: list[AnyOp] = []
        for port in _ports_on(ctx, row.id):
            if port.device_owner == DHCP:
                continue
            if not is_auto(row) or port.device_owner == ROUTER_INTERFACE:
                raise rules.in_use(row.id)
            ops += _without(ctx, port, row.id)
        rest = tuple(ident for ident in network.subnet_ids if ident != row.id)
        changed, network = revise(ctx, network, subnet_ids=rest)
        others = [
            other for other in ctx.db.rows(Subnet, network_id=network.id) if other.id != row.id
        ]
        ops += [*changed, check(row), delete(Subnet, row.id), *server_ops(ctx, network, others)]
        ops += [Count(counter, 1, 1), Count(counter, -1)]
        return [*ops, quota_rules.give_back(row.project_id, "subnet")], None

    ctx.transact(
        plan, frees=True, refused=lambda r: rules.in_use(subnet_id) if r.id == counter else None
    )


def find(ctx: Context, subnet_id: str) -> Subnet:
    """Return a subnet that the caller sees.

    Raises:
        SubnetNotFound: 404.
    """
    row = ctx.db.get(Subnet, subnet_id)
    if row is not None:
        if row.project_id == ctx.project_id:
            return row
        network = ctx.db.get(Network, row.network_id)
        if network is not None and NetworkSight(ctx).may_use(network):
            return row
    raise missing("subnet", subnet_id)


def _target(ctx: Context, subnet: Subnet) -> dict[str, Any]:
    network = ctx.db.get(Network, subnet.network_id)
    return {
        "project_id": subnet.project_id,
        "network:project_id": network.project_id if network else "",
    }


def _new_subnet(
    ctx: Context, wish: Wish, network: Network, others: list[Subnet]
) -> tuple[list[AnyOp], Subnet]:
    ops, cidr, pool_id = _prefix(ctx, wish)
    net = rules.parse_cidr(cidr, wish["ip_version"])
    check_subnet_mtu(network.mtu_bytes, [net.version])
    gateway = wish.get("gateway_ip", rules.default_gateway(net))
    rules.check_gateway(net, gateway)
    given = wish["allocation_pools"]
    pools = (
        rules.default_pools(net, gateway)
        if given is None
        else rules.check_pools(net, given, gateway)
    )
    rules.check_ipv6(
        net,
        enable_dhcp=wish["enable_dhcp"],
        ra_mode=wish["ipv6_ra_mode"],
        address_mode=wish["ipv6_address_mode"],
    )
    row = Subnet(
        id=ctx.ids.uuid(),
        project_id=wish["project_id"],
        network_id=network.id,
        ip_version=net.version,
        cidr=str(net),
        allocation_pools=pools,
        ipv6_ra_mode=wish["ipv6_ra_mode"],
        ipv6_address_mode=wish["ipv6_address_mode"],
        subnetpool_id=pool_id,
        tags=wish.get("tags", ()),
        **{**wish.fields(rules.FIELDS), "gateway_ip": gateway},
        **stamps(ctx),
    )
    rules.check_options(
        net, row.dns_nameservers, row.host_routes, enable_dhcp=row.enable_dhcp, ident=row.id
    )
    rules.check_overlap(net, others, network.id)
    return [*ops, quota_rules.take(ctx.db, row.project_id, "subnet"), insert(row)], row


def _prefix(ctx: Context, wish: Wish) -> tuple[list[AnyOp], str, str]:
    """Return the subnet's CIDR, the pool that it is cut from, and the operations that cut it."""
    pool = _pool(ctx, wish)
    if pool is None:
        if not wish["cidr"]:
            raise bad_request("subnets", "a subnetpool must be specified in the absence of a cidr")
        if wish["prefixlen"] is not None:
            raise bad_request("subnets", "prefixlen can only be specified with a subnetpool")
        if not wish["ip_version"]:
            raise invalid_input("ip_version must be specified with cidr")
        return [], wish["cidr"], ""
    if wish["ip_version"] and wish["ip_version"] != pool.ip_version:
        raise bad_request(
            "subnets", "Cannot allocate requested subnet: ip_version does not match the pool's"
        )
    taken = ctx.db.rows(Subnet, subnetpool_id=pool.id)
    cidr = subnetpool_rules.cut(pool, taken, wish["cidr"], wish["prefixlen"])
    if pool.default_quota >= 0:
        own = sum(
            subnetpool_rules.units(s.cidr) for s in taken if s.project_id == wish["project_id"]
        )
        if own + subnetpool_rules.units(cidr) > pool.default_quota:
            raise conflict(
                "SubnetPoolQuotaExceeded", "Per-tenant subnet pool prefix quota exceeded."
            )
    return [check(pool), patch(SubnetPool, pool.id, cuts=pool.cuts + 1)], cidr, pool.id


def _pool(ctx: Context, wish: Wish) -> SubnetPool | None:
    if wish["subnetpool_id"]:
        pool = ctx.db.get(SubnetPool, wish["subnetpool_id"])
        own = pool is not None and (
            pool.project_id == ctx.project_id
            or pool.shared
            or ctx.token.is_admin
            or pool.id in offered(ctx.db, "subnetpool", ctx.project_id)
        )
        if pool is None or not own:
            raise missing("subnetpool", wish["subnetpool_id"])
        return pool
    if not wish["use_default_subnetpool"]:
        return None
    for pool in ctx.db.rows(SubnetPool):
        if pool.is_default and pool.ip_version == (wish["ip_version"] or 4):
            return pool
    raise bad_request("subnets", "No default subnetpool found")


def _self_made(ctx: Context, subnets: list[Subnet]) -> list[AnyOp]:
    """Return the operations that note the addresses which present ports make for themselves on new subnets."""
    auto = [subnet for subnet in subnets if is_auto(subnet)]
    ops: list[AnyOp] = []
    if not auto:
        return ops
    for port in ctx.db.rows(Port, network_id=auto[0].network_id):
        if port.device_owner.startswith("network:"):
            continue
        more = tuple(
            PortAddress(subnet_id=s.id, ip_address=eui64(s.cidr, port.mac_address)) for s in auto
        )
        ops += _readdress(ctx, port, (*port.fixed_ips, *more))
    return ops


def _without(ctx: Context, port: Port, subnet_id: str) -> list[AnyOp]:
    return _readdress(ctx, port, tuple(a for a in port.fixed_ips if a.subnet_id != subnet_id))


def _readdress(ctx: Context, port: Port, addresses: tuple[PortAddress, ...]) -> list[AnyOp]:
    ops, new = revise(ctx, port, fixed_ips=addresses)
    return [*ops, *port_rules.companions(port, replace(new, updated_at=ctx.now()))]


def _ports_on(ctx: Context, subnet_id: str) -> list[Port]:
    holders = {row.port_id for row in ctx.db.rows(IpAllocation, subnet_id=subnet_id, order_by=())}
    return ctx.db.rows(Port, id=holders) if holders else []


def _check_changes(ctx: Context, row: Subnet, wish: Wish, changes: dict[str, Any]) -> None:
    """Refuse changes that do not fit; put the changed pools among the changes."""
    net = rules.parse_cidr(row.cidr, row.ip_version)
    gateway = changes.get("gateway_ip", row.gateway_ip)
    pools = row.allocation_pools
    if wish.get("allocation_pools") is not None:
        pools = changes["allocation_pools"] = rules.check_pools(
            net, wish["allocation_pools"], gateway
        )
    if gateway != row.gateway_ip:
        rules.check_gateway(net, gateway)
        rules.check_gateway_free(pools, gateway)
        _refuse_used_gateway(ctx, row)
    rules.check_ipv6(
        net,
        enable_dhcp=changes.get("enable_dhcp", row.enable_dhcp),
        ra_mode=row.ipv6_ra_mode,
        address_mode=row.ipv6_address_mode,
    )
    rules.check_options(
        net,
        changes.get("dns_nameservers", row.dns_nameservers),
        changes.get("host_routes", row.host_routes),
        enable_dhcp=changes.get("enable_dhcp", row.enable_dhcp),
        ident=row.id,
    )


def _refuse_used_gateway(ctx: Context, row: Subnet) -> None:
    if not row.gateway_ip:
        return
    held = ctx.db.get(IpAllocation, allocation_id(row.id, row.gateway_ip))
    port = ctx.db.get(Port, held.port_id) if held else None
    if port is not None and port.device_owner == ROUTER_INTERFACE:
        raise conflict(
            "GatewayIpInUse",
            f"Current gateway ip {row.gateway_ip} already in use by port {port.id}. Unable to update.",
        )


ROUTES = collection(
    "subnet",
    "subnets",
    index=list_subnets,
    create=create_subnets,
    show=show_subnet,
    update=update_subnet,
    remove=delete_subnet,
)
