"""`/v2.0/ports`.

Source: https://docs.openstack.org/api-ref/network/v2/#ports
"""

from collections.abc import Callable, Mapping
from typing import Any

from node.plugins.network import port_change, port_rules, secgroup_rules
from node.plugins.network.attributes import parse_create, parse_update
from node.plugins.network.collection import collection
from node.plugins.network.faults import conflict, disallowed, missing
from node.plugins.network.listing import Ask, owned, shown
from node.plugins.network.network_api import find as find_network
from node.plugins.network.port_attributes import KIND, check_policies
from node.plugins.network.port_view import view
from node.plugins.network.revise import constrained
from node.plugins.network.sharing_rules import NetworkSight, is_admin, network_target
from node.plugins.network.tables import (
    FLOATING_IP,
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    FloatingIp,
    IpAllocation,
    Network,
    Port,
    Router,
)
from node.sdk import AnyOp, Context, NodeError, Refused, Reply

_COLUMNS = {
    "id": "id",
    "name": "name",
    "project_id": "project_id",
    "network_id": "network_id",
    "device_id": "device_id",
    "device_owner": "device_owner",
    "mac_address": "mac_address",
    "binding:host_id": "binding_host",
    "description": "description",
}
_OWNERS: Mapping[str, type[Router] | type[FloatingIp]] = {
    ROUTER_INTERFACE: Router,
    ROUTER_GATEWAY: Router,
    FLOATING_IP: FloatingIp,
}


def list_ports(ctx: Context) -> dict[str, Any]:
    """List the ports of the caller and those on the caller's networks."""
    ask = Ask(ctx, KIND, [*KIND.by_name, "ip_address_substr"])
    columns = ask.columns(_COLUMNS)
    holders = _holders(ctx, ask.filters.get("fixed_ips", []))
    if holders is not None and "id" not in columns:
        columns["id"] = holders
    rows = ctx.db.rows(Port, **columns) if _sees_all(ctx) else _visible(ctx, columns)
    binding = _binding(ctx)
    return ask.answer([view(row, binding=binding) for row in rows], _TESTS)


def show_port(ctx: Context, port_id: str) -> dict[str, Any]:
    """Show one port."""
    return shown(ctx, KIND, view(find(ctx, port_id), binding=_binding(ctx)))


def create_ports(ctx: Context) -> Reply:
    """Create one port or several."""
    wishes, bulk = parse_create(ctx, KIND)
    sight = NetworkSight(ctx)
    for wish in wishes:
        network = find_network(ctx, wish["network_id"], sight)
        if not sight.may_use(network) and not ctx.allows(
            "create_port", {"network:project_id": network.project_id}
        ):
            raise missing("network", network.id)
        check_policies(ctx, "create_port", wish, network_target(ctx, network, wish["project_id"]))
    for project_id in {wish["project_id"] for wish in wishes}:
        secgroup_rules.ensure_default(ctx, project_id)

    def plan() -> tuple[list[AnyOp], list[Port]]:
        draft = port_change.Draft(ctx)
        rows = [draft.add(find_network(ctx, wish["network_id"], sight), wish) for wish in wishes]
        return draft.ops, rows

    rows = ctx.transact(plan)
    binding = _binding(ctx)
    items = [view(row, binding=binding) for row in rows]
    return Reply(status=201, body={"ports": items} if bulk else {"port": items[0]})


def update_port(ctx: Context, port_id: str) -> dict[str, Any]:
    """Change a port."""
    port = find(ctx, port_id)
    network = ctx.db.must(Network, port.network_id)
    target = network_target(ctx, network, port.project_id)
    ctx.require("update_port", target, hidden=disallowed("update_port"))
    wish = parse_update(ctx, KIND, {**target, "network_device": "False"})
    check_policies(ctx, "update_port", wish, target)

    def plan() -> tuple[list[AnyOp], Port]:
        row = constrained(ctx, find(ctx, port_id))
        return port_change.change(ctx, row, wish, ctx.db.must(Network, row.network_id))

    return {"port": view(ctx.transact(plan), binding=_binding(ctx))}


