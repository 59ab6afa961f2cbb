"""What stands around the compute node in its tests: an image store and a network made of plain data."""

import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from node.contracts import FixedIp, ImageFacts, ImageSource, NoImages, PortState, ServerMetadata
from node.errors import NotFound
from node.hookspecs import hookimpl
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_interfaces import ServerInterfaces
from node.plugins.compute.server_jobs import ServerJobs
from node.plugins.compute.server_snapshot import ServerSnapshots
from node.plugins.compute.server_sync import ServerSync
from node.plugins.compute.server_volumes import ServerVolumes
from node.plugins.compute.tables import ROW_TYPES, FlavorFacts, Server, ServerAction, ServerExtra
from node.state.row import Row
from node.state.txn import AnyOp, Applied, Count, insert, patch
from node.testing.cloud import Cloud
from node.testing.fake_hypervisor import FakeHypervisor
from node.types import Frozen

IMAGE = "11111111-2222-3333-4444-555555555555"


class PlaneWorld:
    """A plugin that answers what compute asks of images and networks. Change its attributes as a test needs."""

    def __init__(self) -> None:
        self.image_files: dict[str, tuple[Path, str]] = {}
        self.properties: dict[str, str] = {}
        self.ports: dict[str, list[PortState]] = {}
        self.released: list[str] = []
        self.open_sources = 0

    @hookimpl
    def row_types(self) -> Sequence[type[Row]]:
        """Return the row types of compute."""
        return ROW_TYPES

    @hookimpl
    def config_sections(self) -> Mapping[str, type[Frozen]]:
        """Return the section of the hypervisor half."""
        return {"hypervisor": HypervisorSection}

    @hookimpl
    def images(self) -> "WorldImages":
        """Return the images of this world."""
        return WorldImages(self)

    def open_image(self, image_id: str) -> ImageSource:
        """Open an image of this world."""
        if image_id not in self.image_files:
            raise NotFound(f"No image found with ID {image_id}")
        path, disk_format = self.image_files[image_id]
        self.open_sources += 1
        return ImageSource(
            path=path, disk_format=disk_format, virtual_size_bytes=0, release=self._release_source
        )

    def facts_of_image(self, image_id: str) -> ImageFacts | None:
        """Return facts of an image of this world."""
        if image_id not in self.image_files:
            return None
        return ImageFacts(
            id=image_id,
            name=image_id,
            status="active",
            disk_format=self.image_files[image_id][1],
            container_format="bare",
            size_bytes=0,
            virtual_size_bytes=0,
            min_disk_gib=0,
            min_ram_mib=0,
            project_id="p",
            visibility="public",
            properties=self.properties,
        )

    @hookimpl
    def port_states(self, server_ids: Sequence[str]) -> Mapping[str, list[PortState]]:
        """Return the ports of servers."""
        return {server_id: self.ports.get(server_id, []) for server_id in server_ids}

    @hookimpl
    def port_bind(self, server_id: str, node_id: str | None) -> Sequence[AnyOp]:
        """Note that a server's ports are released."""
        if node_id is None:
            self.released.append(server_id)
        return []

    @hookimpl
    def metadata_of(self, server_id: str) -> ServerMetadata:
        """Return a small metadata tree."""
        document = f'{{"uuid": "{server_id}"}}'.encode()
        return ServerMetadata(
            files={
                "openstack/latest/meta_data.json": document,
                "openstack/latest/user_data": b"#!/bin/sh\n",
                "latest/meta-data/public-keys/": b"0=key",
                "latest/meta-data/instance-id": b"i-1",
            }
        )

    def _release_source(self) -> None:
        self.open_sources -= 1


class WorldImages(NoImages):
    """The images of a PlaneWorld."""

    def __init__(self, world: PlaneWorld) -> None:
        self._world = world

    def facts(self, db: Any, image_id: str) -> ImageFacts | None:
        """Return facts of an image."""
        del db
        return self._world.facts_of_image(image_id)

    def open(self, control: Any, image_id: str) -> ImageSource:
        """Open an image."""
        del control
        return self._world.open_image(image_id)


