"""Ports, DHCP, DNS, metadata and security groups, with real bridges, rules and dnsmasq."""

import pytest

from node.plugins.network.tables import Port
from tests.netns.site import Site

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

PING = {"protocol": "icmp", "direction": "ingress"}


def test_guest_gets_its_address_and_talks_to_its_neighbour(site: Site) -> None:
    network, subnet = site.network()
    group = site.group(PING)
    one = site.guest(subnet, "10.0.0.11", security_group_ids=(group.id,), dns_name="first")
    two = site.guest(subnet, "10.0.0.12", security_group_ids=(group.id,))
    site.settle()
    assert {site.db.must(Port, guest.port.id).have for guest in (one, two)} == {"active"}

    lease = one.dhcp()
    assert lease["ip"] == "10.0.0.11"
    assert lease["mtu"] == str(network.mtu_bytes)
    assert lease["dns"] == "10.0.0.2"
    assert lease["domain"] == "openstacklocal"
    assert lease["router"] == "10.0.0.1"
    assert "169.254.169.254/32 10.0.0.2" in lease["staticroutes"]
    two.dhcp()
    assert one.pings("10.0.0.12")
    assert two.pings("10.0.0.11")

    answer = two.run("busybox", "nslookup", "first.openstacklocal", "10.0.0.2")
    assert "10.0.0.11" in answer
