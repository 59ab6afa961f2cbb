"""What compute asks of the network: ports for a server, their release, and what a server must know of them.

Source: https://docs.openstack.org/api-ref/compute/#create-server (`networks`)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from node.plugins.network import port_rules, secgroup_rules
from node.plugins.network.attributes import Wish
from node.plugins.network.converters import WishedAddress
from node.plugins.network.faults import conflict, missing, not_found
from node.plugins.network.network_api import find as find_network
from node.plugins.network.port_api import find as find_port
from node.plugins.network.port_change import Draft
from node.plugins.network.sharing_rules import NetworkSight, offered
from node.plugins.network.tables import (
    COMPUTE_PREFIX,
    FloatingIp,
    Network,
    Port,
    SecurityGroup,
    Subnet,
    tap_name,
)
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    FixedIp,
    Forbidden,
    NodeRow,
    PortPlan,
    PortRequest,
    PortState,
    PortWish,
    Reader,
    check,
    patch,
)


def plan_ports(ctx: Context, request: PortRequest) -> PortPlan:
    """Plan the ports that a new server asks for, bound to its node.

    Raises:
        NodeError: 400, 403, 404 or 409 in Nova's words.
    """
    secgroup_rules.ensure_default(ctx, request.project_id)
    planner = _Planner(ctx, request)
    wishes = automatic(ctx, request.project_id) if request.wishes is None else request.wishes
    for slot, wish in enumerate(wishes, request.first_slot):
        planner.add(wish, slot)
    return PortPlan(
        ops=(*planner.draft.ops, *planner.ops),
        port_ids=tuple(planner.port_ids),
        created=tuple(planner.created),
    )


def automatic(ctx: Context, project_id: str) -> tuple[PortWish, ...]:
    """Return the one network that a project's server gets when none is named; nothing when there is none.

    Raises:
        Conflict: 409, there are several.
    """
    usable = [n for n in ctx.db.rows(Network, project_id=project_id) if not n.external]
    known = {network.id for network in usable}
    others = offered(ctx.db, "network", project_id) - known
    usable += [n for n in ctx.db.rows(Network, id=sorted(others)) if not n.external]
    usable = [network for network in usable if network.subnet_ids]
    if len(usable) > 1:
        raise Conflict(
            "Multiple possible networks found, use a Network ID to be more specific.",
            type="NetworkAmbiguous",
        )
    return tuple(PortWish(network_id=network.id) for network in usable)


class _Planner:
    """Plans one server's ports."""

    def __init__(self, ctx: Context, request: PortRequest) -> None:
        self._ctx = ctx
        self._request = request
        self._sight = NetworkSight(ctx)
        node = ctx.db.get(NodeRow, request.node_id) if request.node_id else None
        self._host = node.name if node else ""
        self._groups: tuple[str, ...] | None = None
        self.draft = Draft(ctx)
        self.ops: list[AnyOp] = []
        self.port_ids: list[str] = []
        self.created: list[bool] = []

    def add(self, wish: PortWish, slot: int) -> None:
        """Plan one interface."""
        port_id = self._existing(wish, slot) if wish.port_id else self._new(wish, slot)
        self.port_ids.append(port_id)
        self.created.append(not wish.port_id)

    def _existing(self, wish: PortWish, slot: int) -> str:
        port = find_port(self._ctx, wish.port_id)
        if port.device_id or port.id in self.port_ids:
            raise conflict("PortInUse", f"Port {port.id} is still in use.")
        if not port.fixed_ips:
            raise BadRequest(f"Port {port.id} requires a FixedIP in order to be used.")
        self.ops += [
            check(port),
            patch(
                Port,
                port.id,
                device_id=self._request.server_id,
                device_owner=COMPUTE_PREFIX + self._request.availability_zone,
                node_id=self._request.node_id,
                binding_host=self._host,
                dns_name=port.dns_name or self._request.hostname.lower()[:63],
                created_for_server=False,
                server_tag=wish.tag,
                slot=slot,
                have="",
                fault="",
                revision=port.revision + 1,
                updated_at=self._ctx.now(),
            ),
        ]
        return port.id

    def _new(self, wish: PortWish, slot: int) -> str:
        network = find_network(self._ctx, wish.network_id, self._sight)
        if not self._sight.may_use(network):
            if network.external:
                raise Forbidden(
                    f"It is not allowed to create an interface on external network {network.id}"
                )
            raise missing("network", network.id)
        if not network.subnet_ids:
            raise BadRequest(
                f"Network {network.id} requires a subnet in order to boot instances on."
            )
        values = {
            "project_id": self._request.project_id,
            "fixed_ips": (WishedAddress(ip_address=wish.fixed_ip),) if wish.fixed_ip else None,
            "security_groups": self._group_ids() if network.port_security else None,
            "device_id": self._request.server_id,
            "device_owner": COMPUTE_PREFIX + self._request.availability_zone,
            "binding:host_id": self._host,
            "dns_name": self._request.hostname.lower()[:63],
        }
        port = self.draft.add(
            network,
            Wish(values=values, given=frozenset(values)),
            created_for_server=True,
            server_tag=wish.tag,
            slot=slot,
            node_id=self._request.node_id,
        )
        return port.id

    def _group_ids(self) -> tuple[str, ...] | None:
        """Return the ids of the groups that the request names, by name or id; None: the default one."""
        names = self._request.security_groups
        if not names:
            return None
        if self._groups is None:
            project_id = self._request.project_id
            rows = self._ctx.db.rows(SecurityGroup, project_id=project_id)
            shared = offered(self._ctx.db, "security_group", project_id)
            rows += self._ctx.db.rows(SecurityGroup, id=shared) if shared else []
            self._groups = tuple(dict.fromkeys(_group_named(rows, name) for name in names))
        return self._groups


