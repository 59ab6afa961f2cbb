"""Security groups and anti-spoofing as nftables text: pure functions of rows.

The bridge family knows real port names but (without nf_conntrack_bridge) no connections; the inet family, called
for bridged packets by br_netfilter, knows connections but not ports. So inet only tracks, in one zone a tenant
network (overlapping addresses), and marks what belongs to a known connection; the bridge family decides the rest.
Each port has three chains: `sp_` what it may claim to be, `eg_` what it may send, `in_` what may reach it.
A port of stateless groups is asked also about packets of known connections: its answers need rules of their own.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from node.plugins.network.names import bridge_name
from node.plugins.network.nft_plan import Fragment, NftSet, TableSpec
from node.plugins.network.protocols import PROTOCOLS
from node.plugins.network.tables import (
    METADATA_ADDRESS,
    METADATA_ADDRESS6,
    Port,
    SecurityGroupMember,
    SecurityGroupRule,
    tap_name,
)

MARK = "0x10000000"

POLICY_TABLE = TableSpec(
    family="bridge",
    name="hedgerow_sg",
    skeleton=f"""
  map spoof {{ type ifname : verdict; }}
  map egress {{ type ifname : verdict; }}
  map ingress {{ type ifname : verdict; }}
  map stateless_egress {{ type ifname : verdict; }}
  map stateless_ingress {{ type ifname : verdict; }}
  chain known {{
    iifname vmap @stateless_egress
    oifname vmap @stateless_ingress
    accept
  }}
  chain pre {{
    type filter hook prerouting priority -300; policy accept;
    iifname vmap @spoof
  }}
  chain through {{
    type filter hook forward priority 10; policy accept;
    ether type arp accept
    meta mark & {MARK} == {MARK} goto known
    iifname vmap @egress
    oifname vmap @ingress
  }}
  chain to_node {{
    type filter hook input priority 10; policy accept;
    ether type arp accept
    meta mark & {MARK} == {MARK} goto known
    iifname vmap @egress
  }}
  chain from_node {{
    type filter hook output priority 10; policy accept;
    ether type arp accept
    meta mark & {MARK} == {MARK} goto known
    oifname vmap @ingress
  }}
""",
)

TRACK_TABLE = TableSpec(
    family="inet",
    name="hedgerow_ct",
    skeleton=f"""
  map zones {{ typeof iifname : ct zone; }}
  chain zone {{
    type filter hook prerouting priority -300; policy accept;
    ct zone set iifname map @zones
  }}
  chain known {{
    type filter hook prerouting priority -150; policy accept;
    iifname "hb*" ct state established,related meta mark set meta mark | {MARK}
    iifname "hb*" ct state invalid drop
  }}
  chain routed {{
    type filter hook forward priority 0; policy accept;
    oifname "hb*" ct state established,related meta mark set meta mark | {MARK}
  }}
  chain local {{
    type filter hook output priority 0; policy accept;
    oifname "hb*" ct state established,related meta mark set meta mark | {MARK}
  }}
""",
)

_WITH_PORTS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}
_PROBE = "0.0.0.0"  # noqa: S104 - the sender of an ARP probe, RFC 5227
_ANY = {"0.0.0.0/0", "::/0"}


def chains_of(port_id: str) -> tuple[str, str, str]:
    """Return the names of a port's chains: spoof, egress, ingress."""
    key = port_id.replace("-", "")[:16]
    return f"sp_{key}", f"eg_{key}", f"in_{key}"


def group_sets(group_id: str) -> tuple[str, str, str, str]:
    """Return the names of a group's sets: IPv4 hosts and prefixes, IPv6 hosts and prefixes."""
    key = group_id.replace("-", "")[:16]
    return f"g4_{key}", f"n4_{key}", f"g6_{key}", f"n6_{key}"


def zone_fragment(network_id: str, zone: int) -> Fragment:
    """Return what gives a tenant network a connection tracking zone."""
    return Fragment(elements={"zones": {f'"{bridge_name(network_id)}"': str(zone)}})


