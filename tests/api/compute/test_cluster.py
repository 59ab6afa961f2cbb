"""Servers on several nodes: placement, nodes that fail to build, nodes that die and come back."""

from pathlib import Path
from typing import Any

import pytest

from node.plugins.compute import names
from node.plugins.compute.drivers.hypervisor import HypervisorRefused
from node.plugins.compute.server_ops import node_counter
from node.plugins.compute.tables import Server
from node.sdk import NodeRow, Unavailable
from tests.api.compute.conftest import ServerPort
from tests.api.compute.nodes import SERVERS, ComputeCluster


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path)


def claims(cluster: ComputeCluster) -> dict[str, int]:
    names = cluster.nodes
    return {n: cluster.cloud.db.counter(node_counter(n, "memory_mib")) for n in names}


def group(cluster: ComputeCluster, policy: str) -> str:
    body = {"server_group": {"name": "g", "policies": [policy]}}
    headers = {"OpenStack-API-Version": "compute 2.15"}
    path = "/compute/v2.1/os-server-groups"
    answer = cluster.cloud.post(path, json=body, token=cluster.admin, headers=headers)
    return str(answer.json["server_group"]["id"])


def test_each_node_runs_its_own_servers(cluster: ComputeCluster) -> None:
    servers = [cluster.create(through=name) for name in cluster.nodes]
    cluster.settle()
    rows = [cluster.row(server_id) for server_id in servers]
    assert {row.node_id for row in rows} == set(cluster.nodes)
    for row in rows:
        assert row.have == "active"
        assert cluster.where(row.id) == {row.node_id}
    assert claims(cluster) == dict.fromkeys(cluster.nodes, 64)


def test_groups_keep_servers_together_and_apart(cluster: ComputeCluster) -> None:
    apart = group(cluster, "anti-affinity")
    found = {cluster.row(cluster.create(hints={"group": apart})).node_id for _ in range(4)}
    assert found == {*cluster.nodes, ""}
    quota = {"quota_set": {"instances": -1}}
    cluster.cloud.put("/compute/v2.1/os-quota-sets/project-1", json=quota, token=cluster.admin)
    together = group(cluster, "affinity")
    found = {cluster.row(cluster.create(hints={"group": together})).node_id for _ in range(3)}
    assert len(found) == 1
    softly = group(cluster, "soft-anti-affinity")
    found = {cluster.row(cluster.create(hints={"group": softly})).node_id for _ in range(4)}
    assert found == set(cluster.nodes)


def test_nodes_that_are_not_up_get_no_servers(cluster: ComputeCluster) -> None:
    cluster.set_state("n1", "suspect")
    cluster.set_state("n2", "down")
    assert {cluster.row(cluster.create()).node_id for _ in range(3)} == {"n3"}
    forced = cluster.create(availability_zone="nova:n2")
    assert cluster.row(forced).have == "error"
    services = cluster.cloud.get("/compute/v2.1/os-services", token=cluster.admin).json["services"]
    assert {s["host"]: s["state"] for s in services} == {"n1": "down", "n2": "down", "n3": "up"}
    path = "/compute/v2.1/os-hypervisors/detail"
    found = cluster.cloud.get(path, token=cluster.admin).json["hypervisors"]
    assert {h["hypervisor_hostname"]: (h["state"], h["memory_mb_used"]) for h in found} == {
        "n1": ("down", 0),
        "n2": ("down", 0),
        "n3": ("up", 192),
    }


def test_a_build_that_one_node_cannot_do_is_done_by_another(cluster: ComputeCluster) -> None:
    server_id = cluster.create()
    first = cluster.row(server_id).node_id
    node = cluster.nodes[first]
    node.hypervisor.fail_next("start", HypervisorRefused("no room"))
    cluster.settle()
    row = cluster.row(server_id)
    assert (row.have, row.fault, row.tried) == ("active", "", [first])
    assert row.node_id != first
    assert cluster.where(server_id) == {row.node_id}
    assert not node.files.exists(server_id)
    assert sum(claims(cluster).values()) == 64
    assert claims(cluster)[row.node_id] == 64
    assert [p.node_id for p in cluster.cloud.db.rows(ServerPort)] == [row.node_id]


