"""Images of servers, through the real image service, with real disks."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from node.plugins import image as image_plugin
from node.plugins.compute import names
from node.plugins.compute.server_ops import node_counter
from node.plugins.compute.tables import Server
from node.plugins.image.copy_sync import ImageCopySync
from node.plugins.image.image_sync import ImageSync
from node.plugins.image.tables import Image
from node.sdk import patch
from tests.api.compute.conftest import ServerPort
from tests.api.compute.nodes import SERVERS, ComputeCluster

MIB = 1 << 20
IMAGES = "/image/v2/images"


class Cluster(ComputeCluster):
    """Nodes with real images."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, ("n1", "n2"), image_plugin)
        self.file = directory / "base.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", self.file, "4M"], check=True)
        write(self.file, 0, b"base")
        self.image_id = self.upload(self.file)

    def upload(self, path: Path) -> str:
        body = {"name": "base", "disk_format": "qcow2", "container_format": "bare", "os_type": "x"}
        made = self.cloud.post(IMAGES, json=body, token=self.token).json
        answer = self.nodes["n1"].member.put(
            f"{IMAGES}/{made['id']}/file",
            body=path.read_bytes(),
            token=self.token,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status == 204
        return str(made["id"])

    def settle(self) -> None:
        for _ in range(4):
            for node in self.nodes.values():
                self.cloud.reconcile(ImageCopySync(node.member.control))
                self.cloud.reconcile(ImageSync(node.member.control))
            super().settle()

    def image(self, image_id: str) -> Any:
        return self.cloud.get(f"{IMAGES}/{image_id}", token=self.admin)

    def snapshot(self, server_id: str, **more: Any) -> Any:
        return self.act(server_id, "createImage", {"name": "copy", **more}, "2.45")


def write(path: Path, offset: int, data: bytes) -> None:
    pattern = path.with_name("pattern")
    pattern.write_bytes(data.ljust(512, b"\0"))
    command = f"write -s {pattern} {offset} 512"
    argv = ["qemu-io", "-f", "qcow2", "-c", command, str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    pattern.unlink()


def contents(path: Path) -> bytes:
    raw = path.with_name(path.name + ".raw")
    subprocess.run(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)], check=True
    )
    with raw.open("rb") as file:
        return file.read(4 * MIB)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def disk_of(cluster: Cluster, server: Any) -> Path:
    return names.disk_path(cluster.cloud.directory / server.node_id, server.id)


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_running_servers_disk_becomes_an_image_that_boots_anywhere(
    cluster: Cluster, node: str, tmp_path: Path
) -> None:
    server = cluster.running(imageRef=cluster.image_id, availability_zone=f"nova:{node}")
    write(disk_of(cluster, server), 2 * MIB, b"written by the guest")
    answer = cluster.snapshot(server.id, metadata={"why": "test"})
    assert answer.status == 202, answer.body
    image_id = answer.json["image_id"]
    shown = cluster.cloud.get(f"{SERVERS}/{server.id}", token=cluster.admin).json["server"]
    assert shown["OS-EXT-STS:task_state"] == "image_snapshot"
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.fault, row.job_done) == ("active", "", 2)
    hypervisor = cluster.nodes[node].hypervisor
    assert [verb for verb, _id in hypervisor.calls][-2:] == ["unpause", "unpause"]
    image = cluster.image(image_id).json
    assert (image["status"], image["disk_format"]) == ("active", "qcow2")
    assert (image["instance_uuid"], image["why"], image["os_type"]) == (server.id, "test", "x")
    assert image["virtual_size"] == 1 << 30
    assert (image["min_disk"], image["base_image_ref"]) == (1, cluster.image_id)
    member = cluster.nodes["n1"].member
    data = member.get(f"{IMAGES}/{image_id}/file", token=cluster.admin).body
    copy = tmp_path / "copy.qcow2"
    copy.write_bytes(data)
    whole = contents(copy)
    assert whole[:4] == b"base"
    assert whole[2 * MIB :].startswith(b"written by the guest")
    info = subprocess.check_output(["qemu-img", "info", str(copy)])
    assert b"backing" not in info
    left = {path.name for path in disk_of(cluster, server).parent.iterdir()}
    assert left == {"disk", "server.json"}
    second = cluster.running(imageRef=image_id)
    assert contents(disk_of(cluster, second))[:4] == b"base"


