"""What a test in namespaces needs: rows, the real reconcilers over them, and guests that are namespaces."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from node.plugins.network.planes import Planes
from node.plugins.network.tables import Port, Subnet, tap_name
from node.sdk import AnyOp, Clock, Config, Control, NodeId, Reader, Row
from node.state.reader import Readers
from tests.netns.rows import Store

_PATIENCE_S = 15.0

UDHCPC = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
set > {dump}
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
[ -n "$mtu" ] && ip link set $interface mtu $mtu
if [ -n "$staticroutes" ]; then
  set -- $staticroutes
  while [ -n "$2" ]; do ip route replace $1 via $2; shift 2; done
elif [ -n "$router" ]; then ip route replace default via $router; fi
"""


def run(*argv: str, ok: bool = True, timeout_s: float = 30.0) -> str:
    """Run a command and return its output; it must succeed unless `ok` is False."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    if ok and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def eventually(test: Callable[[], bool], message: str, patience_s: float = _PATIENCE_S) -> None:
    """Wait until a test holds."""
    deadline = time.monotonic() + patience_s
    while not test():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


class ReadingControl(Control):
    """A control that reads a store and reports nothing: what one of a daemon that dies soon amounts to."""

    def __init__(self, store: Path, config: Config, node_id: str, clock: Clock) -> None:
        self.node_id = NodeId(node_id)
        self.config = config
        self.clock = clock
        self._readers = Readers(store)

    @property
    def db(self) -> Reader:
        """Return the calling thread's reader."""
        return self._readers.reader()

    def wake(self, reconciler: str, key: str) -> None:
        """Do nothing: everything is looked at in turn."""

    def commit(self, ops: Sequence[AnyOp], *, frees: bool = False) -> bool:
        """Lose the report."""
        del ops, frees
        return True

    def stopping(self) -> bool:
        """Return False."""
        return False


class Place(Protocol):
    """Where guests are."""

    directory: Path
    tag: str
    guests: "list[Guest]"


class Guest:
    """A namespace with one interface whose other end is what the port's tap would be."""

    def __init__(self, site: Place, port: Port, node: str = "") -> None:
        self.site = site
        self.port = port
        self.node = ("-n", node) if node else ()
        """Options of `ip` that name the node's namespace, unless the caller is in it."""
        self.namespace = f"hgt-{site.tag}-g{len(site.guests)}"
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        self.wire()

    def wire(self) -> None:
        """Make the interface."""
        tap = tap_name(self.port.id)
        peer = ("peer", "name", "eth0", "address", self.port.mac_address, "netns", self.namespace)
        run("ip", *self.node, "link", "add", tap, "type", "veth", *peer)
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")

    def run(self, *argv: str, ok: bool = True) -> str:
        """Run a command in the guest."""
        return run("ip", "netns", "exec", self.namespace, *argv, ok=ok)

    def static(self, address: str = "", gateway: str = "") -> None:
        """Configure the port's first address by hand."""
        fixed = address or f"{self.port.fixed_ips[0].ip_address}/24"
        more = ("nodad",) if ":" in fixed else ()
        self.run("ip", "addr", "add", fixed, "dev", "eth0", *more)
        if gateway:
            self.run("ip", "route", "add", "default", "via", gateway)

    def dhcp(self, *options: str) -> dict[str, str]:
        """Configure by DHCP; return the variables of the client."""
        dump = self.site.directory / f"{self.namespace}.env"
        script = self.site.directory / f"{self.namespace}.sh"
        script.write_text(UDHCPC.format(dump=dump))
        script.chmod(0o755)
        client = (
            "busybox",
            "udhcpc",
            "-f",
            "-n",
            "-q",
            "-t",
            "10",
            "-T",
            "1",
            "-O",
            "mtu",
            "-O",
            "staticroutes",
        )
        self.run(*client, *options, "-i", "eth0", "-s", str(script))
        pairs = (line.partition("=") for line in dump.read_text().splitlines())
        return {name: value.strip("'") for name, _equals, value in pairs}

    def pings(self, address: str, count: int = 1, wait_s: int = 1) -> bool:
        """Return whether an address answers."""
        output = self.run("ping", "-c", str(count), "-W", str(wait_s), address, ok=False)
        return " 0% packet loss" in output

    def reaches(self, address: str, tries: int = 4) -> bool:
        """Return whether an address answers before long: on a busy machine an answer may take seconds."""
        return any(self.pings(address, wait_s=3) for _try in range(tries))

    def fetch(self, url: str, ok: bool = True) -> str:
        """Return what a URL holds."""
        return self.run("curl", "--noproxy", "*", "-sS", "-f", "-m", "5", url, ok=ok)

    def connects(self, address: str, port: int) -> bool:
        """Return whether a TCP connection comes about."""
        script = f"exec 3<>/dev/tcp/{address}/{port} && echo open"
        return "open" in self.run("timeout", "1", "bash", "-c", script, ok=False)


