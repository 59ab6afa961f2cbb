"""Rows of the network service: what the API half writes and the data plane reads.

Who writes what. The API writes every row and every field but these, which belong to the data plane:
`Port.have` and `Port.fault` (the node named in `Port.node_id`), `FloatingIp.have`/`fault` and `Router.have`/`fault`
(the node named in `Router.node_id`). `have` is "" (not looked at yet), "active" or "down". The API sets `have` back
to "" when what it reported on changed (a port moved, a floating IP re-associated): report with `check(row)`.

Deletion. Every row here is deleted at once, none has a second phase: bridges, VXLAN devices, namespaces, taps, nft
tables and dnsmasq processes are derived state. The data plane removes each of them that carries our naming and that
no row justifies. A missing row never costs anybody data here.

What a router is made of: its interfaces are ports with `device_owner` ROUTER_INTERFACE and `device_id` the router's
id (each of their fixed_ips is an address of the router on that subnet); its gateway is the port `gateway_port_id`
(`device_owner` ROUTER_GATEWAY) on `external_network_id`. DHCP: a network with a subnet that has `enable_dhcp` has one
port with `device_owner` DHCP; its fixed addresses are those of the DHCP/DNS server, the same on every node that
serves the network (it is bound nowhere). A floating IP's address is reserved by a port with `device_owner` FLOATING_IP.

`Port.want` and the other `want` fields are not used here.
"""

import msgspec

from node.sdk import Frozen, Resource, Row, Table

ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"
FLOATING_IP = "network:floatingip"
DHCP = "network:dhcp"
COMPUTE_PREFIX = "compute:"

METADATA_ADDRESS = "169.254.169.254"
METADATA_ADDRESS6 = "fe80::a9fe:a9fe"
"""On every network that has DHCP; guests name their link with it: `[fe80::a9fe:a9fe%eth0]`."""


def tap_name(port_id: str) -> str:
    """Return the name of a port's tap device on its node."""
    return f"tap{port_id[:11]}"


class AddressRange(Frozen):
    """Addresses from `start` to `end`, both included."""

    start: str
    end: str


class HostRoute(Frozen):
    """A route: destination in CIDR form and the next hop's address."""

    destination: str
    nexthop: str


class PortAddress(Frozen):
    """One fixed address of a port."""

    subnet_id: str
    ip_address: str


class AddressPair(Frozen):
    """Another address (or CIDR) that a port may send from. `mac_address` is always filled in."""

    ip_address: str
    mac_address: str


class DhcpOption(Frozen):
    """An extra DHCP option for one port; `ip_version` 4 or 6."""

    opt_name: str
    opt_value: str
    ip_version: int = 4


class Named(Resource, kw_only=True):
    """What every resource of the service has."""

    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    revision: int = 1
    """Neutron's revision_number: one more with each change by the API."""


class Network(Named, kw_only=True):
    """An L2 segment. External ones (`external`) reach the world through the node's uplink."""

    __table__ = Table(name="networks", indexes=(("project_id",), ("external",), ("shared",)))

    admin_up: bool = True
    shared: bool = False
    """Offered to every project."""
    external: bool = False
    is_default: bool = False
    """The external network that auto-allocation takes."""
    mtu_bytes: int = 1450
    network_type: str = "vxlan"
    """vxlan, flat, vlan or local."""
    physical_network: str = ""
    """Only for flat and vlan."""
    segmentation_id: int = 0
    """VNI or VLAN id; 0 for flat and local."""
    port_security: bool = True
    """Default for new ports."""
    dns_domain: str = ""
    zone_hints: tuple[str, ...] = ()
    subnet_ids: tuple[str, ...] = ()
    """In order of creation; written with each subnet, so that overlap checks cannot race."""


class Segment(Row, kw_only=True):
    """Reservation of a segment by its id: `vxlan/VNI`, `vlan/PHYSNET/ID` or `flat/PHYSNET`. To insert is to reserve."""

    __table__ = Table(name="network_segments", indexes=(("network_id",),))

    network_id: str = ""


