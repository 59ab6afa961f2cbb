"""What clients ask for that there is not, and small calls beside it: each is answered in Nova's words."""

from pathlib import Path

import pytest

from tests.api.compute.nodes import SERVERS, ComputeCluster
from tests.api.compute.test_server_life import headers


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path, ("n1", "n2"))


def test_a_guest_is_interrupted_for_a_dump(cluster: ComputeCluster) -> None:
    server = cluster.running()
    assert cluster.act(server.id, "trigger_crash_dump", version="2.16").status == 400
    assert cluster.act(server.id, "trigger_crash_dump", version="2.17").status == 202
    shown = cluster.cloud.get(f"{SERVERS}/{server.id}", token=cluster.admin).json["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    cluster.settle()
    calls = cluster.nodes[server.node_id].hypervisor.calls
    assert ("interrupt", server.id) in calls
    assert cluster.row(server.id).have == "active"
    cluster.act(server.id, "os-stop")
    cluster.settle()
    assert cluster.act(server.id, "trigger_crash_dump", version="2.17").status == 409


def test_a_guest_has_no_numa_topology(cluster: ComputeCluster) -> None:
    path = f"{SERVERS}/{cluster.running().id}/topology"
    found = cluster.cloud.get(path, token=cluster.token, headers=headers((2, 78)))
    assert (found.status, found.json) == (200, {"nodes": [], "pagesize_kb": None})
    assert cluster.cloud.get(path, token=cluster.token, headers=headers((2, 77))).status == 404


def test_what_nova_removed_is_gone(cluster: ComputeCluster) -> None:
    for method, path in (
        ("GET", "os-agents"),
        ("DELETE", "os-agents/1"),
        ("GET", "os-certificates/root"),
        ("GET", "os-fping"),
        ("GET", "os-security-group-default-rules"),
        ("GET", "os-baremetal-nodes"),
        ("GET", f"servers/{cluster.running().id}/os-virtual-interfaces"),
    ):
        answer = cluster.cloud.request(method, f"/compute/v2.1/{path}", token=cluster.token)
        assert answer.status == 410, path


def test_events_come_with_their_microversions(cluster: ComputeCluster) -> None:
    server = cluster.running()

    def tell(name: str, version: tuple[int, int]) -> int:
        body = {"events": [{"name": name, "server_uuid": server.id, "tag": "x"}]}
        path = "/compute/v2.1/os-server-external-events"
        more = {"token": cluster.admin, "headers": headers(version)}
        return int(cluster.cloud.post(path, json=body, **more).status)

    for name, minor in (
        ("network-changed", 1),
        ("volume-extended", 51),
        ("power-update", 76),
        ("accelerator-request-bound", 82),
    ):
        assert tell(name, (2, minor)) == 200
        if minor > 1:
            assert tell(name, (2, minor - 1)) == 400
