"""A site of bare logs for the drill: each node a process on a machine of its own (network namespace) of one switch."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.cluster.settings import RaftSettings
from node.drill.site import Seat, empty_disk, fill_disk
from node.errors import NodeError
from node.ids import RandomIds
from node.lab.place import Choice, Member
from node.lab.topology import Topology
from node.state.txn import Txn, encode_txn
from node.testing.certificates import TestAuthority
from tests.probe.rows_node import RowsNode

ROOT = Path(__file__).resolve().parents[2]
PORT = 7444


class RowsSite:
    """Nodes n1, n2, … in a directory. Close it."""

    def __init__(
        self, directory: Path, count: int, settings: RaftSettings, cidr: str, disk_mib: int = 0
    ) -> None:
        """Take where, how many, and how; with `disk_mib` each node has a file system of its own of that size."""
        self._directory = directory
        self._disk_mib = disk_mib
        names = [f"n{number}" for number in range(1, count + 1)]
        members = tuple(Member(name=name, number=i) for i, name in enumerate(names, 1))
        choice = Choice(
            port=0, plain_port=0, public_cidr=f"172.31.{cidr.split('.')[2]}.0/24", under_cidr=cidr,
            members=members, last_number=count,
        )  # fmt: skip
        self._topology = Topology(directory, choice)
        self._authority = TestAuthority(directory / "ca")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, IO[bytes]] = {}
        self._told: dict[str, RowsNode] = {}
        book = {name: (self._topology.address(i), PORT) for i, name in enumerate(names, 1)}
        for name in names:
            files = self._authority.node(name)
            others = tuple(one for one in names if one != name)
            own = msgspec.structs.replace(settings, node_id=name, first_peers=others)
            self._told[name] = RowsNode(
                place=str(directory / name), settings=own, certificate=str(files.certificate), key=str(files.key),
                ca=str(files.ca), book=book,
            )  # fmt: skip

    def open(self) -> None:
        """Make the machines, start all nodes and wait until each takes a write."""
        if self._disk_mib:
            for name in self._told:
                self._mount(name)
        self._topology.ensure()
        self.start(self._told)
        client_deadline = time.monotonic() + 60
        for seat in self.seats():
            client = ProposalClient(seat.state_dir / SOCKET_FILE)
            while True:
                with contextlib.suppress(NodeError):
                    client.propose(encode_txn(Txn(request_id=RandomIds().uuid(), ops=())), 5)
                    break
                assert time.monotonic() < client_deadline, (
                    f"{seat.name} takes no writes: {self.words(seat.name)}"
                )

    def words(self, name: str) -> str:
        """Return the last of what a node said."""
        return (self._directory / f"{name}.log").read_text()[-2000:]

    def seats(self) -> Sequence[Seat]:
        return [Seat(name=name, state_dir=Path(told.place)) for name, told in self._told.items()]

    def kill(self, names: Iterable[str]) -> None:
        for name in names:
            process = self._processes.pop(name, None)
            if process is not None:
                process.kill()
                process.wait()

    def start(self, names: Iterable[str]) -> None:
        for name in names:
            running = self._processes.get(name)
            if running is not None and running.poll() is None:
                continue
            argv = [sys.executable, str(ROOT / "tests" / "probe" / "rows_node.py")]
            argv.append(msgspec.json.encode(self._told[name]).decode())
            with (self._directory / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    self._topology.machine(name).entering(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT,
                )  # fmt: skip

    def pause(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._topology.cut(pairs)

    def heal(self) -> None:
        self._topology.heal(())

    def fill(self, name: str) -> None:
        fill_disk(self._directory / name)

    def empty(self, name: str) -> None:
        empty_disk(self._directory / name)

    def ended(self) -> list[str]:
        """Return the nodes that ended by themselves, with their last words."""
        return [
            f"{name} ended with {process.returncode}: {self.words(name)}"
            for name, process in self._processes.items()
            if process.poll() is not None
        ]

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._topology.destroy()
        for name in self._told:
            if (self._directory / name).is_mount():
                subprocess.run(["umount", "-l", str(self._directory / name)], check=False)

    def _mount(self, name: str) -> None:
        image, place = self._directory / f"{name}.img", self._directory / name
        with image.open("wb") as file:
            file.truncate(self._disk_mib << 20)
        place.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._processes.get(name)
        if process is not None and process.poll() is None:
            process.send_signal(number)


@contextlib.contextmanager
def rows_site(
    directory: Path, count: int, settings: RaftSettings, cidr: str, disk_mib: int = 0
) -> Iterator[RowsSite]:
    """Open a site and close it whatever happens."""
    site = RowsSite(directory, count, settings, cidr, disk_mib)
    try:
        site.open()
        yield site
    finally:
        site.close()
