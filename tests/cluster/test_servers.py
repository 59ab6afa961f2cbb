"""Servers on different nodes are one network's neighbours, and their way out survives the node that it led through."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing.running_cluster import RunningCluster
from node.testing.running_lab import SSH, wait_until

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(900)]

ADMIN = "hedgerow"
NAMES = ("apart-1", "apart-2")


def host_of(cluster: RunningCluster, server: str) -> str:
    return str(cluster.show("server", "show", server, cloud=ADMIN)["OS-EXT-SRV-ATTR:host"])


def address_of(cluster: RunningCluster, server: str) -> str:
    addresses = cluster.show("server", "show", server, cloud=ADMIN)["addresses"]
    return str(addresses[cluster.facts["private_network"]][0])


def gateways(cluster: RunningCluster, nodes: list[str]) -> list[str]:
    """Return the nodes that hold a router with its way out."""
    return [name for name in nodes if "hrouter-" in cluster.on(name, "ip", "netns", "list")]


def answers(cluster: RunningCluster, address: str) -> bool:
    return cluster.attempt(["ping", "-c", "1", "-W", "1", address]).returncode == 0


@pytest.fixture(scope="module")
def servers(cluster: RunningCluster) -> Iterator[tuple[str, ...]]:
    """Two servers that may not share a node."""
    group = cluster.show(
        "server", "group", "create", "--policy", "anti-affinity", "apart", cloud=ADMIN
    )
    facts = cluster.facts
    cluster.openstack(
        "server", "create", "--image", facts["image"], "--flavor", facts["flavors"][0],
        "--network", facts["private_network"], "--key-name", "lab", "--hint", f"group={group['id']}",
        "--min", "2", "--max", "2", "--wait", "apart", cloud=ADMIN,
    )  # fmt: skip
    yield NAMES
    cluster.openstack("server", "delete", "--wait", *NAMES, cloud=ADMIN)
    cluster.openstack("server", "group", "delete", group["id"], cloud=ADMIN)


@pytest.fixture(scope="module")
def reached(cluster: RunningCluster, servers: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Return a server that is not on the gateway's node, and its floating address."""
    wait_until("one gateway", lambda: len(gateways(cluster, cluster.names)) == 1, timeout_s=90)
    gateway = gateways(cluster, cluster.names)[0]
    name = next(one for one in servers if host_of(cluster, one) != gateway)
    made = cluster.show("floating", "ip", "create", cluster.facts["external_network"], cloud=ADMIN)
    address = made["floating_ip_address"]
    cluster.openstack("server", "add", "floating", "ip", name, address, cloud=ADMIN)
    yield name, address
    cluster.openstack("floating", "ip", "delete", address, cloud=ADMIN)


def test_servers_of_a_group_are_apart(cluster: RunningCluster, servers: tuple[str, ...]) -> None:
    assert len({host_of(cluster, name) for name in servers}) == 2


def test_neighbours_on_different_nodes_reach_each_other(
    cluster: RunningCluster, servers: tuple[str, ...], reached: tuple[str, str]
) -> None:
    name, floating = reached
    other = next(one for one in servers if one != name)
    key = Path(cluster.facts["ssh_key"])
    ssh = ["ssh", "-i", key, *SSH, f"hedgerow@{floating}"]
    wait_until("ssh", lambda: cluster.attempt([*ssh, "true"]).returncode == 0, timeout_s=240)
    assert cluster.run([*ssh, "hostname"]).strip() == name
    pings = f"ping -c 3 -W 10 {address_of(cluster, other)}"
    assert " 0% packet loss" in cluster.run([*ssh, pings])
    outside = cluster.facts["public_cidr"].rpartition(".")[0] + ".1"
    assert " 0% packet loss" in cluster.run([*ssh, f"ping -c 2 -W 10 {outside}"])


def test_a_server_moves_with_its_disk_and_its_addresses(
    cluster: RunningCluster, reached: tuple[str, str]
) -> None:
    name, floating = reached
    ssh = ["ssh", "-i", Path(cluster.facts["ssh_key"]), *SSH, f"hedgerow@{floating}"]
    wait_until("ssh", lambda: cluster.attempt([*ssh, "true"]).returncode == 0, timeout_s=240)
    cluster.run([*ssh, "echo moved > mark; sync"])
    before, address = host_of(cluster, name), address_of(cluster, name)
    cluster.openstack("server", "migrate", "--wait", name, cloud=ADMIN)
    assert host_of(cluster, name) != before
    cluster.openstack("server", "migration", "confirm", name, cloud=ADMIN)
    wait_until(
        "active",
        lambda: cluster.show("server", "show", name, cloud=ADMIN)["status"] == "ACTIVE",
        timeout_s=60,
    )
    assert address_of(cluster, name) == address
    wait_until("ssh", lambda: cluster.attempt([*ssh, "true"]).returncode == 0, timeout_s=240)
    assert cluster.run([*ssh, "cat", "mark"]).strip() == "moved"

    boot = cluster.run([*ssh, "cat", "/proc/sys/kernel/random/boot_id"])
    between = host_of(cluster, name)
    cluster.openstack("server", "migrate", "--live-migration", "--wait", name, cloud=ADMIN)
    assert host_of(cluster, name) != between
    wait_until(floating, lambda: answers(cluster, floating), timeout_s=60)
    wait_until("ssh", lambda: cluster.attempt([*ssh, "true"]).returncode == 0, timeout_s=60)
    assert cluster.run([*ssh, "cat", "/proc/sys/kernel/random/boot_id"]) == boot  # it ran on
    assert cluster.run([*ssh, "cat", "mark"]).strip() == "moved"


def test_the_way_out_survives_its_node(cluster: RunningCluster, reached: tuple[str, str]) -> None:
    name, floating = reached
    wait_until(floating, lambda: answers(cluster, floating), timeout_s=240)
    gateway = gateways(cluster, cluster.names)[0]
    assert gateway != host_of(cluster, name)
    rest = [one for one in cluster.names if one != gateway]
    cluster.lab("kill", "--vms", gateway)
    try:
        wait_until(f"{floating} again", lambda: answers(cluster, floating), timeout_s=120)
        assert len(gateways(cluster, rest)) == 1
    finally:
        cluster.lab("start", gateway)
    wait_until("one gateway", lambda: len(gateways(cluster, cluster.names)) == 1, timeout_s=120)
    wait_until(floating, lambda: answers(cluster, floating), timeout_s=60)
    cluster.agree()
