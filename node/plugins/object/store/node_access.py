"""What a store asks of one node's disks, be it this node's or another's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from node.plugins.object.store.contract import Listing, Query, Usage
from node.plugins.object.store.index_ops import IndexOp, Result
from node.plugins.object.store.record import Record
from node.sdk import Frozen


class Sink(Protocol):
    """A fragment on its way to a disk."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes. Raises Unavailable or DiskFull."""

    def commit(self) -> None:
        """Give it its name, durably. Raises Unavailable or DiskFull."""

    def abort(self) -> None:
        """Forget it. Harmless after `commit`."""


class Source(Protocol):
    """A fragment that is open for reading."""

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes that are what they were. Raises Unavailable, or Rotten."""

    def close(self) -> None:
        """Close it."""


class Change(Frozen, array_like=True):
    """A name that was changed, and all that the disk has of it now."""

    seq: int
    container_id: str
    name: str
    records: Sequence[Record] = ()
    blobs: Mapping[str, bytes] = {}
    is_closed: bool = False


class NodeAccess(Protocol):
    """The disks of one node. Every method raises Unavailable where the node, or the disk, is out of reach."""

    def write(
        self, disk_ids: Sequence[str], ops: Sequence[IndexOp], layout: int
    ) -> Mapping[str, Sequence[Result]]:
        """Carry out operations on the indexes of disks; return when they are durable on those that answer `ok`."""

    def start_write(
        self, disk_ids: Sequence[str], ops: Sequence[IndexOp], layout: int
    ) -> Callable[[], Mapping[str, Sequence[Result]]]:
        """Begin the same; what is returned waits for the outcome."""

    def records(self, disk_id: str, container_id: str, name: str) -> Sequence[Record]:
        """Return all that an index has of a name, tombstones too."""

    def latest(self, disk_id: str, container_id: str, name: str) -> Record | None:
        """Return the newest version of a name as one index has it, a marker included."""

    def list(self, disk_id: str, container_id: str, query: Query) -> Listing:
        """Return a page as one index has it."""

    def usage(self, disk_id: str, container_ids: Sequence[str]) -> Sequence[tuple[Usage, int]]:
        """Return how much is in containers as one index has it, and the stamp of its last change."""

    def blob(self, disk_id: str, id: str) -> bytes | None:
        """Return inline bytes; None where the disk does not have them whole."""

    def open_fragment(self, disk_id: str, name: str) -> Source:
        """Open a fragment. Raises NotFound, or Rotten."""

    def create_fragment(self, disk_id: str, name: str) -> Sink:
        """Begin a fragment."""

    def ask(self, disk_id: str, question: str, argument: Any) -> Any:
        """Ask what healing needs: see `questions`."""
