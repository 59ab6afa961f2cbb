"""Networks that span nodes: tunnels, forwarding from rows, DHCP on each node, and what must not leave one."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins.network.names import bridge_name, tunnel_link
from node.plugins.network.planes import health
from node.plugins.network.security_plan import link_local
from node.plugins.network.tables import Port, SecurityGroupMember
from node.sdk import NodeRow
from tests.netns.conftest import NEEDED
from tests.netns.fabric import Capture, Fabric
from tests.netns.site import Listener, eventually

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

PING = {"protocol": "icmp", "direction": "ingress"}


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Fabric]:
    """Run two machines."""
    missing = [name for name in (*NEEDED, "tcpdump") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    with Fabric(tmp_path, 2) as fabric:
        yield fabric


def test_guests_on_two_nodes(fabric: Fabric) -> None:
    one, two = fabric.machines
    network, subnet = fabric.network(segmentation_id=4242)
    group = fabric.group(PING)
    left = fabric.on(one, subnet, "10.0.0.11", security_group_ids=(group.id,))
    right = fabric.on(two, subnet, "10.0.0.12", security_group_ids=(group.id,))
    for guest, number in ((left, b"i-1"), (right, b"i-2")):
        files = {"latest/meta-data/instance-id": number}
        fabric.rows.metadata[guest.port.device_id] = files
    fabric.settle()
    assert one.tunnels() == two.tunnels() == [tunnel_link(network.id)]

    with Capture(fabric, "eth0n1", "udp", "port", "4789") as wire:
        for guest, address in ((left, "10.0.0.11"), (right, "10.0.0.12")):
            lease = guest.dhcp()
            assert lease["ip"] == address
            assert lease["mtu"] == str(network.mtu_bytes)
            assert lease["dns"] == "10.0.0.2"
        assert left.fetch("http://169.254.169.254/latest/meta-data/instance-id") == "i-1"
        assert right.fetch("http://169.254.169.254/latest/meta-data/instance-id") == "i-2"
        six = "http://[fe80::a9fe:a9fe%25eth0]/latest/meta-data/instance-id"
        for guest, number in ((left, "i-1"), (right, "i-2")):
            guest.static(f"{link_local(guest.port.mac_address)}/64")
            assert guest.fetch(six) == number
    own = (".67:", "10.0.0.2 ", "169.254", "fe80::a9fe:a9fe")
    told = [line for line in wire.lines if any(word in line for word in own)]
    assert not told, "DHCP, DNS and metadata are every node's own"

    with Capture(fabric, "eth0n1", "udp", "port", "4789") as wire:
        assert left.reaches("10.0.0.12")
        assert right.reaches("10.0.0.11")
    text = "\n".join(wire.lines)
    assert "ICMP echo" in text, "guests meet through the tunnel"
    assert "ARP" not in text, "what rows tell is not asked"
    payload = network.mtu_bytes - 28
    assert " 0% packet loss" in left.run(
        "ping", "-M", "do", "-s", str(payload), "-c1", "-W5", "10.0.0.12"
    )
    assert "too long" in left.run(
        "ping", "-M", "do", "-s", str(payload + 1), "-c1", "-W1", "10.0.0.12", ok=False
    )


def test_security_groups_hold_across_nodes(fabric: Fabric) -> None:
    one, two = fabric.machines
    _network, subnet = fabric.network(segmentation_id=4242)
    friends = fabric.group()
    tcp = {"protocol": "tcp", "port_min": 80, "port_max": 80, "direction": "ingress"}
    web = fabric.group({**tcp, "remote_group_id": friends.id})
    server = fabric.on(one, subnet, "10.0.0.11", security_group_ids=(web.id,))
    friend = fabric.on(two, subnet, "10.0.0.12", security_group_ids=(friends.id,))
    stranger = fabric.on(two, subnet, "10.0.0.13", security_group_ids=(fabric.group().id,))
    fabric.settle()
    for guest in (server, friend, stranger):
        guest.static()
    with Listener(server, 80):
        eventually(lambda: friend.connects("10.0.0.11", 80), "a friend is let in")
        assert not stranger.connects("10.0.0.11", 80)
        stranger.run("ip", "addr", "add", "10.0.0.12/24", "dev", "eth0")
        stranger.run("ip", "addr", "del", "10.0.0.13/24", "dev", "eth0")
        assert not stranger.connects("10.0.0.11", 80), "a stranger with a friend's address"
        member = fabric.db.must(SecurityGroupMember, f"{friends.id}/{friend.port.id}")
        fabric.drop(member)
        fabric.changed(member)
        assert not friend.connects("10.0.0.11", 80)


def test_a_change_costs_what_it_changes(fabric: Fabric) -> None:
    one, two = fabric.machines
    network, subnet = fabric.network(segmentation_id=4242)
    fabric.on(one, subnet, "10.0.0.11")
    many = [fabric.port(subnet, f"10.0.0.{n}", node_id=two.node_id) for n in range(20, 50)]
    one.settle()

    def known() -> tuple[int, int]:
        table = one.run("bridge", "fdb", "show", "dev", tunnel_link(network.id))
        neighbours = one.run("ip", "neigh", "show", "dev", bridge_name(network.id))
        return len(re.findall(r"dst 10\.77\.0\.2 self", table)), neighbours.count("PERMANENT")

    assert known() == (31, 30), "thirty guests and one flood entry"
    overlay = one.planes.overlay
    installed = overlay.installed(network.id)
    fabric.drop(many[0])
    one.changed(Port, many[0].id)
    assert known() == (30, 29)
    assert installed - overlay.installed(network.id) == {
        ("tunnelled", many[0].mac_address),
        ("bridged", many[0].mac_address),
        ("neighbour", "10.0.0.20"),
    }
    moved = fabric.update(many[1], node_id=one.node_id)
    one.changed(Port, moved.id)
    assert known() == (29, 28), "a guest that came here is reached here"
    one.run(
        "bridge",
        "fdb",
        "del",
        many[2].mac_address,
        "dev",
        tunnel_link(network.id),
        "dst",
        two.address,
        "self",
    )
    one.run("ip", "neigh", "flush", "nud", "permanent", "dev", bridge_name(network.id))
    one.settle()
    assert known() == (29, 28), "what somebody removed comes back"
    fabric.drop(*many[2:])
    for port in many[2:]:
        one.changed(Port, port.id)
    assert one.tunnels() == [], "nobody is on another node any more"


def test_what_changed_while_a_node_was_off(fabric: Fabric) -> None:
    one, two = fabric.machines
    network, subnet = fabric.network(segmentation_id=4242)
    group = fabric.group(PING)
    left = fabric.on(one, subnet, "10.0.0.11", security_group_ids=(group.id,))
    gone = fabric.port(subnet, "10.0.0.12", node_id=two.node_id)
    fabric.settle()
    one.do(one.planes.stop)
    fabric.drop(gone)
    right = fabric.on(two, subnet, "10.0.0.13", security_group_ids=(group.id,))
    two.settle()
    one.restart()
    one.settle()
    left.static()
    right.static()
    assert left.reaches("10.0.0.13")
    table = one.run("bridge", "fdb", "show", "dev", tunnel_link(network.id))
    assert gone.mac_address not in table
    assert "10.0.0.12" not in one.run("ip", "neigh", "show", "dev", bridge_name(network.id))


def test_nothing_is_left(fabric: Fabric) -> None:
    one, two = fabric.machines
    _network, subnet = fabric.network(segmentation_id=4242)
    guests = [fabric.on(one, subnet, "10.0.0.11"), fabric.on(two, subnet, "10.0.0.12")]
    fabric.settle()
    fabric.drop(*(guest.port for guest in guests))
    for guest in guests:
        fabric.changed(guest.port)
    fabric.settle()
    for machine in fabric.machines:
        left = machine.do(machine.planes.inventory)
        left["tables"] = [name for name in left["tables"] if "overlay" in name or "tunnel" in name]
        assert not any(left.values()), left


def test_broadcasts_reach_the_other_nodes_guests(fabric: Fabric) -> None:
    one, two = fabric.machines
    _network, subnet = fabric.network(segmentation_id=4242)
    group = fabric.group({"direction": "ingress"})
    left = fabric.on(one, subnet, "10.0.0.11", security_group_ids=(group.id,))
    right = fabric.on(two, subnet, "10.0.0.12", security_group_ids=(group.id,))
    fabric.settle()
    left.static()
    right.static()
    hear = "import socket; s = socket.socket(type=2); s.bind(('', 9999)); s.settimeout(20); print(s.recv(9))"
    speak = (
        "import socket; s = socket.socket(type=2); s.setsockopt(1, 6, 1); "
        "s.sendto(b'to all', ('10.0.0.255', 9999))"
    )
    argv = ["ip", "netns", "exec", right.namespace, sys.executable, "-c", hear]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listener:
        eventually(lambda: ":9999 " in right.run("ss", "-lun"), "nobody listens")
        left.run(sys.executable, "-c", speak)
        output, _errors = listener.communicate(timeout=30)
    assert "to all" in output


def test_a_virtual_address_moves_between_guests_of_two_nodes(fabric: Fabric) -> None:
    one, two = fabric.machines
    _network, subnet = fabric.network(segmentation_id=4242)
    free = {"port_security": False}
    left = fabric.on(one, subnet, "10.0.0.11", **free)
    right = fabric.on(two, subnet, "10.0.0.12", **free)
    watcher = fabric.on(one, subnet, "10.0.0.13", **free)
    fabric.settle()
    for guest in (left, right, watcher):
        guest.static()
    for holder, other in ((left, right), (right, left)):
        other.run("ip", "addr", "del", "10.0.0.99/24", "dev", "eth0", ok=False)
        holder.run("ip", "addr", "add", "10.0.0.99/24", "dev", "eth0")
        holder.run("busybox", "arping", "-U", "-c", "2", "-I", "eth0", "10.0.0.99", ok=False)
        assert watcher.reaches("10.0.0.99")


def test_ipv6_neighbours_are_answered_locally(fabric: Fabric) -> None:
    one, two = fabric.machines
    _network, subnet = fabric.network("2001:db8:9::0/64", dhcp=False, segmentation_id=4242)
    group = fabric.group(
        PING, {"protocol": "ipv6-icmp", "direction": "ingress", "ethertype": "IPv6"}
    )
    fields = {"security_group_ids": (group.id,)}
    left = fabric.on(one, subnet, "2001:db8:9::11", **fields)
    right = fabric.on(two, subnet, "2001:db8:9::12", **fields)
    fabric.settle()
    left.static("2001:db8:9::11/64")
    right.static("2001:db8:9::12/64")
    for guest in (left, right):
        eventually(lambda g=guest: "tentative" not in g.run("ip", "-6", "addr"), "no address")  # type: ignore[misc]
    with Capture(fabric, "eth0n1", "udp", "port", "4789") as wire:
        assert left.reaches("2001:db8:9::12")
        assert right.reaches("2001:db8:9::11")
        link_local = right.run("ip", "-6", "-o", "addr", "show", "scope", "link").split()[3]
        assert left.reaches(f"{link_local.partition('/')[0]}%eth0")
    text = "\n".join(wire.lines)
    assert "echo request" in text
    assert "neighbor solicitation, who has" not in "".join(
        line for line in wire.lines if "ff02::1:ff" in line
    ), "what rows tell is not asked"


def test_a_node_changes_its_address(fabric: Fabric) -> None:
    one, two = fabric.machines
    network, subnet = fabric.network(segmentation_id=4242)
    group = fabric.group(PING)
    left = fabric.on(one, subnet, "10.0.0.11", security_group_ids=(group.id,))
    right = fabric.on(two, subnet, "10.0.0.12", security_group_ids=(group.id,))
    fabric.settle()
    left.static()
    right.static()
    assert left.reaches("10.0.0.12")
    for machine in fabric.machines:
        (said,) = [
            line
            for line in machine.do(lambda m=machine: health(m.control))
            if line[0] == "network.overlay"
        ]  # type: ignore[misc]
        assert said[1:] == (True, "1 networks of this node span others, 0 routers are placed here.")
    two.run("ip", "addr", "del", f"{two.address}/24", "dev", "eth0")
    two.run("ip", "addr", "add", "10.77.0.92/24", "dev", "eth0")
    row = fabric.db.must(NodeRow, two.node_id)
    fabric.changed(fabric.update(row, vcpus=3))
    assert not left.pings("10.0.0.12")
    fabric.changed(fabric.update(row, address="10.77.0.92"))
    assert left.reaches("10.0.0.12")
    assert two.address not in one.run("bridge", "fdb", "show", "dev", tunnel_link(network.id))
    fabric.update(row, address="")
    fabric.changed(row)
    assert one.tunnels() == two.tunnels() == [], "a node without an address is out of reach"
    (said,) = [line for line in one.do(lambda: health(one.control)) if line[0] == "network.overlay"]
    assert said[1] is False


def test_strangers_cannot_send_into_a_network(fabric: Fabric) -> None:
    one, two = fabric.machines
    _network, subnet = fabric.network(segmentation_id=4242)
    group = fabric.group(PING)
    left = fabric.on(one, subnet, "10.0.0.11", security_group_ids=(group.id,))
    right = fabric.on(two, subnet, "10.0.0.12", security_group_ids=(group.id,))
    fabric.settle()
    left.static()
    right.static()
    fabric.ip("addr", "add", "10.77.0.99/24", "dev", "under")
    fabric.ip(
        "link", "add", "name", "spy", "type", "vxlan", "id", "4242", "dstport", "4789",
        "local", "10.77.0.99", "remote", one.address,
    )  # fmt: skip
    fabric.ip("link", "set", "spy", "up")
    fabric.ip("addr", "add", "10.0.0.50/24", "dev", "spy")
    fabric.ip("neigh", "add", "10.0.0.11", "lladdr", left.port.mac_address, "dev", "spy")
    # Counted by sender: the kernels on both sides speak too (neighbour discovery), when they like.
    rules = " ".join(f"ip saddr {sender} counter;" for sender in ("10.0.0.12", "10.0.0.50"))
    chain = "type filter hook prerouting priority -300;"
    left.run("nft", f"table inet heard {{ chain in {{ {chain} {rules} }}; }}")
    fabric.outside("ping", "-c", "2", "-W", "1", "10.0.0.11", ok=False)
    assert right.reaches("10.0.0.11")
    member, stranger = re.findall(r"counter packets (\d+)", left.run("nft", "list", "ruleset"))
    assert int(member) > 0
    assert int(stranger) == 0
