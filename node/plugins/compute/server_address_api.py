"""What networks a server is on: addresses, interfaces, security groups.

Source: https://docs.openstack.org/api-ref/compute/#servers-ips-servers-ips and
https://docs.openstack.org/api-ref/compute/#port-interfaces-servers-os-interface
"""

from typing import Any

from node.plugins.compute import server_view
from node.plugins.compute.server_lookup import find, ports_of
from node.plugins.compute.tables import Server
from node.sdk import Context, NotFound, PortState, Route


def _ports(ctx: Context, server: Server) -> list[PortState]:
    return ports_of(ctx, [server]).get(server.id, [])


def addresses(ctx: Context, server_id: str) -> dict[str, Any]:
    """List a server's addresses by network."""
    server = find(ctx, server_id, "os_compute_api:ips:index")
    found = server_view.addresses(_ports(ctx, server))
    return {"addresses": server_view.plain(found)}


def addresses_on(ctx: Context, server_id: str, network: str) -> dict[str, Any]:
    """List a server's addresses on the network of that name."""
    server = find(ctx, server_id, "os_compute_api:ips:show")
    found = server_view.addresses(_ports(ctx, server))
    if network not in found:
        raise NotFound("Instance is not a member of specified network")
    return server_view.plain({network: found[network]})


def interface_view(ctx: Context, port: PortState) -> dict[str, Any]:
    """Return an interface as Nova shows it."""
    body: dict[str, Any] = {
        "net_id": port.network_id,
        "port_id": port.id,
        "mac_addr": port.mac,
        "port_state": "ACTIVE" if port.plugged else "DOWN",
        "fixed_ips": [
            {"subnet_id": ip.subnet_id, "ip_address": ip.address} for ip in port.fixed_ips
        ],
    }
    if ctx.microversion >= (2, 70):
        body["tag"] = port.tag or None
    return body


def interfaces(ctx: Context, server_id: str) -> dict[str, Any]:
    """List a server's interfaces."""
    server = find(ctx, server_id, "os_compute_api:os-attach-interfaces:list")
    return {"interfaceAttachments": [interface_view(ctx, port) for port in _ports(ctx, server)]}


def interface(ctx: Context, server_id: str, port_id: str) -> dict[str, Any]:
    """Show one interface."""
    server = find(ctx, server_id, "os_compute_api:os-attach-interfaces:show")
    for port in _ports(ctx, server):
        if port.id == port_id:
            return {"interfaceAttachment": interface_view(ctx, port)}
    raise NotFound(f"Instance {server_id} does not have a port with id {port_id}")


_ONE = "/v2.1/servers/{server_id}"
_NIC = "os_compute_api:os-attach-interfaces"
ROUTES = (
    Route(method="GET", path=f"{_ONE}/ips", handler=addresses, policy="os_compute_api:ips:index"),
    Route(
        method="GET",
        path=f"{_ONE}/ips/{{network}}",
        handler=addresses_on,
        policy="os_compute_api:ips:show",
    ),
    Route(method="GET", path=f"{_ONE}/os-interface", handler=interfaces, policy=f"{_NIC}:list"),
    Route(
        method="GET",
        path=f"{_ONE}/os-interface/{{port_id}}",
        handler=interface,
        policy=f"{_NIC}:show",
    ),
)
