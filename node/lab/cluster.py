"""A lab of several nodes: each is the real daemon on a machine of its own, with a directory of its own."""

import fcntl
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from node.cluster import token
from node.errors import NodeError, Unavailable
from node.ids import RandomIds
from node.lab import process
from node.lab.client import Rest
from node.lab.place import Choice, Member, Place, write
from node.lab.topology import LAST_NUMBER, PUBLIC_INTERFACE, VIRTUAL_NUMBER, Topology

ANY = "0.0.0.0"  # noqa: S104 - on machines of their own; the address that the cluster moves is among theirs
CLUSTER_PORT, DATA_PORT = 7444, 7445
FOUNDERS, FOUNDERS_OF_MANY = 3, 5
"""How many of the first nodes make the cluster, by name; most of them suffice, so two nodes are a cluster too."""
SHORT_LOG = 150
_START_S = 180.0
_AT_ONCE = 16


class ClusterLab:
    """The nodes of one lab and what can be done to them."""

    def __init__(self, place: Place, choice: Choice) -> None:
        self.place = place
        self.choice = choice
        self.topology = Topology(place.directory, choice)

    @property
    def names(self) -> list[str]:
        """Return the names of the nodes, in their order."""
        return [member.name for member in self.choice.members]

    def address(self, name: str) -> str:
        """Return a node's address on the underlay."""
        member = next(member for member in self.choice.members if member.name == name)
        return self.topology.address(member.number)

    @property
    def virtual_address(self) -> str:
        """Return the address that one node of the cluster holds for the API."""
        return self.topology.address(VIRTUAL_NUMBER)

    def entrance(self) -> str:
        """Return the address that clients use: the cluster's own where a node holds it, else the first node's."""
        virtual = self._rest(self.names[0], self.virtual_address)
        try:
            virtual.sign_in()
        except (NodeError, OSError):
            return self.address(self.names[0])
        return self.virtual_address

    def grow(self, count: int) -> list[str]:
        """Have that many nodes more in the lab; nothing is started. Return their names."""
        members, number = list(self.choice.members), self.choice.last_number
        for _one in range(count):
            number += 1
            if number == VIRTUAL_NUMBER:
                number += 1
            if number > LAST_NUMBER:
                raise Unavailable(f"A lab has at most {LAST_NUMBER - 1} nodes in its life")
            members.append(Member(name=f"node{number}", number=number))
        before = set(self.names)
        self._keep(tuple(members), number)
        return [name for name in self.names if name not in before]

    def start(self, names: Iterable[str]) -> None:
        """Start these nodes and their machines where they are off; do not wait for them."""
        chosen = self._each(names)
        if self.choice.disk_mib:
            self._all(chosen, self._own_things)
        self.topology.ensure(chosen)  # a machine sees what was mounted before it was switched on
        self.configure(chosen)
        self._all(chosen, lambda name: process.start(self.place.node(name), self._entering(name)))

    def configure(self, names: Iterable[str]) -> None:
        """Write what these nodes need to start, unless they have it."""
        for name in names:
            self._configure(name)

    def stop(self, names: Iterable[str]) -> list[str]:
        """Stop the daemons of these nodes; return which ones ran. VMs and networks stay."""
        chosen = self._each(names)
        for name in chosen:
            process.send(self.place.node(name), signal.SIGCONT)
        ran = self._all(chosen, lambda name: process.stop(self.place.node(name)))
        return [name for name, did in zip(chosen, ran, strict=True) if did]

    def kill(self, name: str, *, with_vms: bool = False) -> list[int]:
        """Kill a node's daemon; with its VMs, the whole machine loses its power. Return the daemon's processes."""
        machine = self.topology.machine(name)
        killed = process.kill(self.place.node(name))
        if with_vms and machine.pid:
            self.topology.off(name)
        return killed

    def signal(self, name: str, number: signal.Signals) -> list[int]:
        """Send a signal to a node's daemon, all of its processes; return whom."""
        self.topology.machine(name)
        return process.send(self.place.node(name), number)

    def lose_power(self, names: Iterable[str]) -> None:
        """Cut the power of these machines at once: what their disks had not synced is lost. They must have own ones.

        Raises:
            Unavailable: a disk is the machine's.
        """
        chosen = self._each(names)
        self._all(chosen, lambda name: self.signal(name, signal.SIGSTOP))
        self._all(chosen, lambda name: self.place.node(name).disk.lose_power())
        self._all(chosen, lambda name: self.kill(name, with_vms=True))
        self._all(chosen, lambda name: self.place.node(name).disk.power_on())

    def remove(self, name: str) -> None:
        """Take a node out of the lab with all that it has."""
        self.place.node(name).disk.thaw()
        self.kill(name, with_vms=True)
        self.topology.off(name)
        self.place.node(name).disk.remove()
        shutil.rmtree(self.place.node(name).directory, ignore_errors=True)
        members = tuple(member for member in self.choice.members if member.name != name)
        self._keep(members, self.choice.last_number)

    def destroy(self) -> None:
        """Remove every trace of the lab outside of its directory."""
        disks = [self.place.node(name).disk for name in self.names]
        for disk in disks:
            disk.thaw()
        self.topology.destroy()
        for disk in disks:
            disk.remove()

    def wait(self, names: Iterable[str], say: Callable[[str], None]) -> None:
        """Wait until these nodes take the administrator's password.

        Raises:
            Unavailable: one ended, or does not within its time; names its log and what to do.
        """
        self._all(self._each(names), lambda name: self._wait_for(name, say))

    def rest(self, name: str) -> Rest:
        """Return a connection to the API of a node."""
        return self._rest(name, self.address(name))

    def password(self) -> str:
        """Return the administrator's password: the founder takes it from its file, so each node has the same one."""
        path = self.place.directory / "admin-password"
        if not path.exists():
            write(path, (secrets.token_urlsafe(18) + "\n").encode())
        return path.read_text().strip()

    def _rest(self, name: str, host: str) -> Rest:
        ca = self.place.node(name).state / "tls" / "ca.pem"
        return Rest(self.choice.port, ca, password=self.password(), host=host)

    def _wait_for(self, name: str, say: Callable[[str], None]) -> None:
        place = self.place.node(name)
        deadline = time.monotonic() + _START_S
        while not self._answers(name):
            if process.running_pid(place) is None:
                raise Unavailable(f"{name} ended while it started: read {place.log}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{name} does not answer after {_START_S:.0f} s: read {place.log}, "
                    f"then try `hedgerow status --config {place.config}`"
                )
            time.sleep(0.1)
        say(f"{name} answers at https://{self.address(name)}:{self.choice.port}")

    def _answers(self, name: str) -> bool:
        try:
            self.rest(name).sign_in()
        except (NodeError, OSError):
            return False
        return True

    def _configure(self, name: str) -> None:
        """Write a node's configuration and its password, unless it has them."""
        place = self.place.node(name)
        if place.config.exists():
            return
        secrets_directory = place.state / "secrets"
        secrets_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.state.chmod(0o700)
        write(secrets_directory / "admin-password", f"{self.password()}\n".encode())
        choice, address = self.choice, self.address(name)
        sections: dict[str, dict[str, object]] = {
            "node": {"name": name, "state_dir": place.state},
            "api": {"listen": ANY, "port": choice.port, "plain_port": choice.plain_port},
            "cluster": {
                "port": CLUSTER_PORT,
                "data_port": DATA_PORT,
                "listen": address,
                "address": address,
                "virtual_address": f"{self.virtual_address}/{choice.under_cidr.partition('/')[2]}",
                "token_file": self._token_file(name),
                "alone": "false",
            },
            "network": {"public_interface": PUBLIC_INTERFACE},
        }
        if choice.disk_mib:  # for a drill: copies of the rows have to travel often
            sections["cluster"]["log_entries"] = SHORT_LOG
        lines = ["# Made by `hedgerow lab`; change it as you like, it is not written again."]
        for section, keys in sections.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in keys.items()), ""]
        write(place.config, "\n".join(lines).encode())

    def _token_file(self, name: str) -> Path:
        """Return a node's file of the cluster's token, the same one for all."""
        first = self.place.directory / "token"
        if not first.exists():
            founders = FOUNDERS_OF_MANY if len(self.names) >= FOUNDERS_OF_MANY else FOUNDERS
            absent = [f"node{number}" for number in range(1, founders + 1)]
            names = list(dict.fromkeys((*self.names, *absent)))[:founders]
            write(first, f"{token.make(RandomIds(), names=names).text}\n".encode())
        path = self.place.node(name).directory / "token"
        write(path, first.read_bytes())
        return path

    def _own_things(self, name: str) -> None:
        """Make what only this node has: its disk, and by how much its wall clock is wrong."""
        place = self.place.node(name)
        place.directory.mkdir(parents=True, exist_ok=True)
        place.disk.ensure(self.choice.disk_mib)
        if not place.clock_shift.exists():
            write(place.clock_shift, bytes(8))

    def _entering(self, name: str) -> Callable[[Sequence[str]], list[str]]:
        return self.topology.machine(name).entering

    def _each(self, names: Iterable[str]) -> list[str]:
        chosen = list(names) or self.names
        for name in chosen:
            self.topology.machine(name)
        return chosen

    def _all(self, names: Sequence[str], work: Callable[[str], object]) -> list[object]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(work, names))

    def _keep(self, members: tuple[Member, ...], last_number: int) -> None:
        choice = msgspec.structs.replace(self.choice, members=members, last_number=last_number)
        self.place.keep(choice)
        self.choice = choice
        self.topology = Topology(self.place.directory, choice)


def cluster_lab(place: Place) -> ClusterLab:
    """Return the lab of several nodes in a directory.

    Raises:
        Unavailable: there is none, or it has one node only.
    """
    choice = place.chosen()
    if choice is None:
        raise Unavailable(
            f"There is no lab in {place.directory}: start one with scripts/lab --nodes 3"
        )
    if not choice.under_cidr:
        raise Unavailable(
            f"The lab in {place.directory} has one node, on this machine itself: for more, "
            "start one in another directory with scripts/lab --dir DIR --nodes 3"
        )
    return ClusterLab(place, choice)


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """Let one command at a time change a lab; one that does not exist is locked by nobody."""
    if not place.directory.exists():
        yield
        return
    descriptor = os.open(place.directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
