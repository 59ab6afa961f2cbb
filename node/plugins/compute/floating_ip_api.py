"""Nova's old view of networks, floating IPs (up to 2.35) and fixed IPs of servers (up to 2.43): proxies to Neutron.

Source: https://docs.openstack.org/api-ref/compute/#floating-ips-os-floating-ips-deprecated
"""

from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.compute import server_rules
from node.plugins.compute.checks import is_uuid
from node.plugins.compute.neutron import listed, neutron
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find as find_server
from node.sdk import BadRequest, Conflict, Context, Frozen, NotFound, Route

_POLICY = "os_compute_api:os-floating-ips:proxy"
_MULTINIC = "os_compute_api:os-multinic"
_NO_FACTS = (
    "bridge", "vpn_public_port", "dhcp_start", "bridge_interface", "updated_at", "cidr_v6", "deleted_at",
    "gateway", "rxtx_base", "priority", "vpn_private_address", "host", "injected", "vpn_public_address",
    "multi_host", "deleted", "dns1", "dns2", "gateway_v6", "netmask_v6", "netmask", "created_at",
    "broadcast", "vlan", "mtu", "dhcp_server", "enable_dhcp", "share_address", "project_id", "cidr",
)  # fmt: skip


class Pool(Frozen):
    """Body of POST os-floating-ips."""

    pool: str | None = None


class AddFloating(Frozen):
    """Value of addFloatingIp."""

    address: str
    fixed_address: str | UnsetType = UNSET


class RemoveFloating(Frozen):
    """Value of removeFloatingIp."""

    address: str


class AddFixed(Frozen, forbid_unknown_fields=True):
    """Value of addFixedIp."""

    networkId: str | int  # noqa: N815 - the API's name


class RemoveFixed(Frozen, forbid_unknown_fields=True):
    """Value of removeFixedIp."""

    address: str


def networks(ctx: Context) -> dict[str, Any]:
    """List networks."""
    return {"networks": [_network_view(network) for network in listed(ctx, "networks")]}


def network(ctx: Context, network_id: str) -> dict[str, Any]:
    """Show a network."""
    return {"network": _network_view(neutron(ctx, "GET", f"/networks/{network_id}")["network"])}


def tenant_networks(ctx: Context) -> dict[str, Any]:
    """List networks in the shortest form."""
    return {"networks": [_tenant_view(found) for found in listed(ctx, "networks")]}


def tenant_network(ctx: Context, network_id: str) -> dict[str, Any]:
    """Show a network in the shortest form."""
    return {"network": _tenant_view(neutron(ctx, "GET", f"/networks/{network_id}")["network"])}


def _network_view(found: dict[str, Any]) -> dict[str, Any]:
    """Return what Nova knows of a network of Neutron's: id and label, and nothing of nova-network's."""
    return {"id": found["id"], "label": found["name"], **dict.fromkeys(_NO_FACTS)}


def _tenant_view(found: dict[str, Any]) -> dict[str, Any]:
    return {"id": found["id"], "label": found["name"], "cidr": "None"}


def _external(ctx: Context) -> list[dict[str, Any]]:
    return listed(ctx, "networks", **{"router:external": "true"})


def pools(ctx: Context) -> dict[str, Any]:
    """List the networks that floating IPs come from."""
    return {
        "floating_ip_pools": [{"name": found["name"] or found["id"]} for found in _external(ctx)]
    }


def _view(ctx: Context, floating: dict[str, Any], pool_names: dict[str, str]) -> dict[str, Any]:
    server_id = None
    if floating["port_id"]:
        port = neutron(ctx, "GET", f"/ports/{floating['port_id']}")["port"]
        if port["device_owner"].startswith("compute:"):
            server_id = port["device_id"]
    network_id = floating["floating_network_id"]
    return {
        "id": floating["id"],
        "ip": floating["floating_ip_address"],
        "fixed_ip": floating["fixed_ip_address"],
        "instance_id": server_id,
        "pool": pool_names.get(network_id) or network_id,
    }


def _pool_names(ctx: Context) -> dict[str, str]:
    return {found["id"]: found["name"] for found in _external(ctx)}


def index(ctx: Context) -> dict[str, Any]:
    """List the project's floating IPs."""
    names = _pool_names(ctx)
    found = listed(ctx, "floatingips", project_id=ctx.project_id)
    return {"floating_ips": [_view(ctx, floating, names) for floating in found]}


def _find(ctx: Context, floating_ip_id: str) -> dict[str, Any]:
    missing = NotFound(f"Floating IP not found for ID {floating_ip_id}")
    if not is_uuid(floating_ip_id):
        raise missing
    try:
        found: dict[str, Any] = neutron(ctx, "GET", f"/floatingips/{floating_ip_id}")["floatingip"]
    except NotFound:
        raise missing from None
    return found


def show(ctx: Context, floating_ip_id: str) -> dict[str, Any]:
    """Show a floating IP."""
    return {"floating_ip": _view(ctx, _find(ctx, floating_ip_id), _pool_names(ctx))}


