"""Servers with volumes: the compute API and the node's side, over the real block storage service."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.plugins import block, compute
from node.plugins import image as image_plugin
from node.plugins.block.tables import Volume, VolumeAttachment
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_interfaces import ServerInterfaces
from node.plugins.compute.server_jobs import ServerJobs
from node.plugins.compute.server_snapshot import ServerSnapshots
from node.plugins.compute.server_sync import ServerSync
from node.plugins.compute.server_volumes import ServerVolumes
from node.plugins.compute.tables import Flavor, ServerVolume
from node.sdk import NodeRow, Reconciler, insert, patch
from node.testing import Answer, Cloud
from node.testing.fake_hypervisor import FakeHypervisor
from tests.api.compute.conftest import IMAGE, FakeNetwork, node_row
from tests.api.compute.nodes import FileImages
from tests.api.compute.schemas import check

SERVERS = "/compute/v2.1/servers"
VOLUMES = "/volume/v3/volumes"
NEW = {"OpenStack-API-Version": "compute 2.79"}


class World:
    """A node that runs servers on a hypervisor in memory, with volumes of the driver of tests."""

    def __init__(self, directory: Path, images: Any = None) -> None:
        text = f"[node]\nname = testnode\nstate_dir = {directory}\n[block]\ndriver = memory\n"
        plugins = [compute, block, FakeNetwork(), images or FileImages(directory)]
        self.cloud = Cloud(directory, plugins, config_text=text)
        flavor = Flavor(id="1", name="m1.tiny", memory_mib=64, vcpus=1, disk_gib=1, created_at=1)
        zero = Flavor(id="0", name="zero", memory_mib=64, vcpus=1, disk_gib=0, created_at=2)
        self.cloud.commit(insert(node_row()), insert(flavor), insert(zero))
        self.token = self.cloud.token()
        self.hypervisor = FakeHypervisor()
        control, section = self.cloud.control, HypervisorSection()
        files = ServerFiles(control.config.state_dir)
        builder = ServerBuilder(control, files, section)
        volumes = ServerVolumes(control, self.hypervisor, files)
        jobs = ServerJobs(
            self.hypervisor,
            builder,
            files,
            section,
            lambda: "qemu",
            ServerSnapshots(control, self.hypervisor),
            volumes,
            control,
        )
        interfaces = ServerInterfaces(self.hypervisor, builder, files)
        self.sync = ServerSync(control, self.hypervisor, files, jobs, interfaces, volumes)
        self.sync.start()
        self.reconcilers: list[Reconciler] = [*block.reconcilers(control), self.sync]

    def settle(self) -> None:
        """Let the node do what the rows ask for."""
        for _round in range(3):
            for reconciler in self.reconcilers:
                self.cloud.reconcile(reconciler)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """Ask as the member of the project."""
        self.cloud.clock.advance(1.0)
        more.setdefault("token", self.token)
        return self.cloud.request(method, path, json=body, **more)

    def volume(self, **fields: Any) -> str:
        """Create a volume."""
        answer = self.call("POST", VOLUMES, {"volume": {"size": 1, **fields}})
        assert answer.status == 202, answer.body
        self.settle()
        return str(answer.json["volume"]["id"])

    def server(self, **fields: Any) -> str:
        """Create a server and let it run."""
        body = {"server": {"name": "s", "flavorRef": "1", "networks": "none", **fields}}
        answer = self.call("POST", SERVERS, body, headers={"OpenStack-API-Version": "compute 2.67"})
        assert answer.status == 202, answer.body
        self.settle()
        return str(answer.json["server"]["id"])

    def attach(self, server: str, volume: str, **fields: Any) -> Answer:
        """Attach a volume."""
        body = {"volumeAttachment": {"volumeId": volume, **fields}}
        return self.call("POST", f"{SERVERS}/{server}/os-volume_attachments", body)

    def detach(self, server: str, volume: str) -> Answer:
        """Detach a volume."""
        return self.call("DELETE", f"{SERVERS}/{server}/os-volume_attachments/{volume}")

    def status(self, volume: str) -> str:
        """Return the status of a volume."""
        return str(self.call("GET", f"{VOLUMES}/{volume}").json["volume"]["status"])

    def shown(self, server: str) -> Any:
        """Return what is shown of a server."""
        return self.call("GET", f"{SERVERS}/{server}").json["server"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.cloud.machine.close()


def test_a_volume_is_plugged_into_a_running_guest_and_out_again(world: World) -> None:
    server, volume = world.server(imageRef=IMAGE), world.volume()
    shown = check(world.attach(server, volume), "servers", "attach_volume")["volumeAttachment"]
    assert shown["device"] == "/dev/vdb"
    assert world.status(volume) == "attaching"
    world.settle()
    assert world.status(volume) == "in-use"
    assert set(world.hypervisor.volumes(server)) == {volume}
    assert world.shown(server)["os-extended-volumes:volumes_attached"] == [{"id": volume}]
    path = f"{SERVERS}/{server}/os-volume_attachments"
    check(world.call("GET", path), "servers", "list_volume_attachments")
    check(world.call("GET", f"{path}/{volume}"), "servers", "show_volume_attachment")
    later = world.call("GET", f"{path}/{volume}", headers={"OpenStack-API-Version": "compute 2.89"})
    assert set(later.json["volumeAttachment"]) == {
        "serverId", "volumeId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid",
    }  # fmt: skip
    assert world.attach(server, volume).status == 400
    assert world.call("DELETE", f"{VOLUMES}/{volume}").status == 400
    world.hypervisor.lets_volumes_go = False
    assert world.detach(server, volume).status == 202
    world.settle()
    assert world.status(volume) == "detaching"  # the guest holds on to it
    world.hypervisor.lets_volumes_go = True
    world.settle()
    assert world.status(volume) == "available"
    assert world.hypervisor.volumes(server) == {}
    assert world.detach(server, volume).status == 404


def test_a_guest_sees_that_its_volume_grew(world: World) -> None:
    server, volume = world.server(imageRef=IMAGE), world.volume()
    world.attach(server, volume)
    world.settle()
    grow = {"os-extend": {"new_size": 2}}
    new = {"OpenStack-API-Version": "volume 3.42"}
    assert world.call("POST", f"{VOLUMES}/{volume}/action", grow, headers=new).status == 202
    world.settle()
    assert world.hypervisor.volumes(server)[volume] == 2 << 30
    assert world.status(volume) == "in-use"


def test_a_server_that_is_off_has_its_volumes_when_it_starts(world: World) -> None:
    server, volume = world.server(imageRef=IMAGE), world.volume()
    world.call("POST", f"{SERVERS}/{server}/action", {"os-stop": None})
    world.settle()
    world.attach(server, volume)
    world.settle()
    assert world.status(volume) == "in-use"
    world.call("POST", f"{SERVERS}/{server}/action", {"os-start": None})
    world.settle()
    disks = world.hypervisor.plans[server].disks
    assert [disk.serial for disk in disks] == ["", volume]
    assert disks[1].target == "vdb"


def boot(world: World, **fields: Any) -> str:
    mapping = {"boot_index": 0, "destination_type": "volume", **fields}
    return world.server(flavorRef="0", block_device_mapping_v2=[mapping])


def test_a_server_boots_from_a_volume_made_of_an_image(world: World) -> None:
    server = boot(
        world, source_type="image", uuid=IMAGE, volume_size=1, delete_on_termination=True
    )
    shown = world.shown(server)
    assert (shown["status"], shown["image"]) == ("ACTIVE", "")
    volume = shown["os-extended-volumes:volumes_attached"][0]["id"]
    assert world.status(volume) == "in-use"
    disk = world.hypervisor.plans[server].disks[0]
    assert (disk.serial, disk.target, disk.boot_order, disk.format) == (volume, "vda", 1, "raw")
    assert world.detach(server, volume).status == 403
    world.call("DELETE", f"{SERVERS}/{server}")
    world.settle()
    assert world.cloud.db.count(Volume) == 0
    assert world.cloud.db.count(VolumeAttachment) == 0
    assert world.cloud.db.count(ServerVolume) == 0


def test_a_server_boots_from_a_volume_that_stays(world: World) -> None:
    volume = world.volume(imageRef=IMAGE)
    server = boot(world, source_type="volume", uuid=volume)
    assert world.status(volume) == "in-use"
    world.call("DELETE", f"{SERVERS}/{server}")
    world.settle()
    assert world.status(volume) == "available"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"imageRef": ""}, "imageRef is empty"),
        ({"block_device_mapping_v2": [{"source_type": "blank", "destination_type": "volume"}]}, "size"),
        (
            {
                "imageRef": IMAGE,
                "block_device_mapping_v2": [
                    {"boot_index": 0, "source_type": "image", "uuid": IMAGE},
                    {"boot_index": 0, "source_type": "blank", "destination_type": "volume", "volume_size": 1},
                ],
            },
            "Boot sequence",
        ),
        (
            {
                "block_device_mapping_v2": [
                    {"boot_index": 0, "source_type": "volume", "destination_type": "volume", "uuid": str(uuid.uuid4())}
                ]
            },
            "failed to get volume",
        ),
    ],
)  # fmt: skip
def test_mappings_that_make_no_sense_are_refused(
    world: World, fields: dict[str, Any], words: str
) -> None:
    body = {"server": {"name": "s", "flavorRef": "1", **fields}}
    answer = world.call("POST", SERVERS, body)
    assert answer.status == 400
    assert words in answer.json["badRequest"]["message"]


def test_a_volume_that_is_not_bootable_is_no_root(world: World) -> None:
    mapping = {"boot_index": 0, "source_type": "volume", "destination_type": "volume", "uuid": world.volume()}
    body = {"server": {"name": "s", "flavorRef": "1", "block_device_mapping_v2": [mapping]}}
    answer = world.call("POST", SERVERS, body)
    assert answer.status == 400
    assert "not bootable" in answer.json["badRequest"]["message"]


def test_a_volume_that_cannot_be_had_is_given_back(world: World) -> None:
    server, volume = world.server(imageRef=IMAGE), world.volume()
    driver: Any = world.cloud.control.block_drivers["memory"]  # type: ignore[attr-defined]
    pages = driver.volumes.pop(volume)
    world.attach(server, volume)
    world.settle()
    assert world.status(volume) == "available"
    driver.volumes[volume] = pages
    assert world.attach(server, volume, delete_on_termination=True).status == 400  # 2.79
    world.attach(server, volume)
    world.settle()
    assert world.status(volume) == "in-use"


def test_whether_a_volume_goes_with_its_server_can_be_changed(world: World) -> None:
    server, volume = world.server(imageRef=IMAGE), world.volume()
    world.attach(server, volume)
    world.settle()
    path = f"{SERVERS}/{server}/os-volume_attachments/{volume}"
    body = {"volumeAttachment": {"volumeId": volume, "delete_on_termination": True}}
    assert world.call("PUT", path, body).status == 400
    assert world.call("PUT", path, body, headers={"OpenStack-API-Version": "compute 2.85"}).status == 202
    assert world.call("GET", path, headers=NEW).json["volumeAttachment"]["delete_on_termination"]
    world.call("DELETE", f"{SERVERS}/{server}")
    world.settle()
    assert world.cloud.db.count(Volume) == 0


def test_a_volume_is_not_taken_from_under_a_server(world: World) -> None:
    server, volume = world.server(imageRef=IMAGE), world.volume()
    world.attach(server, volume)
    world.settle()
    action = f"{VOLUMES}/{volume}/action"
    assert world.call("POST", action, {"os-detach": {}}).status == 409
    admin = world.cloud.token(roles=("admin",))
    forced = {"os-force_detach": {"connector": None}}
    assert world.call("POST", action, forced, token=admin).status == 409
    row = world.cloud.db.rows(VolumeAttachment, volume_id=volume)[0]
    new = {"OpenStack-API-Version": "volume 3.44"}
    assert world.call("DELETE", f"/volume/v3/attachments/{row.id}", headers=new).status == 409
    assert world.status(volume) == "in-use"


def test_two_servers_share_a_volume_that_may_be_shared(world: World) -> None:
    kind = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
    admin = world.cloud.token(roles=("admin",))
    assert world.call("POST", "/volume/v3/types", kind, token=admin).status == 200
    volume = world.volume(volume_type="shared")
    servers = [world.server(imageRef=IMAGE) for _ in range(2)]
    assert world.attach(servers[0], volume).status == 400  # below 2.60
    new = {"OpenStack-API-Version": "compute 2.60"}
    for server in servers:
        body = {"volumeAttachment": {"volumeId": volume}}
        path = f"{SERVERS}/{server}/os-volume_attachments"
        assert world.call("POST", path, body, headers=new).status == 200
        world.settle()
    driver: Any = world.cloud.control.block_drivers["memory"]  # type: ignore[attr-defined]
    assert volume in driver.connected
    world.detach(servers[0], volume)
    world.settle()
    assert world.status(volume) == "in-use"
    assert volume in driver.connected  # the other one uses it
    world.detach(servers[1], volume)
    world.settle()
    assert world.status(volume) == "available"
    assert volume not in driver.connected


def test_novas_old_view_of_volumes_and_snapshots(world: World) -> None:
    old = "/compute/v2.1"
    made = world.call("POST", f"{old}/os-volumes", {"volume": {"size": 1, "display_name": "v"}})
    volume = check(made, "volumes", "create_get_volume")["volume"]["id"]
    world.settle()
    check(world.call("GET", f"{old}/os-volumes/{volume}"), "volumes", "create_get_volume")
    check(world.call("GET", f"{old}/os-volumes"), "volumes", "list_volumes")
    made = world.call("POST", f"{old}/os-snapshots", {"snapshot": {"volume_id": volume}})
    taken = check(made, "snapshots", "create_get_snapshot")["snapshot"]["id"]
    world.settle()
    check(world.call("GET", f"{old}/os-snapshots/detail"), "snapshots", "list_snapshots")
    assert world.call("GET", f"{old}/os-snapshots/{taken}").json["snapshot"]["status"] == "available"
    check(world.call("DELETE", f"{old}/os-snapshots/{taken}"), "snapshots", "delete_snapshot")
    world.settle()
    check(world.call("DELETE", f"{old}/os-volumes/{volume}"), "volumes", "delete_volume")
    world.settle()
    assert world.call("GET", f"{old}/os-volumes/{volume}").status == 404
    late = {"OpenStack-API-Version": "compute 2.36"}
    assert world.call("GET", f"{old}/os-volumes", headers=late).status == 404


def test_an_image_of_a_server_with_volumes_names_their_snapshots(tmp_path: Path) -> None:
    world = World(tmp_path, images=image_plugin)
    data = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    image = world.call("POST", "/image/v2/images", data).json["id"]
    octets = {"Content-Type": "application/octet-stream"}
    path = f"/image/v2/images/{image}/file"
    sent = world.cloud.put(path, body=bytes(4096), token=world.token, headers=octets)
    assert sent.status == 204
    mapping = {"boot_index": 0, "source_type": "image", "destination_type": "volume", "uuid": image}
    server = world.server(flavorRef="0", block_device_mapping_v2=[{**mapping, "volume_size": 1}])
    backup = {"createBackup": {"name": "b", "backup_type": "daily", "rotation": 1}}
    assert world.call("POST", f"{SERVERS}/{server}/action", backup).status == 400
    made = world.call("POST", f"{SERVERS}/{server}/action", {"createImage": {"name": "copy"}})
    assert made.status == 202, made.body
    world.settle()
    copy = made.headers["location"].rpartition("/")[2]
    shown = world.call("GET", f"/image/v2/images/{copy}").json
    assert (shown["status"], shown["size"]) == ("active", 0)
    again = world.server(flavorRef="0", imageRef=copy)
    volumes = world.shown(again)["os-extended-volumes:volumes_attached"]
    assert world.status(volumes[0]["id"]) == "in-use"
    assert world.shown(again)["image"] == ""
    world.cloud.machine.close()


def test_a_volume_does_not_grow_under_a_guest_that_would_not_outlive_it(world: World) -> None:
    server, volume = world.server(imageRef=IMAGE), world.volume()
    world.attach(server, volume)
    world.settle()
    node = world.cloud.db.must(NodeRow, "node-1")
    world.cloud.commit(patch(NodeRow, node.id, facts={**node.facts, "volumes_reconnect": "no"}))
    new = {"OpenStack-API-Version": "volume 3.42"}
    grow = {"os-extend": {"new_size": 2}}
    answer = world.call("POST", f"{VOLUMES}/{volume}/action", grow, headers=new)
    assert answer.status == 400
    assert "older than 9.1" in answer.json["badRequest"]["message"]
    world.detach(server, volume)
    world.settle()
    assert world.call("POST", f"{VOLUMES}/{volume}/action", grow, headers=new).status == 202
