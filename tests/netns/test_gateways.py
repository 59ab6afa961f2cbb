"""Routers on a cluster: the one node that each is on, floating IPs, and what happens when that node goes."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins.network.names import router_namespace
from node.plugins.network.tables import DHCP, FloatingIp, Port, Router, Subnet
from node.sdk import NodeRow
from tests.netns.conftest import NEEDED
from tests.netns.fabric import OUTSIDE, Capture, Fabric, Machine
from tests.netns.site import Guest, Listener, eventually

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

PING = {"protocol": "icmp", "direction": "ingress"}
FLOATING = "203.0.113.20"


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Fabric]:
    """Run three machines."""
    missing = [name for name in (*NEEDED, "tcpdump") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    with Fabric(tmp_path, 3) as fabric:
        yield fabric


def world(fabric: Fabric) -> tuple[Subnet, Router, Guest, FloatingIp]:
    """Make a router on the first machine and a guest with a floating IP on the second."""
    external = fabric.public()
    _network, subnet = fabric.network(segmentation_id=4242)
    router = fabric.router(external, "203.0.113.10", subnet)
    group = fabric.group(PING)
    guest = fabric.on(fabric.machines[1], subnet, "10.0.0.11", security_group_ids=(group.id,))
    fip = fabric.floating(external, FLOATING, guest.port, router)
    fabric.settle()
    guest.dhcp()
    return subnet, router, guest, fip


def has_router(machine: Machine, router: Router) -> bool:
    """Return whether the router is on a machine."""
    return router_namespace(router.id) in machine.do(machine.planes.inventory)["namespaces"]


def answers(fabric: Fabric, address: str = FLOATING) -> bool:
    """Return whether an address answers to the world outside."""
    return " 0% packet loss" in fabric.outside("ping", "-c1", "-W3", address, ok=False)


def test_the_world_through_a_router_on_another_node(fabric: Fabric) -> None:
    one, two, three = fabric.machines
    subnet, router, guest, _fip = world(fabric)
    assert [has_router(machine, router) for machine in fabric.machines] == [True, False, False]
    assert guest.reaches(OUTSIDE)
    assert answers(fabric)
    other = fabric.on(three, subnet, "10.0.0.12", security_group_ids=(fabric.group().id,))
    fabric.settle()
    other.dhcp()
    assert other.reaches(OUTSIDE), "hidden behind the router's own address"
    assert other.reaches(FLOATING)
    table = fabric.ip("neigh", "show", FLOATING)
    gateway = fabric.db.must(Port, router.gateway_port_id)
    assert gateway.mac_address in table, "the gateway's node answers for the floating IP"
    first = router_namespace(router.id)
    assert f"inet {FLOATING}/32" in one.run("ip", "-n", first, "addr")
    del two


def test_metadata_through_a_router_on_another_node(fabric: Fabric) -> None:
    _one, two, _three = fabric.machines
    _network, subnet = fabric.network(segmentation_id=4242, dhcp=False)
    fabric.router(None, "", subnet)
    guest = fabric.on(two, subnet, "10.0.0.11", security_group_ids=(fabric.group().id,))
    fabric.rows.metadata[guest.port.device_id] = {"latest/meta-data/instance-id": b"i-2"}
    fabric.settle()
    guest.static(gateway="10.0.0.1")
    assert guest.fetch("http://169.254.169.254/latest/meta-data/instance-id") == "i-2"


def test_servers_on_the_external_network(fabric: Fabric) -> None:
    one, two, _three = fabric.machines
    _network, subnet = fabric.network("203.0.113.0/24", external=True)
    server = fabric.db.one(Port, device_owner=DHCP)
    assert server is not None
    group = fabric.group(PING)
    guests = [
        fabric.on(machine, subnet, f"203.0.113.{number}", security_group_ids=(group.id,))
        for machine, number in ((one, 31), (two, 32))
    ]
    fabric.settle()
    with Capture(fabric, "public") as wire:
        for guest, number in zip(guests, (31, 32), strict=True):
            lease = guest.dhcp()
            assert lease["ip"] == f"203.0.113.{number}"
            assert guest.reaches(OUTSIDE)
            assert guest.reaches("203.0.113.2"), "the DHCP server of its own node"
        assert guests[0].reaches("203.0.113.32")
    text = "\n".join(wire.lines)
    assert "ICMP echo" in text
    assert server.mac_address not in text, "every node has it: it must not be on the wire"


def test_two_networks_of_a_router_on_three_nodes(fabric: Fabric) -> None:
    _one, two, three = fabric.machines
    _net, first = fabric.network("10.0.1.0/24", segmentation_id=4242)
    _net, second = fabric.network("10.0.2.0/24", segmentation_id=4243)
    fabric.router(None, "", first, second)
    tcp = {"protocol": "tcp", "port_min": 80, "port_max": 80, "direction": "ingress"}
    left = fabric.on(two, first, "10.0.1.11", security_group_ids=(fabric.group(PING, tcp).id,))
    right = fabric.on(three, second, "10.0.2.11", security_group_ids=(fabric.group(PING).id,))
    fabric.settle()
    left.dhcp()
    right.dhcp()
    assert left.reaches("10.0.2.11")
    assert right.reaches("10.0.1.11")
    with Listener(left, 80):
        eventually(lambda: right.connects("10.0.1.11", 80), "no connection")


def test_a_router_leaves_a_node_that_is_down(fabric: Fabric) -> None:
    one, _two, _three = fabric.machines
    _subnet, router, guest, fip = world(fabric)
    assert answers(fabric)
    before = fabric.db.must(Router, router.id)
    one.cut()
    begun_s = time.monotonic()
    assert not answers(fabric)
    row = fabric.fail(one)
    decided_s = time.monotonic()
    for machine in fabric.machines[1:]:
        machine.changed(NodeRow, row.id)
    router = fabric.db.must(Router, router.id)
    assert router.node_id == "node-2", "the one with the fewest routers, then the first"
    assert router.rev > before.rev
    for machine in fabric.machines[1:]:
        machine.changed(Router, router.id)
    eventually(lambda: answers(fabric), "the floating IP does not answer on another node")
    print(
        f"gap after the row: {time.monotonic() - decided_s:.2f} s of {time.monotonic() - begun_s:.2f} s"
    )
    assert guest.reaches(OUTSIDE)
    assert fabric.db.must(FloatingIp, fip.id).have == "active"
    ports = fabric.db.rows(Port, device_id=router.id)
    assert {port.node_id for port in ports} == {router.node_id}

    # The dead one comes back without having heard of it: it must neither answer nor keep anything.
    one.control.leased = False
    one.settle()
    assert "hg" not in one.run("ip", "-o", "link", "show", "type", "veth")
    one.cut(off=False)
    for _try in range(3):
        assert answers(fabric)
        assert guest.reaches(OUTSIDE)
    one.control.leased = True
    one.settle()
    assert not has_router(one, router)
    assert answers(fabric)


def test_a_lease_that_comes_back_opens_the_gateway_again(fabric: Fabric) -> None:
    one, *_others = fabric.machines
    world(fabric)
    assert answers(fabric)
    one.control.leased = False
    one.settle()
    assert "hg" not in one.run("ip", "-o", "link", "show", "type", "veth")
    assert not answers(fabric)
    one.control.leased = True
    one.settle()
    assert not answers(fabric), "its rows may be old: it waits for a moment"
    fabric.cloud.clock.advance(4)
    one.settle()
    eventually(lambda: answers(fabric), "the gateway stays closed")


def test_maintenance_takes_routers_away_and_nothing_is_left(fabric: Fabric) -> None:
    one, two, three = fabric.machines
    _subnet, router, guest, fip = world(fabric)
    row = fabric.update(fabric.db.must(NodeRow, one.node_id), maintenance=True)
    fabric.changed(row)
    fabric.changed(fabric.db.must(Router, router.id))
    fabric.settle()
    moved = fabric.db.must(Router, router.id)
    assert moved.node_id != one.node_id
    assert not has_router(one, router)
    assert answers(fabric)
    assert guest.reaches(OUTSIDE)
    assert one.tunnels() == [], "nothing of the network is on the first node any more"
    assert len(one.do(one.planes.inventory)["bridges"]) == 1, "the external network's"

    fabric.drop(fip, moved, *fabric.db.rows(Port, device_id=router.id), guest.port)
    fabric.settle()
    for machine in fabric.machines:
        left = machine.do(machine.planes.inventory)
        assert left["namespaces"] == left["veths"] == left["taps"] == left["tunnels"] == []
    del two, three


def test_a_floating_ip_that_changes_its_port_is_announced(fabric: Fabric) -> None:
    _one, _two, three = fabric.machines
    subnet, router, _guest, fip = world(fabric)
    group = fabric.group(PING)
    second = fabric.on(three, subnet, "10.0.0.12", security_group_ids=(group.id,))
    external = fabric.db.must(
        Subnet, fabric.db.must(Router, router.id).external_fixed_ips[0].subnet_id
    )
    _net, other_subnet = fabric.network("10.0.5.0/24", segmentation_id=4300)
    other = fabric.router(external, "203.0.113.11", other_subnet)
    third = fabric.on(three, other_subnet, "10.0.5.11", security_group_ids=(group.id,))
    fabric.settle()
    second.dhcp()
    third.dhcp()
    assert answers(fabric)
    fabric.changed(
        fabric.update(fip, port_id=second.port.id, fixed_ip_address="10.0.0.12", have="")
    )
    assert answers(fabric), "another guest of the same router"
    moved = fabric.update(
        fip, port_id=third.port.id, fixed_ip_address="10.0.5.11", router_id=other.id, have=""
    )
    fabric.changed(moved)
    assert answers(fabric), "the neighbour outside must have heard of the other router's MAC"