def test_at_most_three_nodes_try(tmp_path: Path) -> None:
    cluster = ComputeCluster(tmp_path, ("n1", "n2", "n3", "n4"))
    server_id = cluster.create()
    for node in cluster.nodes.values():
        node.hypervisor.fail_next("start", HypervisorRefused("no luck today"))
    cluster.settle()
    row = cluster.row(server_id)
    assert (row.have, len(row.tried)) == ("error", 2)
    assert row.fault == "no luck today"
    assert sum(claims(cluster).values()) == 64


@pytest.mark.parametrize("why", ["image", "host"])
def test_what_no_other_node_can_do_better_is_not_tried_there(
    cluster: ComputeCluster, why: str
) -> None:
    fields: dict[str, Any] = {}
    if why == "image":
        cluster.images.path.write_bytes(b"no qcow2 at all")
    else:
        fields["availability_zone"] = "nova:n2"
        cluster.nodes["n2"].hypervisor.fail_next("start", HypervisorRefused("no"))
    server_id = cluster.create(**fields)
    node_id = cluster.row(server_id).node_id
    cluster.settle()
    row = cluster.row(server_id)
    assert (row.have, row.node_id, row.tried) == ("error", node_id, [])


def test_a_build_waits_for_its_image(cluster: ComputeCluster) -> None:
    cluster.images.fault = Unavailable("Image is on its way from n2")
    server_id = cluster.create()
    cluster.settle()
    shown = cluster.cloud.get(f"{SERVERS}/{server_id}", token=cluster.admin).json["server"]
    assert shown["status"] == "BUILD"
    assert shown["OS-EXT-STS:task_state"] == "block_device_mapping"
    cluster.images.fault = None
    cluster.settle()
    assert cluster.row(server_id).have == "active"


def test_the_console_log_is_read_through_every_node(cluster: ComputeCluster) -> None:
    server = cluster.running()
    directory = cluster.cloud.directory / server.node_id
    names.console_log_path(directory, server.id).write_text("one\ntwo\nthree\n")
    path = f"{SERVERS}/{server.id}/action"
    for node in cluster.nodes.values():
        answer = node.member.post(
            path, json={"os-getConsoleOutput": {"length": 2}}, token=cluster.admin
        )
        assert answer.json == {"output": "two\nthree\n"}
        answer = node.member.post(path, json={"os-getConsoleOutput": {}}, token=cluster.admin)
        assert answer.json == {"output": "one\ntwo\nthree\n"}
    cluster.set_state(server.node_id, "down")
    other = next(n for n in cluster.nodes.values() if n.id != server.node_id)
    answer = other.member.post(path, json={"os-getConsoleOutput": {}}, token=cluster.admin)
    assert answer.status == 503
    peer = f"/compute/v2.1/peer/servers/{server.id}/console"
    assert other.member.get(peer, peer="n1").status == 404
    assert other.member.get(peer, token=cluster.admin).status == 404


