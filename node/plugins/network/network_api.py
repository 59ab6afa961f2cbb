"""`/v2.0/networks`.

Source: https://docs.openstack.org/api-ref/network/v2/#networks
"""

from typing import Any

from node.plugins.network import network_rules as rules
from node.plugins.network import port_rules, quota_rules, rbac_rules, secgroup_rules
from node.plugins.network.attributes import Wish, check_attributes, parse_create, parse_update
from node.plugins.network.collection import collection
from node.plugins.network.faults import conflict, disallowed, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.network_view import view
from node.plugins.network.revise import constrained, in_use_counter, revise, stamps
from node.plugins.network.sharing_rules import NetworkSight
from node.plugins.network.tables import (
    DHCP,
    ROUTER_GATEWAY,
    FloatingIp,
    Network,
    Port,
    Router,
    Segment,
    Subnet,
)
from node.sdk import AnyOp, Context, NodeError, Refused, Reply, check, delete, insert

_COLUMNS = {"id": "id", "name": "name", "project_id": "project_id", "description": "description"}
_NAMES = frozenset(
    {attribute.name for attribute in rules.KIND.attributes} | {"is_default", "tags", "project_id"}
)


def list_networks(ctx: Context) -> dict[str, Any]:
    """List the networks that the caller may use or reach."""
    ask = Ask(ctx, rules.KIND, _NAMES)
    sight = NetworkSight(ctx)
    rows = ctx.db.rows(Network, **ask.columns(_COLUMNS))
    show = _Show(ctx, sight)
    return ask.answer([show(row) for row in rows if sight.sees(row)], {})


def show_network(ctx: Context, network_id: str) -> dict[str, Any]:
    """Show one network."""
    sight = NetworkSight(ctx)
    return shown(ctx, rules.KIND, _Show(ctx, sight)(find(ctx, network_id, sight)))


def create_networks(ctx: Context) -> Reply:
    """Create one network or several."""
    wishes, bulk = parse_create(ctx, rules.KIND)
    for wish in wishes:
        check_attributes(ctx, "create_network", wish.given, {"project_id": wish["project_id"]})
        secgroup_rules.ensure_default(ctx, wish["project_id"])

    def refused(outcome: Refused) -> NodeError | None:
        if outcome.table == Segment.__table__.name:
            for wish in wishes:
                kind, physical, number = rules.segment(wish)
                if rules.segment_id(kind, physical, number) == outcome.id:
                    return rules.segment_taken(wish, kind, physical, number)
        return None

    def plan() -> tuple[list[AnyOp], list[Network]]:
        ops: list[AnyOp] = []
        rows = []
        for wish in wishes:
            more, row = _new_network(ctx, wish)
            ops += more
            rows.append(row)
        return ops, rows

    rows = ctx.transact(plan, refused=refused)
    show = _Show(ctx, NetworkSight(ctx))
    items = [show(row) for row in rows]
    return Reply(status=201, body={"networks": items} if bulk else {"network": items[0]})


def update_network(ctx: Context, network_id: str) -> dict[str, Any]:
    """Change a network."""
    sight = NetworkSight(ctx)
    network = find(ctx, network_id, sight)
    target = {"project_id": network.project_id}
    ctx.require("update_network", target, hidden=disallowed("update_network"))
    wish = parse_update(ctx, rules.KIND, target)

    def plan() -> tuple[list[AnyOp], Network]:
        row = find(ctx, network_id, sight)
        changes = wish.fields(rules.FIELDS)
        if "mtu" in wish:
            changes["mtu_bytes"] = rules.mtu(
                ctx.db,
                row.network_type,
                wish["mtu"],
                external=changes.get("external", row.external),
            )
            subnets = ctx.db.rows(Subnet, network_id=row.id)
            rules.check_subnet_mtu(changes["mtu_bytes"], [s.ip_version for s in subnets])
        _refuse_withdrawal(ctx, row, changes)
        ops, new = revise(ctx, constrained(ctx, row), **changes)
        return [*ops, *rbac_rules.flag_ops(ctx, row, new)], new

    row = ctx.transact(plan)
    return {"network": _Show(ctx, NetworkSight(ctx))(row)}