def create(ctx: Context) -> dict[str, Any]:
    """Take a floating IP from a pool, by default from the first one."""
    wanted = (ctx.body.pool if ctx.body else None) or None
    names = _pool_names(ctx)
    fitting = [id for id, name in names.items() if wanted in {None, id, name}]  # noqa: A001
    if not fitting:
        raise NotFound("Floating IP pool not found.")
    made = neutron(
        ctx, "POST", "/floatingips", json={"floatingip": {"floating_network_id": fitting[0]}}
    )
    return {"floating_ip": _view(ctx, made["floatingip"], names)}


def delete(ctx: Context, floating_ip_id: str) -> None:
    """Give a floating IP back."""
    neutron(ctx, "DELETE", f"/floatingips/{_find(ctx, floating_ip_id)['id']}")


def _by_address(ctx: Context, address: str) -> dict[str, Any]:
    found = listed(ctx, "floatingips", floating_ip_address=address)
    if not found:
        raise NotFound("floating IP not found")
    return found[0]


def add_floating(ctx: Context, server_id: str) -> None:
    """Associate a floating IP with a server."""
    server = find_server(ctx, server_id, _POLICY)
    ports = listed(ctx, "ports", device_id=server.id)
    fixed = ctx.body.fixed_address
    choices = [
        (port["id"], ip["ip_address"])
        for port in ports
        for ip in port["fixed_ips"]
        if ":" not in ip["ip_address"] and (fixed is UNSET or ip["ip_address"] == fixed)
    ]
    if not choices:
        if fixed is UNSET:
            raise BadRequest("No fixed IPs associated to instance")
        raise BadRequest("Specified fixed address not assigned to instance")
    floating = _by_address(ctx, ctx.body.address)
    port_id, address = choices[0]
    change = {"floatingip": {"port_id": port_id, "fixed_ip_address": address}}
    try:
        neutron(ctx, "PUT", f"/floatingips/{floating['id']}", json=change)
    except Conflict as error:
        raise BadRequest(error.message) from error


def remove_floating(ctx: Context, server_id: str) -> None:
    """Dissociate a floating IP from a server."""
    server = find_server(ctx, server_id, _POLICY)
    floating = _by_address(ctx, ctx.body.address)
    ports = {port["id"] for port in listed(ctx, "ports", device_id=server.id)}
    if floating["port_id"] not in ports:
        raise Conflict(
            f"Floating IP {ctx.body.address} is not associated with instance {server.id}."
        )
    neutron(ctx, "PUT", f"/floatingips/{floating['id']}", json={"floatingip": {"port_id": None}})


def add_fixed(ctx: Context, server_id: str) -> None:
    """Give a server's interface on a network one more address."""
    server = find_server(ctx, server_id, _MULTINIC)
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    network_id = str(ctx.body.networkId)
    ports = listed(ctx, "ports", device_id=server.id, network_id=network_id)
    if not ports:
        raise BadRequest(f"Instance {server.id} has no interface on network {network_id}")
    subnets = listed(ctx, "subnets", network_id=network_id)
    if not subnets:
        raise BadRequest(f"Network {network_id} has no subnet")
    addresses = [*ports[0]["fixed_ips"], {"subnet_id": subnets[0]["id"]}]
    neutron(ctx, "PUT", f"/ports/{ports[0]['id']}", json={"port": {"fixed_ips": addresses}})


def remove_fixed(ctx: Context, server_id: str) -> None:
    """Take an address from a server."""
    server = find_server(ctx, server_id, _MULTINIC)
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    for port in listed(ctx, "ports", device_id=server.id):
        rest = [ip for ip in port["fixed_ips"] if ip["ip_address"] != ctx.body.address]
        if len(rest) < len(port["fixed_ips"]):
            neutron(ctx, "PUT", f"/ports/{port['id']}", json={"port": {"fixed_ips": rest}})
            return
    raise BadRequest(f"Fixed IP {ctx.body.address} is not assigned to instance {server.id}")


def _old(method: str, path: str, handler: Any, status: int = 200, body: Any = None) -> Route:
    return Route(
        method=method,
        path=f"/v2.1/{path}",
        handler=handler,
        policy=_POLICY,
        status=status,
        body=body,
        until="2.35",
    )


ROUTES = (
    _old("GET", "os-networks", networks),
    _old("GET", "os-networks/{network_id}", network),
    _old("GET", "os-tenant-networks", tenant_networks),
    _old("GET", "os-tenant-networks/{network_id}", tenant_network),
    _old("GET", "os-floating-ip-pools", pools),
    _old("GET", "os-floating-ips", index),
    _old("POST", "os-floating-ips", create, body=Pool | None),
    _old("GET", "os-floating-ips/{floating_ip_id}", show),
    _old("DELETE", "os-floating-ips/{floating_ip_id}", delete, 202),
    server_action("addFloatingIp", add_floating, _POLICY, AddFloating, until="2.43"),
    server_action("removeFloatingIp", remove_floating, _POLICY, RemoveFloating, until="2.43"),
    server_action("addFixedIp", add_fixed, _MULTINIC, AddFixed, until="2.43"),
    server_action("removeFixedIp", remove_fixed, _MULTINIC, RemoveFixed, until="2.43"),
)
