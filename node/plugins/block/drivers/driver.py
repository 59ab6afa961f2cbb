"""What block storage asks of a driver, small enough for a fake (`drivers.memory`).

Every verb is idempotent: what is already so is no error, and a verb that was cut off by a crash is called again with
the same arguments until it returns. All are called on the node that owns the row (`volume.node_id`), from several
threads but never twice at once for the same row; `connect` and `disconnect` on the node that uses the volume.
A verb that cannot be done raises DriverError, and the row gets its message as its fault; one that cannot be done
*now* raises Unavailable and is called again. `node.testing.driver_suite` holds a driver against all of this.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from node.plugins.block.tables import Snapshot, Volume
from node.sdk import Control, Frozen, NodeError


class DriverError(NodeError):
    """The driver says no: trying again as it is would not help."""


class PoolStats(Frozen):
    """What a node's driver has to give."""

    total_gib: float
    free_gib: float
    """What can still be written, less the reserve."""
    shared: bool = False
    """Whether its volumes can be used on every node."""


class Connection(Frozen):
    """How a guest of this node reaches a volume: an NBD export on a unix socket, raw contents."""

    socket: Path
    export: str
    size_bytes: int


class QosLimits(Frozen):
    """Limits of one volume; 0 is none."""

    total_iops: int = 0
    read_iops: int = 0
    write_iops: int = 0
    total_bytes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    """Bytes a second."""


class Data(Protocol):
    """The raw contents of a volume or a snapshot, open on this node."""

    size_bytes: int

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there; exactly as many as asked for."""

    def write(self, offset: int, data: bytes) -> None:
        """Write the bytes there; all zeros may be stored as a hole."""

    def flush(self) -> None:
        """Return once everything written will outlive a power cut."""

    def extents(self, offset: int, length: int) -> list[tuple[int, int, bool]]:
        """Return what the range consists of, in order: (offset, length, whether it may hold anything but zeros)."""


class Driver(Protocol):
    """Keeps the data of volumes."""

    name: str

    def create(self, volume: Volume) -> None:
        """Make a volume of `size_gib`, all zeros."""

    def create_from_file(self, volume: Volume, path: Path, disk_format: str) -> None:
        """Make a volume that begins with the contents of a local disk image, the rest zeros.

        Raises:
            DriverError: the contents are larger than the volume, or cannot be read.
        """

    def clone(self, volume: Volume, source: Volume) -> None:
        """Make a volume with the present contents of another one, which may be in use and smaller."""

    def create_from_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Make a volume with the contents of a snapshot, which may be smaller."""

    def delete(self, volume: Volume) -> None:
        """Remove a volume and all that the driver knows of it. Its snapshots are gone before."""

    def extend(self, volume: Volume, size_gib: int) -> None:
        """Make a volume larger, in use or not; guests find the new size when they reconnect."""

    def snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Keep the contents of a volume, in use or not, as they are at one moment within this call."""

    def delete_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Remove a snapshot."""

    def revert(self, volume: Volume, snapshot: Snapshot) -> None:
        """Give a volume that nobody uses the contents of a snapshot of it; its size stays."""

    def connect(self, volume: Volume, node_id: str, mode: str) -> Connection:
        """Make the volume reachable on this node (`node_id`), mode rw or ro; also again after a crash or a reboot.

        Two attachments of one volume on one node share the connection; the socket path stays the same for the volume's
        life, and whoever connects to it while the driver is at work waits rather than fails.
        """

    def disconnect(self, volume: Volume, node_id: str) -> None:
        """End what `connect` made on this node: no guest here uses the volume any more."""

    def export(
        self, what: Volume | Snapshot, *, writable: bool = False
    ) -> AbstractContextManager[Data]:
        """Open the contents on this node for a backup, a restore or an upload.

        A volume may be in use while it is only read; then reads are of different moments: take a snapshot first.
        """

    def qos(self, volume: Volume, limits: QosLimits) -> None:
        """Put limits on a volume, now and whenever it is connected on this node."""

    def stats(self) -> PoolStats:
        """Return what this node has to give. Must return at once."""

    def manage(self, volume: Volume, reference: str) -> None:
        """Take over a file (an absolute path, or a name that `manageable` gave) as a volume's data.

        Raises:
            DriverError: there is no such thing, or this driver cannot.
        """

    def unmanage(self, volume: Volume) -> None:
        """Forget a volume but leave its data where `manageable` finds them."""

    def manageable(self) -> list[tuple[str, int]]:
        """Return what `manage` could take over: (reference, size in bytes)."""

    def used_by(self) -> list[str]:
        """Return the ids of all volumes of which this node has data or processes."""

    def teardown(self) -> None:
        """End every process of this driver on this node; data stay. Harmless when repeated."""


Factory = Callable[[Control], Driver]
"""What makes a driver: named in `[block] driver` as `module:function` when it is a stranger's."""
