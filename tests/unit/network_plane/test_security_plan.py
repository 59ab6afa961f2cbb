"""Security groups as text."""

import pytest

from node.plugins.network.security_plan import (
    chains_of,
    cut_filters,
    group_fragment,
    group_sets,
    link_local,
    port_fragment,
    remote_groups,
    rule_texts,
)
from node.plugins.network.tables import (
    AddressPair,
    Port,
    PortAddress,
    SecurityGroupMember,
    SecurityGroupRule,
    tap_name,
)

PORT = Port(
    id="11111111-2222-4333-8444-555555555555",
    mac_address="fa:16:3e:00:00:01",
    fixed_ips=(PortAddress(subnet_id="s", ip_address="10.0.0.5"),),
)


def rule(**fields: object) -> SecurityGroupRule:
    return SecurityGroupRule(id="r", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["ether type ip accept"]),
        ({"ethertype": "IPv6"}, ["ether type ip6 accept"]),
        ({"direction": "egress"}, ["ether type ip return"]),
        ({"protocol": "tcp"}, ["ether type ip meta l4proto 6 accept"]),
        (
            {"protocol": "tcp", "port_min": 22, "port_max": 22},
            ["ether type ip tcp dport 22 accept"],
        ),
        ({"protocol": "17", "port_min": 1, "port_max": 9}, ["ether type ip udp dport 1-9 accept"]),
        (
            {"protocol": "icmp", "port_min": 8, "port_max": 0},
            ["ether type ip meta l4proto 1 icmp type 8 icmp code 0 accept"],
        ),
        (
            {"protocol": "icmp", "ethertype": "IPv6", "port_min": 128},
            ["ether type ip6 meta l4proto 58 icmpv6 type 128 accept"],
        ),
        ({"protocol": "vrrp"}, ["ether type ip meta l4proto 112 accept"]),
        ({"remote_ip_prefix": "10.1.0.5/16"}, ["ip saddr 10.1.0.0/16 accept"]),
        ({"remote_ip_prefix": "0.0.0.0/0"}, ["ether type ip accept"]),
        (
            {"remote_ip_prefix": "10.1.0.0/16", "direction": "egress"},
            ["ip daddr 10.1.0.0/16 return"],
        ),
    ],
)
def test_rule_texts(fields: dict[str, object], expected: list[str]) -> None:
    assert rule_texts(rule(**fields)) == expected


def test_remote_group_refers_to_both_sets() -> None:
    group = "99999999-2222-4333-8444-555555555555"
    hosts4, nets4, hosts6, nets6 = group_sets(group)
    assert rule_texts(rule(remote_group_id=group)) == [
        f"ip saddr @{hosts4} accept",
        f"ip saddr @{nets4} accept",
    ]
    six = rule_texts(rule(remote_group_id=group, ethertype="IPv6"))
    assert six == [f"ip6 saddr @{hosts6} accept", f"ip6 saddr @{nets6} accept"]
    assert remote_groups([rule(), rule(remote_group_id=group)]) == {group}


def test_group_members_are_split_and_covered_ones_left_out() -> None:
    members = [
        SecurityGroupMember(id="a", addresses=("10.0.0.5", "10.9.0.0/24", "2001:db8::5")),
        SecurityGroupMember(id="b", addresses=("10.9.0.7", "10.9.1.0/24")),
    ]
    hosts4, nets4, hosts6, nets6 = group_sets("g" * 36)
    sets = group_fragment("g" * 36, members).sets
    assert sets[hosts4].elements == {"10.0.0.5"}
    assert sets[nets4].elements == {"10.9.0.0/23"}
    assert sets[hosts6].elements == {"2001:db8::5"}
    assert sets[nets6].elements == set()


def test_port_chains_end_in_drop_and_hang_on_the_tap() -> None:
    fragment = port_fragment(PORT, [rule(protocol="tcp"), rule(direction="egress")])
    spoof, egress, ingress = chains_of(PORT.id)
    assert {name: rules[-1] for name, rules in fragment.chains.items()} == dict.fromkeys(
        (spoof, egress, ingress), "drop"
    )
    tap = f'"{tap_name(PORT.id)}"'
    assert fragment.elements["ingress"] == {tap: f"jump {ingress}"}
    assert "ether type ip meta l4proto 6 accept" in fragment.chains[ingress]
    assert "ether type ip meta l4proto 6 accept" not in fragment.chains[egress]


def test_a_stateless_port_is_asked_about_known_connections_too() -> None:
    tap = f'"{tap_name(PORT.id)}"'
    _spoof, egress, ingress = chains_of(PORT.id)
    stateless = port_fragment(PORT, [], stateless=True)
    assert stateless.elements["stateless_ingress"] == {tap: f"jump {ingress}"}
    assert stateless.elements["stateless_egress"] == {tap: f"jump {egress}"}
    assert "stateless_ingress" not in port_fragment(PORT, []).elements


def test_spoof_chain_knows_fixed_addresses_and_pairs() -> None:
    pair = AddressPair(ip_address="10.7.0.0/24", mac_address="fa:16:3e:00:00:02")
    port = Port(
        id=PORT.id, mac_address=PORT.mac_address, fixed_ips=PORT.fixed_ips, address_pairs=(pair,)
    )
    rules = port_fragment(port, []).chains[chains_of(PORT.id)[0]]
    assert rules[0] == "ether saddr != { fa:16:3e:00:00:01, fa:16:3e:00:00:02 } drop"
    assert "ether saddr fa:16:3e:00:00:01 ip saddr { 10.0.0.5 } return" in rules
    assert "ether saddr fa:16:3e:00:00:02 ip saddr { 10.7.0.0/24 } return" in rules
    dhcp_server, addresses = (
        rules.index("udp sport 67 udp dport 68 drop"),
        rules.index("ether saddr fa:16:3e:00:00:01 ip saddr { 10.0.0.5 } return"),
    )
    assert dhcp_server < addresses, "a guest with a right address is no DHCP server either"


def test_no_port_security_no_chains() -> None:
    free = Port(
        id=PORT.id, mac_address=PORT.mac_address, fixed_ips=PORT.fixed_ips, port_security=False
    )
    assert port_fragment(free, [rule()]).chains == {}


def test_link_local() -> None:
    assert str(link_local("fa:16:3e:00:00:01")) == "fe80::f816:3eff:fe00:1"


def test_cut_filters_name_zone_and_address() -> None:
    assert cut_filters(PORT, 7) == [
        ["-f", "ipv4", "-w", "7", "-s", "10.0.0.5"],
        ["-f", "ipv4", "-w", "7", "-d", "10.0.0.5"],
    ]
    assert cut_filters(PORT, 7, {"10.0.0.5": ["10.0.0.6"]})[0][-4:] == [
        "-s",
        "10.0.0.6",
        "-d",
        "10.0.0.5",
    ]
