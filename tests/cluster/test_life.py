"""Three nodes are one cloud: what is written through any of them is read through all, also while the leader dies."""

import time
from collections.abc import Sequence
from typing import Any

import pytest

from node.errors import NodeError
from node.lab import process
from node.lab.client import Rest
from node.observe.admin import ask
from node.testing.running_cluster import RunningCluster
from node.testing.running_lab import wait_until

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.probe, pytest.mark.timeout(600)]

PROJECTS = "/identity/v3/projects"


def create(cluster: RunningCluster, node: str, name: str) -> str:
    """Make a project through a node and return its id."""

    def work(rest: Rest) -> str:
        body = {"project": {"name": name, "domain_id": "default"}}
        return str(rest.post(PROJECTS, body)["project"]["id"])

    return cluster.api(node, work)


def names_seen(cluster: RunningCluster, node: str) -> set[str]:
    return cluster.api(
        node, lambda rest: {one["name"] for one in rest.listed(PROJECTS, "projects")}
    )


def written_by_any(cluster: RunningCluster, nodes: Sequence[str], name: str) -> float:
    """Try to write through the nodes in turn until one takes it; return the seconds that it took."""
    began = time.monotonic()

    def taken() -> bool:
        for node in nodes:
            try:
                create(cluster, node, name)
            except NodeError as error:
                if "409" in error.message:  # an attempt that was not answered was taken
                    return True
                continue
            return True
        return False

    wait_until(f"a write through {nodes}", taken, timeout_s=60, pause_s=0.05)
    return time.monotonic() - began


def test_what_one_node_takes_every_node_shows(cluster: RunningCluster) -> None:
    for number, writer in enumerate(cluster.names):
        name = f"through-{writer}-{number}"
        create(cluster, writer, name)
        for reader in cluster.names:
            assert name in names_seen(cluster, reader), f"{writer} wrote, {reader} does not show"


def test_all_nodes_are_up_and_one_leads(cluster: RunningCluster) -> None:
    assert cluster.leader() in cluster.names
    nodes = {node["name"] for node in cluster.facts["nodes"] if node["state"] == "running"}
    assert nodes == set(cluster.names)
    found = [cluster.place(name).state / "tls" / "ca.pem" for name in cluster.names]
    assert len({path.read_bytes() for path in found}) == 1, "they have one authority"


def test_the_leader_dies_and_comes_back(cluster: RunningCluster) -> None:
    leader = cluster.leader()
    others = [name for name in cluster.names if name != leader]
    process.kill(cluster.place(leader))
    took_s = written_by_any(cluster, others, "without-a-leader")
    print(f"writes went on after {took_s:.2f} s")
    assert "without-a-leader" in names_seen(cluster, others[0])
    assert "without-a-leader" in names_seen(cluster, others[1])
    cluster.lab("start", leader)
    wait_until(
        "the old leader shows what it missed",
        lambda: "without-a-leader" in names_seen(cluster, leader),
        timeout_s=60,
    )
    create(cluster, leader, "after-it-came-back")
    cluster.agree()


def test_a_node_that_is_cut_off_takes_no_writes_and_loses_none(cluster: RunningCluster) -> None:
    leader = cluster.leader()
    others = [name for name in cluster.names if name != leader]
    cluster.lab("partition", leader)
    try:
        written_by_any(cluster, others, "across-the-cut")
        with pytest.raises(NodeError):
            create(cluster, leader, "on-the-wrong-side")
    finally:
        cluster.lab("heal")
    wait_until(
        "the node shows what it missed",
        lambda: "across-the-cut" in names_seen(cluster, leader),
        timeout_s=60,
    )
    cluster.agree()


def members(cluster: RunningCluster) -> set[str]:
    """Return the names of the members."""
    listed: Any = ask(cluster.place(cluster.names[0]).state, "node_list")
    return {node["name"] for node in listed if node["standing"] == "member"}


def test_a_node_is_added_and_taken_out_for_good(cluster: RunningCluster) -> None:
    before = members(cluster)
    create(cluster, cluster.names[0], "before-it-came")
    cluster.lab("add")
    added = cluster.names[-1]
    assert "before-it-came" in names_seen(cluster, added)
    assert members(cluster) == {*before, added}
    cluster.agree()
    cluster.lab("remove", added)
    cluster.on(cluster.names[0], "hedgerow", "node", "remove", added)
    wait_until("it is out", lambda: members(cluster) == before, timeout_s=60)