def test_a_server_of_a_dead_node_is_built_on_another(cluster: ComputeCluster) -> None:
    server = cluster.running()
    addresses = [p.address for p in cluster.cloud.db.rows(ServerPort, server_id=server.id)]
    assert cluster.act(server.id, "evacuate", {}).status == 400
    cluster.set_state(server.node_id, "down")
    assert cluster.act(server.id, "evacuate", {"host": server.node_id}).status == 400
    assert cluster.act(server.id, "evacuate", {"host": "nowhere"}).status == 404
    assert cluster.act(server.id, "evacuate", {}, version="2.94").status == 200
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.fault) == ("active", "")
    assert row.node_id != server.node_id
    assert cluster.where(server.id) == {row.node_id, server.node_id}  # the dead one is not asked
    assert [p.address for p in cluster.cloud.db.rows(ServerPort)] == addresses
    assert claims(cluster)[server.node_id] == 0
    old = cluster.nodes[server.node_id]
    cluster.set_state(server.node_id, "up")
    cluster.settle()
    assert cluster.where(server.id) == {row.node_id}
    assert old.hypervisor.server_ids() == []
    directory = cluster.cloud.directory / server.node_id / "instances"
    assert not (directory / server.id).exists()
    aside = next(directory.glob(f".aside-{server.id}.*"))
    assert (aside / "disk").exists()
    base = old.files.find_base(server.image_id)
    assert base is not None, "the set aside disk rests on it"


def test_from_2_95_an_evacuated_server_stays_off(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.set_state(server.node_id, "down")
    target = next(name for name in cluster.nodes if name != server.node_id)
    answer = cluster.act(server.id, "evacuate", {"host": target})
    assert (answer.status, answer.body) == (200, b"")
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.node_id, row.have) == (target, "stopped")
    assert cluster.where(server.id) == {server.node_id}
    assert cluster.act(server.id, "os-start").status == 202
    cluster.settle()
    assert target in cluster.where(server.id)


def test_evacuation_speaks_the_microversions(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.set_state(server.node_id, "down")
    for version, value in (
        ("2.1", {}),
        ("2.1", {"onSharedStorage": True}),
        ("2.14", {"onSharedStorage": False}),
        ("2.28", {"force": True}),
        ("2.68", {"force": True}),
    ):
        assert cluster.act(server.id, "evacuate", value, version).status == 400, version
    member = cluster.cloud.post(
        f"{SERVERS}/{server.id}/action", json={"evacuate": {}}, token=cluster.token
    )
    assert member.status == 403
    answer = cluster.act(server.id, "evacuate", {"onSharedStorage": False, "adminPass": "x"}, "2.1")
    assert answer.json == {"adminPass": "x"}


def test_a_server_of_a_dead_node_is_deleted_at_once_and_its_node_clears_up_later(
    cluster: ComputeCluster,
) -> None:
    server = cluster.running()
    cluster.set_state(server.node_id, "down")
    assert cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin).status == 204
    assert cluster.cloud.db.rows(Server) == []
    assert cluster.cloud.db.rows(ServerPort) == []
    assert sum(claims(cluster).values()) == 0
    cluster.set_state(server.node_id, "up")
    cluster.settle()
    assert cluster.where(server.id) == set()
    assert not cluster.nodes[server.node_id].files.exists(server.id)


def test_a_node_without_a_lease_starts_nothing(cluster: ComputeCluster) -> None:
    server = cluster.running()
    control = cluster.nodes[server.node_id].member.control
    control.has_lease = False
    second = cluster.create(availability_zone=f"nova:{server.node_id}")
    assert cluster.act(server.id, "os-stop").status == 202
    cluster.settle()
    assert cluster.where(server.id) == {server.node_id}
    assert cluster.where(second) == set()
    control.has_lease = True
    cluster.settle()
    assert cluster.row(server.id).have == "stopped"
    assert cluster.row(second).have == "active"


@pytest.mark.parametrize(
    ("state", "shown"), [("up", "UP"), ("suspect", "UNKNOWN"), ("down", "DOWN")]
)
def test_a_server_tells_its_hosts_state(cluster: ComputeCluster, state: str, shown: str) -> None:
    server = cluster.running()
    cluster.set_state(server.node_id, state)
    headers = {"OpenStack-API-Version": "compute 2.16"}
    path = f"{SERVERS}/{server.id}"
    found = cluster.cloud.get(path, token=cluster.admin, headers=headers).json["server"]
    assert found["host_status"] == shown
    assert found["OS-EXT-SRV-ATTR:host"] == server.node_id
    assert cluster.cloud.db.get(NodeRow, server.node_id) is not None
