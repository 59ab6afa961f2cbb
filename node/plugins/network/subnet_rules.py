"""Decisions about subnets: gateway, pools, IPv6 modes, overlaps. Pure but for what is handed in.

Source: https://docs.openstack.org/api-ref/network/v2/#subnets, RFC 4291 (subnet-router anycast)
"""

import ipaddress
import itertools
from collections.abc import Sequence

from node.plugins.network import converters as to
from node.plugins.network.attributes import ABSENT, REQUIRED, Attribute, Kind, standard
from node.plugins.network.faults import bad, conflict, invalid_input
from node.plugins.network.tables import AddressRange, HostRoute, Subnet
from node.sdk import NodeError

Net = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_MODES = ("slaac", "dhcpv6-stateful", "dhcpv6-stateless")
_MAX_NAMESERVERS = 5
_MAX_HOST_ROUTES = 20

KIND = Kind(
    name="subnet",
    plural="subnets",
    attributes=standard(
        Attribute(name="network_id", convert=to.uuid, put=False, default=REQUIRED),
        Attribute(name="ip_version", convert=to.integer(4, 6), put=False, default=0),
        Attribute(
            name="cidr", convert=lambda v: "" if v is None else to.cidr(v), put=False, default=""
        ),
        Attribute(name="gateway_ip", convert=to.ip_or_none, default=ABSENT),
        Attribute(
            name="allocation_pools",
            convert=lambda v: None if v is None else to.address_ranges(v),
            default=None,
        ),
        Attribute(name="enable_dhcp", convert=to.boolean, default=True),
        Attribute(name="dns_nameservers", convert=to.items(to.nameserver), default=()),
        Attribute(name="host_routes", convert=to.host_routes, default=()),
        Attribute(
            name="ipv6_ra_mode", convert=to.one_of(_IPV6_MODES, null=True), put=False, default=""
        ),
        Attribute(
            name="ipv6_address_mode",
            convert=to.one_of(_IPV6_MODES, null=True),
            put=False,
            default="",
        ),
        Attribute(name="subnetpool_id", convert=to.uuid_or_none, put=False, default=""),
        Attribute(name="use_default_subnetpool", convert=to.boolean, put=False, default=False),
        Attribute(name="prefixlen", convert=to.integer(0, 128, null=True), put=False, default=None),
        Attribute(name="service_types", convert=to.items(to.text(255)), default=()),
        Attribute(name="dns_publish_fixed_ip", convert=to.boolean, default=False),
    ),
)

FIELDS = {
    name: name
    for name in (
        "name",
        "description",
        "gateway_ip",
        "enable_dhcp",
        "dns_nameservers",
        "host_routes",
        "service_types",
        "dns_publish_fixed_ip",
    )
}


def parse_cidr(cidr: str, ip_version: int) -> Net:
    """Return the network of a subnet's CIDR.

    Raises:
        InvalidInput: 400.
    """
    network = ipaddress.ip_network(cidr)
    if ip_version and network.version != ip_version:
        raise invalid_input(f"cidr '{cidr}' does not match the ip_version '{ip_version}'")
    if network.prefixlen == 0:
        raise invalid_input("0 is not allowed as CIDR prefix length")
    if network.is_multicast:
        raise invalid_input(f"Multicast IP subnet is not supported if enable_dhcp is True: {cidr}")
    return network


def default_gateway(network: Net) -> str:
    """Return the first host's address."""
    if network.prefixlen >= network.max_prefixlen - 1 and network.version == 4:
        return str(network.network_address)
    return str(network.network_address + 1)


def host_range(network: Net) -> tuple[int, int]:
    """Return the first and last address that hosts may have, as numbers."""
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.prefixlen >= network.max_prefixlen - 1:
        return first, last
    return first + 1, last - 1 if network.version == 4 else last


def default_pools(network: Net, gateway: str) -> tuple[AddressRange, ...]:
    """Return the ranges of all hosts but the gateway."""
    first, last = host_range(network)
    ranges = [(first, last)]
    if gateway:
        hole = int(ipaddress.ip_address(gateway))
        if first <= hole <= last and ipaddress.ip_address(gateway).version == network.version:
            ranges = [(first, hole - 1), (hole + 1, last)]
    kind = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    return tuple(
        AddressRange(start=str(kind(start)), end=str(kind(end)))
        for start, end in ranges
        if start <= end
    )


def check_gateway(network: Net, gateway: str) -> None:
    """Refuse a gateway that cannot be one.

    Raises:
        InvalidInput: 400.
    """
    if not gateway:
        return
    address = ipaddress.ip_address(gateway)
    if address.version != network.version:
        raise invalid_input(
            f"gateway_ip '{gateway}' does not match the ip_version '{network.version}'"
        )
    if address in network:
        first, last = host_range(network)
        if not first <= int(address) <= last:
            raise invalid_input("Gateway is not valid on subnet")


