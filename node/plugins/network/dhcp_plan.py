"""What dnsmasq serves to one network: pure functions of rows to file texts and arguments."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

from node.plugins.network.link_plan import VethPlan
from node.plugins.network.names import DHCP_INNER, bridge_name, dhcp_link, dhcp_namespace
from node.plugins.network.network_plan import MIN_MTU_BYTES
from node.plugins.network.tables import (
    METADATA_ADDRESS,
    METADATA_ADDRESS6,
    Network,
    Port,
    Subnet,
)
from node.sdk import Frozen

LEASE_S = 86400
RELAY_PORT = 5353
"""Where the namespace's loopback takes questions that go on to the node's name servers."""

_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
# What `dnsmasq --help dhcp` and `--help dhcp6` list: an unknown name would keep it from starting.
_KNOWN_OPTIONS = """
T1 T2 all-subnets-local arp-timeout boot-file-size bootfile-name classless-static-route client-arch
client-interface-id client-machine-id default-ttl dns-server domain-name domain-search ethernet-encap
extension-path ip-forward-enable ipv6-only irc-server log-server lpr-server max-datagram-reassembly
mobile-ip-home mtu netbios-dd netbios-nodetype netbios-ns netbios-scope netmask nis+-domain nis+-server
nis-domain nis-server nntp-server non-local-source-routing ntp-server policy-filter pop3-server
posix-timezone rapid-commit root-path router router-discovery router-solicitation server-ip-address
sip-server smtp-server static-route swap-server tcp-keepalive tcp-ttl tftp-server tftp-server-address
time-offset trailer-encapsulation tzdb-timezone user-class vendor-class vendor-id-encap x-windows-dm
x-windows-fs
"""
_KNOWN_OPTIONS6 = """
bootfile-param bootfile-url dns-server domain-search information-refresh-time nis+-domain nis+-server
nis-domain nis-server ntp-server posix-timezone sip-server sip-server-domain sntp-server tzdb-timezone
"""


class DhcpPlan(Frozen):
    """The DHCP and DNS service of a network."""

    network_id: str
    namespace: str
    veth: VethPlan
    ranges: tuple[str, ...]
    """Values of `--dhcp-range`."""
    domain: str
    hosts: str
    """Text of the file of known guests."""
    names: str
    """Text of the file of names, as /etc/hosts."""
    options: str
    """Text of the file of options."""
    owners: dict[str, str]
    """MAC by IPv4 address: who may hold a lease."""
    port_id: str
    """The network's DHCP port."""
    port_ids: frozenset[str] = frozenset()
    """The ports that the plan knows."""


def dhcp_plan(
    network: Network, subnets: Sequence[Subnet], dhcp_port: Port, ports: Iterable[Port], domain: str
) -> DhcpPlan:
    """Return the service of a network whose DHCP port is `dhcp_port`."""
    domain = network.dns_domain.rstrip(".") or domain
    served = {subnet.id: subnet for subnet in subnets if subnet.enable_dhcp}
    own = {
        fixed.subnet_id: fixed.ip_address
        for fixed in dhcp_port.fixed_ips
        if fixed.subnet_id in served
    }
    listed = sorted(ports, key=lambda port: port.id)
    hosts: list[str] = []
    names: list[str] = []
    owners: dict[str, str] = {}
    for port in listed:
        for fixed in port.fixed_ips:
            name = host_name(port, fixed.ip_address)
            names.append(f"{fixed.ip_address} {name}.{domain} {name}")
            if fixed.subnet_id in own:
                hosts.append(_host_line(port, fixed.ip_address, name))
                if ":" not in fixed.ip_address:
                    owners[fixed.ip_address] = port.mac_address
    options: list[str] = []
    for subnet in subnets:
        if subnet.id in own:
            options.extend(_subnet_options(subnet, own[subnet.id], domain))
    options.append(f"option:mtu,{network.mtu_bytes}")
    options += [line for port in listed for line in _port_options(port)]
    addresses = [f"{address}/{_length(served[subnet_id])}" for subnet_id, address in own.items()]
    return DhcpPlan(
        network_id=network.id,
        namespace=dhcp_namespace(network.id),
        veth=VethPlan(
            host=dhcp_link(network.id),
            bridge=bridge_name(network.id),
            namespace=dhcp_namespace(network.id),
            inner=DHCP_INNER,
            mac=dhcp_port.mac_address,
            mtu_bytes=max(MIN_MTU_BYTES, network.mtu_bytes),
            addresses=(*sorted(addresses), f"{METADATA_ADDRESS}/32", f"{METADATA_ADDRESS6}/64"),
        ),
        ranges=tuple(_range(subnet) for subnet in subnets if subnet.id in own and _assigns(subnet)),
        domain=domain,
        hosts=_text(hosts),
        names=_text(names),
        options=_text(options),
        owners=owners,
        port_id=dhcp_port.id,
        port_ids=frozenset(port.id for port in listed) | {dhcp_port.id},
    )


def host_name(port: Port, address: str) -> str:
    """Return the name that a port's address has in DNS."""
    name = port.dns_name.lower()
    if _SAFE_NAME.fullmatch(name):
        return name
    return f"host-{re.sub('[.:]', '-', ipaddress.ip_address(address).exploded if ':' in address else address)}"


