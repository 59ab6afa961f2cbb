"""Several machines on one wire, each with the real data plane over one shared store.

A machine is a thread in a network and a mount namespace of its own (so that its named namespaces are its own too), with
all threads that it starts. `eth0` is on the wire between the machines, `eth1` on that of the world outside.
"""

import ctypes
import os
import secrets
import socket
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from node.config import Config, NodeSection
from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.planes import Planes
from node.plugins.network.section import NetworkSection
from node.plugins.network.tables import Port, Subnet
from node.sdk import NodeId, NodeRow, Reconciler, Row, insert, patch
from node.testing.cloud import TestControl
from tests.netns.rows import Store
from tests.netns.site import Guest, run

_CLONE_NEWNET, _CLONE_NEWNS, _CLONE_FS = 0x40000000, 0x00020000, 0x00000200
_MS_PRIVATE_ALL = (1 << 18) | (1 << 14)
_ALL_PACKETS = 3
_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS = 263, 1, 1
OUTSIDE = "203.0.113.1"
T = TypeVar("T")


class MachineControl(TestControl):
    """The control of one machine; its wakes are done by `Machine.settle`."""

    def __init__(self, store: Store, node_id: str, config: Config) -> None:
        super().__init__(store.cloud, node_id)
        self.config = config
        self.leased = True

    def lease_valid(self) -> bool:
        """Return what the test says."""
        return self.leased


class Machine:
    """One machine: its thread, its control and its data plane."""

    def __init__(self, fabric: "Fabric", number: int) -> None:
        self.fabric = fabric
        self.node_id = f"node-{number}"
        self.address = f"10.77.0.{number}"
        self.namespace = f"hgt-{fabric.tag}-n{number}"
        self.directory = fabric.directory / self.node_id
        self.directory.mkdir()
        self._wire()
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)
        sections = {
            "node": NodeSection(name=self.node_id, state_dir=str(self.directory)),
            "network": NetworkSection(public_interface="eth1"),
        }
        self.control = MachineControl(fabric, self.node_id, Config(dict(sections)))
        self.planes: Planes = self.do(lambda: Planes(self.control))
        self.reconcilers: list[Reconciler] = self.do(self.planes.reconcilers)

    def _wire(self) -> None:
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        for link, bridge in (("eth0", "under"), ("eth1", "public")):
            peer = ("peer", "name", f"{link}n{self.address.rpartition('.')[2]}")
            self._ip("link", "add", link, "type", "veth", *peer, "netns", self.fabric.switch)
            self.fabric.ip("link", "set", peer[2], "master", bridge, "up")
            self._ip("link", "set", link, "up")
        self._ip("addr", "add", f"{self.address}/24", "dev", "eth0")

    def _ip(self, *argv: str) -> None:
        run("ip", "-n", self.namespace, *argv)

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY | os.O_CLOEXEC)
        steps = [
            lambda: libc.unshare(_CLONE_FS | _CLONE_NEWNS),
            lambda: libc.mount(None, b"/", None, _MS_PRIVATE_ALL, None),
            lambda: libc.mount(b"hgt", b"/run/netns", b"tmpfs", 0, None),
            lambda: libc.setns(fd, _CLONE_NEWNET),
        ]
        for step in steps:
            if step():
                raise OSError(ctypes.get_errno(), "a machine cannot be entered")
        os.close(fd)

    def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, called on the machine."""
        return self._thread.submit(work).result()

    def run(self, *argv: str, ok: bool = True) -> str:
        """Run a command on the machine."""
        return self.do(lambda: run(*argv, ok=ok))

    def settle(self) -> None:
        """Look at everything until nothing changes."""
        self.do(self._settle)

    def _settle(self) -> None:
        for reconciler in self.reconcilers:
            self.fabric.cloud.reconcile(reconciler)
        self._awake()

    def changed(self, row_type: type[Row], row_id: str) -> None:
        """Do what a change notice of one row leads to, and nothing more."""
        self.do(lambda: self._changed(row_type, row_id))

    def _changed(self, row_type: type[Row], row_id: str) -> None:
        for reconciler in self.reconcilers:
            if row_type in reconciler.watches:
                for key in reconciler.affected(row_type, row_id):
                    self._look(reconciler, key)
        self._awake()

    def _awake(self) -> None:
        while self.control.woken:
            name, key = self.control.woken.pop()
            for reconciler in self.reconcilers:
                if reconciler.name == name:
                    self._look(reconciler, key)

    def _look(self, reconciler: Reconciler, key: str) -> None:
        done = reconciler.reconcile(key)
        if done.ops:
            self.fabric.cloud.commit(*done.ops)

    def restart(self) -> None:
        """Begin with a fresh data plane, as a new daemon would."""
        self.planes = self.do(lambda: Planes(self.control))
        self.reconcilers = self.do(self.planes.reconcilers)

    def tunnels(self) -> list[str]:
        """Return the names of the machine's VXLAN links."""
        return self.do(self.planes.inventory)["tunnels"]

    def cut(self, *, off: bool = True) -> None:
        """Pull the machine's plugs, or put them in again."""
        for link in ("eth0n", "eth1n"):
            number = self.address.rpartition(".")[2]
            self.fabric.ip("link", "set", f"{link}{number}", "down" if off else "up")

    def close(self) -> None:
        """Take everything of the data plane down, and end the thread."""
        try:
            self.do(self.planes.teardown)
        finally:
            self._thread.shutdown()


