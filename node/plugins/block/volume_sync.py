"""Makes the data of this node's volumes what their rows say.

A volume that goes waits until its snapshots are gone. Jobs that fail leave the volume as it was, but for those whose
failure shows (`volume_rules.FAILED_JOB`).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from node.plugins.block import volume_rules
from node.plugins.block.driver_choice import chosen, driver_named, driver_of
from node.plugins.block.drivers.driver import DriverError
from node.plugins.block.left_ops import left_ops
from node.plugins.block.message_ops import message
from node.plugins.block.quota_rules import give_back
from node.plugins.block.tables import Snapshot, Volume, VolumeAttachment
from node.plugins.block.volume_jobs import JobFailed, VolumeJobs
from node.plugins.block.volume_ops import gone_ops
from node.sdk import AnyOp, Control, Done, Reconciler, Row, Unavailable, check, insert, patch

log = logging.getLogger("hedgerow.block")

_AGAIN_S = 1.0
_NO_LEASE_S = 5.0


class VolumeSync(Reconciler):
    """Reconciles volumes; keys are their ids."""

    name: ClassVar[str] = "volumes"
    watches: ClassVar[tuple[type[Row], ...]] = (Volume, Snapshot)
    resync_s: ClassVar[float] = 30.0
    workers: ClassVar[int] = 4

    def __init__(self, control: Control) -> None:
        super().__init__(control)
        self._jobs = VolumeJobs(control)

    def world(self) -> Mapping[str, Sequence[str]]:
        """Return the volumes of which this node has data."""
        return {"volumes": driver_named(self.control, chosen(self.control)).used_by()}

    def keys(self) -> Iterable[str]:
        """Return the volumes of this node."""
        return [row.id for row in self.control.db.rows(Volume, node_id=self.control.node_id)]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the volume itself, or that of a snapshot that waits for it."""
        if row_type is Volume:
            return [id]
        snapshot = self.control.db.get(Snapshot, id)
        if snapshot is not None:
            return [snapshot.volume_id]
        return [
            row.id
            for row in self.control.db.rows(Volume, node_id=self.control.node_id, want="absent")
        ]

    def reconcile(self, key: str) -> Done:
        """Look at one volume and take its next step."""
        row = self.control.db.get(Volume, key)
        if row is None or row.node_id != self.control.node_id:
            return Done()
        if not self.control.lease_valid():
            return Done(again_s=_NO_LEASE_S)
        if row.want == "absent":
            return self._remove(row)
        if volume_rules.is_busy(row):
            return self._work(row)
        return Done()

    def _remove(self, row: Volume) -> Done:
        db = self.control.db
        if db.count(Snapshot, volume_id=row.id) or db.count(VolumeAttachment, volume_id=row.id):
            return Done()  # looked at again when one of them goes
        driver = driver_of(self.control, row)
        unmanaged = row.job_data.get("unmanage") == "yes"
        try:
            if unmanaged:
                driver.unmanage(row)
            else:
                driver.delete(row)
        except DriverError as error:
            log.warning("volume cannot be deleted: %s", error.message, extra={"volume": row.id})
            return Done(ops=[check(row), patch(Volume, row.id, fault=error.message)], again_s=30.0)
        log.info("volume removed", extra={"volume": row.id})
        ops = gone_ops(row)
        if unmanaged:
            ops += left_ops(self.control, driver)
        return Done(ops=ops, frees=True)

    def _work(self, row: Volume) -> Done:
        try:
            fields, more = self._jobs.work(row)
        except Unavailable as error:
            log.info("volume waits: %s", error.message, extra={"volume": row.id})
            return Done(again_s=_AGAIN_S)
        except (DriverError, JobFailed) as error:
            return self._failed(row, error.message)
        log.info("job %s done", row.job_kind, extra={"volume": row.id})
        now = self.control.clock.now_us()
        done: dict[str, Any] = {
            "job_done": row.job,
            "job_step": "",
            "have": "present",
            "fault": "",
            "updated_at": now,
            **fields,
        }
        return Done(ops=[patch(Volume, row.id, **done), *more])

    def _failed(self, row: Volume, text: str) -> Done:
        log.warning("job %s failed: %s", row.job_kind, text, extra={"volume": row.id})
        now = self.control.clock.now_us()
        have = volume_rules.FAILED_JOB.get(row.job_kind, row.have)
        fields = {"job_done": row.job, "job_step": "", "have": have, "fault": text}
        ops: list[AnyOp] = [patch(Volume, row.id, **fields, updated_at=now)]
        if row.job_kind == "extend":
            grown = int(row.job_data["size_gib"]) - row.size_gib
            ops += give_back(row.project_id, {"gigabytes": grown}, row.type_id)
        if row.job_kind == "migrate":
            ops.append(patch(Volume, row.id, migration_status="error", use=""))
        ops += self._jobs.given_up(row)
        told = message(
            self.control.ids,
            self.control.config,
            now,
            project_id=row.project_id,
            resource_type="VOLUME",
            resource_id=row.id,
            action=row.job_kind,
            detail="driver",
            text=text,
        )
        return Done(ops=[*ops, insert(told)])
