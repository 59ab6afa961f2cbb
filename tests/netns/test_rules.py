"""Whatever rule the API may store, nft takes."""

import itertools

import pytest

from node.plugins.network.drivers.nft import NftTable
from node.plugins.network.security_plan import POLICY_TABLE, closed, group_fragment, port_fragment
from node.plugins.network.tables import AddressPair, Port, PortAddress, SecurityGroupRule
from tests.netns.site import Site

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

GROUP = "99999999-2222-4333-8444-555555555555"
PROTOCOLS = (
    *("", "any", "ah", "dccp", "egp", "esp", "gre", "icmp", "icmpv6", "igmp", "ipip", "ipv6-encap"),
    *(
        "ipv6-frag",
        "ipv6-icmp",
        "ipv6-nonxt",
        "ipv6-opts",
        "ipv6-route",
        "ospf",
        "pgm",
        "rsvp",
        "sctp",
    ),
    *("tcp", "udp", "udplite", "vrrp", "0", "1", "6", "17", "58", "132", "255", "unheard-of"),
)
PORTS = ((None, None), (0, None), (8, 0), (22, 22), (1, 65535))
REMOTES = (
    {},
    {"remote_group_id": GROUP},
    {"IPv4": "10.1.2.3/16", "IPv6": "2001:db8::5/64"},
    {"IPv4": "0.0.0.0/0", "IPv6": "::/0"},
)


def _rules() -> list[SecurityGroupRule]:
    found = []
    choices = itertools.product(("ingress", "egress"), ("IPv4", "IPv6"), PROTOCOLS, PORTS, REMOTES)
    for number, (direction, ethertype, protocol, (low, high), remote) in enumerate(choices):
        icmp = "icmp" in protocol or protocol in ("1", "58")
        if (icmp and (high or 0) > 255) or (not icmp and (low, high) == (8, 0)):
            continue  # the API refuses these
        rule = SecurityGroupRule(
            id=f"{number:05}",
            direction=direction,
            ethertype=ethertype,
            protocol=protocol,
            port_min=low,
            port_max=high,
            remote_group_id=remote.get("remote_group_id", ""),
            remote_ip_prefix=remote.get(ethertype, ""),
        )
        found.append(rule)
    return found


def test_nft_takes_every_rule(site: Site) -> None:
    port = Port(
        id="11111111-2222-4333-8444-555555555555",
        mac_address="fa:16:3e:00:00:01",
        fixed_ips=(
            PortAddress(subnet_id="a", ip_address="10.0.0.5"),
            PortAddress(subnet_id="b", ip_address="2001:db8::5"),
            PortAddress(subnet_id="b", ip_address="2001:db8::6"),
        ),
        address_pairs=(
            AddressPair(ip_address="10.0.0.0/24", mac_address="fa:16:3e:00:00:01"),
            AddressPair(ip_address="0.0.0.0/0", mac_address="fa:16:3e:00:00:02"),
            AddressPair(ip_address="2001:db8:5::/48", mac_address="fa:16:3e:00:00:03"),
            AddressPair(ip_address="::/0", mac_address="fa:16:3e:00:00:04"),
        ),
    )
    rules = _rules()
    assert len(rules) > 2000
    table = NftTable(POLICY_TABLE, site.planes.namespaces)
    table.load({"group": group_fragment(GROUP, []), "port": port_fragment(port, rules)})
    assert table.verify(), "what the kernel lists must be counted as what was loaded"
    table.apply({"port": closed(port_fragment(port, rules))})
    assert table.verify()


def test_a_port_whose_rules_nft_refuses_is_closed_and_others_are_not(site: Site) -> None:
    _network, subnet = site.network()
    ping = {"protocol": "icmp", "direction": "ingress"}
    good = site.guest(subnet, "10.0.0.11", security_group_ids=(site.group(ping).id,))
    other = site.guest(subnet, "10.0.0.13", security_group_ids=(site.group(ping).id,))
    nonsense = {"protocol": "tcp", "port_min": 1, "port_max": 70000, "direction": "ingress"}
    bad = site.guest(subnet, "10.0.0.12", security_group_ids=(site.group(ping, nonsense).id,))
    site.planes.security.load()
    for guest in (good, other, bad):
        guest.static()
    site.cloud.reconcile(site.reconcilers[1])
    for guest in (good, other):
        site.reconcilers[2].reconcile(guest.port.id)
    with pytest.raises(Exception, match="nft refused"):
        site.reconcilers[2].reconcile(bad.port.id)
    assert good.pings("10.0.0.13")
    assert not good.pings("10.0.0.12")
