"""Makes and removes the data of this node's snapshots, and of its backups."""

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from node.plugins.block import attach_rules, quota_rules
from node.plugins.block.backup_data import BackupData
from node.plugins.block.driver_choice import driver_named, driver_of
from node.plugins.block.drivers.driver import DriverError
from node.plugins.block.tables import Backup, Snapshot, Volume
from node.plugins.block.volume_ops import snapshot_gone_ops
from node.sdk import AnyOp, Control, Done, Reconciler, Row, Unavailable, check, delete, patch

log = logging.getLogger("hedgerow.block")

_AGAIN_S = 1.0
_NO_LEASE_S = 5.0


class SnapshotSync(Reconciler):
    """Reconciles snapshots; keys are their ids."""

    name: ClassVar[str] = "volume-snapshots"
    watches: ClassVar[tuple[type[Row], ...]] = (Snapshot,)
    resync_s: ClassVar[float] = 30.0

    def keys(self) -> Iterable[str]:
        """Return the snapshots of this node."""
        return [row.id for row in self.control.db.rows(Snapshot, node_id=self.control.node_id)]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the snapshot."""
        del row_type
        return [id]

    def reconcile(self, key: str) -> Done:
        """Look at one snapshot and take its next step."""
        row = self.control.db.get(Snapshot, key)
        if row is None or row.node_id != self.control.node_id:
            return Done()
        if not self.control.lease_valid():
            return Done(again_s=_NO_LEASE_S)
        try:
            if row.want == "absent":
                return self._remove(row)
            return self._make(row) if row.have == "" else Done()
        except Unavailable:
            return Done(again_s=_AGAIN_S)

    def _volume(self, row: Snapshot) -> Volume:
        found = self.control.db.get(Volume, row.volume_id)
        return found or Volume(id=row.volume_id, node_id=row.node_id, driver=row.driver)

    def _make(self, row: Snapshot) -> Done:
        volume = self._volume(row)
        now = self.control.clock.now_us()
        fields: dict[str, Any] = {"have": "present", "progress": "100%", "updated_at": now}
        try:
            driver_of(self.control, volume).snapshot(volume, row)
        except DriverError as error:
            log.warning("snapshot failed: %s", error.message, extra={"snapshot": row.id})
            fields = {"have": "error", "fault": error.message, "updated_at": now}
        return Done(ops=[patch(Snapshot, row.id, **fields)])

    def _remove(self, row: Snapshot) -> Done:
        if self.control.db.count(Volume, snapshot_id=row.id, job_done=0, want="present"):
            return Done(again_s=_AGAIN_S)  # it is being read
        if row.reference != "unmanage":
            try:
                driver_named(self.control, row.driver).delete_snapshot(self._volume(row), row)
            except DriverError as error:
                return Done(ops=[patch(Snapshot, row.id, fault=error.message)], again_s=30.0)
        return Done(ops=snapshot_gone_ops(row), frees=True)


class BackupSync(Reconciler):
    """Reconciles backups; keys are their ids."""

    name: ClassVar[str] = "volume-backups"
    watches: ClassVar[tuple[type[Row], ...]] = (Backup,)
    resync_s: ClassVar[float] = 30.0

    def __init__(self, control: Control) -> None:
        super().__init__(control)
        self._data = BackupData(control)

    def keys(self) -> Iterable[str]:
        """Return the backups of this node."""
        return [row.id for row in self.control.db.rows(Backup, node_id=self.control.node_id)]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the backup."""
        del row_type
        return [id]

    def reconcile(self, key: str) -> Done:
        """Look at one backup and take its next step."""
        row = self.control.db.get(Backup, key)
        if row is None or row.node_id != self.control.node_id:
            return Done()
        if not self.control.lease_valid():
            return Done(again_s=_NO_LEASE_S)
        try:
            if row.want == "absent":
                return self._remove(row)
            return self._make(row) if row.have == "" else Done()
        except Unavailable:
            return Done(again_s=_AGAIN_S)

    def _make(self, row: Backup) -> Done:
        now = self.control.clock.now_us()
        volume = self.control.db.get(Volume, row.volume_id)
        fields: dict[str, Any] = {"have": "present", "updated_at": now}
        try:
            if row.manifest_id:
                if not self._data.known(row):
                    raise DriverError("this node does not have the data of the imported backup")
            elif volume is None:
                raise DriverError("the volume is not there any more")
            else:
                fields["object_count"] = self._data.make(row, volume)
        except DriverError as error:
            log.warning("backup failed: %s", error.message, extra={"backup": row.id})
            fields = {"have": "error", "fault": error.message, "updated_at": now}
        ops: list[AnyOp] = [patch(Backup, row.id, **fields)]
        fresh = self.control.db.get(Volume, row.volume_id)
        if fresh is not None and fresh.use == "backing-up" and not row.snapshot_id:
            use = attach_rules.held_use(self.control.db, fresh)
            ops += [check(fresh), patch(Volume, fresh.id, use=use, previous_use="", updated_at=now)]
        return Done(ops=ops)

    def _remove(self, row: Backup) -> Done:
        self._data.drop(row)
        amounts = {"backups": 1, "backup_gigabytes": row.size_gib}
        ops: list[AnyOp] = [
            check(row),
            delete(Backup, row.id, must_exist=True),
            *quota_rules.give_back(row.project_id, amounts),
        ]
        return Done(ops=ops, frees=True)
