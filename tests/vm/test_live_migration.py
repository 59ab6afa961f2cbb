"""A guest moves between two libvirtds while it runs, with its disk, through sockets that are passed on."""

import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.data_port import Stream
from node.errors import Unavailable
from node.plugins.compute import migration_tunnel
from node.plugins.compute.domain_xml import DiskPlan, DomainPlan
from node.plugins.compute.drivers.hypervisor import HypervisorRefused, MigrationWay
from node.plugins.compute.drivers.libvirt_driver import LibvirtHypervisor
from node.plugins.compute.libvirt_daemon import LibvirtDaemon
from node.plugins.compute.migration_tunnel import Tunnel, guest_socket
from node.plugins.compute.names import instance_name

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(300)]


class PairStreams:
    """Streams between the nodes of a test, as socket pairs."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[Stream], None]] = {}

    def of(self, own: str) -> Any:
        """Return the streams of one node."""

        def serve(_name: str, handler: Callable[[Stream], None]) -> None:
            self.handlers[own] = handler

        def connect(node_id: str, _name: str) -> Stream:
            if node_id not in self.handlers:
                raise Unavailable(f"{node_id} is not there")
            here, there = socket.socketpair()
            stream = Stream(socket=there, node_id=own)

            def run() -> None:
                with there:
                    self.handlers[node_id](stream)

            threading.Thread(target=run, daemon=True).start()
            return Stream(socket=here, node_id=node_id)

        return SimpleNamespace(serve=serve, open=connect)


class Place:
    """One node's part: its libvirtd, and its end of the tunnel."""

    def __init__(self, directory: Path, name: str, streams: PairStreams) -> None:
        self.name = name
        self.directory = directory / name
        self.directory.mkdir()
        self.daemon = LibvirtDaemon(self.directory / "libvirt", str(uuid.uuid4()))
        self.hypervisor = LibvirtHypervisor(self.daemon)
        self.hypervisor.open(lambda _server_id: None)
        self.control = cast(
            "Any", SimpleNamespace(streams=streams.of(name), db=None, node_id=name)
        )

    def plan(self, server_id: str) -> DomainPlan:
        disk = str(self.directory / "disk")
        return DomainPlan(
            server_id=server_id,
            name=instance_name(server_id),
            memory_mib=64,
            disks=(DiskPlan(path=disk, target="vda", boot_order=1),),
            console_log=str(self.directory / "console.log"),
        )

    def close(self) -> None:
        self.hypervisor.close()
        self.daemon.end_guests()
        self.daemon.stop()


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Place]]:
    directory = Path(tempfile.mkdtemp(prefix="hgm-", dir="/var/tmp"))
    streams = PairStreams()
    monkeypatch.setattr(migration_tunnel, "allowed", lambda *_: True)
    made: list[Place] = []
    try:
        made.append(Place(directory, "one", streams))
        made.append(Place(directory, "two", streams))
        for place in made:
            migration_tunnel.serve(place.control, place.daemon.root)
        yield made[0], made[1]
    finally:
        for place in made:
            place.close()
        shutil.rmtree(directory, ignore_errors=True)


def qemu(*argv: str | Path) -> str:
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, check=True)
    return done.stdout


def move(source: Place, dest: Place, server_id: str) -> None:
    with Tunnel(source.control, source.daemon.root, server_id, dest.name) as tunnel:
        way = MigrationWay(
            control_path=tunnel.control_path,
            memory=guest_socket(server_id, "memory"),
            disks=guest_socket(server_id, "disks"),
            plan=dest.plan(server_id),
        )
        source.hypervisor.migrate(server_id, way)


def test_a_guest_moves_with_its_disk_and_back(places: tuple[Place, Place]) -> None:
    one, two = places
    server_id = str(uuid.uuid4())
    for place in places:
        qemu("qemu-img", "create", "-q", "-f", "qcow2", place.directory / "disk", "64M")
    pattern = ("qemu-io", "-f", "qcow2", "-c")
    qemu(*pattern, "write -P 0x5a 1M 4M", one.directory / "disk")
    one.hypervisor.define(one.plan(server_id))
    one.hypervisor.start(server_id)

    with pytest.raises(HypervisorRefused), closed(two):
        move(one, two, server_id)  # nobody is there: the guest goes on where it is
    state = one.hypervisor.state(server_id)
    assert state is not None and state.power == "running"

    move(one, two, server_id)
    here, there = one.hypervisor.state(server_id), two.hypervisor.state(server_id)
    assert here is not None and not here.alive
    assert there is not None and there.power == "running"
    with Tunnel(one.control, one.daemon.root, server_id, "two") as tunnel:
        assert one.hypervisor.has_arrived(server_id, tunnel.control_path)
        assert not one.hypervisor.has_arrived(str(uuid.uuid4()), tunnel.control_path)
    one.hypervisor.undefine(server_id)
    assert one.hypervisor.state(server_id) is None

    two.hypervisor.pause(server_id)
    (one.directory / "disk").unlink()
    qemu("qemu-img", "create", "-q", "-f", "qcow2", one.directory / "disk", "64M")
    move(two, one, server_id)
    back = one.hypervisor.state(server_id)
    assert back is not None and back.power == "paused"
    one.hypervisor.destroy(server_id)
    assert "read 4194304" in qemu(*pattern, "read -P 0x5a 1M 4M", one.directory / "disk")
    one.hypervisor.undefine(server_id)
    two.hypervisor.undefine(server_id)


class closed:  # noqa: N801 - reads as a word
    """A node that lets nobody in for a while."""

    def __init__(self, place: Place) -> None:
        self._streams = place.control.streams
        self._root = place.daemon.root
        self._control = place.control

    def __enter__(self) -> None:
        self._streams.serve("", lambda _stream: None)

    def __exit__(self, *_error: object) -> None:
        migration_tunnel.serve(self._control, self._root)