class Subnet(Named, kw_only=True):
    """An address range on a network."""

    __table__ = Table(
        name="subnets", indexes=(("network_id",), ("project_id",), ("subnetpool_id",))
    )

    network_id: str = ""
    ip_version: int = 4
    cidr: str = ""
    gateway_ip: str = ""
    """Empty: no gateway."""
    allocation_pools: tuple[AddressRange, ...] = ()
    enable_dhcp: bool = True
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    ipv6_ra_mode: str = ""
    """slaac, dhcpv6-stateful, dhcpv6-stateless, or empty: no router advertisements by us."""
    ipv6_address_mode: str = ""
    subnetpool_id: str = ""
    service_types: tuple[str, ...] = ()
    dns_publish_fixed_ip: bool = False


class SubnetPool(Named, kw_only=True):
    """Prefixes that subnets are cut from. Each cut rewrites the row, so that two cannot take the same prefix."""

    __table__ = Table(name="subnetpools", indexes=(("project_id",),))

    ip_version: int = 4
    prefixes: tuple[str, ...] = ()
    default_prefixlen: int = 8
    min_prefixlen: int = 8
    max_prefixlen: int = 32
    default_quota: int = -1
    """-1: no quota."""
    shared: bool = False
    is_default: bool = False
    address_scope_id: str = ""
    cuts: int = 0


class AddressScope(Named, kw_only=True):
    """A set of subnet pools whose addresses do not overlap."""

    __table__ = Table(name="address_scopes", indexes=(("project_id",),))

    ip_version: int = 4
    shared: bool = False


class Port(Named, kw_only=True):
    """An interface on a network. Status: N/A, ACTIVE or DOWN, by `have` (see `port_view.status`)."""

    __table__ = Table(
        name="ports",
        indexes=(("network_id",), ("device_id",), ("project_id",), ("node_id",), ("device_owner",)),
        unique=(("network_id", "mac_address"),),
    )

    network_id: str = ""
    mac_address: str = ""
    admin_up: bool = True
    fixed_ips: tuple[PortAddress, ...] = ()
    device_id: str = ""
    """A server's, router's or other owner's id."""
    device_owner: str = ""
    """`compute:ZONE`, or one of the constants of this module."""
    security_group_ids: tuple[str, ...] = ()
    port_security: bool = True
    """False: no anti-spoofing and no security groups."""
    address_pairs: tuple[AddressPair, ...] = ()
    dhcp_options: tuple[DhcpOption, ...] = ()
    binding_host: str = ""
    """As given: a node's name; `node_id` is the node's id where there is such a node."""
    vnic_type: str = "normal"
    binding_profile: dict[str, object] = msgspec.field(default_factory=dict)
    dns_name: str = ""
    dns_domain: str = ""
    created_for_server: bool = False
    """Made by `server create` and deleted with the server."""
    server_tag: str = ""
    """Nova's device tag."""
    slot: int = 0
    """Place among its server's interfaces."""


class IpAllocation(Row, kw_only=True):
    """Reservation of an address: id is `SUBNET_ID/ADDRESS`; to insert it is to reserve it."""

    __table__ = Table(name="ip_allocations", indexes=(("subnet_id",), ("port_id",)))

    subnet_id: str = ""
    ip_address: str = ""
    port_id: str = ""


class Router(Named, kw_only=True):
    """A router: a namespace on `node_id`. Interfaces are ports (see the module's docstring)."""

    __table__ = Table(
        name="routers", indexes=(("project_id",), ("node_id",), ("external_network_id",))
    )

    admin_up: bool = True
    external_network_id: str = ""
    """Empty: no gateway."""
    gateway_port_id: str = ""
    external_fixed_ips: tuple[PortAddress, ...] = ()
    """The gateway port's, repeated."""
    enable_snat: bool = True
    routes: tuple[HostRoute, ...] = ()
    zone_hints: tuple[str, ...] = ()
    serial: int = 0
    """Grows with each change to interfaces and floating IPs, so that rules over them cannot race."""