class Fabric(Store):
    """Machines, the wires between them, and guests on them."""

    def __init__(self, directory: Path, count: int) -> None:
        super().__init__(directory)
        self.tag = secrets.token_hex(3)
        self.switch = f"hgt-{self.tag}-sw"
        self.guests: list[Guest] = []
        self.machines: list[Machine] = []
        self._count = count

    def __enter__(self) -> Self:
        run("ip", "netns", "add", self.switch)
        try:
            self.ip("link", "set", "lo", "up")
            for bridge in ("under", "public"):
                self.ip("link", "add", "name", bridge, "type", "bridge", "mcast_snooping", "0")
                self.ip("link", "set", bridge, "up")
            self.ip("addr", "add", f"{OUTSIDE}/24", "dev", "public")
            for number in range(1, self._count + 1):
                self._add(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            for machine in self.machines:
                machine.close()
        finally:
            listed = run("ip", "netns", "list", ok=False)
            for name in [line.split()[0] for line in listed.splitlines() if line.strip()]:
                if name.startswith(f"hgt-{self.tag}-"):
                    subprocess.run(["ip", "netns", "del", name], check=False)

    def _add(self, number: int) -> None:
        machine = Machine(self, number)
        self.machines.append(machine)
        row = NodeRow(
            id=machine.node_id,
            name=machine.node_id,
            address=machine.address,
            created_at=1,
            updated_at=1,
        )
        self.cloud.commit(insert(row))

    def ip(self, *argv: str) -> str:
        """Run `ip` on the switch."""
        return run("ip", "-n", self.switch, *argv)

    def outside(self, *argv: str, ok: bool = True) -> str:
        """Run a command in the world outside."""
        return run("ip", "netns", "exec", self.switch, *argv, ok=ok)

    def settle(self) -> None:
        """Have every machine look at everything."""
        for machine in self.machines:
            machine.settle()

    def changed(self, *rows: Row) -> None:
        """Tell every machine of changed rows."""
        for row in rows:
            for machine in self.machines:
                machine.changed(type(row), row.id)

    def on(self, machine: Machine, subnet: Subnet, address: str, **fields: Any) -> Guest:
        """Make a server's port with a guest on it, on a machine."""
        port = self.port(subnet, address, node_id=NodeId(machine.node_id), **fields)
        return self.plug(machine, port)

    def plug(self, machine: Machine, port: Port) -> Guest:
        """Make a guest on a port."""
        guest = Guest(self, port, machine.namespace)
        self.guests.append(guest)
        return guest

    def public(self) -> Subnet:
        """Make the external network, whose gateway is the world outside."""
        _network, subnet = self.network("203.0.113.0/24", dhcp=False, external=True)
        return subnet

    def fail(self, machine: Machine) -> NodeRow:
        """Have the row say that a machine is down."""
        self.cloud.commit(patch(NodeRow, machine.node_id, state="down", lease_epoch=1))
        return self.db.must(NodeRow, machine.node_id)


class Capture:
    """What passes a link of the switch for as long as it is open; then `lines` holds what tcpdump makes of it.

    The socket is ours: tcpdump's own would still hold packets back when it is told to end.
    """

    def __init__(self, fabric: Fabric, link: str, *expression: str) -> None:
        self._file = fabric.directory / "wire.pcap"
        self._expression = expression
        self.lines: list[str] = []

        def open_socket() -> socket.socket:
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PACKETS))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            found.bind((link, _ALL_PACKETS))
            wish = struct.pack("=iHH8s", socket.if_nametoindex(link), _PROMISCUOUS, 0, b"")
            found.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, wish)
            return found

        self._socket = Namespaces(fabric.directory / "none").run(fabric.switch, open_socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        frames = [struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 1)]
        with self._socket:
            while True:
                try:
                    data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                frames.append(struct.pack("=IIII", 0, 0, len(data), len(data)) + data)
        self._file.write_bytes(b"".join(frames))
        argv = ["tcpdump", "-r", str(self._file), "-n", "-e", *self._expression]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        self.lines = done.stdout.splitlines()
