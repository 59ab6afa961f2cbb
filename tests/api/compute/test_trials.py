"""Resize and rescue: what a server is tried with, and what comes back."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.plugins.compute import names
from node.plugins.compute.drivers.hypervisor import HypervisorGone, HypervisorRefused
from node.plugins.compute.server_ops import node_counter, quota_counter
from node.plugins.compute.tables import Flavor, Server
from node.sdk import insert
from tests.api.compute.conftest import IMAGE
from tests.api.compute.nodes import SERVERS, ComputeCluster

GIB = 1 << 30


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path, ("n1", "n2"))


def disk(cluster: ComputeCluster, server: Server) -> Path:
    return names.disk_path(cluster.cloud.directory / server.node_id, server.id)


def size_of(path: Path) -> int:
    found = subprocess.check_output(["qemu-img", "info", "--output=json", "-f", "qcow2", path])
    return int(msgspec.json.decode(found)["virtual-size"])


def counted(cluster: ComputeCluster, server: Server) -> tuple[int, int, int]:
    """Return (memory of the project, memory of the node, disk of the node)."""
    counter = cluster.cloud.db.counter
    return (
        counter(quota_counter("project-1", "ram")),
        counter(node_counter(server.node_id, "memory_mib")),
        counter(node_counter(server.node_id, "disk_gib")),
    )


def shown(cluster: ComputeCluster, server: Server) -> Any:
    return cluster.cloud.get(f"{SERVERS}/{server.id}", token=cluster.admin).json["server"]


def resized(cluster: ComputeCluster, **fields: Any) -> Server:
    server = cluster.running(**fields)
    assert cluster.act(server.id, "resize", {"flavorRef": "2"}).status == 202
    assert shown(cluster, server)["status"] == "RESIZE"
    cluster.settle()
    assert shown(cluster, server)["status"] == "VERIFY_RESIZE"
    return cluster.row(server.id)


def test_a_resize_is_confirmed(cluster: ComputeCluster) -> None:
    server = resized(cluster)
    plan = cluster.nodes[server.node_id].hypervisor.plans[server.id]
    assert plan.memory_mib == 128
    assert size_of(disk(cluster, server)) == 2 * GIB
    assert counted(cluster, server) == (128, 128, 2)
    assert cluster.where(server.id) == {server.node_id}
    answer = cluster.act(server.id, "confirmResize")
    assert answer.status == 204
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.old_flavor, row.flavor and row.flavor.id) == ("active", None, "2")
    assert not disk(cluster, server).with_name("disk.before").exists()
    assert counted(cluster, server) == (128, 128, 2)
    assert cluster.act(server.id, "revertResize").status == 409
    actions = cluster.cloud.get(f"{SERVERS}/{server.id}/os-instance-actions", token=cluster.admin)
    found = [entry["action"] for entry in actions.json["instanceActions"]]
    assert found[:2] == ["confirmResize", "resize"]


def test_a_resize_is_reverted(cluster: ComputeCluster) -> None:
    server = resized(cluster)
    assert cluster.act(server.id, "revertResize").status == 202
    assert shown(cluster, server)["status"] == "REVERT_RESIZE"
    assert cluster.act(server.id, "confirmResize").status == 409
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.flavor and row.flavor.id) == ("active", "1")
    assert size_of(disk(cluster, server)) == GIB
    assert counted(cluster, server) == (64, 64, 1)
    assert cluster.nodes[server.node_id].hypervisor.plans[server.id].memory_mib == 64


@pytest.mark.parametrize("end", ["confirmResize", "revertResize"])
def test_a_server_that_was_off_stays_off(cluster: ComputeCluster, end: str) -> None:
    server = cluster.running()
    cluster.act(server.id, "os-stop")
    cluster.settle()
    cluster.act(server.id, "resize", {"flavorRef": "2"})
    cluster.settle()
    assert cluster.row(server.id).have == "resized"
    assert cluster.where(server.id) == set()
    cluster.act(server.id, end)
    cluster.settle()
    assert cluster.row(server.id).have == "stopped"


def test_deleting_a_server_on_trial_gives_all_back(cluster: ComputeCluster) -> None:
    server = resized(cluster)
    cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin)
    cluster.settle()
    assert counted(cluster, server) == (0, 0, 0)
    assert not disk(cluster, server).parent.exists()


def test_what_is_refused(cluster: ComputeCluster) -> None:
    huge = Flavor(id="9", name="huge", memory_mib=1 << 20, disk_gib=3, vcpus=1, created_at=3)
    big = Flavor(id="8", name="big", memory_mib=8192, disk_gib=3, vcpus=1, created_at=3)
    cluster.cloud.commit(insert(huge), insert(big))
    server = cluster.running(flavorRef="2")

    def ask(flavor: str) -> Any:
        return cluster.act(server.id, "resize", {"flavorRef": flavor})

    assert ask("2").status == 400
    assert b"must change flavor" in ask("2").body
    assert ask("1").status == 400
    assert ask("none").status == 400
    assert ask("9").status == 403
    assert b"Quota exceeded" in ask("9").body
    assert ask("8").status == 400
    assert b"No valid host" in ask("8").body
    assert cluster.act(server.id, "confirmResize").status == 409
    assert counted(cluster, server) == (128, 128, 2)
    cluster.act(server.id, "suspend")
    cluster.settle()
    assert ask("8").status == 409


@pytest.mark.parametrize("verb", ["destroy", "define", "start"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("end", ["confirmResize", "revertResize"])
def test_a_resize_that_is_cut_off_anywhere_converges(
    cluster: ComputeCluster, verb: str, end: str, *, after: bool
) -> None:
    server = cluster.running()
    hypervisor = cluster.nodes[server.node_id].hypervisor
    sync = cluster.nodes[server.node_id].sync
    hypervisor.obeys_power_button = False
    for action, value in (("resize", {"flavorRef": "2"}), (end, None)):
        hypervisor.fail_next(verb, HypervisorGone("killed"), after=after)
        assert cluster.act(server.id, action, value).status in (202, 204)
        for _ in range(3):
            try:
                cluster.cloud.clock.advance(61)
                cluster.cloud.reconcile(sync)
            except HypervisorGone:
                continue
        cluster.settle()
    row = cluster.row(server.id)
    size = 2 if end == "confirmResize" else 1
    assert (row.have, row.flavor and row.flavor.disk_gib) == ("active", size)
    assert size_of(disk(cluster, server)) == size * GIB
    assert cluster.where(server.id) == {server.node_id}


def test_a_server_is_rescued_and_comes_back(cluster: ComputeCluster) -> None:
    server = cluster.running()
    answer = cluster.act(server.id, "rescue", {"adminPass": "secret"})
    assert (answer.status, answer.json) == (200, {"adminPass": "secret"})
    cluster.settle()
    found = shown(cluster, server)
    assert (found["status"], found["OS-EXT-STS:vm_state"]) == ("RESCUE", "rescued")
    hypervisor = cluster.nodes[server.node_id].hypervisor
    disks = hypervisor.plans[server.id].disks
    rescue = names.rescue_path(cluster.cloud.directory / server.node_id, server.id)
    own = str(disk(cluster, server))
    assert [(d.path, d.target) for d in disks] == [(str(rescue), "vda"), (own, "vdb")]
    assert [d.boot_order for d in disks] == [1, 0]
    assert cluster.act(server.id, "rescue").status == 409
    assert cluster.act(server.id, "unrescue").status == 202
    cluster.settle()
    assert shown(cluster, server)["status"] == "ACTIVE"
    assert [d.path for d in hypervisor.plans[server.id].disks] == [own]
    assert not rescue.exists()


def test_a_rescue_needs_an_image_that_may_be_used(cluster: ComputeCluster) -> None:
    server = cluster.running()
    for reference in ("no-uuid", "00000000-0000-4000-8000-000000000000"):
        answer = cluster.act(server.id, "rescue", {"rescue_image_ref": reference})
        assert answer.status == 400
    assert len(cluster.act(server.id, "rescue", {"rescue_image_ref": IMAGE}).json["adminPass"]) >= 8
    node = cluster.nodes[server.node_id]
    node.hypervisor.fail_next("start", HypervisorRefused("no"))
    cluster.settle()
    assert cluster.row(server.id).have == "error"
    assert cluster.act(server.id, "reboot", {"type": "HARD"}).status == 202
    cluster.settle()
    assert cluster.row(server.id).have == "active"
    assert [d.path for d in node.hypervisor.plans[server.id].disks] == [str(disk(cluster, server))]