def test_a_stopped_server_stays_stopped(cluster: Cluster) -> None:
    server = cluster.running(imageRef=cluster.image_id)
    cluster.act(server.id, "os-stop")
    cluster.settle()
    image_id = cluster.snapshot(server.id).json["image_id"]
    cluster.settle()
    assert cluster.row(server.id).have == "stopped"
    assert cluster.image(image_id).json["status"] == "active"


def test_before_2_45_the_image_is_in_a_header(cluster: Cluster) -> None:
    server = cluster.running(imageRef=cluster.image_id)
    answer = cluster.act(server.id, "createImage", {"name": "copy"}, "2.44")
    assert (answer.status, answer.body) == (202, b"")
    image_id = answer.headers["location"].rpartition("/")[2]
    assert cluster.image(image_id).json["status"] == "queued"
    assert cluster.snapshot(server.id).status == 409
    assert len(cluster.cloud.db.rows(Image)) == 2, "the refused one is gone again"


def test_an_image_of_a_disk_that_cannot_be_read_is_given_up(
    cluster: Cluster,
) -> None:
    server = cluster.running(imageRef=cluster.image_id)
    disk_of(cluster, server).write_bytes(b"no qcow2")
    image_id = cluster.snapshot(server.id).json["image_id"]
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.job_done) == ("active", 2)
    assert cluster.image(image_id).status == 404
    path = f"{SERVERS}/{server.id}/os-instance-actions"
    actions = cluster.cloud.get(path, token=cluster.admin).json["instanceActions"]
    assert {a["action"]: a["message"] for a in actions}["createImage"] == "Error"


def test_deleting_the_server_first_leaves_no_image_that_waits(cluster: Cluster) -> None:
    server = cluster.running(imageRef=cluster.image_id)
    image_id = cluster.snapshot(server.id).json["image_id"]
    cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin)
    cluster.settle()
    assert cluster.image(image_id).status == 404
    assert len(cluster.cloud.db.rows(Image)) == 1


def test_an_image_that_is_deleted_meanwhile_stays_deleted(cluster: Cluster) -> None:
    server = cluster.running(imageRef=cluster.image_id)
    image_id = cluster.snapshot(server.id).json["image_id"]
    cluster.cloud.commit(patch(Image, image_id, want="absent"))
    cluster.settle()
    assert cluster.row(server.id).have == "active"
    assert cluster.image(image_id).status == 404


def test_backups_are_rotated_by_their_type(cluster: Cluster) -> None:
    server = cluster.running(imageRef=cluster.image_id)

    def backup(name: str, kind: str, rotation: Any) -> Any:
        body = {"name": name, "backup_type": kind, "rotation": rotation}
        answer = cluster.act(server.id, "createBackup", body, "2.45")
        assert answer.status == 202, answer.body
        cluster.settle()
        return answer.json["image_id"] if answer.body else None

    first, weekly = backup("one", "daily", 2), backup("w", "weekly", "2")
    second, third = backup("two", "daily", 2), backup("three", "daily", 2)
    assert cluster.image(first).status == 404
    for image_id, kind in ((weekly, "weekly"), (second, "daily"), (third, "daily")):
        image = cluster.image(image_id).json
        assert (image["status"], image["backup_type"], image["image_type"]) == (
            "active",
            kind,
            "backup",
        )
        assert image["instance_uuid"] == server.id
    assert backup("none", "daily", 0) is None
    assert [cluster.image(i).status for i in (second, third, weekly)] == [404, 404, 200]
    for wrong in (-1, "x", None):
        body = {"name": "n", "backup_type": "daily", "rotation": wrong}
        assert cluster.act(server.id, "createBackup", body).status == 400
    old = {"name": "n", "backup_type": "daily", "rotation": 1}
    location = cluster.act(server.id, "createBackup", old, "2.44").headers["location"]
    assert cluster.image(location.rpartition("/")[2]).status == 200
    assert cluster.act(server.id, "createBackup", old).status == 409  # the last one goes on


