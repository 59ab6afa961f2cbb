"""A real lab of several nodes, behind a network namespace of its own: what tests of clusters stand on.

Everything is the product as its user has it. The lab runs in a new namespace, so two runs at once do not meet, and what
`hedgerow lab` leaves behind, if anything, is found there.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from node.lab.client import Rest
from node.lab.cluster import ClusterLab, cluster_lab
from node.lab.place import Place
from node.plugins.network.drivers.namespaces import Namespaces
from node.state.reader import STATE_FILE
from node.testing.running_lab import wait_until

T = TypeVar("T")

_START_S = 400
_COMMAND_S = 240
_AGREE_S = 60


class RunningCluster:
    """One lab of several nodes. Make it by `running_cluster`."""

    def __init__(self, directory: Path, netns: str) -> None:
        self.directory = directory
        self.netns = netns
        self._namespaces = Namespaces(directory.parent / "marks")
        self._rests: dict[str, Rest] = {}
        self._lock = threading.Lock()

    @property
    def facts(self) -> Any:
        """Return lab.json."""
        return json.loads((self.directory / "lab.json").read_text())

    @property
    def names(self) -> list[str]:
        """Return the names of the nodes."""
        return self._lab().names

    def place(self, name: str) -> Place:
        """Return the directory of a node."""
        return Place(self.directory).node(name)

    def run(self, argv: Sequence[str | Path], *, timeout_s: float = _COMMAND_S, **env: str) -> str:
        """Run a command as the lab's user and return its output.

        Raises:
            AssertionError: it failed; carries what it printed.
        """
        done = self.attempt(argv, timeout_s=timeout_s, **env)
        assert done.returncode == 0, (
            f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
        return done.stdout

    def attempt(
        self, argv: Sequence[str | Path], *, timeout_s: float = _COMMAND_S, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the lab's user, whatever becomes of it."""
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.netns}", *map(str, argv)],
            capture_output=True, text=True, check=False, timeout=timeout_s, stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
        )  # fmt: skip

    def lab(self, *arguments: str) -> str:
        """Run `hedgerow lab` on this lab."""
        argv = [sys.executable, "-m", "node.cli", "lab", "--dir", str(self.directory), *arguments]
        return self.run(argv, timeout_s=_START_S)

    def on(self, name: str, *argv: str) -> str:
        """Run a command on a node's machine and return its output."""
        return self.lab("shell", name, *argv)

    def status(self, name: str) -> Any:
        """Return what `hedgerow status` says on a node, or None while its core does not answer."""
        config = str(self.place(name).config)
        done = self.attempt(
            [sys.executable, "-m", "node.cli", "status", "--json", "--config", config]
        )
        return json.loads(done.stdout) if done.stdout.startswith("{") else None

    def leader(self, timeout_s: float = _AGREE_S) -> str:
        """Return the node that leads the log, as soon as exactly one says so."""
        found: list[str] = []

        def one_leads() -> bool:
            found[:] = [name for name in self.names if self._leads(name)]
            return len(found) == 1

        wait_until("one node leads", one_leads, timeout_s=timeout_s)
        return found[0]

    def _leads(self, name: str) -> bool:
        health = (self.status(name) or {}).get("health", [])
        return any(one["name"] == "log" and one["detail"].startswith("leader") for one in health)

    def api(self, name: str, work: Callable[[Rest], T]) -> T:
        """Return what `work` returns, given a signed-in connection to the API of a node.

        Raises:
            Refusal: the cloud refused the request.
            Unavailable: the node does not answer.
        """
        with self._lock:
            rest = self._rests.get(name)
        if rest is None:
            rest = self._lab().rest(name)
            self._namespaces.run(self.netns, rest.sign_in)
            with self._lock:
                self._rests[name] = rest
        return self._namespaces.run(self.netns, lambda: work(rest))

    def openstack(self, *arguments: str, cloud: str = "demo") -> str:
        """Run the unmodified `openstack` client and return what it prints."""
        client = Path(sys.executable).with_name("openstack")
        clouds = str(self.directory / "clouds.yaml")
        output = self.run([client, *arguments], OS_CLIENT_CONFIG_FILE=clouds, OS_CLOUD=cloud)
        return output.strip()

    def show(self, *arguments: str, cloud: str = "demo") -> Any:
        """Run the `openstack` client and return its JSON output."""
        return json.loads(self.openstack(*arguments, "-f", "json", cloud=cloud))

    def store(self, name: str) -> tuple[int, str]:
        """Return at which entry of the log a node's rows stand, and a digest of all of them."""
        path = self.place(name).state / STATE_FILE
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")
            applied = db.execute("SELECT value FROM meta WHERE key='applied'").fetchone()[0]
            digest = hashlib.sha256()
            for line in db.iterdump():
                digest.update(line.encode())
        return int(applied), digest.hexdigest()

    def agree(self, names: Sequence[str] = (), timeout_s: float = _AGREE_S) -> None:
        """Wait until these nodes (all by default) hold the same rows at the same entry of the log.

        Raises:
            AssertionError: they never do, or their rows differ at one entry.
        """
        chosen = list(names) or self.names
        differ: list[str] = []

        def agreed() -> bool:
            stores = {name: self.store(name) for name in chosen}
            if len({applied for applied, _digest in stores.values()}) > 1:
                return False
            if len(set(stores.values())) > 1:
                differ.append(str(stores))
            return True

        wait_until(f"{chosen} at the same entry", agreed, timeout_s=timeout_s)
        assert not differ, f"rows differ: {differ}"

    def _lab(self) -> ClusterLab:
        return cluster_lab(Place(self.directory))

    def logs(self, lines: int = 40) -> str:
        """Return the ends of the nodes' logs."""
        text = []
        for log in sorted(self.directory.glob("nodes/*/hedgerow.log")):
            last = log.read_text(errors="replace").splitlines()[-lines:]
            text += [f"--- {log.parent.name}", *(line[:600] for line in last)]
        return "\n".join(text)


@contextlib.contextmanager
def running_cluster(directory: Path, *arguments: str) -> Iterator[RunningCluster]:
    """Start a lab of several nodes in a new namespace; destroy it, and the namespace, in any case."""
    netns = f"hgc-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    cluster = RunningCluster(directory, netns)
    try:
        cluster.run(["ip", "link", "set", "lo", "up"])
        cluster.lab(*arguments)
        yield cluster
    except BaseException:
        with contextlib.suppress(OSError):
            sys.stdout.write(cluster.logs() + "\n")
        raise
    finally:
        try:
            if directory.exists():
                cluster.lab("--destroy")
        finally:
            subprocess.run(["ip", "netns", "delete", netns], check=False)
            shutil.rmtree(directory, ignore_errors=True)
