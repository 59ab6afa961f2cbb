"""What goes with a port: its addresses, security group memberships and counts, always in one transaction.

Counters of what is in use (see `revise.in_use_counter`) let the deletion of a network, subnet or security group be
refused by the row store itself, although it never sees the ports that are being created at that moment.
"""

import random
from collections import Counter
from collections.abc import Iterable

from node.plugins.network import quota_rules
from node.plugins.network.address_rules import allocation_id
from node.plugins.network.revise import in_use_counter
from node.plugins.network.tables import (
    DHCP,
    FloatingIp,
    IpAllocation,
    Network,
    Port,
    Router,
    SecurityGroup,
    SecurityGroupMember,
    Subnet,
)
from node.sdk import AnyOp, Count, NodeRow, Reader, check, delete, insert, patch, put

MAC_PREFIX = "fa:16:3e"


def new_mac() -> str:
    """Return a random MAC address in OpenStack's range."""
    tail = random.randrange(1 << 24)
    return f"{MAC_PREFIX}:{tail >> 16:02x}:{tail >> 8 & 255:02x}:{tail & 255:02x}"


def node_of(db: Reader, host: str) -> str:
    """Return the id of the node with that name or id, or an empty string."""
    if not host:
        return ""
    row = db.get(NodeRow, host) or db.one(NodeRow, name=host)
    return row.id if row else ""


def create_ops(db: Reader, port: Port) -> list[AnyOp]:
    """Return the operations that store a new port with all that goes with it; quota included."""
    counted = [quota_rules.take(db, port.project_id, "port")] if counts(port) else []
    return [*counted, insert(port), *companions(None, port)]


def delete_ops(db: Reader, port: Port, *, now_us: int = 0) -> list[AnyOp]:
    """Return the operations that remove a port with all that goes with it; floating IPs let go of it."""
    ops: list[AnyOp] = [check(port), delete(Port, port.id), *companions(port, None)]
    if counts(port):
        ops.append(quota_rules.give_back(port.project_id, "port"))
    if now_us:
        for floating in db.rows(FloatingIp, port_id=port.id):
            ops += release_ops(floating, now_us)
    return ops


def counts(port: Port) -> bool:
    """Return whether a port counts against its project's quota: those that we made for ourselves do not."""
    return port.project_id != "" and port.device_owner != DHCP


def release_ops(floating: FloatingIp, now_us: int) -> list[AnyOp]:
    """Return the operations that part a floating IP from its port."""
    return [
        check(floating),
        patch(
            FloatingIp,
            floating.id,
            port_id="",
            fixed_ip_address="",
            router_id="",
            have="",
            fault="",
            revision=floating.revision + 1,
            updated_at=now_us,
        ),
    ]


def companions(old: Port | None, new: Port | None) -> list[AnyOp]:
    """Return the operations on reservations, memberships and counters that a port's change brings along."""
    return [*_reservations(old, new), *_memberships(old, new), *_counts(old, new)]


def touch_router(router: Router) -> list[AnyOp]:
    """Return the operations that make concurrent changes around one router exclude each other."""
    return [check(router), patch(Router, router.id, serial=router.serial + 1)]


def _reservations(old: Port | None, new: Port | None) -> Iterable[AnyOp]:
    before = {allocation_id(a.subnet_id, a.ip_address) for a in (old.fixed_ips if old else ())}
    after = {allocation_id(a.subnet_id, a.ip_address): a for a in (new.fixed_ips if new else ())}
    for ident in sorted(before - set(after)):
        yield delete(IpAllocation, ident)
    for ident, address in after.items():
        if ident not in before and new is not None:
            yield insert(
                IpAllocation(
                    id=ident,
                    subnet_id=address.subnet_id,
                    ip_address=address.ip_address,
                    port_id=new.id,
                    created_at=new.updated_at,
                    updated_at=new.updated_at,
                )
            )


def _memberships(old: Port | None, new: Port | None) -> Iterable[AnyOp]:
    before = {member.id: member for member in _members(old)}
    after = {member.id: member for member in _members(new)}
    for ident in before:
        if ident not in after:
            yield delete(SecurityGroupMember, ident)
    for ident, member in after.items():
        if ident not in before:
            yield insert(member)
        elif before[ident].addresses != member.addresses:
            yield put(member)


def _members(port: Port | None) -> list[SecurityGroupMember]:
    if port is None:
        return []
    fixed = [address.ip_address for address in port.fixed_ips]
    paired = [pair.ip_address for pair in port.address_pairs]
    return [
        SecurityGroupMember(
            id=f"{group}/{port.id}",
            security_group_id=group,
            port_id=port.id,
            addresses=tuple(dict.fromkeys(fixed + paired)),
            created_at=port.created_at,
            updated_at=port.updated_at,
        )
        for group in port.security_group_ids
    ]


def _counts(old: Port | None, new: Port | None) -> Iterable[AnyOp]:
    difference = Counter(_uses(new))
    difference.subtract(Counter(_uses(old)))
    for counter, delta in difference.items():
        if delta:
            yield Count(counter, delta)


def _uses(port: Port | None) -> list[str]:
    """Return the counter of each thing that the port keeps from being deleted, once for each use."""
    if port is None:
        return []
    groups = [in_use_counter(SecurityGroup, group) for group in port.security_group_ids]
    if port.device_owner == DHCP:
        return groups
    subnets = [in_use_counter(Subnet, address.subnet_id) for address in port.fixed_ips]
    return [in_use_counter(Network, port.network_id), *subnets, *groups]