class Pinger:
    """Pings ten times a second for as long as it is open."""

    def __init__(self, guest: Guest, address: str) -> None:
        argv = ["ip", "netns", "exec", guest.namespace, "ping", "-i", "0.1", address]
        self._file = guest.site.directory / f"{guest.namespace}.ping"
        with self._file.open("w") as output:
            self._process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _numbers(self) -> list[int]:
        text = self._file.read_text()
        return [
            int(part.partition("icmp_seq=")[2].split()[0])
            for part in text.splitlines()
            if "time=" in part
        ]

    def answers(self) -> int:
        """Return how many answers came."""
        return len(self._numbers())

    def lost(self) -> int:
        """Return how many questions before the last answer got none."""
        numbers = self._numbers()
        return max(numbers) - min(numbers) + 1 - len(numbers)


class Listener:
    """Accepts TCP connections in a guest for as long as it is open."""

    def __init__(self, guest: Guest, port: int) -> None:
        argv = [
            "ip",
            "netns",
            "exec",
            guest.namespace,
            "busybox",
            "nc",
            "-ll",
            "-p",
            str(port),
            "-e",
            "/bin/cat",
        ]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        eventually(lambda: f":{port} " in guest.run("ss", "-ltn"), "nobody listens")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait()


class FakeDns:
    """A name server on the node's loopback to which every name is 192.0.2.80."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, asker = self._socket.recvfrom(4096)
            if not data:
                return
            labels, at = [], 12
            while data[at]:
                labels.append(data[at + 1 : at + 1 + data[at]].decode())
                at += data[at] + 1
            self.asked.append(".".join(labels))
            end = at + 5
            wanted = int.from_bytes(data[at + 1 : at + 3], "big")
            found = wanted == 1
            answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + bytes([192, 0, 2, 80])
            head = (
                data[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if found else b"\x00\x00") + bytes(4)
            )
            self._socket.sendto(head + data[12:end] + (answer if found else b""), asker)


class Site(Store):
    """A node with its rows and its data plane."""

    def __init__(self, directory: Path, tag: str, outside: str) -> None:
        super().__init__(directory)
        self.tag = tag
        self.outside = outside
        self.planes = Planes(self.cloud.control)
        self.guests: list[Guest] = []
        self.reconcilers = self.planes.reconcilers()

    def close(self) -> None:
        """Take everything down."""
        self.planes.teardown()
        for guest in self.guests:
            run("ip", "netns", "del", guest.namespace, ok=False)

    def restart(self) -> None:
        """End the data plane and begin again with a fresh one, as a new daemon would."""
        self.planes.stop()
        self.planes = Planes(self.cloud.control)
        self.reconcilers = self.planes.reconcilers()

    def settle(self) -> None:
        """Run all reconcilers until nothing changes."""
        control = self.cloud.control
        for reconciler in self.reconcilers:
            self.cloud.reconcile(reconciler)
        while control.woken:
            name, key = control.woken.pop()
            for reconciler in self.reconcilers:
                if reconciler.name == name:
                    done = reconciler.reconcile(key)
                    if done.ops:
                        self.cloud.commit(*done.ops)

    def changed(self, row_type: type[Row], row_id: str) -> None:
        """Do what a change notice of one row leads to, and nothing more."""
        for reconciler in self.reconcilers:
            if row_type in reconciler.watches:
                for key in reconciler.affected(row_type, row_id):
                    done = reconciler.reconcile(key)
                    if done.ops:
                        self.cloud.commit(*done.ops)

    def guest(self, subnet: Subnet, address: str, **fields: Any) -> Guest:
        """Make a server's port with a guest on it."""
        guest = Guest(self, self.port(subnet, address, **fields))
        self.guests.append(guest)
        return guest
