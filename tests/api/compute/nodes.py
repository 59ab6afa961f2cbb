"""Several compute nodes of one cloud: real API, real reconcilers and disks, hypervisors in memory."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from node.plugins import compute
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.migration_sync import MigrationSync
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_interfaces import ServerInterfaces
from node.plugins.compute.server_jobs import ServerJobs
from node.plugins.compute.server_snapshot import ServerSnapshots
from node.plugins.compute.server_sync import ServerSync
from node.plugins.compute.server_volumes import ServerVolumes
from node.plugins.compute.tables import Flavor, Server
from node.sdk import (
    Control,
    ImageFacts,
    Images,
    ImageSource,
    NodeRow,
    NoImages,
    Reader,
    hookimpl,
    insert,
    patch,
)
from node.testing import Cloud
from node.testing.fake_hypervisor import FakeHypervisor
from node.testing.members import Member, MemberNetwork
from tests.api.compute.conftest import IMAGE, FakeNetwork, image

SERVERS = "/compute/v2.1/servers"


class FileImages(NoImages):
    """One image, a real file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "image.qcow2"
        self.fault: Exception | None = None
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", self.path, "1M"], check=True)

    @hookimpl
    def images(self) -> Images:
        return self

    def facts(self, db: Reader, image_id: str) -> ImageFacts | None:
        return image() if image_id == IMAGE else None

    def open(self, control: Control, image_id: str) -> ImageSource:
        if self.fault is not None:
            raise self.fault
        return ImageSource(
            path=self.path, disk_format="qcow2", virtual_size_bytes=1 << 20, release=lambda: None
        )


class ComputeNode:
    """One node."""

    def __init__(self, member: Member) -> None:
        self.id = member.id
        self.member = member
        self.hypervisor = FakeHypervisor()
        control, section = member.control, HypervisorSection()
        self.files = ServerFiles(control.config.state_dir)
        builder = ServerBuilder(control, self.files, section)
        snapshots = ServerSnapshots(control, self.hypervisor)
        volumes = ServerVolumes(control, self.hypervisor, self.files)
        jobs = ServerJobs(
            self.hypervisor,
            builder,
            self.files,
            section,
            lambda: "qemu",
            snapshots,
            volumes,
            control,
        )
        interfaces = ServerInterfaces(self.hypervisor, builder, self.files)
        self.sync = ServerSync(control, self.hypervisor, self.files, jobs, interfaces, volumes)
        self.sync.start()
        member.reconcilers[self.sync.name] = self.sync
        self.taps: set[str] = set()
        self.coming = MigrationSync(
            control, self.files, builder, control.config.state_dir / "libvirt", self._tap
        )

    def _tap(self, name: str, keep: bool) -> None:
        (self.taps.add if keep else self.taps.discard)(name)

    def running(self) -> set[str]:
        """Return the servers whose guests run here."""
        return {s for s, state in self.hypervisor.states.items() if state.power == "running"}


class ComputeCluster:
    """The cloud with its nodes."""

    def __init__(
        self,
        directory: Path,
        names: Sequence[str] = ("n1", "n2", "n3"),
        images: ModuleType | None = None,
    ) -> None:
        self.images = FileImages(directory)
        plugins = [compute, FakeNetwork(), images or self.images]
        self.cloud = Cloud(directory, plugins, node_id=names[0])
        self.network = MemberNetwork(self.cloud)
        self.nodes = {name: ComputeNode(self.network.add(name)) for name in names}
        for node in self.nodes.values():
            for other in self.nodes.values():
                place = other.member.control.config.state_dir
                node.hypervisor.neighbours[str(place)] = other.hypervisor
        self.cloud.commit(
            insert(Flavor(id="1", name="tiny", memory_mib=64, disk_gib=1, created_at=1)),
            insert(Flavor(id="2", name="small", memory_mib=128, disk_gib=2, created_at=2)),
        )
        self.token = self.cloud.token()
        self.admin = self.cloud.token(roles=("admin",))

    def create(self, *, through: str = "", hints: Any = None, **fields: Any) -> str:
        body: dict[str, Any] = {
            "server": {"name": "vm", "imageRef": IMAGE, "flavorRef": "1", **fields}
        }
        if hints:
            body["os:scheduler_hints"] = hints
        asker = self.nodes[through].member if through else self.cloud
        answer = asker.post(SERVERS, json=body, token=self.admin)
        assert answer.status == 202, answer.body
        return str(answer.json["server"]["id"])

    def act(self, server_id: str, action: str, value: Any = None, version: str = "2.95") -> Any:
        return self.cloud.post(
            f"{SERVERS}/{server_id}/action",
            json={action: value},
            token=self.admin,
            headers={"OpenStack-API-Version": f"compute {version}"},
        )

    def row(self, server_id: str) -> Server:
        found = self.cloud.db.get(Server, server_id)
        assert found is not None
        return found

    def settle(self) -> None:
        """Let all nodes that are alive do their work, time running."""
        for _ in range(20):
            rounds = [
                self.cloud.reconcile(node.sync) + self.cloud.reconcile(node.coming)
                for node in self.nodes.values()
                if node.id not in self.network.dead
            ]
            if not any(rounds):
                return
            self.cloud.clock.advance(1)

    def running(self, **fields: Any) -> Server:
        """Return a new server that runs."""
        server_id = self.create(**fields)
        self.settle()
        row = self.row(server_id)
        assert row.have == "active", row
        return row

    def set_state(self, node_id: str, state: str) -> None:
        now = self.cloud.clock.now_us()
        self.cloud.commit(patch(NodeRow, node_id, state=state, updated_at=now))
        (self.network.dead.discard if state == "up" else self.network.dead.add)(node_id)

    def where(self, server_id: str) -> set[str]:
        """Return the nodes on which a server's guest runs."""
        return {node.id for node in self.nodes.values() if server_id in node.running()}
