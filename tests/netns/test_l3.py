"""Routers, floating IPs, source NAT and the way out, with real namespaces."""

import shutil
import socket
from pathlib import Path
from typing import Self

import pytest

from node.plugins.network.names import router_namespace
from node.plugins.network.router_plan import METADATA_PORT
from node.plugins.network.tables import (
    DHCP,
    FloatingIp,
    HostRoute,
    Network,
    Port,
    PortAddress,
    Router,
    Subnet,
)
from tests.netns.site import Listener, Pinger, Site, eventually, run

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

PING = {"protocol": "icmp", "direction": "ingress"}
OUTSIDE = "198.18.0.1"


def outside_net(site: Site) -> Subnet:
    """Make the external network; the world outside has no route to it: only NAT brings answers back."""
    _network, subnet = site.network("203.0.113.0/24", dhcp=False, external=True)
    return subnet


class Peer:
    """A TCP server on the node that says who called."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("203.0.113.1", 0))
        self._socket.settimeout(5)
        self.port = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def caller(self) -> str:
        """Return the address of the next caller."""
        client, peer = self._socket.accept()
        client.close()
        return str(peer[0])


def test_guest_reaches_the_world_through_snat(site: Site) -> None:
    external = outside_net(site)
    _network, subnet = site.network()
    router = site.router(external, "203.0.113.10", subnet)
    guest = site.guest(subnet, "10.0.0.11", security_group_ids=(site.group().id,))
    site.settle()
    guest.dhcp()
    assert guest.pings("10.0.0.1")
    assert guest.pings("203.0.113.1"), "the node's end of the external network"
    assert guest.pings(OUTSIDE)
    assert site.db.must(Router, router.id).have == "active"
    for port in site.db.rows(Port, device_id=router.id):
        assert port.have == "active"


def test_floating_ip_both_ways(site: Site) -> None:
    external = outside_net(site)
    _network, subnet = site.network()
    router = site.router(external, "203.0.113.10", subnet)
    guest = site.guest(subnet, "10.0.0.11", security_group_ids=(site.group(PING).id,))
    neighbour = site.guest(subnet, "10.0.0.12", security_group_ids=(site.group(PING).id,))
    fip = site.floating(external, "203.0.113.20", guest.port, router)
    site.settle()
    guest.dhcp()
    neighbour.dhcp()
    assert site.db.must(FloatingIp, fip.id).have == "active"
    assert " 0% packet loss" in run("ping", "-c1", "-W2", "203.0.113.20", ok=False), "from the node"
    assert neighbour.pings("203.0.113.20"), "from a neighbour by its floating address"
    assert guest.pings(OUTSIDE)
    run(
        "ip",
        "netns",
        "exec",
        site.outside,
        "ip",
        "route",
        "add",
        "203.0.113.0/24",
        "via",
        "198.18.0.2",
    )
    assert " 0% packet loss" in run(
        "ip", "netns", "exec", site.outside, "ping", "-c1", "-W2", "203.0.113.20", ok=False
    )
    with Peer() as peer:
        guest.run(
            "timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/203.0.113.1/{peer.port}", ok=False
        )
        assert peer.caller() == "203.0.113.20", "the guest must leave with its floating address"


def test_floating_ip_moves(site: Site) -> None:
    external = outside_net(site)
    _network, subnet = site.network()
    router = site.router(external, "203.0.113.10", subnet)
    group = site.group(PING)
    one = site.guest(subnet, "10.0.0.11", security_group_ids=(group.id,))
    two = site.guest(subnet, "10.0.0.12", security_group_ids=(group.id,))
    fip = site.floating(external, "203.0.113.20", one.port, router)
    site.settle()
    one.dhcp()
    two.dhcp()
    host_ping = ("ping", "-c1", "-W1", "203.0.113.20")
    assert " 0% packet loss" in run(*host_ping, ok=False)
    one.run("ip", "link", "set", "eth0", "down")
    assert " 0% packet loss" not in run(*host_ping, ok=False)
    site.update(fip, port_id=two.port.id, fixed_ip_address="10.0.0.12", have="")
    site.changed(FloatingIp, fip.id)
    assert " 0% packet loss" in run(*host_ping, ok=False)
    site.update(fip, port_id="", fixed_ip_address="", router_id="", have="")
    site.changed(Router, router.id)
    assert " 0% packet loss" not in run(*host_ping, ok=False)


def test_two_tenants_with_the_same_addresses_and_routers(site: Site) -> None:
    external = outside_net(site)
    guests = []
    for number in (10, 11):
        _network, subnet = site.network()
        router = site.router(external, f"203.0.113.{number}", subnet)
        guest = site.guest(subnet, "10.0.0.11", security_group_ids=(site.group(PING).id,))
        site.floating(external, f"203.0.113.{number + 20}", guest.port, router)
        guests.append(guest)
    site.settle()
    for guest in guests:
        guest.dhcp()
    one, two = guests
    assert one.pings("203.0.113.31")
    assert two.pings("203.0.113.30")
    assert one.pings(OUTSIDE)
    assert two.pings(OUTSIDE)
    # An inner address must not be reachable through the external network.
    run("ip", "route", "add", "10.0.0.0/24", "via", "203.0.113.10")
    assert " 0% packet loss" not in run("ping", "-c1", "-W1", "10.0.0.11", ok=False)


def test_routes_between_the_networks_of_a_router(site: Site) -> None:
    _one, first = site.network("10.0.1.0/24")
    _two, second = site.network("10.0.2.0/24")
    router = site.router(None, "", first, second)
    left = site.guest(first, "10.0.1.11", security_group_ids=(site.group(PING).id,))
    right = site.guest(second, "10.0.2.11", security_group_ids=(site.group(PING).id,))
    site.settle()
    left.dhcp()
    right.dhcp()
    assert left.pings("10.0.2.11")
    assert right.pings("10.0.1.11")
    site.update(router, routes=(HostRoute(destination="192.0.2.0/24", nexthop="10.0.2.11"),))
    site.changed(Router, router.id)
    right.run("ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
    namespace = router_namespace(router.id)
    assert "192.0.2.0/24 via 10.0.2.11" in run("ip", "-n", namespace, "route")
    site.update(router, routes=())
    site.changed(Router, router.id)
    assert "192.0.2.0/24" not in run("ip", "-n", namespace, "route")


def test_metadata_through_the_router(site: Site) -> None:
    external = outside_net(site)
    _network, subnet = site.network(dhcp=False)
    site.router(external, "203.0.113.10", subnet)
    guest = site.guest(subnet, "10.0.0.11", security_group_ids=(site.group().id,))
    site.rows.metadata[guest.port.device_id] = {"latest/meta-data/instance-id": b"i-2"}
    site.settle()
    guest.static(gateway="10.0.0.1")
    assert guest.fetch("http://169.254.169.254/latest/meta-data/instance-id") == "i-2"
    refused = run("curl", "-sS", "-m", "1", f"http://203.0.113.10:{METADATA_PORT}/", ok=False)
    assert "curl: (28)" in refused, "nobody outside may ask"


def test_a_broken_router_comes_back(site: Site) -> None:
    external = outside_net(site)
    _network, subnet = site.network()
    router = site.router(external, "203.0.113.10", subnet)
    guest = site.guest(subnet, "10.0.0.11", security_group_ids=(site.group(PING).id,))
    site.floating(external, "203.0.113.20", guest.port, router)
    site.settle()
    guest.dhcp()
    before = site.planes.inventory()
    namespace = router_namespace(router.id)
    run("ip", "netns", "exec", namespace, "nft", "flush", "ruleset")
    site.settle()
    assert guest.pings(OUTSIDE)
    run("ip", "netns", "del", namespace)
    run("nft", "delete", "table", "ip", "hedgerow_nat")
    run("ip", "addr", "del", "203.0.113.1/24", "dev", "hb" + external.network_id[:11])
    site.settle()
    assert site.planes.inventory() == before
    assert guest.pings(OUTSIDE)
    assert " 0% packet loss" in run("ping", "-c1", "-W2", "203.0.113.20", ok=False)


def test_a_restart_keeps_connections_and_leaves_nothing_at_the_end(site: Site) -> None:
    external = outside_net(site)
    network, subnet = site.network()
    router = site.router(external, "203.0.113.10", subnet)
    guest = site.guest(subnet, "10.0.0.11", security_group_ids=(site.group(PING).id,))
    fip = site.floating(external, "203.0.113.20", guest.port, router)
    site.settle()
    guest.dhcp()
    with Pinger(guest, OUTSIDE) as pinger:
        eventually(lambda: pinger.answers() > 2, "no answers")
        site.restart()
        site.settle()
        at = pinger.answers()
        eventually(lambda: pinger.answers() > at + 3, "no answers after the restart")
        assert pinger.lost() <= 1
    ports = [*site.db.rows(Port, device_id=router.id), guest.port]
    site.drop(fip, router, *ports)
    site.settle()
    left = site.planes.inventory()
    assert left["namespaces"] == left["veths"] == left["taps"] == left["dhcp"] == []
    assert left["bridges"] == ["hb" + external.network_id[:11]]
    site.drop(site.db.must(Network, external.network_id), external, network, subnet)
    site.settle()
    assert site.planes.inventory()["bridges"] == []
    assert "hedgerow_nat" not in run("nft", "list", "tables")


FORWARDS = Path("/proc/sys/net/ipv4/ip_forward")


@pytest.mark.parametrize("before", ["0", "1"])
def test_the_machine_forwards_in_the_end_as_it_did_before(site: Site, before: str) -> None:
    FORWARDS.write_text(before)
    outside_net(site)
    site.settle()
    assert FORWARDS.read_text().strip() == "1"
    site.restart()
    site.settle()
    site.planes.teardown()
    assert FORWARDS.read_text().strip() == before
    site.planes.teardown()
    assert FORWARDS.read_text().strip() == before


def test_tcp_through_a_small_mtu(site: Site) -> None:
    _one, first = site.network("10.0.1.0/24")
    _two, second = site.network("10.0.2.0/24")
    site.router(None, "", first, second)
    tcp = {"protocol": "tcp", "port_min": 80, "port_max": 80, "direction": "ingress"}
    left = site.guest(first, "10.0.1.11", security_group_ids=(site.group(tcp).id,))
    right = site.guest(second, "10.0.2.11", security_group_ids=(site.group().id,))
    site.settle()
    left.dhcp()
    right.dhcp()
    with Listener(left, 80):
        assert right.connects("10.0.1.11", 80)


def test_slaac_by_router_advertisement(site: Site) -> None:
    network, four = site.network()
    subnet = Subnet(
        **site.fresh(),
        network_id=network.id,
        ip_version=6,
        cidr="2001:db8:5::/64",
        gateway_ip="2001:db8:5::1",
        ipv6_ra_mode="slaac",
        ipv6_address_mode="slaac",
    )
    site.store(subnet)
    site.router(None, "", four, subnet)
    guest = site.guest(four, "10.0.0.11", port_security=False)
    guest.run(
        "sysctl",
        "-qw",
        "net.ipv6.conf.eth0.accept_ra=2",
        "net.ipv6.conf.eth0.router_solicitation_interval=1",
    )
    site.settle()
    eventually(
        lambda: "2001:db8:5:" in guest.run("ip", "-6", "addr", "show", "eth0"),
        "no address by SLAAC",
    )
    eventually(lambda: "default via fe80:" in guest.run("ip", "-6", "route"), "no default route")
    eventually(lambda: guest.pings("2001:db8:5::1"), "the router does not answer")


def test_dhcpv6_gives_the_address_of_the_row(site: Site) -> None:
    if shutil.which("dhclient") is None:
        pytest.skip("needs isc-dhcp-client")
    network, four = site.network()
    subnet = Subnet(
        **site.fresh(),
        network_id=network.id,
        ip_version=6,
        cidr="2001:db8:7::/64",
        gateway_ip="2001:db8:7::1",
        ipv6_ra_mode="dhcpv6-stateful",
        ipv6_address_mode="dhcpv6-stateful",
    )
    site.store(subnet)
    server = site.db.one(Port, network_id=network.id, device_owner=DHCP)
    assert server is not None
    site.router(None, "", four, subnet)
    guest = site.guest(four, "10.0.0.11", security_group_ids=(site.group().id,))
    for port, address in ((server, "2001:db8:7::2"), (guest.port, "2001:db8:7::11")):
        more = PortAddress(subnet_id=subnet.id, ip_address=address)
        site.update(port, fixed_ips=[*port.fixed_ips, more])
    site.settle()
    eventually(lambda: "tentative" not in guest.run("ip", "-6", "addr"), "no link-local address")
    files = [
        f"{option}{site.directory}/{name}" for option, name in (("-lf=", "l6"), ("-pf=", "p6"))
    ]
    # Debian's own script would write the name servers into the machine's /etc/resolv.conf.
    script = site.directory / "dhclient-script"
    script.write_text(
        '#!/bin/sh\ncase "$reason" in\n'
        'BOUND6|RENEW6|REBIND6|REBOOT) ip -6 addr replace "$new_ip6_address/128" dev "$interface";;\nesac\n'
    )
    script.chmod(0o755)
    client = [
        "dhclient",
        "-6",
        "-1",
        "-sf",
        str(script),
        *(part for file in files for part in file.split("=", 1)),
        "eth0",
    ]
    try:
        guest.run("timeout", "20", *client)
        eventually(lambda: "2001:db8:7::11/128" in guest.run("ip", "-6", "addr"), "no address")
        eventually(lambda: "default via fe80:" in guest.run("ip", "-6", "route"), "no route", 20)
        eventually(lambda: guest.pings("2001:db8:7::1"), "the router does not answer")
    finally:
        run("pkill", "-F", f"{site.directory}/p6", ok=False)
