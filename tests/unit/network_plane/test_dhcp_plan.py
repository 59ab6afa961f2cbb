"""What dnsmasq is told."""

from node.plugins.network.dhcp_plan import (
    arguments,
    dhcp_plan,
    host_name,
    kept_leases,
    stale_leases,
)
from node.plugins.network.tables import DhcpOption, HostRoute, Network, Port, PortAddress, Subnet

NETWORK = Network(id="aaaaaaaa-0000-4000-8000-000000000000", mtu_bytes=1442)
SUBNET = Subnet(
    id="bbbbbbbb-0000-4000-8000-000000000000",
    network_id=NETWORK.id,
    cidr="10.0.0.0/24",
    gateway_ip="10.0.0.1",
    host_routes=(HostRoute(destination="10.9.0.0/16", nexthop="10.0.0.9"),),
)
SERVER = Port(
    id="cccccccc-0000-4000-8000-000000000000",
    mac_address="fa:16:3e:00:00:02",
    fixed_ips=(PortAddress(subnet_id=SUBNET.id, ip_address="10.0.0.2"),),
)


def guest(**fields: object) -> Port:
    address = (PortAddress(subnet_id=SUBNET.id, ip_address="10.0.0.5"),)
    base = {
        "id": "dddddddd-0000-4000-8000-000000000000",
        "mac_address": "fa:16:3e:00:00:05",
        "fixed_ips": address,
    }
    return Port(**{**base, **fields})  # type: ignore[arg-type]


def test_a_guest_has_an_entry_a_name_and_routes() -> None:
    plan = dhcp_plan(NETWORK, [SUBNET], SERVER, [guest(dns_name="web")], "openstacklocal")
    assert plan.hosts == "fa:16:3e:00:00:05,web,10.0.0.5\n"
    assert plan.names == "10.0.0.5 web.openstacklocal web\n"
    assert plan.ranges == ("set:subnet-bbbbbbbb-0000,10.0.0.0,static,255.255.255.0,86400s",)
    routes = "10.9.0.0/16,10.0.0.9,169.254.169.254/32,10.0.0.2,0.0.0.0/0,10.0.0.1"
    assert (
        f"tag:subnet-bbbbbbbb-0000,option:classless-static-route,{routes}"
        in plan.options.splitlines()
    )
    assert "option:mtu,1442" in plan.options.splitlines()
    assert plan.veth.addresses == ("10.0.0.2/24", "169.254.169.254/32", "fe80::a9fe:a9fe/64")
    assert "--interface=dhcp0" in arguments(plan, "/d", "nobody")


def test_no_gateway_no_router_option() -> None:
    subnet = Subnet(
        id=SUBNET.id, network_id=NETWORK.id, cidr="10.0.0.0/24", dns_nameservers=("9.9.9.9",)
    )
    lines = dhcp_plan(NETWORK, [subnet], SERVER, [], "x").options.splitlines()
    assert "tag:subnet-bbbbbbbb-0000,option:router" in lines
    assert "tag:subnet-bbbbbbbb-0000,option:dns-server,9.9.9.9" in lines
    assert not any("0.0.0.0/0" in line for line in lines)


def test_extra_options_that_dnsmasq_would_choke_on_are_left_out() -> None:
    options = (
        DhcpOption(opt_name="bootfile-name", opt_value="pxelinux.0"),
        DhcpOption(opt_name="150", opt_value="10.0.0.9"),
        DhcpOption(opt_name="no-such-option", opt_value="x"),
        DhcpOption(opt_name="tftp-server", opt_value="a\nconf-file=/etc/shadow"),
    )
    plan = dhcp_plan(NETWORK, [SUBNET], SERVER, [guest(dhcp_options=options)], "x")
    assert [line for line in plan.options.splitlines() if "port-" in line] == [
        "tag:port-dddddddd-0000,option:bootfile-name,pxelinux.0",
        "tag:port-dddddddd-0000,150,10.0.0.9",
        "tag:port-dddddddd-0000,option:tftp-server,a conf-file=/etc/shadow",
    ]
    assert plan.hosts.startswith("fa:16:3e:00:00:05,set:port-dddddddd-0000,")


def test_names_that_are_no_names_are_made_from_the_address() -> None:
    assert host_name(guest(dns_name="a b\n"), "10.0.0.5") == "host-10-0-0-5"
    assert host_name(guest(), "2001:db8::5") == "host-2001-0db8-0000-0000-0000-0000-0000-0005"


def test_slaac_subnets_are_not_served() -> None:
    slaac = Subnet(
        id="eeeeeeee-0000-4000-8000-000000000000",
        network_id=NETWORK.id,
        ip_version=6,
        cidr="2001:db8::/64",
        ipv6_address_mode="slaac",
    )
    server = Port(
        id=SERVER.id,
        mac_address=SERVER.mac_address,
        fixed_ips=(*SERVER.fixed_ips, PortAddress(subnet_id=slaac.id, ip_address="2001:db8::2")),
    )
    assert len(dhcp_plan(NETWORK, [SUBNET, slaac], server, [], "x").ranges) == 1


LEASES = "1800000000 fa:16:3e:00:00:05 10.0.0.5 web *\n1800000000 fa:16:3e:00:00:06 10.0.0.6 * *\nduid 00:01\n"


def test_leases_of_others_are_stale() -> None:
    assert not stale_leases(LEASES, {"10.0.0.5": "fa:16:3e:00:00:05"})
    owners = {"10.0.0.5": "fa:16:3e:00:00:99", "10.0.0.6": "fa:16:3e:00:00:06"}
    assert stale_leases(LEASES, owners)
    assert kept_leases(LEASES, owners) == "1800000000 fa:16:3e:00:00:06 10.0.0.6 * *\nduid 00:01\n"
