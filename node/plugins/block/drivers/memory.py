"""Volumes in memory, for tests: every promise of the Protocol but a place that guests can reach."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from node.plugins.block.drivers.driver import Connection, Data, DriverError, PoolStats, QosLimits
from node.plugins.block.tables import Snapshot, Volume
from node.sdk import Control

_GIB = 2**30
_PAGE_BYTES = 65536


class Pages:
    """The contents of one volume: pages that were written, by number."""

    def __init__(self, size_bytes: int, pages: dict[int, bytes] | None = None) -> None:
        self.size_bytes = size_bytes
        self._pages = dict(pages or {})

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there."""
        self._check(offset, length)
        first, last = offset // _PAGE_BYTES, (offset + length - 1) // _PAGE_BYTES
        empty = bytes(_PAGE_BYTES)
        whole = b"".join(self._pages.get(n, empty) for n in range(first, last + 1))
        start = offset - first * _PAGE_BYTES
        return whole[start : start + length]

    def write(self, offset: int, data: bytes) -> None:
        """Write the bytes there."""
        self._check(offset, len(data))
        while data:
            number, start = divmod(offset, _PAGE_BYTES)
            part, data = data[: _PAGE_BYTES - start], data[_PAGE_BYTES - start :]
            page = bytearray(self._pages.get(number, bytes(_PAGE_BYTES)))
            page[start : start + len(part)] = part
            self._pages[number] = bytes(page)
            offset += len(part)

    def flush(self) -> None:
        """Do nothing: memory is as safe as it gets."""

    def extents(self, offset: int, length: int) -> list[tuple[int, int, bool]]:
        """Return the pages of a range, each an extent."""
        found: list[tuple[int, int, bool]] = []
        end = offset + length
        while offset < end:
            stop = min(end, (offset // _PAGE_BYTES + 1) * _PAGE_BYTES)
            found.append((offset, stop - offset, offset // _PAGE_BYTES in self._pages))
            offset = stop
        return found

    def copy(self, size_bytes: int = 0) -> "Pages":
        """Return a copy, of another size where one is given."""
        return Pages(size_bytes or self.size_bytes, self._pages)

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self.size_bytes:
            raise DriverError(f"bytes {offset} to {offset + length} are outside of the volume")


class MemoryDriver:
    """A driver without a disk."""

    name = "memory"

    def __init__(self, total_gib: float = 1000.0) -> None:
        self.volumes: dict[str, Pages] = {}
        self.snapshots: dict[str, Pages] = {}
        self.connected: dict[str, str] = {}
        self.limits: dict[str, QosLimits] = {}
        self.left: dict[str, Pages] = {}
        self.total_gib = total_gib

    def create(self, volume: Volume) -> None:
        """Make an empty volume."""
        self.volumes.setdefault(volume.id, Pages(volume.size_gib * _GIB))

    def create_from_file(self, volume: Volume, path: Path, disk_format: str) -> None:
        """Make a volume from a disk image."""
        with tempfile.TemporaryDirectory() as directory:
            raw = Path(directory) / "raw"
            argv = ["qemu-img", "convert", "-f", disk_format, "-O", "raw", str(path), str(raw)]
            done = subprocess.run(argv, check=False, capture_output=True, text=True)
            if done.returncode:
                raise DriverError(f"the image cannot be read: {done.stderr.strip()}")
            pages = Pages(volume.size_gib * _GIB)
            data = raw.read_bytes()
            if len(data) > pages.size_bytes:
                raise DriverError("the image is larger than the volume")
            pages.write(0, data)
        self.volumes.setdefault(volume.id, pages)

    def clone(self, volume: Volume, source: Volume) -> None:
        """Copy a volume."""
        pages = self._of(source).copy(volume.size_gib * _GIB)
        self.volumes.setdefault(volume.id, pages)

    def create_from_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Copy a snapshot."""
        pages = self._of(snapshot).copy(volume.size_gib * _GIB)
        self.volumes.setdefault(volume.id, pages)

    def delete(self, volume: Volume) -> None:
        """Drop a volume."""
        self.volumes.pop(volume.id, None)
        self.limits.pop(volume.id, None)

    def extend(self, volume: Volume, size_gib: int) -> None:
        """Make a volume larger."""
        pages = self._of(volume)
        pages.size_bytes = max(pages.size_bytes, size_gib * _GIB)

    def snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Copy a volume."""
        self.snapshots.setdefault(snapshot.id, self._of(volume).copy())

    def delete_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Drop a snapshot."""
        del volume
        self.snapshots.pop(snapshot.id, None)

    def revert(self, volume: Volume, snapshot: Snapshot) -> None:
        """Take the contents of a snapshot."""
        self.volumes[volume.id] = self._of(snapshot).copy(self._of(volume).size_bytes)

    def connect(self, volume: Volume, node_id: str, mode: str) -> Connection:
        """Note who uses it; there is nothing behind the socket."""
        del mode
        self.connected[volume.id] = node_id
        size_bytes = self._of(volume).size_bytes
        return Connection(
            socket=Path("/nonexistent") / volume.id, export="v", size_bytes=size_bytes
        )

    def disconnect(self, volume: Volume, node_id: str) -> None:
        """Note that nobody uses it."""
        del node_id
        self.connected.pop(volume.id, None)

    @contextlib.contextmanager
    def export(self, what: Volume | Snapshot, *, writable: bool = False) -> Iterator[Data]:
        """Open the contents."""
        del writable
        yield self._of(what)

    def qos(self, volume: Volume, limits: QosLimits) -> None:
        """Note the limits."""
        self.limits[volume.id] = limits

    def stats(self) -> PoolStats:
        """Return what is left of the size that was given."""
        used = sum(pages.size_bytes for pages in self.volumes.values()) / _GIB
        return PoolStats(total_gib=self.total_gib, free_gib=max(0.0, self.total_gib - used))

    def manage(self, volume: Volume, reference: str) -> None:
        """Take what was left behind."""
        if volume.id in self.volumes:
            return
        if reference not in self.left:
            raise DriverError(f"there is no volume {reference} to manage")
        self.volumes[volume.id] = self.left.pop(reference)

    def unmanage(self, volume: Volume) -> None:
        """Leave a volume behind."""
        if volume.id in self.volumes:
            self.left[f"volume-{volume.id}"] = self.volumes.pop(volume.id)

    def manageable(self) -> list[tuple[str, int]]:
        """Return what was left behind."""
        return [(name, pages.size_bytes) for name, pages in sorted(self.left.items())]

    def used_by(self) -> list[str]:
        """Return all volumes."""
        return sorted(self.volumes)

    def teardown(self) -> None:
        """Do nothing: there are no processes."""

    def _of(self, what: Volume | Snapshot) -> Pages:
        place = self.volumes if isinstance(what, Volume) else self.snapshots
        if what.id not in place:
            raise DriverError(f"there are no data of {what.id}")
        return place[what.id]


def shared(control: Control) -> MemoryDriver:
    """Return the driver of a node: its volumes end with the process."""
    del control
    return MemoryDriver()