def port_fragment(
    port: Port, rules: Iterable[SecurityGroupRule], *, stateless: bool = False
) -> Fragment:
    """Return a port's chains; a port without port security has none."""
    if not port.port_security:
        return Fragment()
    spoof, egress, ingress = chains_of(port.id)
    listed = sorted(rules, key=lambda rule: rule.id)
    tap = f'"{tap_name(port.id)}"'
    elements = {
        "spoof": {tap: f"jump {spoof}"},
        "egress": {tap: f"jump {egress}"},
        "ingress": {tap: f"jump {ingress}"},
    }
    always_in: tuple[str, ...] = _INGRESS_ALWAYS
    if stateless:
        elements["stateless_egress"] = elements["egress"]
        elements["stateless_ingress"] = elements["ingress"]
        always_in += _METADATA_ANSWERS
    return Fragment(
        chains={
            spoof: tuple(spoof_rules(port)),
            egress: (*_EGRESS_ALWAYS, *_texts(listed, "egress"), "drop"),
            ingress: (*always_in, *_texts(listed, "ingress"), "drop"),
        },
        elements=elements,
    )


def closed(fragment: Fragment) -> Fragment:
    """Return a port's fragment that lets nothing pass."""
    return Fragment(chains=dict.fromkeys(fragment.chains, ("drop",)), elements=fragment.elements)


def group_fragment(group_id: str, members: Iterable[SecurityGroupMember]) -> Fragment:
    """Return the sets that rules with this remote group refer to."""
    split = _split(address for member in members for address in member.addresses)
    names = group_sets(group_id)
    specs = (
        "type ipv4_addr",
        "type ipv4_addr ; flags interval",
        "type ipv6_addr",
        "type ipv6_addr ; flags interval",
    )
    return Fragment(
        sets={
            name: NftSet(spec=spec, elements=frozenset(elements))
            for name, spec, elements in zip(names, specs, split, strict=True)
        }
    )


def remote_groups(rules: Iterable[SecurityGroupRule]) -> set[str]:
    """Return the groups whose members the rules refer to."""
    return {rule.remote_group_id for rule in rules if rule.remote_group_id}


def spoof_rules(port: Port) -> Iterable[str]:
    """Yield what a port may send, by who it says it is; the last one drops the rest."""
    by_mac: dict[str, list[str]] = {
        port.mac_address: [fixed.ip_address for fixed in port.fixed_ips]
    }
    for pair in port.address_pairs:
        by_mac.setdefault(pair.mac_address or port.mac_address, []).append(pair.ip_address)
    yield f"ether saddr != {_braces(sorted(by_mac))} drop"
    yield "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 return"
    yield "udp sport 67 udp dport 68 drop"
    yield "udp sport 547 udp dport 546 drop"
    yield "icmpv6 type nd-router-advert drop"
    yield "ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } return"
    for mac, addresses in sorted(by_mac.items()):
        hosts4, nets4, hosts6, nets6 = _split(addresses)
        claimed = _braces([_PROBE, *hosts4, *nets4])
        yield f"ether saddr {mac} arp saddr ether {mac} arp saddr ip {claimed} return"
        if hosts4 or nets4:
            yield f"ether saddr {mac} ip saddr {_braces([*hosts4, *nets4])} return"
        own6 = [str(link_local(mac)), *hosts6]
        if not nets6:
            targets = [f"0x{int(ipaddress.IPv6Address(address)):032x}" for address in own6]
            yield f"ether saddr {mac} icmpv6 type nd-neighbor-advert @th,64,128 != {_braces(targets)} drop"
        yield f"ether saddr {mac} ip6 saddr {_braces([*own6, *nets6])} return"
    yield "drop"