def shelved(cluster: Cluster) -> Any:
    server = cluster.running(imageRef=cluster.image_id, availability_zone="nova:n1")
    write(disk_of(cluster, server), 2 * MIB, b"kept")
    assert cluster.act(server.id, "shelve").status == 202
    shown = cluster.cloud.get(f"{SERVERS}/{server.id}", token=cluster.admin).json["server"]
    assert shown["OS-EXT-STS:task_state"] == "shelving"
    cluster.settle()
    shown = cluster.cloud.get(f"{SERVERS}/{server.id}", token=cluster.admin).json["server"]
    assert shown["status"] == "SHELVED_OFFLOADED"
    assert shown["OS-EXT-SRV-ATTR:host"] is None
    assert cluster.where(server.id) == set()
    assert not disk_of(cluster, server).parent.exists()
    assert cluster.nodes["n1"].hypervisor.server_ids() == []
    assert cluster.cloud.db.counter(node_counter("n1", "memory_mib")) == 0
    images = cluster.cloud.get(f"{IMAGES}?name=vm-shelved", token=cluster.admin).json["images"]
    assert [image["status"] for image in images] == ["active"]
    return server


def test_backups_take_turns(cluster: Cluster) -> None:
    server = cluster.running(imageRef=cluster.image_id)
    made = []
    for number in range(4):
        kind = {"backup_type": "weekly" if number == 1 else "daily", "rotation": 2, "name": f"b{number}"}
        answer = cluster.act(server.id, "createBackup", kind, "2.45")
        assert answer.status == 202, answer.body
        made.append(answer.json["image_id"])
        cluster.settle()
    assert cluster.row(server.id).have == "active"
    left = [cluster.image(image_id) for image_id in made]
    assert [image.status for image in left] == [404, 200, 200, 200], "the oldest daily one is gone"
    assert left[3].json["status"] == "active"
    assert (left[3].json["image_type"], left[3].json["backup_type"]) == ("backup", "daily")
    gone = {"backup_type": "daily", "rotation": 0, "name": "none"}
    assert cluster.act(server.id, "createBackup", gone, "2.45").status == 202
    cluster.settle()
    assert [cluster.image(image_id).status for image_id in made] == [404, 200, 404, 404]
    for wrong in ({"rotation": -1}, {"rotation": "x"}, {"backup_type": None}, {"extra": 1}):
        body = {"backup_type": "daily", "rotation": 1, "name": "x", **wrong}
        assert cluster.act(server.id, "createBackup", body, "2.45").status == 400


@pytest.mark.parametrize("host", ["n1", "n2"])
def test_a_shelved_server_is_built_again_anywhere(cluster: Cluster, host: str) -> None:
    server = shelved(cluster)
    ports = [port.address for port in cluster.cloud.db.rows(ServerPort)]
    for action in ("os-start", "shelve", "shelveOffload", "reboot"):
        value = {"type": "HARD"} if action == "reboot" else None
        assert cluster.act(server.id, action, value).status == 409, action
    assert cluster.act(server.id, "unshelve", {"host": host}, "2.90").status == 400
    assert cluster.act(server.id, "unshelve", {"host": host}, "2.91").status == 202
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.node_id, row.fault) == ("active", host, "")
    assert cluster.where(server.id) == {host}
    assert contents(disk_of(cluster, row))[2 * MIB :].startswith(b"kept")
    assert [port.address for port in cluster.cloud.db.rows(ServerPort)] == ports
    assert {port.node_id for port in cluster.cloud.db.rows(ServerPort)} == {host}
    assert cluster.cloud.db.counter(node_counter(host, "memory_mib")) == 64
    assert [image.id for image in cluster.cloud.db.rows(Image)] == [cluster.image_id]


def test_deleting_a_shelved_server_deletes_its_image(cluster: Cluster) -> None:
    server = shelved(cluster)
    assert cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin).status == 204
    cluster.settle()
    assert cluster.cloud.db.rows(Server) == []
    assert cluster.cloud.db.rows(ServerPort) == []
    assert [image.id for image in cluster.cloud.db.rows(Image)] == [cluster.image_id]


def test_deleting_a_server_that_is_being_shelved_wins(cluster: Cluster) -> None:
    server = cluster.running(imageRef=cluster.image_id)
    assert cluster.act(server.id, "shelve").status == 202
    cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin)
    cluster.settle()
    assert cluster.cloud.db.rows(Server) == []
    assert [image.id for image in cluster.cloud.db.rows(Image)] == [cluster.image_id]
