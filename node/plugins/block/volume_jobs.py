"""What the node does for each kind of job of a volume. Each may be cut off anywhere and is done again."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.plugins.block import qos_rules
from node.plugins.block.backup_data import BackupData
from node.plugins.block.driver_choice import driver_of
from node.plugins.block.export_file import write_file
from node.plugins.block.left_ops import left_ops
from node.plugins.block.tables import Backup, Snapshot, Volume, VolumeType
from node.plugins.block.volume_rules import is_true
from node.sdk import (
    AnyOp,
    Control,
    ImageChange,
    NodeError,
    NotFound,
    images_of,
    patch,
)

Outcome = tuple[dict[str, Any], list[AnyOp]]
"""Columns of the volume that the job changed, and further operations."""


class JobFailed(NodeError):
    """The job cannot be done."""


class VolumeJobs:
    """Does the jobs of this node's volumes."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._verbs: dict[str, Callable[[Volume], Outcome]] = {
            "create": self._create,
            "extend": self._extend,
            "retype": self._retype,
            "revert": self._revert,
            "restore": self._restore,
            "upload": self._upload,
            "migrate": self._migrate,
            "reimage": self._reimage,
        }

    def work(self, row: Volume) -> Outcome:
        """Do the volume's job.

        Raises:
            DriverError: it failed for good; so does JobFailed.
            Unavailable: 503, try again soon.
        """
        verb = self._verbs.get(row.job_kind)
        if verb is None:
            raise JobFailed(f"this node does not know the job {row.job_kind}")
        return verb(row)

    def given_up(self, row: Volume) -> list[AnyOp]:
        """Return the operations that end what else a failed job was about."""
        if row.job_kind == "upload":
            image_id = row.job_data.get("image_id", "")
            images_of(self._control.hook).change(self._control, image_id, ImageChange())
        backup_id = row.job_data.get("backup_id", "") or row.backup_id
        backup = self._control.db.get(Backup, backup_id) if backup_id else None
        if backup is not None and backup.restoring_to == row.id:
            return [patch(Backup, backup.id, restoring_to="")]
        return []

    def _create(self, row: Volume) -> Outcome:
        driver = driver_of(self._control, row)
        more: list[AnyOp] = []
        fields: dict[str, Any] = {}
        match row.source_type:
            case "image":
                self._from_image(row)
            case "snapshot":
                snapshot = self._must(Snapshot, row.snapshot_id)
                driver.create_from_snapshot(row, snapshot)
            case "volume":
                driver.clone(row, self._must(Volume, row.source_volume_id))
            case "managed":
                driver.manage(row, row.reference)
                more = left_ops(self._control, driver)
            case "backup":
                driver.create(row)
                fields, more = self._fill(row, row.backup_id)
            case _:
                driver.create(row)
        self._limit(row, row.type_id)
        return fields, more

    def _from_image(self, row: Volume) -> None:
        if row.job_step != "downloading":
            self._control.commit([patch(Volume, row.id, job_step="downloading")])
        try:
            source = images_of(self._control.hook).open(self._control, row.image_id)
        except NotFound as error:
            raise JobFailed(error.message) from error
        if source is None:
            raise JobFailed(f"Image {row.image_id} is not there any more")
        try:
            driver_of(self._control, row).create_from_file(row, source.path, source.disk_format)
        finally:
            source.release()

    def _extend(self, row: Volume) -> Outcome:
        size_gib = int(row.job_data["size_gib"])
        driver_of(self._control, row).extend(row, size_gib)
        return {"size_gib": size_gib}, []

    def _retype(self, row: Volume) -> Outcome:
        kind = self._control.db.get(VolumeType, row.job_data["type_id"])
        if kind is None:
            raise JobFailed("the volume type is not there any more")
        self._limit(row, kind.id)
        return {"type_id": kind.id, "multiattach": is_true(kind.extra_specs.get("multiattach"))}, []

    def _revert(self, row: Volume) -> Outcome:
        snapshot = self._must(Snapshot, row.job_data["snapshot_id"])
        driver_of(self._control, row).revert(row, snapshot)
        return {}, []

    def _restore(self, row: Volume) -> Outcome:
        return self._fill(row, row.job_data["backup_id"])

    def _fill(self, row: Volume, backup_id: str) -> Outcome:
        backup = self._must(Backup, backup_id)
        BackupData(self._control).restore(backup, row)
        now = self._control.clock.now_us()
        fields: dict[str, Any] = {
            "metadata": {**row.metadata, **backup.volume_metadata},
            "image_metadata": {**row.image_metadata, **backup.image_metadata},
            "bootable": row.bootable or backup.bootable,
        }
        return fields, [patch(Backup, backup.id, restoring_to="", updated_at=now)]

    def _upload(self, row: Volume) -> Outcome:
        driver = driver_of(self._control, row)
        moment = Snapshot(
            id=row.job_data["image_id"],
            volume_id=row.id,
            node_id=row.node_id,
            size_gib=row.size_gib,
            driver=row.driver,
        )
        driver.snapshot(row, moment)
        try:
            place = self._control.config.state_dir / "block"
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place, prefix=".upload-") as directory:
                path = Path(directory) / "image"
                disk_format = row.job_data["disk_format"]
                with driver.export(moment) as data:
                    write_file(data, path, disk_format)
                change = ImageChange(path=path, disk_format=disk_format)
                images_of(self._control.hook).change(self._control, moment.id, change)
        finally:
            driver.delete_snapshot(row, moment)
        return {}, []

    def _migrate(self, row: Volume) -> Outcome:
        raise JobFailed(
            f"a volume of the driver {row.driver} cannot be moved to node {row.job_data['node_id']}"
        )

    def _reimage(self, row: Volume) -> Outcome:
        images = images_of(self._control.hook)
        image_id = row.job_data["image_id"]
        try:
            source = images.open(self._control, image_id)
        except NotFound as error:
            raise JobFailed(error.message) from error
        if source is None:
            raise JobFailed(f"Image {image_id} is not there any more")
        driver = driver_of(self._control, row)
        try:
            driver.delete(row)
            driver.create_from_file(row, source.path, source.disk_format)
        finally:
            source.release()
        facts = images.facts(self._control.db, image_id)
        kept = {**(facts.properties if facts else {}), "image_id": image_id}
        return {"image_metadata": kept, "bootable": True}, []

    def _limit(self, row: Volume, type_id: str) -> None:
        limits = qos_rules.limits_of(self._control.db, type_id, row.size_gib)
        if limits is not None:
            driver_of(self._control, row).qos(row, limits)

    def _must(self, row_type: Any, id: str) -> Any:
        row = self._control.db.get(row_type, id)
        if row is None:
            raise JobFailed(f"{row_type.__name__} {id} is not there any more")
        return row
