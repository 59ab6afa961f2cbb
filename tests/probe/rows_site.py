"""A site of bare logs for the drill: each node a process on a machine of its own (network namespace) of one switch."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.cluster.membership import MembershipRules
from node.cluster.settings import RaftSettings
from node.cluster.tables import DepartedNode
from node.control.placement import NodeRow
from node.drill.errors import DrillFault
from node.drill.site import Ability, Seat
from node.errors import NodeError
from node.ids import RandomIds
from node.lab.disk import Disk
from node.lab.place import Choice, Member
from node.lab.topology import Topology
from node.state.reader import STATE_FILE, Reader
from node.state.txn import AnyOp, Define, Txn, encode_txn, insert, patch
from node.testing.certificates import TestAuthority
from tests.probe.rows_node import RowsNode

ROOT = Path(__file__).resolve().parents[2]
PORT = 7444
SPARES = 6
"""How many nodes may join later."""
RULES = MembershipRules(lost_after_s=5.0, settle_s=1.0, period_s=0.2, pause_after_error_s=1.0)
_PATIENCE_S = 180.0


class RowsSite:
    """Nodes n1, n2, … in a directory. Close it."""

    def __init__(
        self, directory: Path, count: int, settings: RaftSettings, disk_mib: int = 0, *, forgets: bool = False,
        spares: int = SPARES,
    ) -> None:  # fmt: skip
        """Take where, how many, and how; with `disk_mib` each node has a file system of its own of that size.

        With `forgets` the logs are not synced.
        """
        cidr = f"10.{random.randrange(200, 250)}.{random.randrange(256)}.0/24"
        self._forgets = forgets
        self._directory = directory
        self._disk_mib = disk_mib
        names = [f"n{number}" for number in range(1, count + spares + 1)]
        members = tuple(Member(name=name, number=i) for i, name in enumerate(names, 1))
        choice = Choice(
            port=0, plain_port=0, public_cidr=f"172.31.{cidr.split('.')[2]}.0/24", under_cidr=cidr,
            members=members, last_number=len(names), disk_mib=disk_mib,
        )  # fmt: skip
        self._topology = Topology(directory, choice)
        self._authority = TestAuthority(directory / "ca")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, IO[bytes]] = {}
        self._lives: Counter[str] = Counter()
        self._settings = settings
        self._book = {name: (self._topology.address(i), PORT) for i, name in enumerate(names, 1)}
        self._told: dict[str, RowsNode] = {}
        self._spares = names[count:]
        for name in names[:count]:
            self._tell(name, names[:count], first_voter=True)

    def _tell(self, name: str, others: Sequence[str], *, first_voter: bool) -> None:
        files = self._authority.node(name)
        own = msgspec.structs.replace(
            self._settings, node_id=name, first_voter=first_voter,
            first_peers=tuple(one for one in others if one != name),
        )  # fmt: skip
        self._told[name] = RowsNode(
            place=str(self._place(name)), settings=own, certificate=str(files.certificate), key=str(files.key),
            ca=str(files.ca), book=self._book, rules=RULES, forgets=self._forgets,
        )  # fmt: skip

    def open(self) -> None:
        """Make the machines, start all nodes and wait until each takes a write."""
        self._topology.ensure(())
        self.start(self._told)
        rows = [insert(NodeRow(id=name, name=name)) for name in self._told]
        tables = [Define(NodeRow.__table__), Define(DepartedNode.__table__)]
        self._commit(*tables, *rows)
        for name in self._told:
            self._takes_writes(name)

    def _takes_writes(self, name: str) -> None:
        self._insist(f"{name} takes no writes", lambda: self._propose(name))

    def _propose(self, name: str, *ops: AnyOp) -> bytes:
        client = ProposalClient(self._place(name) / SOCKET_FILE)
        return client.propose(encode_txn(Txn(request_id=RandomIds().uuid(), ops=ops)), 5)

    def _commit(self, *ops: AnyOp) -> None:
        self._insist("nobody takes writes", lambda: self._propose(next(iter(self._told)), *ops))

    def _insist(self, what: str, work: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                work()
                return
            except NodeError as error:
                if time.monotonic() > deadline:
                    words = {name: self.words(name) for name in self._told}
                    raise DrillFault(f"{what}: {error.message}: {words}") from error
                time.sleep(0.1)

    def words(self, name: str) -> str:
        """Return the last of what a node said."""
        return (self._directory / f"{name}.log").read_text()[-2000:]

    def leader(self) -> str:
        """Return who leads, as soon as exactly one node says that it does."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            roles = {name: self._place(name).with_name("role") for name in self._told}
            leading = [name for name, path in roles.items() if path.exists() and path.read_text() == "leader"]
            if len(leading) == 1:
                return leading[0]
            time.sleep(0.1)
        raise DrillFault("nobody leads")

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset(("members", "disks") if self._disk_mib else ("members",))

    def seats(self) -> Sequence[Seat]:
        return [Seat(name=name, state_dir=Path(told.place)) for name, told in self._told.items()]

    def life(self, name: str) -> int:
        return self._lives[name]

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
            if self._disk_mib:
                self.disk(name).ensure(self._disk_mib)
            self._place(name).mkdir(parents=True, exist_ok=True)
            self._topology.ensure([name])
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

    def disk(self, name: str) -> Disk:
        """Return the disk of a node."""
        return Disk(self._directory / f"{name}.img", self._place(name))

    def _place(self, name: str) -> Path:
        return self._directory / name / "disk"

    def fill(self, name: str) -> None:
        self.disk(name).fill()

    def empty(self, name: str) -> None:
        self.disk(name).empty()

    def freeze(self, name: str) -> None:
        self.disk(name).freeze()

    def thaw(self, name: str) -> None:
        self.disk(name).thaw()

    def break_disk(self, name: str) -> None:
        self._lives[name] += 1
        self.disk(name).lose_power()

    def lose_power(self, names: Iterable[str]) -> None:
        chosen = list(names)
        self._lives.update(name for name in chosen if not self._lives[name] % 2)
        for name in chosen:
            self.pause(name)
        for name in chosen:
            self.disk(name).lose_power()
        for name in chosen:
            self.kill([name])
            self._topology.off(name)
            self.disk(name).power_on()
        self._lives.update(chosen)

    def shift_clock(self, name: str, seconds: float) -> None:
        raise NotImplementedError("a bare log asks no wall clock")

    def dismiss(self, name: str) -> None:
        self._forget(name)
        self.burn(name)

    def burn(self, name: str) -> None:
        self.kill([name])
        del self._told[name]
        self._topology.off(name)
        if self._disk_mib:
            self.disk(name).remove()
        shutil.rmtree(self._directory / name, ignore_errors=True)

    def engage(self, lost: str) -> None:
        name = self._spares.pop(0)
        self._commit(insert(NodeRow(id=name, name=name)))
        self._tell(name, list(self._told), first_voter=False)
        self.start([name])
        self._takes_writes(name)
        if lost:
            self._forget(lost)

    def _forget(self, name: str) -> None:
        others = [one for one in self._told if one != name]
        self._insist(
            f"{name} cannot be removed",
            lambda: self._propose(others[0], patch(NodeRow, name, want="absent")),
        )

        def gone() -> None:
            with contextlib.closing(Reader(self._place(others[0]) / STATE_FILE)) as db:
                if db.get(NodeRow, name) is not None:
                    raise NodeError(f"its row is still at {others[0]}")

        self._insist(f"{name} stays a member", gone)

    def ended(self) -> list[str]:
        """Return the nodes that ended by themselves, with their last words."""
        return [
            f"{name} ended with {process.returncode}: {self.words(name)}"
            for name, process in self._processes.items()
            if process.poll() is not None
        ]

    def close(self) -> None:
        disks = [self.disk(path.stem) for path in self._directory.glob("n*.img")]
        for disk in disks:
            disk.thaw()
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._topology.destroy()
        for disk in disks:
            disk.remove()

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._processes.get(name)
        if process is not None and process.poll() is None:
            process.send_signal(number)


@contextlib.contextmanager
def rows_site(
    directory: Path, count: int, settings: RaftSettings, disk_mib: int = 0, *, forgets: bool = False,
    spares: int = SPARES,
) -> Iterator[RowsSite]:  # fmt: skip
    """Open a site and close it whatever happens."""
    site = RowsSite(directory, count, settings, disk_mib, forgets=forgets, spares=spares)
    try:
        site.open()
        yield site
    finally:
        site.close()
