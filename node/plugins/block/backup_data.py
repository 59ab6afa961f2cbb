"""Copies volumes into backups and back.

The volume is read from a snapshot that lives as long as the copy, so a backup is of one moment. An incremental backup
reads all of it too, but stores only pieces that no backup has yet.
"""

from node.plugins.block.backup_store import BackupStore, Manifest
from node.plugins.block.driver_choice import driver_of
from node.plugins.block.drivers.driver import Data, DriverError
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import Backup, Snapshot, Volume
from node.sdk import Control


class BackupData:
    """The data of this node's backups."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._store = BackupStore(control.config.state_dir / "block" / "backups")
        self._piece_bytes = control.config.section(BlockSection).backup_chunk_kib << 10

    def make(self, backup: Backup, volume: Volume) -> int:
        """Make a backup; return how many pieces it has of its own.

        Raises:
            DriverError: it cannot be made.
        """
        driver = driver_of(self._control, volume)
        given = self._control.db.get(Snapshot, backup.snapshot_id) if backup.snapshot_id else None
        if backup.snapshot_id and given is None:
            raise DriverError("The snapshot is not there any more")
        moment = given or Snapshot(
            id=backup.id,
            volume_id=volume.id,
            node_id=volume.node_id,
            size_gib=volume.size_gib,
            driver=volume.driver,
        )
        if given is None:
            driver.snapshot(volume, moment)
        try:
            with self._store.working(), driver.export(moment) as data:
                manifest, new = self._copied(data)
                self._store.keep(backup.id, manifest)
        finally:
            if given is None:
                driver.delete_snapshot(volume, moment)
        return new if backup.incremental else len(set(manifest.pieces.values()))

    def _copied(self, data: Data) -> tuple[Manifest, int]:
        pieces: dict[int, str] = {}
        new = 0
        size = self._piece_bytes
        for offset, length, has_data in data.extents(0, data.size_bytes):
            if not has_data:
                continue
            for number in range(offset // size, (offset + length - 1) // size + 1):
                if number in pieces:
                    continue
                piece = data.read(number * size, min(size, data.size_bytes - number * size))
                if piece.count(0) == len(piece):
                    continue
                pieces[number], is_new = self._store.put(piece)
                new += is_new
        return Manifest(size_bytes=data.size_bytes, piece_bytes=size, pieces=pieces), new

    def known(self, backup: Backup) -> bool:
        """Return whether this node has the data of a backup."""
        return self._store.manifest(backup.manifest_id or backup.id) is not None

    def restore(self, backup: Backup, volume: Volume) -> None:
        """Write a backup into a volume that nobody uses; what it does not hold becomes zeros.

        Raises:
            DriverError: the backup is damaged.
        """
        manifest = self._store.manifest(backup.manifest_id or backup.id)
        if manifest is None:
            raise DriverError(f"This node does not have the data of backup {backup.id}")
        size = manifest.piece_bytes
        with driver_of(self._control, volume).export(volume, writable=True) as data:
            for offset, length, has_data in data.extents(0, data.size_bytes):
                if has_data:
                    self._clear(data, manifest, offset, length)
            for number, name in manifest.pieces.items():
                data.write(number * size, self._store.get(name))
            data.flush()

    def _clear(self, data: Data, manifest: Manifest, offset: int, length: int) -> None:
        """Overwrite with zeros what was in the volume and is not in the backup."""
        size = manifest.piece_bytes
        for number in range(offset // size, (offset + length - 1) // size + 1):
            if number not in manifest.pieces:
                begin = number * size
                data.write(begin, bytes(min(size, data.size_bytes - begin)))

    def drop(self, backup: Backup) -> None:
        """Remove a backup's data, unless another row reads them too."""
        manifest_id = backup.manifest_id or backup.id
        for row in self._control.db.rows(Backup, node_id=backup.node_id):
            if row.id != backup.id and (row.manifest_id or row.id) == manifest_id:
                return
        self._store.drop(manifest_id)
