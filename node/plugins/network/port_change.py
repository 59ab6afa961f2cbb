"""New and changed ports as rows: everything between a parsed body and the operations.

Source: https://docs.openstack.org/api-ref/network/v2/#ports
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from node.plugins.network import port_rules, secgroup_rules
from node.plugins.network.address_rules import Chooser, eui64, is_auto
from node.plugins.network.attributes import Wish
from node.plugins.network.faults import bad, conflict, invalid_input, missing
from node.plugins.network.port_attributes import FIELDS
from node.plugins.network.revise import revise, stamps
from node.plugins.network.sharing_rules import offered
from node.plugins.network.tables import (
    DHCP,
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    AddressPair,
    DhcpOption,
    FloatingIp,
    Network,
    Port,
    PortAddress,
    SecurityGroup,
    Subnet,
)
from node.sdk import AnyOp, Context, NodeError, check

_MAX_PAIRS = 10
_MAX_ADDRESSES = 5


class Draft:
    """Ports that are being made in one plan: what they read is read once, what they take is taken once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._networks: dict[str, Network] = {}
        self._choosers: dict[str, tuple[Chooser, dict[str, Subnet]]] = {}
        self._groups: dict[str, SecurityGroup] = {}
        self.ops: list[AnyOp] = []

    def add(self, network: Network, wish: Wish, **more: Any) -> Port:
        """Plan a new port on a network that the caller may use; `more` are row fields of our own.

        Raises:
            NodeError: 400, 404 or 409 in Neutron's words.
        """
        mac = wish.get("mac_address") or port_rules.new_mac()
        if wish.get("mac_address") and self._ctx.db.one(
            Port, network_id=network.id, mac_address=mac
        ):
            raise mac_in_use(network.id, mac)
        security = wish.get("port_security_enabled", network.port_security)
        owner = wish.get("device_owner") or ""
        groups = self._groups_for(wish, security=security and not owner.startswith("network:"))
        port = Port(
            id=self._ctx.ids.uuid(),
            project_id=wish["project_id"],
            network_id=network.id,
            mac_address=mac,
            fixed_ips=self._addresses(network, wish, mac, owner),
            security_group_ids=groups,
            port_security=security,
            address_pairs=pairs(wish.get("allowed_address_pairs") or (), mac, security=security),
            dhcp_options=tuple(o for o in wish.get("extra_dhcp_opts") or () if o.opt_value),
            tags=wish.get("tags", ()),
            **{
                "node_id": port_rules.node_of(self._ctx.db, wish.get("binding:host_id") or ""),
                **wish.fields(FIELDS),
                **more,
            },
            **stamps(self._ctx),
        )
        self._ops_for(network, port)
        return port

    def chooser(self, network_id: str) -> tuple[Chooser, dict[str, Subnet]]:
        """Return what chooses addresses on a network, and the network's subnets by id."""
        if network_id not in self._choosers:
            rows = self._ctx.db.rows(Subnet, network_id=network_id)
            self._choosers[network_id] = (
                Chooser(self._ctx.db, network_id, rows),
                {row.id: row for row in rows},
            )
        return self._choosers[network_id]

    def _addresses(
        self, network: Network, wish: Wish, mac: str, owner: str
    ) -> tuple[PortAddress, ...]:
        chooser, _subnets = self.chooser(network.id)
        router = owner in (ROUTER_INTERFACE, ROUTER_GATEWAY)
        wishes = wish.get("fixed_ips")
        if wishes is None:
            return chooser.default(mac, owner, router=router)
        too_many(wishes, owner)
        return chooser.wished(wishes, mac, router=router)

    def _groups_for(self, wish: Wish, *, security: bool) -> tuple[str, ...]:
        given = wish.get("security_groups")
        if not security:
            if given:
                raise _needs_security()
            return ()
        if given is None:
            ops, group = secgroup_rules.default_group_ops(self._ctx, wish["project_id"])
            if group.id not in self._groups:
                self.ops += ops
                if not ops:
                    self._guard(group)
            return (group.id,)
        for group in usable_groups(self._ctx, given, wish["project_id"]):
            self._guard(group)
        return tuple(given)

    def _guard(self, group: SecurityGroup) -> None:
        if group.id not in self._groups:
            self._groups[group.id] = group
            self.ops.append(check(group))

    def _ops_for(self, network: Network, port: Port) -> None:
        if network.id not in self._networks:
            self._networks[network.id] = network
            self.ops.append(check(network))
            self.ops += [check(subnet) for subnet in self.chooser(network.id)[1].values()]
        self.ops += port_rules.create_ops(self._ctx.db, port)