def arguments(plan: DhcpPlan, directory: str, user: str) -> list[str]:
    """Return the command line of a network's dnsmasq; its files are in `directory`, which `user` may read."""
    return [
        "dnsmasq",
        "--conf-file=/dev/null",
        "--no-hosts",
        "--no-resolv",
        f"--server=127.0.0.1#{RELAY_PORT}",
        f"--interface={DHCP_INNER}",
        "--except-interface=lo",
        "--bind-interfaces",
        f"--pid-file={directory}/pid",
        f"--dhcp-hostsfile={directory}/hosts",
        f"--addn-hosts={directory}/names",
        f"--dhcp-optsfile={directory}/options",
        f"--dhcp-leasefile={directory}/leases",
        f"--log-facility={directory}/log",
        "--quiet-dhcp",
        "--quiet-dhcp6",
        "--dhcp-authoritative",
        "--dhcp-no-override",
        f"--domain={plan.domain}",
        f"--local=/{plan.domain}/",
        f"--user={user}",
        "--dhcp-lease-max=65536",
        *(f"--dhcp-range={value}" for value in plan.ranges),
        *(
            f"--listen-address={address.partition('/')[0]}"
            for address in plan.veth.addresses
            if not address.startswith(METADATA_ADDRESS6)  # a link's own: dnsmasq cannot name the link
        ),
    ]


def stale_leases(lease_file: str, owners: Mapping[str, str]) -> bool:
    """Return whether an address is leased to another MAC than the one that owns it now."""
    return any(owners.get(ip, mac) != mac for mac, ip in _leases(lease_file.splitlines()))


def kept_leases(lease_file: str, owners: Mapping[str, str]) -> str:
    """Return the lease file without the IPv4 leases that nobody owns any more."""
    kept = []
    for line in lease_file.splitlines():
        lease = next(iter(_leases([line])), None)
        if lease is None or owners.get(lease[1]) == lease[0]:
            kept.append(line)
    return _text(kept)


def _leases(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        fields = line.split()
        if len(fields) >= 5 and fields[1].count(":") == 5 and ":" not in fields[2]:
            yield fields[1], fields[2]


def _tag(subnet: Subnet) -> str:
    return f"subnet-{subnet.id[:13]}"


def _port_tag(port: Port) -> str:
    return f"port-{port.id[:13]}"


def _length(subnet: Subnet) -> int:
    return ipaddress.ip_network(subnet.cidr).prefixlen


def _assigns(subnet: Subnet) -> bool:
    """Return whether DHCP serves the subnet at all: with SLAAC alone it does not."""
    return subnet.ip_version == 4 or subnet.ipv6_address_mode in (
        "",
        "dhcpv6-stateful",
        "dhcpv6-stateless",
    )


def _range(subnet: Subnet) -> str:
    network = ipaddress.ip_network(subnet.cidr)
    if network.version == 4:
        return f"set:{_tag(subnet)},{network.network_address},static,{network.netmask},{LEASE_S}s"
    return f"set:{_tag(subnet)},{network.network_address},static,{max(64, network.prefixlen)},{LEASE_S}s"


def _host_line(port: Port, address: str, name: str) -> str:
    tag = f"set:{_port_tag(port)}," if port.dhcp_options else ""
    where = f"[{address}]" if ":" in address else address
    return f"{port.mac_address},{tag}{name},{where}"


def _subnet_options(subnet: Subnet, own_address: str, domain: str) -> Iterable[str]:
    tag = f"tag:{_tag(subnet)}"
    if subnet.ip_version == 6:
        servers = subnet.dns_nameservers or (own_address,)
        yield f"{tag},option6:dns-server,{','.join(f'[{server}]' for server in servers)}"
        yield f"{tag},option6:domain-search,{domain}"
        return
    servers = subnet.dns_nameservers or (own_address,)
    if tuple(servers) == ("0.0.0.0",):  # noqa: S104 - Neutron's way to say: none
        yield f"{tag},option:dns-server"
    else:
        yield f"{tag},option:dns-server,{','.join(servers)}"
    routes = [(route.destination, route.nexthop) for route in subnet.host_routes]
    routes.append((f"{METADATA_ADDRESS}/32", own_address))
    if subnet.gateway_ip:
        if not any(destination == "0.0.0.0/0" for destination, _hop in routes):
            routes.append(("0.0.0.0/0", subnet.gateway_ip))
        yield f"{tag},option:router,{subnet.gateway_ip}"
    else:
        yield f"{tag},option:router"
    joined = ",".join(f"{destination},{hop}" for destination, hop in routes)
    yield f"{tag},option:classless-static-route,{joined}"
    yield f"{tag},249,{joined}"


def _port_options(port: Port) -> Iterable[str]:
    """Yield a port's own options; names that dnsmasq does not know would keep it from starting."""
    for option in port.dhcp_options:
        known, prefix = (
            (_KNOWN_OPTIONS6, "option6:") if option.ip_version == 6 else (_KNOWN_OPTIONS, "option:")
        )
        name = option.opt_name.strip().lower()
        if name.isdigit() and 0 < int(name) < 255:
            key = f"option6:{name}" if option.ip_version == 6 else name
        elif name in known.split():
            key = f"{prefix}{name}"
        else:
            continue
        value = " ".join(option.opt_value.split())
        if value:
            yield f"tag:{_port_tag(port)},{key},{value}"


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
