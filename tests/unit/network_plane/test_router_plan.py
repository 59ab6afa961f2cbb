"""What a router's namespace holds, and small planners."""

from msgspec.structs import replace

from node.plugins.network.drivers.announce import announcement
from node.plugins.network.drivers.router_advert import advertisement
from node.plugins.network.link_plan import RoutePlan
from node.plugins.network.metadata_plan import answer
from node.plugins.network.names import bridge_mac, bridge_name, is_ours, tap_mac
from node.plugins.network.network_plan import bridge_plan, nat_fragment
from node.plugins.network.router_plan import lost_translations, router_plan
from node.plugins.network.tables import (
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    FloatingIp,
    HostRoute,
    Network,
    Port,
    PortAddress,
    Router,
    Subnet,
    tap_name,
)

ROUTER = Router(
    id="aaaaaaaa-1111-4000-8000-000000000000",
    routes=(HostRoute(destination="10.9.0.0/16", nexthop="10.0.0.9"),),
)
INNER = Network(id="bbbbbbbb-0000-4000-8000-000000000000", mtu_bytes=1442)
OUTER = Network(id="cccccccc-0000-4000-8000-000000000000", mtu_bytes=1500, external=True)
SUBNETS = {
    "in": Subnet(id="in", network_id=INNER.id, cidr="10.0.0.0/24", gateway_ip="10.0.0.1"),
    "out": Subnet(id="out", network_id=OUTER.id, cidr="203.0.113.0/24", gateway_ip="203.0.113.1"),
}
PORTS = [
    Port(
        id="dddddddd-0000-4000-8000-000000000000",
        network_id=INNER.id,
        mac_address="fa:16:3e:00:00:01",
        device_owner=ROUTER_INTERFACE,
        fixed_ips=(PortAddress(subnet_id="in", ip_address="10.0.0.1"),),
    ),
    Port(
        id="eeeeeeee-0000-4000-8000-000000000000",
        network_id=OUTER.id,
        mac_address="fa:16:3e:00:00:02",
        device_owner=ROUTER_GATEWAY,
        fixed_ips=(PortAddress(subnet_id="out", ip_address="203.0.113.10"),),
    ),
]
FIP = FloatingIp(
    id="f", address="203.0.113.20", port_id="p", fixed_ip_address="10.0.0.5", router_id=ROUTER.id
)
NETWORKS = {INNER.id: INNER, OUTER.id: OUTER}


def test_a_router_with_everything() -> None:
    plan = router_plan(ROUTER, PORTS, NETWORKS, SUBNETS, [FIP])
    inside, outside = plan.veths
    assert (inside.host, inside.inner, inside.mtu_bytes) == (
        "hrdddddddd-00",
        "qr-dddddddd-00",
        1442,
    )
    assert inside.addresses == ("10.0.0.1/24",)
    assert outside.addresses == ("203.0.113.10/24", "203.0.113.20/32")
    assert plan.gateway == outside
    assert set(plan.routes) == {
        RoutePlan(destination="0.0.0.0/0", via="203.0.113.1"),
        RoutePlan(destination="10.9.0.0/16", via="10.0.0.9"),
    }
    assert plan.nat.chains["hidden"] == ("snat to 203.0.113.10",)
    assert plan.nat.elements["dnat_to"] == {"203.0.113.20": "10.0.0.5"}
    assert plan.networks == (INNER.id,)


def test_without_snat_nothing_is_hidden_or_kept_out() -> None:
    plan = router_plan(replace(ROUTER, enable_snat=False), PORTS, NETWORKS, SUBNETS, [])
    assert plan.nat.chains == {"hidden": (), "entering": ()}


def test_without_gateway() -> None:
    plan = router_plan(ROUTER, PORTS[:1], NETWORKS, SUBNETS, [FIP])
    assert plan.gateway is None
    assert [route.destination for route in plan.routes] == ["10.9.0.0/16"]
    assert plan.nat.chains["hidden"] == ()


def test_lost_translations() -> None:
    before = router_plan(ROUTER, PORTS, NETWORKS, SUBNETS, [FIP]).nat
    moved = router_plan(
        ROUTER, PORTS, NETWORKS, SUBNETS, [replace(FIP, fixed_ip_address="10.0.0.6")]
    ).nat
    assert lost_translations(before, before) == []
    assert lost_translations(before, moved) == [("203.0.113.20", "10.0.0.5")]


def test_external_bridge_is_the_gateway_unless_it_is_physical() -> None:
    plan = bridge_plan(OUTER, [SUBNETS["out"]], "node-1")
    assert plan.addresses == ("203.0.113.1/24",)
    assert (
        bridge_plan(replace(OUTER, physical_network="eth1"), [SUBNETS["out"]], "node-1").addresses
        == ()
    )
    assert bridge_plan(INNER, [SUBNETS["in"]], "node-1").addresses == ()
    assert nat_fragment([SUBNETS["out"]]).elements == {"external": {"203.0.113.0/24": ""}}


def test_names_are_short_stable_and_ours() -> None:
    for name in (bridge_name(INNER.id), tap_name(INNER.id), "hrdddddddd-00"):
        assert len(name) <= 15
        assert is_ours(name)
    assert not is_ours("tap0")
    assert not is_ours("hbr")
    assert (
        bridge_mac("node-1", INNER.id)
        == bridge_mac("node-1", INNER.id)
        != bridge_mac("node-2", INNER.id)
    )
    assert int(bridge_mac("node-1", INNER.id)[:2], 16) & 3 == 2
    assert tap_mac("fa:16:3e:00:00:01") == "fe:16:3e:00:00:01"


def test_metadata_listings() -> None:
    files = {
        "openstack/2018-08-27/meta_data.json": b"{}",
        "openstack/latest/meta_data.json": b"{}",
        "latest/meta-data/public-keys/": b"0=key",
        "latest/meta-data/public-keys/0/openssh-key": b"ssh-ed25519",
        "latest/meta-data/hostname": b"web",
    }
    assert answer(files, "/openstack/") == b"2018-08-27\nlatest"
    assert answer(files, "/openstack/latest/meta_data.json") == b"{}"
    assert answer(files, "/latest/meta-data") == b"public-keys/\nhostname"
    assert answer(files, "/latest/meta-data/public-keys/") == b"0=key"
    assert answer(files, "/") == b"openstack\nlatest"
    assert answer(files, "/openstack/1999") is None
    assert answer({}, "/") is None


def test_announcement_is_an_arp_request_for_oneself() -> None:
    frame = announcement("fa:16:3e:00:00:01", "203.0.113.20")
    assert frame[:6] == b"\xff" * 6
    assert frame[6:12] == bytes.fromhex("fa163e000001") == frame[22:28]
    assert frame[28:32] == frame[38:42] == bytes([203, 0, 113, 20])


def test_advertisement_flags_follow_the_mode() -> None:
    def flags(mode: str) -> tuple[int, int]:
        subnet = Subnet(id="s", ip_version=6, cidr="2001:db8::/64", ipv6_ra_mode=mode)
        message = advertisement([subnet], "fa:16:3e:00:00:01", 1442)
        return message[5], message[16 + 8 + 8 + 3]

    assert flags("slaac") == (0x00, 0xC0)
    assert flags("dhcpv6-stateless") == (0x40, 0xC0)
    assert flags("dhcpv6-stateful") == (0xC0, 0x80)