def check_pools(
    network: Net, pools: Sequence[AddressRange], gateway: str
) -> tuple[AddressRange, ...]:
    """Return the pools sorted; refuse those that do not fit.

    Raises:
        InvalidAllocationPool, OutOfBoundsAllocationPool: 400.
        OverlappingAllocationPools, GatewayConflictWithAllocationPools: 409.
    """
    first, last = host_range(network)
    spans = []
    for pool in pools:
        text = f"{pool.start}-{pool.end}"
        start, end = ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end)
        if (
            start.version != network.version
            or end.version != network.version
            or int(end) < int(start)
        ):
            raise bad("InvalidAllocationPool", f"The allocation pool {text} is not valid.")
        if int(start) < first or int(end) > last:
            raise bad(
                "OutOfBoundsAllocationPool",
                f"The allocation pool {text} spans beyond the subnet cidr {network}.",
            )
        spans.append((int(start), int(end), pool))
    spans.sort(key=lambda span: span[0])
    for (_, low_end, left), (high_start, _, right) in itertools.pairwise(spans):
        if high_start <= low_end:
            raise conflict(
                "OverlappingAllocationPools",
                f"Found overlapping allocation pools: {left.start}-{left.end} {right.start}-{right.end} "
                f"for subnet {network}.",
            )
    check_gateway_free([pool for _, _, pool in spans], gateway)
    return tuple(pool for _, _, pool in spans)


def check_gateway_free(pools: Sequence[AddressRange], gateway: str) -> None:
    """Refuse a gateway inside a pool.

    Raises:
        GatewayConflictWithAllocationPools: 409.
    """
    if not gateway:
        return
    wanted = ipaddress.ip_address(gateway)
    for pool in pools:
        start, end = ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end)
        if start.version == wanted.version and int(start) <= int(wanted) <= int(end):
            raise conflict(
                "GatewayConflictWithAllocationPools",
                f"Gateway ip {gateway} conflicts with allocation pool {pool.start}-{pool.end}.",
            )


def check_ipv6(network: Net, *, enable_dhcp: bool, ra_mode: str, address_mode: str) -> None:
    """Refuse IPv6 modes that do not fit.

    Raises:
        InvalidInput: 400.
    """
    if not ra_mode and not address_mode:
        return
    if network.version == 4:
        raise invalid_input("ipv6_ra_mode and ipv6_address_mode are not valid for IPv4 subnets")
    if not enable_dhcp:
        raise invalid_input(
            "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False"
        )
    if ra_mode and address_mode and ra_mode != address_mode:
        raise invalid_input(
            f"ipv6_ra_mode set to '{ra_mode}' with ipv6_address_mode set to '{address_mode}' is not valid. "
            "If both attributes are set, they must be the same value"
        )
    if {"slaac", "dhcpv6-stateless"} & {ra_mode, address_mode} and network.prefixlen != 64:
        raise invalid_input(
            f"Invalid CIDR {network} for IPv6 address mode. OpenStack uses the EUI-64 address format, "
            "which requires the prefix to be /64"
        )


def check_options(
    network: Net,
    nameservers: Sequence[str],
    routes: Sequence[HostRoute],
    *,
    enable_dhcp: bool,
    ident: str,
) -> None:
    """Refuse name servers and routes of the other IP version, too many of them, and DHCP where none fits.

    Raises:
        InvalidInput, DNSNameServersExhausted, HostRoutesExhausted: 400.
    """
    if enable_dhcp and network.version == 4 and network.prefixlen > 30:
        raise invalid_input(
            "Subnet has a prefix length that is incompatible with DHCP service enabled"
        )
    if len(nameservers) > _MAX_NAMESERVERS:
        raise bad(
            "DNSNameServersExhausted",
            f"Unable to complete operation for {ident}. The number of DNS nameservers exceeds the limit "
            f"{_MAX_NAMESERVERS}.",
        )
    if len(routes) > _MAX_HOST_ROUTES:
        raise bad(
            "HostRoutesExhausted",
            f"Unable to complete operation for {ident}. The number of host routes exceeds the limit "
            f"{_MAX_HOST_ROUTES}.",
        )
    for server in nameservers:
        if ipaddress.ip_address(server).version != network.version:
            raise invalid_input(
                f"dns_nameserver '{server}' does not match the ip_version '{network.version}'"
            )
    for route in routes:
        if ipaddress.ip_network(route.destination).version != network.version:
            raise invalid_input(
                f"host_routes destination '{route.destination}' does not match the ip_version '{network.version}'"
            )
        if ipaddress.ip_address(route.nexthop).version != network.version:
            raise invalid_input(
                f"host_routes nexthop '{route.nexthop}' does not match the ip_version '{network.version}'"
            )


def check_overlap(network: Net, others: Sequence[Subnet], network_id: str) -> None:
    """Refuse a subnet that overlaps another one of its network.

    Raises:
        InvalidInput: 400.
    """
    for other in others:
        present = ipaddress.ip_network(other.cidr)
        if present.version == network.version and present.overlaps(network):
            raise invalid_input(
                f"Requested subnet with cidr: {network} for network: {network_id} overlaps with another subnet"
            )


def in_use(
    subnet_id: str, reason: str = "One or more ports have an IP allocation from this subnet"
) -> NodeError:
    """Return the 409 of a subnet that ports have addresses on."""
    return conflict("SubnetInUse", f"Unable to complete operation on subnet {subnet_id}: {reason}.")