class FloatingIp(Named, kw_only=True):
    """An address of an external network that stands for a port's fixed address."""

    __table__ = Table(
        name="floating_ips",
        indexes=(
            ("project_id",),
            ("port_id",),
            ("router_id",),
            ("floating_network_id",),
            ("address",),
        ),
    )

    floating_network_id: str = ""
    address: str = ""
    floating_port_id: str = ""
    """The port on the external network that reserves `address`."""
    port_id: str = ""
    """Empty: not associated."""
    fixed_ip_address: str = ""
    router_id: str = ""
    """The router that translates; empty: not associated."""
    dns_name: str = ""
    dns_domain: str = ""


class SecurityGroup(Named, kw_only=True):
    """A named set of rules."""

    __table__ = Table(name="security_groups", indexes=(("project_id",),), unique=(("default_of",),))

    stateful: bool = True
    shared: bool = False
    default_of: str | None = None
    """The project whose `default` group this is; null: an ordinary group."""


class SecurityGroupRule(Resource, kw_only=True):
    """Traffic that is let in or out; everything else is dropped."""

    __table__ = Table(
        name="security_group_rules",
        indexes=(("security_group_id",), ("project_id",), ("remote_group_id",)),
        unique=(("security_group_id", "signature"),),
    )

    security_group_id: str = ""
    direction: str = "ingress"
    """ingress or egress."""
    ethertype: str = "IPv4"
    """IPv4 or IPv6."""
    protocol: str = ""
    """A name (tcp, udp, icmp, ipv6-icmp, sctp, ...) or a number as text; empty: any."""
    port_min: int | None = None
    """Lowest port, or the ICMP type."""
    port_max: int | None = None
    """Highest port, or the ICMP code."""
    remote_group_id: str = ""
    remote_ip_prefix: str = ""
    """In normal form."""
    given_prefix: str = ""
    """The same as the client wrote it."""
    description: str = ""
    revision: int = 0
    signature: str = ""
    """All that makes two rules the same rule, as text."""


class SecurityGroupMember(Row, kw_only=True):
    """A port in a security group (id `GROUP_ID/PORT_ID`) with the addresses that `remote_group_id` stands for."""

    __table__ = Table(name="security_group_members", indexes=(("security_group_id",), ("port_id",)))

    security_group_id: str = ""
    port_id: str = ""
    addresses: tuple[str, ...] = ()
    """Fixed addresses, and the addresses or CIDRs of allowed address pairs."""


class RbacPolicy(Resource, kw_only=True):
    """Offers a network, security group, subnet pool or address scope to a project (or to all: `*`)."""

    __table__ = Table(
        name="network_rbacs",
        indexes=(("target_project", "object_type"), ("object_id",), ("project_id",)),
        unique=(("object_id", "action", "target_project"),),
    )

    object_type: str = "network"
    """network, security_group, subnetpool, address_scope."""
    object_id: str = ""
    action: str = "access_as_shared"
    """access_as_shared or access_as_external."""
    target_project: str = "*"


class NetworkQuota(Row, kw_only=True):
    """A project's own limits (id is the project's id); what it does not name has the default of `quota_rules`."""

    __table__ = Table(name="network_quotas")

    limits: dict[str, int] = msgspec.field(default_factory=dict)
    """By resource (`port`, `network`, ...); -1: no limit."""


class AutoTopology(Row, kw_only=True):
    """The network and the router that were made for a project. `id` is the project's."""

    __table__ = Table(name="auto_topologies")

    network_id: str
    router_id: str
    subnet_ids: list[str] = []


ROW_TYPES: tuple[type[Row], ...] = (
    Network,
    Segment,
    Subnet,
    SubnetPool,
    AddressScope,
    Port,
    IpAllocation,
    Router,
    FloatingIp,
    SecurityGroup,
    SecurityGroupRule,
    SecurityGroupMember,
    RbacPolicy,
    NetworkQuota,
    AutoTopology,
)
