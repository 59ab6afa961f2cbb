"""Where a drill takes place: nodes that can be hurt. The lab's is at the end; tests have one of bare logs."""

import errno
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from node.drill.errors import DrillFault
from node.errors import NodeError
from node.lab import process
from node.lab.cluster import ClusterLab
from node.types import Frozen


class Seat(Frozen):
    """One node, as clients see it."""

    name: str
    state_dir: Path
    """Holds `core.sock` and `state.db`, which are reached from outside of the node's machine too."""
    host: str = ""
    """Address of its API."""


class Site(Protocol):
    """Nodes and what can be done to them. Names of nodes throughout."""

    def seats(self) -> Sequence[Seat]:
        """Return the nodes."""

    def kill(self, names: Iterable[str]) -> None:
        """Kill all processes of nodes at once, as a power cut does."""

    def start(self, names: Iterable[str]) -> None:
        """Start nodes that do not run; do not wait for them."""

    def pause(self, name: str) -> None:
        """Stop a node's processes (SIGSTOP)."""

    def resume(self, name: str) -> None:
        """Let them go on."""

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Drop all packets from the first to the second of each pair."""

    def heal(self) -> None:
        """Undo all cuts."""

    def fill(self, name: str) -> None:
        """Leave no free block on a node's disk."""

    def empty(self, name: str) -> None:
        """Undo that."""


class LabSite:
    """The nodes of a lab."""

    def __init__(self, lab: ClusterLab) -> None:
        self._lab = lab

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

    def fill(self, name: str) -> None:
        """Fill the file system of a node's state, which must be its own."""
        fill_disk(self._lab.place.node(name).state)

    def empty(self, name: str) -> None:
        """Give the space back."""
        empty_disk(self._lab.place.node(name).state)


_FILLER = "drill-filler"
_BLOCK = bytes(1 << 16)


def fill_disk(directory: Path) -> None:
    """Write a file until the file system of a directory has no free block.

    Raises:
        DrillFault: it is not a file system of its own: others would suffer.
    """
    if not directory.is_mount():
        raise DrillFault(f"{directory} is no file system of its own, so it is not filled")
    with (directory / _FILLER).open("ab", buffering=0) as file:
        block = _BLOCK
        while block:
            try:
                file.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                block = block[: len(block) // 2]


def empty_disk(directory: Path) -> None:
    """Remove what `fill_disk` wrote."""
    (directory / _FILLER).unlink(missing_ok=True)
