"""Where a drill takes place: nodes that can be hurt, lost and replaced. Tests have a site of bare logs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from node.types import Frozen

Ability = Literal["disks", "clocks", "members"]
"""What not every site has: disks of the nodes' own, clocks of their own, and ways for nodes to come and go."""


class Seat(Frozen):
    """One node, as clients see it."""

    name: str
    state_dir: Path
    """Holds `core.sock` and `state.db`, which are reached from outside of the node's machine too."""
    host: str = ""
    """Address of its API."""


class Site(Protocol):
    """Nodes and what can be done to them. Names of nodes throughout."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """Return what can be done here beyond killing, stopping and cutting off."""

    def seats(self) -> Sequence[Seat]:
        """Return the nodes that there are now."""

    def life(self, name: str) -> int:
        """Return a number that grows with each loss of power: what a node shows may be older afterwards.

        It is odd while there is no disk to look at.
        """

    def kill(self, names: Iterable[str]) -> None:
        """Kill all processes of nodes at once."""

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

    # -- disks

    def fill(self, name: str) -> None:
        """Leave no free block on a node's disk."""

    def empty(self, name: str) -> None:
        """Undo that."""

    def freeze(self, name: str) -> None:
        """Let everything that a node writes wait."""

    def thaw(self, name: str) -> None:
        """Undo that."""

    def break_disk(self, name: str) -> None:
        """Let a node's disk refuse everything until it loses its power."""

    def lose_power(self, names: Iterable[str]) -> None:
        """End nodes at once with all that they had not synced; `start` starts them again."""

    # -- clocks

    def shift_clock(self, name: str, seconds: float) -> None:
        """Make a node's wall clock wrong by so much from now on."""

    # -- members

    def dismiss(self, name: str) -> None:
        """Have a node removed for good, as an administrator does, and wait until it is no member."""

    def burn(self, name: str) -> None:
        """Lose a node with all that it had; the others do not know yet."""

    def engage(self, lost: str) -> None:
        """Have another node join, wait until it takes writes, and have a lost one removed, if any."""
