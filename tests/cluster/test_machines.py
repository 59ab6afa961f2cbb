"""Machines and wires of a lab of several nodes, without nodes: what joins them, cuts them, and is left of them."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab.cluster import cluster_lab
from node.lab.machine import marked
from node.lab.place import Place
from node.lab.topology import Topology
from node.testing.running_lab import wait_until

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(180)]

# Runs in the network namespace of the test: what `hedgerow lab` does with machines, without the daemons.
SCRIPT = """
import sys
from pathlib import Path
from node.lab.cluster import ClusterLab
from node.lab.place import Place
place = Place(Path(sys.argv[1]))
lab = ClusterLab(place, place.choose_several(None, None))
lab.grow(int(sys.argv[2]) - len(lab.names))
lab.topology.ensure()
"""


class Site:
    """The outer namespace and the lab's directory."""

    def __init__(self, directory: Path, netns: str) -> None:
        self.directory = directory
        self.netns = netns

    def attempt(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.netns}", *argv],
            capture_output=True, text=True, check=False, timeout=90, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *argv: str) -> str:
        done = self.attempt(*argv)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def machines(self, count: int) -> None:
        self.run(sys.executable, "-c", SCRIPT, str(self.directory), str(count))

    def lab(self, *argv: str) -> str:
        return self.run(
            sys.executable, "-m", "node.cli", "lab", "--dir", str(self.directory), *argv
        )

    def pings(self, name: str, target: str) -> bool:
        command = ["ping", "-c", "1", "-W", "1", target]
        words = [sys.executable, "-m", "node.cli", "lab", "--dir", str(self.directory)]
        return self.attempt(*words, "shell", name, *command).returncode == 0

    def reaches(self, name: str, target: str) -> None:
        wait_until(f"{name} reaches {target}", lambda: self.pings(name, target), timeout_s=30)

    def is_reached(self, target: str) -> None:
        command = ("ping", "-c", "1", "-W", "1", target)
        wait_until(target, lambda: self.attempt(*command).returncode == 0, timeout_s=30)

    def topology(self) -> Topology:
        return cluster_lab(Place(self.directory)).topology


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    netns = f"hgc-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        with tempfile.TemporaryDirectory(prefix="hgc-", dir="/var/tmp") as directory:
            site = Site(Path(directory) / "lab", netns)
            try:
                site.machines(3)
                yield site
            finally:
                site.lab("--destroy")
    finally:
        subprocess.run(["ip", "netns", "delete", netns], check=False)


def test_machines_reach_each_other_and_the_user(site: Site) -> None:
    site.reaches("node1", "10.87.0.2")
    site.reaches("node3", "10.87.0.254")
    assert site.lab("shell", "node2", "hostname").strip() == "node2"
    site.is_reached("10.87.0.3")
    site.machines(3)  # repeating it is harmless
    site.reaches("node1", "10.87.0.3")


def test_a_cut_holds_until_it_is_healed(site: Site) -> None:
    site.lab("partition", "node1")
    assert not site.pings("node1", "10.87.0.2")
    site.reaches("node2", "10.87.0.3")
    site.is_reached("10.87.0.1")
    assert site.lab("heal", "node1").strip() == "cut: nothing"
    site.reaches("node1", "10.87.0.2")
    said = site.lab("partition", "node1", "--from", "node2", "--outgoing")
    assert said.strip() == "cut: node1 to node2"
    assert not site.pings("node2", "10.87.0.1")
    site.lab("heal")
    site.reaches("node2", "10.87.0.1")


def test_a_node_that_does_not_exist_is_named(site: Site) -> None:
    words = [sys.executable, "-m", "node.cli", "lab", "--dir", str(site.directory)]
    done = site.attempt(*words, "partition", "node9")
    assert done.returncode == 1
    assert "no node node9: there are node1, node2, node3" in done.stderr


def test_a_machine_without_power_comes_back_empty(site: Site) -> None:
    """Everything on it ends, also what has namespaces of its own; its address and wires are the same afterwards."""
    machine = site.topology().machine("node3")
    boot_id = machine.run(["cat", "/proc/sys/kernel/random/boot_id"])
    machine.run(["ip", "netns", "add", "inner"])
    sleeper = subprocess.Popen(
        machine.entering(["ip", "netns", "exec", "inner", "unshare", "-m", "sleep", "1234"]),
        stdin=subprocess.DEVNULL,
    )
    try:
        while sleeper.pid not in machine.processes():
            assert sleeper.poll() is None
        site.lab("kill", "--vms", "node3")
        assert sleeper.wait(10) == -signal.SIGKILL
    finally:
        sleeper.kill()
        sleeper.wait()
    assert marked([machine.mark]) == []
    assert not site.pings("node1", "10.87.0.3")
    site.machines(3)
    site.reaches("node1", "10.87.0.3")
    booted = site.lab("shell", "node3", "cat", "/proc/sys/kernel/random/boot_id")
    assert booted not in (boot_id, Path("/proc/sys/kernel/random/boot_id").read_text())
    assert "inner" not in site.lab("shell", "node3", "ip", "netns", "list")


def test_destroying_leaves_nothing_even_of_a_half_dead_lab() -> None:
    netns = f"hgc-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        with tempfile.TemporaryDirectory(prefix="hgc-", dir="/var/tmp") as directory:
            site = Site(Path(directory) / "lab", netns)
            site.machines(2)
            switch, first = site.topology().switch, site.topology().machine("node1")
            sleeper = subprocess.Popen(first.entering(["sleep", "1234"]), stdin=subprocess.DEVNULL)
            while sleeper.pid not in first.processes():
                assert sleeper.poll() is None
            os.kill(first.pid, signal.SIGKILL)  # its holder only
            os.kill(switch.pid, signal.SIGKILL)
            site.lab("--destroy")
            assert sleeper.wait(10) == -signal.SIGKILL
            assert not site.directory.exists()
            marks = [switch.mark, first.mark, first.mark.replace("node1", "node2")]
            assert marked(marks) == []
            links = [line.split()[0] for line in site.run("ip", "-br", "link").splitlines()]
            assert links == ["lo"]
            assert site.run("nft", "list", "tables") == ""
            names = site.attempt("ip", "netns", "list").stdout
            assert not [mark for mark in marks if mark in names]
    finally:
        subprocess.run(["ip", "netns", "delete", netns], check=False)
