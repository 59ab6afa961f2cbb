"""Several nodes of the object store on one machine: each a store process and an API process, both killable.

The harness stands in for the rows: it says which disks there are and which layouts follow, by the product's own rules.
A partition gives a node a map in which the others' ports are closed ones.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from node.clock import SystemClock
from node.data_port import NodeTls, Place, TlsDataPort
from node.errors import NodeError
from node.plugins.object.store.data_disk import make_mark
from node.plugins.object.store.layout_rules import disk_map, in_order, is_done, next_layout
from node.plugins.object.store.local_access import SocketBackend
from node.plugins.object.store.map_file import SOCKET_FILE, store_directory, write_map
from node.plugins.object.store.open import Opened
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.store.wire import AskRequest
from node.plugins.object.tables import DataDisk, ObjectLayout, StoragePolicy
from node.sdk import NodeRow
from node.testing.certificates import TestAuthority

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 90.0
CLOSED_PORT = 1


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class FireNode:
    """One node."""

    def __init__(self, directory: Path, node_id: str, authority: TestAuthority) -> None:
        self.id = node_id
        self.directory = directory / node_id
        self.directory.mkdir()
        self.ports = free_port(), free_port()
        tls = self.directory / "tls"
        tls.mkdir()
        files = authority.node(node_id)
        assert files.ca is not None
        for name, source in (("node.key", files.key), ("node.pem", files.certificate), ("ca.pem", files.ca)):
            shutil.copy(source, tls / name)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.members = ""
        self.opened = Opened(self.directory, self._data_port(tls), SystemClock())
        self.store = self.opened.store

    def _data_port(self, tls: Path) -> TlsDataPort:
        def locate(node_id: str) -> Place | None:
            found = self.opened.map_file.places().map.nodes.get(node_id)
            return Place(address=found.address, port=found.port, name=node_id) if found else None

        return TlsDataPort(NodeTls(tls), locate)

    def start(self, part: str) -> None:
        """Start the store process or the API process."""
        if part == "store":
            section = ObjectSection(heal_mib_per_s=500)
            argv = [
                sys.executable, "-m", "node.plugins.object.store.process", str(self.directory),
                str(os.getpid()), msgspec.json.encode(section).decode(),
            ]  # fmt: skip
        else:
            script = str(Path(__file__).with_name("object_api_node.py"))
            ports = [str(port) for port in self.ports]
            argv = [sys.executable, script, str(self.directory), self.id, *ports, self.members]
        with (self.directory / f"{part}.log").open("ab") as log:
            self._processes[part] = subprocess.Popen(
                argv, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def kill(self, part: str) -> None:
        """Kill it, and its children."""
        process = self._processes.pop(part, None)
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def is_up(self) -> bool:
        """Return whether both answer."""
        try:
            self.ask("hello")
            socket.create_connection(("127.0.0.1", self.ports[1]), 1).close()
        except (NodeError, OSError):
            return False
        return True

    def ask(self, question: str, argument: object = None, disk_id: str = "") -> object:
        """Ask the store process."""
        backend = SocketBackend(store_directory(self.directory) / SOCKET_FILE)
        try:
            return backend.ask(AskRequest(disk_id=disk_id, question=question, argument=argument))
        finally:
            backend.close()


class FireCluster:
    """The nodes, and the rows that they do not have."""

    def __init__(self, directory: Path, nodes: int, disks: int = 1) -> None:
        authority = TestAuthority(directory / "authority")
        self.nodes = [FireNode(directory, f"node-{n}", authority) for n in range(nodes)]
        self.disks: dict[str, DataDisk] = {}
        self.layouts: list[ObjectLayout] = []
        self.cut: set[str] = set()
        self._lock = threading.RLock()
        self._made = 0
        for node in self.nodes:
            node.members = ",".join(other.id for other in self.nodes)
            for _number in range(disks):
                self.add_disk(node)
        self.publish()

    def add_disk(self, node: FireNode) -> DataDisk:
        """Give a node one more disk."""
        with self._lock:
            self._made += 1
            id = f"disk{self._made}"  # noqa: A001
            path = node.directory / id
            make_mark(path, id)
            row = DataDisk(
                id=id, node_id=node.id, path=str(path), weight=1.0, have="ok", created_at=1
            )
            self.disks[id] = row
            return row

    def lose_disk(self, disk_id: str) -> None:
        """Take a disk out of its node, for good."""
        with self._lock:
            row = self.disks.pop(disk_id)
        lost = Path(f"{row.path}.lost")
        Path(row.path).rename(lost)
        shutil.rmtree(lost, ignore_errors=True)

    def publish(self) -> None:
        """Let the layouts follow the disks, and give each node its map."""
        with self._lock:
            rows = {n.id: NodeRow(id=n.id, name=n.id, created_at=1) for n in self.nodes}
            for disk_id, disk in list(self.disks.items()):
                node = next(node for node in self.nodes if node.id == disk.node_id)
                try:
                    synced = int(node.ask("synced", None, disk_id))  # type: ignore[call-overload]
                except NodeError:
                    continue
                self.disks[disk_id] = msgspec.structs.replace(disk, synced=synced)
            if is_done(self.layouts, self.disks, rows):
                del self.layouts[0]
            fresh = next_layout(self.layouts, sorted(self.disks.values(), key=lambda d: d.id))
            if fresh is not None:
                number = int(self.layouts[-1].id) + 1 if self.layouts else 1
                self.layouts.append(ObjectLayout(id=str(number), disks=fresh, created_at=1))
            policies = [
                StoragePolicy(id="0", name="copies", data=3, is_default=True, created_at=1),
                StoragePolicy(id="1", name="coded", kind="ec", data=2, parity=1, created_at=1),
                StoragePolicy(id="2", name="coded-4-2", kind="ec", data=4, parity=2, created_at=1),
            ]
            for node in self.nodes:
                places = []
                for other in self.nodes:
                    apart = other is not node and {other.id, node.id} & self.cut
                    places.append(
                        NodeRow(
                            id=other.id, name=other.id, address="127.0.0.1", created_at=1,
                            data_port=CLOSED_PORT if apart else other.ports[1],
                        )
                    )  # fmt: skip
                made = disk_map(node.id, in_order(self.layouts), policies, places)
                write_map(store_directory(node.directory), made)

    def start(self) -> None:
        """Start everything."""
        for node in self.nodes:
            for part in ("store", "api"):
                node.start(part)
        self.wait_up()

    def wait_up(self) -> None:
        """Wait until all nodes answer."""
        deadline = time.monotonic() + LIMIT_S
        for node in self.nodes:
            while not node.is_up():
                assert time.monotonic() < deadline, f"{node.id} does not answer"
                time.sleep(0.05)

    def stop(self) -> None:
        """Kill everything."""
        for node in self.nodes:
            for part in ("api", "store"):
                node.kill(part)