def change(ctx: Context, port: Port, wish: Wish, network: Network) -> tuple[list[AnyOp], Port]:
    """Return the operations of a port's update and the port as it will be.

    Raises:
        NodeError: 400, 404 or 409 in Neutron's words.
    """
    changes = wish.fields(FIELDS)
    mac = wish.get("mac_address") or port.mac_address
    if mac != port.mac_address:
        changes["mac_address"] = _new_mac(ctx, port, mac)
    guards: list[AnyOp] = []
    if wish.get("fixed_ips") is not None:
        changes["fixed_ips"], guards = _new_addresses(ctx, port, wish, network, mac)
    elif mac != port.mac_address:
        changes["fixed_ips"] = _remade(ctx, port, mac)
    security = wish.get("port_security_enabled", port.port_security)
    changes["port_security"] = security
    if "security_groups" in wish:
        given = wish["security_groups"]
        if given and not security:
            raise _needs_security()
        guards += [check(group) for group in usable_groups(ctx, given, port.project_id)]
        changes["security_group_ids"] = given
    elif not security and port.security_group_ids:
        raise conflict(
            "PortSecurityPortHasSecurityGroup",
            "Port has security group associated. Cannot disable port security or ip address until security "
            "group is removed.",
        )
    wished_pairs = wish.get("allowed_address_pairs", port.address_pairs)
    changes["address_pairs"] = pairs(wished_pairs, mac, security=security)
    if "extra_dhcp_opts" in wish:
        changes["dhcp_options"] = merged_options(port.dhcp_options, wish["extra_dhcp_opts"])
    if "binding:host_id" in wish:
        changes["node_id"] = port_rules.node_of(ctx.db, wish["binding:host_id"])
        if changes["node_id"] != port.node_id:
            changes |= {"have": "", "fault": ""}
    ops, new = revise(ctx, port, **changes)
    if not ops:
        return [], new
    return [*guards, *ops, *port_rules.companions(port, new), *_let_go(ctx, port, new)], new


def usable_groups(ctx: Context, idents: Sequence[str], project_id: str) -> list[SecurityGroup]:
    """Return security groups that a port of a project may be in.

    Raises:
        SecurityGroupNotFound: 404.
    """
    found = {row.id: row for row in ctx.db.rows(SecurityGroup, id=list(idents))} if idents else {}
    shared = offered(ctx.db, "security_group", project_id) if found else set()
    for ident in idents:
        group = found.get(ident)
        admin = ctx.token.is_admin
        if group is None or not (group.project_id == project_id or ident in shared or admin):
            raise missing("security_group", ident)
    if len({group.stateful for group in found.values()}) > 1:
        raise conflict(
            "SecurityGroupConflict",
            "Error Cannot apply both stateful and stateless security groups on the same port while attempting "
            "the operation.",
        )
    return [found[ident] for ident in idents]


