"""The nodes of a lab as the site of a drill."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.control.placement import NodeRow
from node.drill.errors import DrillFault
from node.drill.site import Ability, Seat
from node.errors import NodeError
from node.ids import RandomIds
from node.lab import process
from node.lab.cluster import ClusterLab
from node.state.reader import STATE_FILE, Reader
from node.state.txn import Txn, encode_txn

_MEMBER_S = 300.0
_COMMAND_S = 60.0


class LabSite:
    """The nodes of a lab."""

    def __init__(self, lab: ClusterLab) -> None:
        self._lab = lab
        self._lives: Counter[str] = Counter()

    @property
    def abilities(self) -> frozenset[Ability]:
        """Return what a lab allows: one made with disks of the nodes' own has clocks of their own too."""
        return frozenset(("members", "disks", "clocks") if self._lab.choice.disk_mib else ("members",))

    def seats(self) -> Sequence[Seat]:
        """Return the nodes of the lab."""
        return [
            Seat(
                name=name,
                state_dir=self._lab.place.node(name).state,
                host=self._lab.address(name),
            )
            for name in self._lab.names
        ]

    def life(self, name: str) -> int:
        """Return a number that grows twice with each loss of power."""
        return self._lives[name]

    def kill(self, names: Iterable[str]) -> None:
        """Kill supervisor, core and API of nodes."""
        for name in names:
            self._lab.kill(name)

    def start(self, names: Iterable[str]) -> None:
        """Start those that do not run."""
        chosen = [name for name in names if process.running_pid(self._lab.place.node(name)) is None]
        if not chosen:
            return
        try:
            self._lab.start(chosen)
        except NodeError as error:
            raise DrillFault(f"{', '.join(chosen)} cannot be started: {error.message}") from error

    def pause(self, name: str) -> None:
        """Stop all processes of a node's daemon."""
        self._lab.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let them go on."""
        self._lab.signal(name, signal.SIGCONT)

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Have the lab's switch drop packets."""
        self._lab.topology.cut(pairs)

    def heal(self) -> None:
        """Have it drop none."""
        self._lab.topology.heal(())

    # -- disks

    def fill(self, name: str) -> None:
        """Fill the disk of a node."""
        self._lab.place.node(name).disk.fill()

    def empty(self, name: str) -> None:
        """Give the space back."""
        self._lab.place.node(name).disk.empty()

    def freeze(self, name: str) -> None:
        """Have the kernel let a node's writes wait."""
        self._lab.place.node(name).disk.freeze()

    def thaw(self, name: str) -> None:
        """Have it let them go on."""
        self._lab.place.node(name).disk.thaw()

    def break_disk(self, name: str) -> None:
        """Have the kernel refuse whatever is read or written."""
        self._lives[name] += 1
        self._lab.place.node(name).disk.lose_power()

    def lose_power(self, names: Iterable[str]) -> None:
        """Cut the power of machines."""
        chosen = list(names)
        self._lives.update(name for name in chosen if not self._lives[name] % 2)
        self._lab.lose_power(chosen)
        self._lives.update(chosen)

    # -- clocks

    def shift_clock(self, name: str, seconds: float) -> None:
        """Write by how much a node's clock is wrong."""
        shift_us = round(seconds * 1_000_000).to_bytes(8, "little", signed=True)
        with self._lab.place.node(name).clock_shift.open("r+b", buffering=0) as file:
            file.write(shift_us)

    # -- members

    def dismiss(self, name: str) -> None:
        """Remove a node with the administrator's command, then take its machine away."""
        self._remove(name)
        self._lab.remove(name)

    def burn(self, name: str) -> None:
        """Take a node's machine away."""
        self._lab.remove(name)

    def engage(self, lost: str) -> None:
        """Add a machine, which joins by itself, and remove the row of a lost one."""
        names = self._lab.grow(1)
        self.start(names)
        client = ProposalClient(self._lab.place.node(names[0]).state / SOCKET_FILE)
        empty = encode_txn(Txn(request_id=RandomIds().uuid(), ops=()))
        _insist(f"{names[0]} takes no writes", lambda: client.propose(empty, 5.0))
        if lost:
            self._remove(lost)

    def _remove(self, name: str) -> None:
        """Have a node removed through any other one, and wait until its row is gone."""
        others = [one for one in self._lab.names if one != name]

        def told() -> None:
            words = "nobody is left"
            for other in others:
                done = self._hedgerow(other, "node", "remove", name)
                if not done.returncode or "There is no node" in done.stderr:
                    return
                words = done.stderr.strip()
            raise DrillFault(words)

        def gone() -> None:
            with closing(Reader(self._lab.place.node(others[0]).state / STATE_FILE)) as db:
                if any(row.name == name for row in db.rows(NodeRow)):
                    raise DrillFault(f"{others[0]} still has its row")

        _insist(f"{name} cannot be removed", told)
        _insist(f"{name} stays a member", gone)

    def _hedgerow(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        config = str(self._lab.place.node(name).config)
        argv = [sys.executable, "-m", "node.cli", *words, "--config", config]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_COMMAND_S)


def _insist(what: str, work: Callable[[], object]) -> None:
    """Do something again and again until it does not raise.

    Raises:
        DrillFault: it does for too long.
    """
    deadline = time.monotonic() + _MEMBER_S
    while True:
        try:
            work()
            return
        except (NodeError, subprocess.TimeoutExpired) as error:
            if time.monotonic() > deadline:
                raise DrillFault(f"{what} after {_MEMBER_S:.0f} s: {error}") from error
            time.sleep(0.3)