def delete_port(ctx: Context, port_id: str) -> None:
    """Delete a port; 409 when it belongs to a router or a floating IP."""
    port = find(ctx, port_id)
    network = ctx.db.must(Network, port.network_id)
    target = network_target(ctx, network, port.project_id)
    ctx.require("delete_port", target, hidden=disallowed("delete_port"))

    def plan() -> tuple[list[AnyOp], None]:
        row = constrained(ctx, find(ctx, port_id))
        if _in_service(ctx, row):
            raise _service_port(row)
        return port_rules.delete_ops(ctx.db, row, now_us=ctx.now()), None

    ctx.transact(plan, frees=True, refused=_gone(port_id))


def find(ctx: Context, port_id: str) -> Port:
    """Return a port that the caller sees: an own one, or one on an own network.

    Raises:
        PortNotFound: 404.
    """
    row = ctx.db.get(Port, port_id)
    if row is not None:
        if row.project_id == ctx.project_id or _sees_all(ctx):
            return row
        network = ctx.db.get(Network, row.network_id)
        if network is not None and network.project_id == ctx.project_id:
            return row
    raise missing("port", port_id)


def _visible(ctx: Context, columns: dict[str, Any]) -> list[Port]:
    """Return the caller's ports and those on the caller's networks, in order of creation."""
    networks = {row.id for row in ctx.db.rows(Network, project_id=ctx.project_id, order_by=())}
    asked = columns.get("network_id")
    networks = networks if asked is None else networks & set(asked)
    rows = ctx.db.rows(Port, **owned(columns, ctx.project_id))
    if not networks:
        return rows
    known = {row.id for row in rows}
    others = ctx.db.rows(Port, **{**columns, "network_id": networks})
    more = [row for row in others if row.id not in known]
    return sorted([*rows, *more], key=lambda row: (row.created_at, row.id)) if more else rows


def _sees_all(ctx: Context) -> bool:
    return is_admin(ctx) or "service" in ctx.token.roles


def _binding(ctx: Context) -> bool:
    return ctx.allows("get_port:binding:host_id", {"project_id": ctx.project_id})


def _gone(port_id: str) -> Callable[[Refused], NodeError | None]:
    return lambda refusal: missing("port", port_id) if refusal.reason == "missing" else None


def _in_service(ctx: Context, port: Port) -> bool:
    """Return whether a router or floating IP that exists owns the port."""
    owner = _OWNERS.get(port.device_owner)
    return (
        owner is not None and bool(port.device_id) and ctx.db.get(owner, port.device_id) is not None
    )


def _service_port(port: Port) -> NodeError:
    return conflict(
        "ServicePortInUse",
        f"Port {port.id} cannot be deleted directly via the port API: has device owner {port.device_owner}.",
    )


def _holders(ctx: Context, filters: list[str]) -> list[str] | None:
    """Return the ids of the ports that may pass filters on fixed_ips; None: not known from indexes."""
    subnets = [value.partition("=")[2] for value in filters if value.startswith("subnet_id=")]
    addresses = [value.partition("=")[2] for value in filters if value.startswith("ip_address=")]
    if not subnets or len(subnets) + len(addresses) < len(filters):
        return None
    rows = ctx.db.rows(IpAllocation, subnet_id=subnets, order_by=())
    return sorted({row.port_id for row in rows if not addresses or row.ip_address in addresses})


def _fixed_ips_fit(item: Mapping[str, Any], wanted: list[str]) -> bool:
    """Decide `fixed_ips=ip_address=A`, `=subnet_id=S` and `=ip_address_substr=T`: each kind must fit."""
    asked: dict[str, list[str]] = {}
    for value in wanted:
        kind, _, text = value.partition("=")
        asked.setdefault(kind, []).append(text)
    parts = asked.pop("ip_address_substr", None)
    if parts and not any(part in a["ip_address"] for part in parts for a in item["fixed_ips"]):
        return False
    return all(
        any(address.get(kind) in values for address in item["fixed_ips"])
        for kind, values in asked.items()
    )


def _substring_fits(item: Mapping[str, Any], wanted: list[str]) -> bool:
    return any(part in address["ip_address"] for part in wanted for address in item["fixed_ips"])


_TESTS: Mapping[str, Callable[[dict[str, Any], list[str]], bool]] = {
    "fixed_ips": _fixed_ips_fit,
    "ip_address_substr": _substring_fits,
}

ROUTES = collection(
    "port",
    "ports",
    index=list_ports,
    create=create_ports,
    show=show_port,
    update=update_port,
    remove=delete_port,
)