def link_local(mac: str) -> ipaddress.IPv6Address:
    """Return the link-local address that a MAC makes (EUI-64)."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 0x02
    return ipaddress.IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes(octets[:3]) + b"\xff\xfe" + bytes(octets[3:])
    )


_EGRESS_ALWAYS = (
    "udp sport 68 udp dport 67 return",
    "udp sport 546 udp dport 547 return",
    "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } return",
    "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } return",
)
_INGRESS_ALWAYS = (
    "udp sport 67 udp dport 68 accept",
    "udp sport 547 udp dport 546 accept",
    "icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept",
)

_METADATA_ANSWERS = (
    f"ip saddr {METADATA_ADDRESS} tcp sport 80 accept",
    f"ip6 saddr {METADATA_ADDRESS6} tcp sport 80 accept",
)
"""What a guest asks there it was always let ask; without connections the answers need a rule."""


def _texts(rules: Iterable[SecurityGroupRule], direction: str) -> list[str]:
    found: list[str] = []
    for rule in rules:
        if rule.direction == direction:
            for text in rule_texts(rule):
                if text not in found:
                    found.append(text)
    return found


def rule_texts(rule: SecurityGroupRule) -> list[str]:
    """Return the nft rules of a security group rule: two where a remote group has hosts and prefixes."""
    verdict = "accept" if rule.direction == "ingress" else "return"
    six = rule.ethertype == "IPv6"
    side = "saddr" if rule.direction == "ingress" else "daddr"
    family = "ip6" if six else "ip"
    service = _service(rule, six=six)
    tail = f"{service} {verdict}".strip()
    if rule.remote_group_id:
        names = (
            group_sets(rule.remote_group_id)[2:] if six else group_sets(rule.remote_group_id)[:2]
        )
        return [f"{family} {side} @{name} {tail}" for name in names]
    if rule.remote_ip_prefix and rule.remote_ip_prefix not in _ANY:
        prefix = ipaddress.ip_network(rule.remote_ip_prefix, strict=False)
        return [f"{family} {side} {prefix} {tail}"]
    return [f"ether type {family} {tail}"]


def _service(rule: SecurityGroupRule, *, six: bool) -> str:
    name = rule.protocol.lower()
    if name in ("", "any"):
        return ""
    number = int(name) if name.isdigit() else PROTOCOLS.get(name, -1)
    if number == 1 and six:
        number = 58
    if number < 0:
        return "meta l4proto 255"  # matches nothing: a protocol that nobody knows
    if number in (1, 58):
        kind = "icmp" if number == 1 else "icmpv6"
        parts = [f"meta l4proto {number}"]
        if (number == 58) != six:
            return parts[0]  # a type means nothing in the other family, and nft would refuse it
        if rule.port_min is not None:
            parts.append(f"{kind} type {rule.port_min}")
        if rule.port_max is not None:
            parts.append(f"{kind} code {rule.port_max}")
        return " ".join(parts)
    if number in _WITH_PORTS and (rule.port_min is not None or rule.port_max is not None):
        low = rule.port_min if rule.port_min is not None else rule.port_max
        high = rule.port_max if rule.port_max is not None else rule.port_min
        ports = f"{low}" if low == high else f"{low}-{high}"
        if number in (6, 17, 132):
            return f"{_WITH_PORTS[number]} dport {ports}"
        return f"meta l4proto {number} @th,16,16 {ports}"
    return f"meta l4proto {number}"


def _split(addresses: Iterable[str]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return IPv4 hosts, IPv4 prefixes, IPv6 hosts and IPv6 prefixes; what a prefix covers is left out."""
    given = set(addresses)
    # Hosts are taken as they are spelt: a group of a thousand members is read anew with each change.
    hosts = {address for address in given if "/" not in address}
    networks = {ipaddress.ip_network(address, strict=False) for address in given - hosts}
    hosts |= {str(net.network_address) for net in networks if net.num_addresses == 1}
    found: list[list[str]] = []
    for version, mark in ((4, "."), (6, ":")):
        nets: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
            net for net in networks if net.version == version and net.num_addresses > 1
        ]
        merged = list(ipaddress.collapse_addresses(nets))  # type: ignore[type-var]
        own = {host for host in hosts if mark in host and (version == 6 or ":" not in host)}
        if merged:
            own = {
                host for host in own if not any(ipaddress.ip_address(host) in net for net in merged)
            }
        found += [sorted(own), sorted(str(net) for net in merged)]
    return found[0], found[1], found[2], found[3]


def _braces(items: Iterable[str]) -> str:
    return f"{{ {', '.join(items)} }}"


def zone_filters(zone: int) -> list[list[str]]:
    """Return `conntrack -D` arguments that forget all connections of a zone."""
    return [["-f", family, "-w", str(zone)] for family in ("ipv4", "ipv6")]


def cut_filters(
    port: Port, zone: int, remotes: Mapping[str, Iterable[str]] | None = None
) -> list[list[str]]:
    """Return `conntrack -D` arguments that forget a port's connections.

    With `remotes` (by fixed address) only the connections with these.
    """
    found = []
    for fixed in port.fixed_ips:
        family = ["-f", "ipv6"] if ":" in fixed.ip_address else ["-f", "ipv4"]
        where = [*family, "-w", str(zone)]
        if remotes is None:
            found += [[*where, "-s", fixed.ip_address], [*where, "-d", fixed.ip_address]]
            continue
        for remote in remotes.get(fixed.ip_address, ()):
            found.append([*where, "-s", remote, "-d", fixed.ip_address])
            found.append([*where, "-s", fixed.ip_address, "-d", remote])
    return found
