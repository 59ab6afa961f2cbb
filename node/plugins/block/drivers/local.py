"""The driver `local`: a volume is one sparse raw file of one node, and only this node can use it.

A snapshot is a whole copy of the file: blocks are shared where the file system can. A volume in use is served by one
qemu-storage-daemon, which outlives this process; its listening socket is kept over a change of size, so that guests
wait for the next process rather than fail.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from node.plugins.block.drivers.driver import (
    Connection,
    Data,
    DriverError,
    PoolStats,
    QosLimits,
)
from node.plugins.block.drivers.file_data import FileData, copy, settle
from node.plugins.block.drivers.replicated.head_process import (
    EXPORT,
    TOP,
    HeadProcess,
    Member,
)
from node.plugins.block.drivers.replicated.layers import LayerError, Layers, layer_name
from node.plugins.block.drivers.replicated.process import StorageDaemonError
from node.plugins.block.drivers.replicated.qmp import QmpError, QmpLost
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import Snapshot, Volume
from node.sdk import Control, Unavailable

_GIB = 1 << 30
_COPY_S = 3600.0


class LocalDriver:
    """The driver of one node."""

    name = "local"

    def __init__(self, control: Control) -> None:
        self._control = control
        self._section = control.config.section(BlockSection)
        self._root = control.config.state_dir / "block" / "local"
        self._volumes = Layers(self._root / "volumes")
        self._snapshots = Layers(self._root / "snapshots")
        self._left = self._root / "left"
        self._heads: dict[str, HeadProcess] = {}
        self._limits: dict[str, QosLimits] = {}

    # -- volumes

    def create(self, volume: Volume) -> None:
        """Make an empty file."""
        self._volumes.make([_name(volume)], volume.size_gib * _GIB)

    def create_from_file(self, volume: Volume, path: Path, disk_format: str) -> None:
        """Make a file with the contents of a disk image."""
        target = self._file(volume)
        if target.exists():
            return
        aside = f"image-{volume.id}.raw"
        try:
            self._volumes.take(aside, path, disk_format, volume.size_gib * _GIB)
        except LayerError as error:
            self._volumes.remove(aside)
            raise DriverError(f"The image cannot be copied: {error.message}") from error
        if self._volumes.size_bytes(aside) > volume.size_gib * _GIB:
            self._volumes.remove(aside)
            raise DriverError("The image is larger than the volume")
        self._volumes.path(aside).rename(target)

    def clone(self, volume: Volume, source: Volume) -> None:
        """Copy another volume's file as it is at one moment."""
        self._copy_volume(source, self._file(volume), volume.size_gib)

    def create_from_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Copy a snapshot's file."""
        self._copy(self._file(snapshot), self._file(volume), volume.size_gib)

    def delete(self, volume: Volume) -> None:
        """End what serves it, and remove the file."""
        self.disconnect(volume, self._control.node_id)
        self._volumes.remove(_name(volume))
        self._limits.pop(volume.id, None)

    def extend(self, volume: Volume, size_gib: int) -> None:
        """Make the file larger; a process that serves it is replaced by one that sees the new size."""
        self._must(volume)
        head = self._head(volume.id)
        running = head.running()
        if running is not None and running.size_bytes < size_gib * _GIB:
            head.kill()
        if head.running() is None:
            self._volumes.grow(_name(volume), size_gib * _GIB)
        if running is not None and head.running() is None:
            self._serve(volume.id, running.epoch + 1, read_only=running.read_only)

    def snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Copy the file as it is at one moment."""
        self._copy_volume(volume, self._file(snapshot), 0)

    def delete_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Remove a snapshot's file."""
        del volume
        self._snapshots.remove(_name(snapshot))

    def revert(self, volume: Volume, snapshot: Snapshot) -> None:
        """Put a copy of the snapshot's file in the place of the volume's."""
        size_bytes = self._must(volume).stat().st_size
        aside = self._volumes.path(f"revert-{volume.id}.raw")
        aside.unlink(missing_ok=True)
        self._copy(self._file(snapshot), aside, 0)
        os.truncate(aside, size_bytes)
        settle(aside, self._file(volume))

    # -- use

    def connect(self, volume: Volume, node_id: str, mode: str) -> Connection:
        """Serve the file, unless that is done already."""
        if node_id != volume.node_id:
            raise DriverError(f"Volume {volume.id} is a file of another node")
        size_bytes = self._must(volume).stat().st_size
        head = self._head(volume.id)
        running = head.running()
        read_only = mode == "ro"
        if running is None:
            self._serve(volume.id, 1, read_only=read_only)
        elif running.read_only and not read_only:
            head.kill()
            self._serve(volume.id, running.epoch + 1, read_only=False)
        return Connection(socket=head.socket_path, export=EXPORT, size_bytes=size_bytes)

    def disconnect(self, volume: Volume, node_id: str) -> None:
        """End the process that serves the file."""
        del node_id
        head = self._head(volume.id)
        head.close()
        self._heads.pop(volume.id, None)
        for name in ("head.json", "head.log", "head.pid", "head.qmp"):
            (head.directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            head.directory.rmdir()

    @contextlib.contextmanager
    def export(self, what: Volume | Snapshot, *, writable: bool = False) -> Iterator[Data]:
        """Open the file: what serves it goes through the page cache as well."""
        data = FileData(self._file(what), writable=writable)
        try:
            yield data
        finally:
            data.close()

    def qos(self, volume: Volume, limits: QosLimits) -> None:
        """Put limits on what serves the file, now and later."""
        before = self._limits.get(volume.id)
        self._limits[volume.id] = limits
        head = self._head(volume.id)
        running = head.running()
        if running is not None and before != limits and _throttle(limits) != running.limits:
            head.kill()
            self._serve(volume.id, running.epoch + 1, read_only=running.read_only)

    # -- the node

    def stats(self) -> PoolStats:
        """Return the size of the file system, and what is free beyond the reserve."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.statvfs(self._root)
        total = found.f_blocks * found.f_frsize
        free = found.f_bavail * found.f_frsize - total * self._section.reserve_percent // 100
        return PoolStats(total_gib=total / _GIB, free_gib=max(0, free) / _GIB)

    def manage(self, volume: Volume, reference: str) -> None:
        """Move a raw file that was left into the volume's place, or copy one from elsewhere."""
        if self._file(volume).exists():
            return
        self._volumes.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not reference.startswith("/"):
            path = self._left / reference
            if "/" in reference or not path.is_file():
                raise DriverError(f"There is no volume {reference} to manage")
            path.rename(self._file(volume))
            return
        with contextlib.closing(FileData(Path(reference), writable=False)) as data:
            disk_format = "qcow2" if data.read(0, min(4, data.size_bytes)) == b"QFI\xfb" else "raw"
        self.create_from_file(volume, Path(reference), disk_format)

    def unmanage(self, volume: Volume) -> None:
        """Move the file to those that were left."""
        self.disconnect(volume, self._control.node_id)
        self._left.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._file(volume).rename(self._left / f"volume-{volume.id}")

    def manageable(self) -> list[tuple[str, int]]:
        """Return the files that were left."""
        if not self._left.is_dir():
            return []
        return [(path.name, path.stat().st_size) for path in sorted(self._left.iterdir())]

    def used_by(self) -> list[str]:
        """Return the volumes that have a file or a process here."""
        heads = self._root / "heads"
        served = {entry.name for entry in heads.iterdir()} if heads.is_dir() else set()
        return sorted({name.rpartition(".")[0] for name in self._volumes.names()} | served)

    def teardown(self) -> None:
        """End every process that serves a file."""
        heads = self._root / "heads"
        for entry in heads.iterdir() if heads.is_dir() else ():
            self._head(entry.name).daemon.kill()

    # -- inside

    def _head(self, volume_id: str) -> HeadProcess:
        found = self._heads.get(volume_id)
        if found is None:
            made = HeadProcess(self._root / "heads" / volume_id, self._volumes)
            found = self._heads.setdefault(volume_id, made)
        return found

    def _file(self, what: Volume | Snapshot) -> Path:
        place = self._volumes if isinstance(what, Volume) else self._snapshots
        return place.path(_name(what))

    def _must(self, volume: Volume) -> Path:
        path = self._file(volume)
        if not path.exists():
            raise DriverError(f"There are no data of volume {volume.id} on this node")
        return path

    def _serve(self, volume_id: str, epoch: int, *, read_only: bool) -> None:
        layer = layer_name(volume_id, is_overlay=False)
        limits = _throttle(self._limits.get(volume_id, QosLimits()))
        member = Member(node_id=self._control.node_id)
        size_bytes = self._volumes.size_bytes(layer)
        head = self._head(volume_id)
        try:
            head.start(epoch, [member], [layer], size_bytes, limits=limits, read_only=read_only)
        except StorageDaemonError as error:
            raise Unavailable(f"Volume {volume_id} cannot be served now: {error}") from error

    def _copy_volume(self, source: Volume, target: Path, size_gib: int) -> None:
        if target.exists():
            return
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._must(source)
        head = self._head(source.id)
        if head.running() is None:
            self._copy(self._file(source), target, size_gib)
            return
        aside = target.with_suffix(".new")
        aside.unlink(missing_ok=True)
        with aside.open("wb") as file:
            file.truncate(self._file(source).stat().st_size)
        self._copy_running(head, aside)
        if size_gib:
            os.truncate(aside, max(aside.stat().st_size, size_gib * _GIB))
        settle(aside, target)

    def _copy_running(self, head: HeadProcess, target: Path) -> None:
        """Have the process that serves a volume copy it: as it was when the copy began."""
        name = f"copy-{target.stem}"[:31]
        node = {
            "driver": "raw",
            "node-name": name,
            "discard": "unmap",
            "detect-zeroes": "unmap",
            "file": {"driver": "file", "filename": str(target), "discard": "unmap"},
        }
        job = {
            "job-id": name,
            "device": TOP,
            "target": name,
            "sync": "full",
            "auto-dismiss": False,
        }
        try:
            with head.daemon.qmp() as qmp:
                qmp.ask("blockdev-add", node)
                try:
                    qmp.ask("blockdev-backup", job)
                    qmp.wait_event(
                        "JOB_STATUS_CHANGE",
                        lambda data: data.get("id") == name and data.get("status") == "concluded",
                        _COPY_S,
                    )
                    done = [one for one in qmp.ask("query-jobs") if one["id"] == name]
                    qmp.ask("job-dismiss", {"id": name})
                    if done and done[0].get("error"):
                        raise DriverError(f"The copy failed: {done[0]['error']}")
                finally:
                    with contextlib.suppress(QmpError, QmpLost):
                        qmp.ask("blockdev-del", {"node-name": name})
        except QmpError as error:
            raise DriverError(f"The copy failed: {error}") from error
        except QmpLost as error:
            raise Unavailable(f"The volume does not answer now: {error}") from error

    def _copy(self, source: Path, target: Path, size_gib: int) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not source.exists():
            raise DriverError(f"There are no data of {source.stem} on this node")
        copy(source, target)
        if size_gib and target.stat().st_size < size_gib * _GIB:
            os.truncate(target, size_gib * _GIB)


def _name(what: Volume | Snapshot) -> str:
    return layer_name(what.id, is_overlay=False)


def _throttle(limits: QosLimits) -> dict[str, int]:
    """Return limits by the names of QEMU's throttle groups."""
    found = {
        "iops-total": limits.total_iops,
        "iops-read": limits.read_iops,
        "iops-write": limits.write_iops,
        "bps-total": limits.total_bytes,
        "bps-read": limits.read_bytes,
        "bps-write": limits.write_bytes,
    }
    return {name: value for name, value in found.items() if value}