def pairs(wished: Sequence[AddressPair], mac: str, *, security: bool) -> tuple[AddressPair, ...]:
    """Return allowed address pairs with their MAC addresses filled in.

    Raises:
        AddressPairAndPortSecurityRequired: 409.
        AllowedAddressPairExhausted: 400.
    """
    if wished and not security:
        raise conflict(
            "AddressPairAndPortSecurityRequired",
            "Port Security must be enabled in order to have allowed address pairs on a port.",
        )
    if len(wished) > _MAX_PAIRS:
        raise bad(
            "AllowedAddressPairExhausted",
            f"The number of allowed address pair exceeds the maximum {_MAX_PAIRS}.",
        )
    return tuple(pair if pair.mac_address else replace(pair, mac_address=mac) for pair in wished)


def merged_options(
    present: Sequence[DhcpOption], wished: Sequence[DhcpOption]
) -> tuple[DhcpOption, ...]:
    """Return a port's DHCP options after an update; an option wished for without a value is removed."""
    kept: Mapping[tuple[str, int], DhcpOption] = {(o.opt_name, o.ip_version): o for o in present}
    changed = {**kept, **{(o.opt_name, o.ip_version): o for o in wished}}
    return tuple(option for option in changed.values() if option.opt_value)


def too_many(wishes: Sequence[Any], owner: str) -> None:
    """Refuse more fixed addresses than a port may have.

    Raises:
        InvalidInput: 400.
    """
    if len(wishes) > _MAX_ADDRESSES and not owner.startswith("network:"):
        raise invalid_input("Exceeded maximum amount of fixed ips per port")


def mac_in_use(network_id: str, mac: str) -> NodeError:
    """Return the 409 of a MAC address that another port has."""
    return conflict(
        "MacAddressInUse",
        f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.",
    )


def _let_go(ctx: Context, old: Port, new: Port) -> list[AnyOp]:
    """Return the operations that part floating IPs from addresses which the port no longer has."""
    if new.fixed_ips == old.fixed_ips:
        return []
    kept = {address.ip_address for address in new.fixed_ips}
    rows = ctx.db.rows(FloatingIp, port_id=old.id)
    lost = [row for row in rows if row.fixed_ip_address not in kept]
    return [op for row in lost for op in port_rules.release_ops(row, ctx.now())]


def _needs_security() -> NodeError:
    return bad(
        "PortSecurityAndIPRequiredForSecurityGroups",
        "Port security must be enabled and port must have an IP address in order to use security groups.",
    )


def _new_mac(ctx: Context, port: Port, mac: str) -> str:
    if port.binding_host:
        raise conflict(
            "PortBound",
            f"Unable to complete operation on port {port.id}, port is already bound, port type: tap, "
            f"old_mac {port.mac_address}, new_mac {mac}.",
        )
    if ctx.db.one(Port, network_id=port.network_id, mac_address=mac):
        raise mac_in_use(port.network_id, mac)
    return mac


def _new_addresses(
    ctx: Context, port: Port, wish: Wish, network: Network, mac: str
) -> tuple[tuple[PortAddress, ...], list[AnyOp]]:
    draft = Draft(ctx)
    chooser, subnets = draft.chooser(network.id)
    router = port.device_owner in (ROUTER_INTERFACE, ROUTER_GATEWAY)
    too_many(wish["fixed_ips"], port.device_owner)
    after = chooser.wished(wish["fixed_ips"], mac, own=port.fixed_ips, router=router)
    guards: list[AnyOp] = [check(subnets[a.subnet_id]) for a in after if a.subnet_id in subnets]
    if port.device_owner == DHCP:
        guards.append(check(network))
    return after, guards


def _remade(ctx: Context, port: Port, mac: str) -> tuple[PortAddress, ...]:
    """Return a port's addresses after its MAC address changed: those made from it change too."""
    found = []
    for address in port.fixed_ips:
        subnet = ctx.db.get(Subnet, address.subnet_id)
        if subnet is not None and is_auto(subnet):
            found.append(PortAddress(subnet_id=subnet.id, ip_address=eui64(subnet.cidr, mac)))
        else:
            found.append(address)
    return tuple(found)
