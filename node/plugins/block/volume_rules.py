"""What a volume's and a snapshot's columns mean in Cinder's words. Pure functions.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volumes-volumes
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from node.plugins.block.tables import Backup, GroupSnapshot, Snapshot, Volume
from node.sdk import BadRequest

JOB_STATUS: Mapping[str, str] = MappingProxyType(
    {
        "extend": "extending",
        "retype": "retyping",
        "revert": "reverting",
        "restore": "restoring-backup",
        "upload": "uploading",
    }
)
"""Status while a job of that kind is outstanding; others do not show."""
FAILED_JOB: Mapping[str, str] = MappingProxyType(
    {"extend": "error_extending", "restore": "error_restoring", "create": "error"}
)
"""What a volume has when a job of that kind failed; other jobs leave it as it was."""
STATUSES = frozenset(
    {
        "creating", "available", "deleting", "error", "error_deleting", "error_managing", "managing",
        "attaching", "detaching", "in-use", "maintenance", "restoring-backup", "error_restoring",
        "reserved", "awaiting-transfer", "backing-up", "error_backing-up", "error_extending",
        "downloading", "uploading", "retyping", "extending",
    }
)  # fmt: skip
"""What os-reset_status takes."""


def is_busy(volume: Volume) -> bool:
    """Return whether the node still owes the outcome of a job."""
    return volume.job_done < volume.job


def status(volume: Volume) -> str:
    """Return the API's status of a volume."""
    if volume.override:
        return volume.override
    if volume.want == "absent":
        return "error_deleting" if volume.fault else "deleting"
    if is_busy(volume):
        if volume.job_kind == "create":
            return volume.job_step or "creating"
        if volume.job_kind in JOB_STATUS:
            return JOB_STATUS[volume.job_kind]
    elif volume.have == "":
        return "error"
    if volume.have not in ("", "present"):
        return volume.have
    return volume.use or "available"


def snapshot_status(snapshot: Snapshot) -> str:
    """Return the API's status of a snapshot."""
    if snapshot.override:
        return snapshot.override
    if snapshot.want == "absent":
        return "error_deleting" if snapshot.fault else "deleting"
    return {"": "creating", "present": "available"}.get(snapshot.have, snapshot.have)


def backup_status(backup: Backup) -> str:
    """Return the API's status of a backup."""
    if backup.override:
        return backup.override
    if backup.want == "absent":
        return "error_deleting" if backup.fault else "deleting"
    if backup.restoring_to:
        return "restoring"
    return {"": "creating", "present": "available"}.get(backup.have, backup.have)


def group_snapshot_status(row: GroupSnapshot, members: Sequence[Snapshot]) -> str:
    """Return the API's status of a group snapshot: what its members have together."""
    if row.override:
        return row.override
    found = {snapshot_status(member) for member in members}
    for one in ("error", "error_deleting", "deleting", "creating"):
        if one in found:
            return one
    return "available"


def check_status(volume: Volume, allowed: Sequence[str], doing: str) -> None:
    """Refuse what a volume's status does not allow.

    Raises:
        BadRequest: 400, in Cinder's words.
    """
    now = status(volume)
    if now not in allowed or (is_busy(volume) and not volume.override):
        names = ", ".join(allowed)
        raise BadRequest(
            f"Invalid volume: Volume {volume.id} status must be {names} to {doing},"
            f" but current status is: {now}."
        )


def next_job(volume: Volume, kind: str, now_us: int, **data: str) -> dict[str, Any]:
    """Return the columns that give a volume its next job."""
    return {
        "job": volume.job + 1,
        "job_kind": kind,
        "job_data": data,
        "override": "",
        "fault": "",
        "updated_at": now_us,
    }


def is_true(text: str | None) -> bool:
    """Return whether an extra spec says yes: `<is> True`."""
    return (text or "").replace("<is>", "").strip().lower() in ("true", "1", "yes", "on")