def _group_named(rows: Sequence[SecurityGroup], name: str) -> str:
    found = [row.id for row in rows if name in (row.id, row.name)]
    if not found:
        raise not_found("SecurityGroupNotFound", f"Security group {name} not found.")
    if len(found) > 1:
        raise conflict(
            "NoUniqueMatch",
            f"Multiple security groups found matching '{name}'. Use an ID to be more specific.",
        )
    return found[0]


def release_ports(
    db: Reader, server_id: str, now_us: int, port_ids: Sequence[str] | None = None
) -> list[AnyOp]:
    """Return the operations that delete a server's own ports and give the others back unbound."""
    ops: list[AnyOp] = []
    for port in server_rows(db, [server_id]):
        if port_ids is not None and port.id not in port_ids:
            continue
        if port.created_for_server:
            ops += port_rules.delete_ops(db, port, now_us=now_us)
        else:
            ops += unbind_ops(port, now_us)
    return ops


def unbind_ops(port: Port, now_us: int) -> list[AnyOp]:
    """Return the operations that give a port back that was made before its server."""
    return [
        check(port),
        patch(
            Port,
            port.id,
            device_id="",
            device_owner="",
            node_id="",
            binding_host="",
            server_tag="",
            slot=0,
            have="",
            fault="",
            revision=port.revision + 1,
            updated_at=now_us,
        ),
    ]


def move_ops(
    db: Reader, server_id: str, node_id: str, now_us: int, port_ids: Sequence[str] | None = None
) -> list[AnyOp]:
    """Return the operations that bind the ports of a server, or these, to another node; "" is none."""
    node = db.get(NodeRow, node_id) if node_id else None
    ops: list[AnyOp] = []
    for port in server_rows(db, [server_id]):
        if port_ids is not None and port.id not in port_ids:
            continue
        fields = {
            "node_id": node_id,
            "binding_host": node.name if node else "",
            "have": "",
            "fault": "",
            "revision": port.revision + 1,
            "updated_at": now_us,
        }
        ops += [check(port), patch(Port, port.id, **fields)]
    return ops


def server_rows(db: Reader, server_ids: Sequence[str]) -> list[Port]:
    """Return the ports of servers, each server's in their order."""
    rows = db.rows(Port, device_id=list(server_ids)) if server_ids else []
    compute = [row for row in rows if row.device_owner.startswith(COMPUTE_PREFIX)]
    return sorted(compute, key=lambda row: row.slot)


def states(db: Reader, server_ids: Sequence[str]) -> Mapping[str, list[PortState]]:
    """Return what compute needs of the ports of servers, by server, with six queries in all."""
    found: dict[str, list[PortState]] = {server_id: [] for server_id in server_ids}
    ports = server_rows(db, server_ids)
    if not ports:
        return found
    networks = {
        row.id: row for row in db.rows(Network, id={p.network_id for p in ports}, order_by=())
    }
    subnet_ids = {address.subnet_id for port in ports for address in port.fixed_ips}
    subnets = (
        {row.id: row for row in db.rows(Subnet, id=subnet_ids, order_by=())} if subnet_ids else {}
    )
    group_ids = {group for port in ports for group in port.security_group_ids}
    groups = (
        {row.id: row for row in db.rows(SecurityGroup, id=group_ids, order_by=())}
        if group_ids
        else {}
    )
    floating: dict[str, list[FloatingIp]] = defaultdict(list)
    for row in db.rows(FloatingIp, port_id={port.id for port in ports}):
        floating[row.port_id].append(row)
    options = {subnet.id: _fixed_ip(subnet) for subnet in subnets.values()}
    for port in ports:
        network = networks.get(port.network_id)
        found[port.device_id].append(
            PortState(
                id=port.id,
                network_id=port.network_id,
                network_name=network.name if network else "",
                mac=port.mac_address,
                mtu_bytes=network.mtu_bytes if network else 1500,
                fixed_ips=tuple(
                    replace(options[a.subnet_id], address=a.ip_address)
                    for a in port.fixed_ips
                    if a.subnet_id in options
                ),
                floating_ips=tuple(row.address for row in floating[port.id]),
                floating_of=tuple(row.fixed_ip_address for row in floating[port.id]),
                tap=tap_name(port.id),
                plugged=bool(port.node_id) and port.have in ("active", "down"),
                node_id=port.node_id,
                security_groups=tuple(
                    groups[g].name for g in port.security_group_ids if g in groups
                ),
                created_for_server=port.created_for_server,
                admin_up=port.admin_up,
                tag=port.server_tag,
            )
        )
    return found


def _fixed_ip(subnet: Subnet) -> FixedIp:
    return FixedIp(
        address="",
        version=subnet.ip_version,
        subnet_id=subnet.id,
        cidr=subnet.cidr,
        gateway=subnet.gateway_ip,
        dns=subnet.dns_nameservers,
        routes=tuple((route.destination, route.nexthop) for route in subnet.host_routes),
        dhcp=subnet.enable_dhcp,
    )
