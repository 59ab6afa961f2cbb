"""What clients ask for that there is not, and small calls beside it: each is answered in Nova's words."""

from pathlib import Path

import pytest

from tests.api.compute.nodes import SERVERS, ComputeCluster
from tests.api.compute.test_server_life import headers


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path, ("n1", "n2"))


def test_no_host_is_valid_for_a_migration(cluster: ComputeCluster) -> None:
    server = cluster.running()

    def ask(action: str, value: object, version: str) -> tuple[int, str]:
        answer = cluster.act(server.id, action, value, version)
        return answer.status, answer.body.decode()

    live = {"host": None, "block_migration": False}
    for action, value, version in (
        ("migrate", None, "2.1"),
        ("migrate", {"host": "n2"}, "2.56"),
        ("os-migrateLive", {**live, "disk_over_commit": False}, "2.1"),
        ("os-migrateLive", {**live, "block_migration": "auto"}, "2.25"),
        ("os-migrateLive", {"host": "n2", "block_migration": True, "force": True}, "2.30"),
    ):
        status, text = ask(action, value, version)
        assert (status, "No valid host was found" in text) == (400, True), (action, text)
    assert "could not be found" in ask("migrate", {"host": "none"}, "2.56")[1]
    for value, version in (
        (live, "2.1"),
        ({**live, "disk_over_commit": False}, "2.25"),
        ({**live, "force": True}, "2.30"),
        ({**live, "force": False}, "2.68"),
        ({"host": None}, "2.25"),
        ({**live, "block_migration": "maybe"}, "2.25"),
    ):
        status, text = ask("os-migrateLive", value, version)
        assert (status, "No valid host" in text) == (400, False), (value, version)
    cluster.act(server.id, "pause")
    cluster.settle()
    assert ask("migrate", None, "2.1")[0] == 409
    member = cluster.cloud.post(
        f"{SERVERS}/{server.id}/action", json={"migrate": None}, token=cluster.token
    )
    assert member.status == 403


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
