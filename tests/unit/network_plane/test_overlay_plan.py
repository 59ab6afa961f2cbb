"""What a node knows of guests on other nodes, and what must not leave it."""

from node.plugins.network.overlay_plan import (
    BRIDGED,
    FLOOD,
    NEIGHBOUR,
    TUNNELLED,
    Station,
    entries,
    fence_fragment,
    is_overlay,
    station,
    tunnel_fragment,
    tunnel_plan,
)
from node.plugins.network.security_plan import link_local
from node.plugins.network.tables import (
    DHCP,
    ROUTER_INTERFACE,
    AddressPair,
    Network,
    Port,
    PortAddress,
)

NODES = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3", "six": "2001:db8::6"}
MAC = "fa:16:3e:00:00:01"
NETWORK = Network(id="11111111-2222-3333-4444-555555555555", segmentation_id=77, mtu_bytes=1450)


def port(**fields: object) -> Port:
    """Return a server's port on node b."""
    known: dict[str, object] = {
        "id": "p",
        "device_owner": "compute:nova",
        "node_id": "b",
        "mac_address": MAC,
        "fixed_ips": (PortAddress(subnet_id="s", ip_address="192.0.2.5"),),
    }
    return Port(**{**known, **fields})  # type: ignore[arg-type]


def test_a_guest_elsewhere_is_four_entries() -> None:
    found = entries([Station(node_id="b", mac=MAC, addresses=("192.0.2.5",))], "a", NODES)
    assert found == {
        (TUNNELLED, MAC): "10.0.0.2",
        (BRIDGED, MAC): "",
        (NEIGHBOUR, "192.0.2.5"): MAC,
        (FLOOD, "10.0.0.2"): "",
    }


def test_guests_here_and_out_of_reach_are_none() -> None:
    listed = [
        Station(node_id="a", mac=MAC),
        Station(node_id="unknown", mac=MAC),
        Station(node_id="six", mac=MAC),
    ]
    assert entries(listed, "a", NODES) == {}


def test_each_node_is_flooded_once_and_only_where_guests_are() -> None:
    listed = [Station(node_id="b", mac=f"fa:16:3e:00:01:{n:02x}") for n in range(9)]
    floods = [key for key in entries(listed, "a", NODES) if key[0] == FLOOD]
    assert floods == [(FLOOD, "10.0.0.2")]
    quiet = entries(listed, "a", NODES, broadcast=False)
    assert not [key for key in quiet if key[0] == FLOOD]


def test_which_ports_are_stations() -> None:
    assert station(port(), {}) == Station(node_id="b", mac=MAC, addresses=("192.0.2.5",))
    assert station(port(node_id=""), {}) is None
    assert station(port(device_owner=DHCP), {}) is None
    inside = port(device_owner=ROUTER_INTERFACE, device_id="r", node_id="stale")
    assert station(inside, {"r": "c"}) == Station(node_id="c", mac=MAC, addresses=("192.0.2.5",)), (
        "where the router is, whatever its port says"
    )
    assert station(inside, {}) is None


def test_who_may_use_addresses_that_rows_do_not_tell() -> None:
    free, pairs = (
        port(port_security=False),
        port(address_pairs=(AddressPair(ip_address="192.0.2.9", mac_address=MAC),)),
    )
    for one in (free, pairs):
        found = station(one, {})
        assert found is not None
        assert found.loose
    assert tunnel_plan(NETWORK, "10.0.0.1", loose=True).loose


def test_an_ipv6_guest_is_known_by_its_link_local_address_too() -> None:
    six = (PortAddress(subnet_id="s", ip_address="2001:db8::5"),)
    found = station(port(fixed_ips=six), {})
    assert found is not None
    assert found.addresses == ("2001:db8::5", str(link_local(MAC)))


def test_which_networks_span_nodes() -> None:
    assert is_overlay(NETWORK)
    for fields in ({"external": True}, {"network_type": "flat"}, {"segmentation_id": 0}):
        known = {name: getattr(NETWORK, name) for name in NETWORK.__struct_fields__}
        assert not is_overlay(Network(**{**known, **fields}))


def test_the_dhcp_server_is_fenced_in() -> None:
    tunnel = '"hv11111111-22"'
    found = fence_fragment(NETWORK.id, [port(), port(device_owner=DHCP)])
    assert found.elements == {
        "everywhere": {f"{tunnel} . {MAC}": ""},
        "answered": {f"{tunnel} . 192.0.2.5": ""},
        "served": {tunnel: ""},
    }
    assert not any(fence_fragment(NETWORK.id, [port()]).elements.values())


def test_only_nodes_of_the_family_are_peers() -> None:
    assert tunnel_fragment("10.0.0.1", NODES.values()).elements["peers4"].keys() == {
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
    }
    assert tunnel_fragment("2001:db8::6", NODES.values()).elements == {
        "own6": {"2001:db8::6": ""},
        "peers6": {"2001:db8::6": ""},
    }