def port_state(tap: str, *, plugged: bool = True, mac: str = "fa:16:3e:00:00:01") -> PortState:
    """Return a port of a server."""
    address = FixedIp(address="10.0.0.5", version=4, subnet_id="s", cidr="10.0.0.0/24")
    return PortState(
        id=f"port-{tap}",
        network_id="n",
        network_name="private",
        mac=mac,
        mtu_bytes=1450,
        fixed_ips=(address,),
        tap=tap,
        plugged=plugged,
    )


def server_rows(server_id: str, image_id: str, **fields: Any) -> list[Row]:
    """Return the rows of a server that was just asked for, on node-1."""
    flavor = fields.pop(
        "flavor", FlavorFacts(id="1", name="tiny", vcpus=1, memory_mib=128, disk_gib=1)
    )
    wished = {"want": "active", "node_id": "node-1", "job": 1, "job_kind": "build", **fields}
    server = Server(
        id=server_id,
        name="s",
        hostname="s",
        project_id="p",
        image_id=image_id,
        flavor=flavor,
        **wished,
    )
    action = ServerAction(id=f"{server_id}/1", server_id=server_id, action="create", start_at=1)
    return [server, ServerExtra(id=server_id), action]


class Plane:
    """A node under test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = PlaneWorld()
        image = directory / "image.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "16M"], check=True)
        self.world.image_files[IMAGE] = (image, "qcow2")
        self.cloud = Cloud(directory, [self.world])
        self.hypervisor = FakeHypervisor()
        self.section = HypervisorSection()
        self.restart()

    def restart(self) -> None:
        """Lose all memory, as a killed process does; rows, files and domains stay."""
        control = self.cloud.control
        self.files = ServerFiles(control.config.state_dir)
        builder = ServerBuilder(control, self.files, self.section)
        snapshots = ServerSnapshots(control, self.hypervisor)
        self.jobs = ServerJobs(
            self.hypervisor,
            builder,
            self.files,
            self.section,
            lambda: "qemu",
            snapshots,
            volumes := ServerVolumes(control, self.hypervisor, self.files),
            control,
        )
        interfaces = ServerInterfaces(self.hypervisor, builder, self.files)
        self.sync = ServerSync(
            control, self.hypervisor, self.files, self.jobs, interfaces, volumes
        )
        self.sync.start()

    def add(self, **fields: Any) -> str:
        """Store the rows of a new server, its quota counted; return its id."""
        server_id = str(uuid.uuid4())
        image_id = fields.pop("image_id", IMAGE)
        ops: list[Any] = [insert(row) for row in server_rows(server_id, image_id, **fields)]
        ops.append(Count("quota:p:instances", 1))
        assert isinstance(self.cloud.commit(*ops), Applied)
        return server_id

    def row(self, server_id: str) -> Server:
        """Return the server's row."""
        found = self.cloud.db.get(Server, server_id)
        assert found is not None
        return found

    def look(self, server_id: str) -> float | None:
        """Reconcile once and commit the report; return when to look again."""
        done = self.sync.reconcile(server_id)
        if done.ops:
            assert isinstance(self.cloud.commit(*done.ops, frees=done.frees), Applied)
        return done.again_s

    def settle(self, server_id: str) -> Server:
        """Reconcile until nothing is to be done, time running."""
        for _ in range(100):
            before = self.cloud.db.get(Server, server_id)
            again_s = self.look(server_id)
            if again_s is not None:
                self.cloud.clock.advance(again_s)
            elif self.cloud.db.get(Server, server_id) == before:
                break
        return self.row(server_id)

    def job(self, server_id: str, kind: str, **fields: Any) -> None:
        """Give a server its next job."""
        number = self.row(server_id).job + 1
        self.cloud.commit(patch(Server, server_id, job=number, job_kind=kind, **fields))

    def running(self) -> str:
        """Return a new server that runs."""
        server_id = self.add()
        assert self.settle(server_id).have == "active"
        return server_id