def delete_network(ctx: Context, network_id: str) -> None:
    """Delete a network with its subnets and idle floating IPs; 409 while it has other ports."""
    sight = NetworkSight(ctx)
    network = find(ctx, network_id, sight)
    ctx.require(
        "delete_network", {"project_id": network.project_id}, hidden=disallowed("delete_network")
    )

    def plan() -> tuple[list[AnyOp], None]:
        row = constrained(ctx, find(ctx, network_id, sight))
        ports = ctx.db.rows(Port, network_id=row.id)
        idle = ctx.db.rows(FloatingIp, floating_network_id=row.id, port_id="")
        ours = {floating.floating_port_id for floating in idle}
        keep = [port.id for port in ports if port.device_owner != DHCP and port.id not in ours]
        if keep:
            raise rules.in_use(row, keep)
        ops: list[AnyOp] = [check(row), delete(Network, row.id)]
        for floating in idle:
            ops += [check(floating), delete(FloatingIp, floating.id)]
            ops.append(quota_rules.give_back(floating.project_id, "floatingip"))
        for port in ports:
            ops += port_rules.delete_ops(ctx.db, port)
        ops += rules.delete_ops(row)
        for subnet in ctx.db.rows(Subnet, network_id=row.id):
            ops += [delete(Subnet, subnet.id), quota_rules.give_back(subnet.project_id, "subnet")]
        ops += rbac_rules.object_ops(ctx.db, row.id)
        ops.append(quota_rules.give_back(row.project_id, "network"))
        return ops, None

    counter = in_use_counter(Network, network_id)
    ctx.transact(
        plan, frees=True, refused=lambda r: rules.in_use(network, []) if r.id == counter else None
    )


def find(ctx: Context, network_id: str, sight: NetworkSight) -> Network:
    """Return a network that the caller sees.

    Raises:
        NetworkNotFound: 404.
    """
    row = ctx.db.get(Network, network_id)
    if row is None or not sight.sees(row):
        raise missing("network", network_id)
    return row


class _Show:
    """Renders networks for one caller."""

    def __init__(self, ctx: Context, sight: NetworkSight) -> None:
        self._sight = sight
        self._provider = ctx.allows(
            "get_network:provider:network_type", {"project_id": ctx.project_id}
        )

    def __call__(self, row: Network) -> dict[str, Any]:
        sight = self._sight
        return view(row, shared=sight.shared(row), external=row.external, provider=self._provider)


def _new_network(ctx: Context, wish: Wish) -> tuple[list[AnyOp], Network]:
    kind, physical, number = rules.segment(wish)
    row = Network(
        id=ctx.ids.uuid(),
        project_id=wish["project_id"],
        network_type=kind,
        physical_network=physical,
        segmentation_id=number,
        mtu_bytes=rules.mtu(ctx.db, kind, wish["mtu"], external=wish["router:external"]),
        zone_hints=wish["availability_zone_hints"],
        tags=wish.get("tags", ()),
        **wish.fields(rules.FIELDS),
        **stamps(ctx),
    )
    ops: list[AnyOp] = [quota_rules.take(ctx.db, row.project_id, "network"), insert(row)]
    ops += rbac_rules.flag_ops(ctx, None, row)
    reserved = rules.segment_id(kind, physical, number)
    if reserved:
        ops.append(insert(Segment(id=reserved, network_id=row.id, **stamps(ctx))))
    return ops, row


def _refuse_withdrawal(ctx: Context, network: Network, changes: dict[str, Any]) -> None:
    """Refuse to stop sharing or reaching out while others depend on it."""
    if network.external and changes.get("external") is False:
        used = ctx.db.count(Port, network_id=network.id, device_owner=ROUTER_GATEWAY)
        if used or ctx.db.count(Router, external_network_id=network.id):
            raise conflict(
                "ExternalNetworkInUse",
                f"External network {network.id} cannot be updated to be made non-external, since it has "
                "existing gateway ports.",
            )
    if network.shared and changes.get("shared") is False:
        owners = {port.project_id for port in ctx.db.rows(Port, network_id=network.id, order_by=())}
        if owners - {network.project_id, ""}:
            raise conflict(
                "InvalidSharedSetting",
                f"Unable to reconfigure sharing settings for network {network.name}. "
                "Multiple tenants are using it.",
            )


ROUTES = collection(
    "network",
    "networks",
    index=list_networks,
    create=create_networks,
    show=show_network,
    update=update_network,
    remove=delete_network,
)
