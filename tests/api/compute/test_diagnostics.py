"""What a server has used, asked through any node; and consoles, which there are none of."""

from pathlib import Path
from typing import Any

import pytest

from tests.api.compute.nodes import SERVERS, ComputeCluster
from tests.api.compute.schemas import check
from tests.api.compute.test_server_life import headers


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path, ("n1", "n2"))


def asked(cluster: ComputeCluster, node: str, server_id: str, version: tuple[int, int]) -> Any:
    path = f"{SERVERS}/{server_id}/diagnostics"
    member = cluster.nodes[node].member
    return member.get(path, token=cluster.admin, headers=headers(version))


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("version", [(2, 1), (2, 47), (2, 48), (2, 96)])
def test_diagnostics(cluster: ComputeCluster, node: str, version: tuple[int, int]) -> None:
    server = cluster.running()
    answer = asked(cluster, node, server.id, version)
    if version < (2, 48):
        body = check(answer, "servers", "show_server_diagnostics", version)
        assert body["cpu0_time"] == 1_000_000
        assert body["memory"] == 64 * 1024
        assert {name.partition("_")[2] for name in body if name.startswith("tap")} == {
            f"{way}{what}" for way in ("rx", "tx") for what in ("", "_packets", "_errors", "_drop")
        }
        return
    body = check(answer, "servers", "show_server_diagnostics", version)
    assert (body["state"], body["driver"], body["hypervisor"]) == ("running", "libvirt", "qemu")
    assert (body["num_cpus"], body["num_disks"], body["num_nics"]) == (1, 1, 1)
    assert body["memory_details"] == {"maximum": 64, "used": 64}
    assert body["nic_details"][0]["rx_octets"] == 64
    assert body["uptime"] >= 0


def test_diagnostics_of_what_does_not_run(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.act(server.id, "os-stop")
    cluster.settle()
    assert asked(cluster, server.node_id, server.id, (2, 96)).status == 409
    assert asked(cluster, "n1", "none", (2, 96)).status == 404
    path = f"{SERVERS}/{server.id}/diagnostics"
    assert cluster.cloud.get(path, token=cluster.token).status == 403


def test_diagnostics_of_a_guest_that_has_just_ended(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.nodes[server.node_id].hypervisor.power_off(server.id)
    assert asked(cluster, "n1", server.id, (2, 96)).status == 503
    cluster.nodes[server.node_id].member.reconcilers.clear()  # its core is away
    assert asked(cluster, "n1", server.id, (2, 96)).status == 503


def test_no_console_is_offered(cluster: ComputeCluster) -> None:
    server = cluster.running()
    path = f"{SERVERS}/{server.id}/remote-consoles"

    def ask(protocol: str, kind: str, version: tuple[int, int] = (2, 96)) -> tuple[int, str]:
        body = {"remote_console": {"protocol": protocol, "type": kind}}
        answer = cluster.cloud.post(path, json=body, token=cluster.token, headers=headers(version))
        return answer.status, answer.body.decode()

    status, text = ask("vnc", "novnc")
    assert (status, "Unavailable console type novnc." in text) == (400, True)
    assert ask("serial", "serial")[0] == ask("spice", "spice-html5")[0] == 400
    assert "Invalid console type" in ask("vnc", "serial")[1]
    assert "is not one of" in ask("mks", "webmks", (2, 7))[1]
    assert ask("vnc", "novnc", (2, 5))[0] == 404
    old = cluster.act(server.id, "os-getVNCConsole", {"type": "novnc"}, version="2.1")
    assert (old.status, "Unavailable console type novnc" in old.body.decode()) == (400, True)
    assert cluster.act(server.id, "os-getVNCConsole", {"type": "x"}, version="2.1").status == 400
    assert cluster.act(server.id, "os-getVNCConsole", {"type": "novnc"}, version="2.6").status == 400
    token = "/compute/v2.1/os-console-auth-tokens/abc"
    assert cluster.cloud.get(token, token=cluster.admin).status == 404
    assert cluster.cloud.get(token, token=cluster.token).status == 403
