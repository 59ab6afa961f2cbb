"""Gateways, pools and prefixes, for any network."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import Conflict, NodeError
from node.plugins.network import subnet_rules as rules
from node.plugins.network import subnetpool_rules
from node.plugins.network.tables import AddressRange, Subnet, SubnetPool

V4 = st.builds(
    lambda address, length: ipaddress.IPv4Network((address, length), strict=False),
    st.integers(1 << 24, 223 << 24),
    st.integers(8, 32),
)
V6 = st.builds(
    lambda address, length: ipaddress.IPv6Network((address, length), strict=False),
    st.integers(0xFD << 120, (0xFE << 120) - 1),
    st.integers(16, 128),
)


@settings(deadline=None)
@given(V4 | V6)
def test_default_pools_hold_every_host_but_the_gateway(network: rules.Net) -> None:
    gateway = rules.default_gateway(network)
    pools = rules.default_pools(network, gateway)
    first, last = rules.host_range(network)
    size = sum(
        int(ipaddress.ip_address(p.end)) - int(ipaddress.ip_address(p.start)) + 1 for p in pools
    )
    has_gateway = first <= int(ipaddress.ip_address(gateway)) <= last
    assert size == last - first + 1 - has_gateway
    assert rules.check_pools(network, pools, gateway) == pools


@settings(deadline=None)
@given(V4, st.data())
def test_a_gateway_inside_splits_the_range(network: rules.Net, data: st.DataObject) -> None:
    first, last = rules.host_range(network)
    gateway = str(ipaddress.IPv4Address(data.draw(st.integers(first, last))))
    pools = rules.default_pools(network, gateway)
    for pool in pools:
        start, end = ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end)
        assert not int(start) <= int(ipaddress.ip_address(gateway)) <= int(end)


@settings(deadline=None)
@given(V4 | V6, V4 | V6)
def test_overlap_is_symmetric(one: rules.Net, two: rules.Net) -> None:
    def refused(new: rules.Net, old: rules.Net) -> bool:
        try:
            rules.check_overlap(new, [Subnet(id="s", cidr=str(old))], "net")
        except NodeError:
            return True
        return False

    assert refused(one, two) == refused(two, one)
    assert refused(one, one)


@settings(deadline=None)
@given(st.integers(20, 28), st.lists(st.integers(20, 28), max_size=12))
def test_pools_never_give_a_prefix_twice(first: int, lengths: list[int]) -> None:
    pool = SubnetPool(
        id="p",
        prefixes=("10.0.0.0/20",),
        min_prefixlen=8,
        default_prefixlen=first,
        max_prefixlen=32,
    )
    taken: list[Subnet] = []
    for length in [first, *lengths]:
        try:
            cidr = subnetpool_rules.cut(pool, taken, "", length)
        except Conflict:
            free = 4096 - sum(ipaddress.ip_network(s.cidr).num_addresses for s in taken)
            assert length == 20 or free < 4096
            continue
        new = ipaddress.ip_network(cidr)
        assert new.prefixlen == length
        assert new.subnet_of(ipaddress.ip_network("10.0.0.0/20"))
        assert not any(new.overlaps(ipaddress.ip_network(s.cidr)) for s in taken)
        taken.append(Subnet(id=cidr, cidr=cidr))


def test_overlapping_ranges_are_refused() -> None:
    network = rules.parse_cidr("10.0.0.0/24", 4)
    ranges = [
        AddressRange(start="10.0.0.20", end="10.0.0.30"),
        AddressRange(start="10.0.0.5", end="10.0.0.20"),
    ]
    with pytest.raises(Conflict, match=r"overlapping allocation pools: 10.0.0.5-10.0.0.20"):
        rules.check_pools(network, ranges, "10.0.0.1")


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "224.0.0.0/8"])
def test_networks_that_carry_no_hosts(cidr: str) -> None:
    with pytest.raises(NodeError):
        rules.parse_cidr(cidr, 4)
