"""The port of a network's DHCP server: there is one while a subnet wants DHCP, with an address on each such subnet.

It changes only together with its network's row, so that it cannot be made twice.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from node.plugins.network import port_rules
from node.plugins.network.address_rules import pick
from node.plugins.network.tables import DHCP, Network, Port, PortAddress, Subnet
from node.sdk import AnyOp, Context, check, patch

_SERVED_V6 = ("dhcpv6-stateful", "dhcpv6-stateless")


def wants_server(subnet: Subnet) -> bool:
    """Return whether our DHCP server answers on the subnet."""
    if not subnet.enable_dhcp:
        return False
    return subnet.ip_version == 4 or subnet.ipv6_address_mode in _SERVED_V6


def server_ops(ctx: Context, network: Network, subnets: Sequence[Subnet]) -> list[AnyOp]:
    """Return the operations that give the DHCP port one address on each subnet that wants it, and no other.

    `subnets` are those that the network will have. A subnet without a free address is left out.
    """
    old = ctx.db.one(Port, network_id=network.id, device_owner=DHCP)
    present = {address.subnet_id: address for address in (old.fixed_ips if old else ())}
    addresses = []
    for subnet in subnets:
        if wants_server(subnet):
            address = present.get(subnet.id) or _new_address(ctx, subnet)
            if address is not None:
                addresses.append(address)
    if old is None:
        return (
            port_rules.create_ops(ctx.db, _new_port(ctx, network, addresses)) if addresses else []
        )
    if not addresses:
        return port_rules.delete_ops(ctx.db, old)
    if tuple(addresses) == old.fixed_ips:
        return []
    new = replace(old, fixed_ips=tuple(addresses), revision=old.revision + 1, updated_at=ctx.now())
    change = patch(
        Port, old.id, fixed_ips=new.fixed_ips, revision=new.revision, updated_at=new.updated_at
    )
    return [check(old), change, *port_rules.companions(old, new)]


def _new_address(ctx: Context, subnet: Subnet) -> PortAddress | None:
    known = ctx.db.get(Subnet, subnet.id) is not None
    first = subnet.allocation_pools[0].start if subnet.allocation_pools else None
    address = pick(ctx.db, subnet, set()) if known else first
    return PortAddress(subnet_id=subnet.id, ip_address=address) if address else None


def _new_port(ctx: Context, network: Network, addresses: Sequence[PortAddress]) -> Port:
    now = ctx.now()
    return Port(
        id=ctx.ids.uuid(),
        project_id=network.project_id,
        network_id=network.id,
        mac_address=port_rules.new_mac(),
        device_owner=DHCP,
        device_id=f"dhcp-{network.id}",
        fixed_ips=tuple(addresses),
        port_security=False,
        created_at=now,
        updated_at=now,
    )
