"""How volumes are held for servers and hosts: the operations on attachments, and what they refuse."""

from typing import Any

import msgspec

from node.plugins.block import volume_rules
from node.plugins.block.tables import Volume, VolumeAttachment
from node.plugins.block.volume_ops import changed, use_of, with_change, without
from node.sdk import AnyOp, BadRequest, Conflict, Reader

_MODES = {True: "ro", False: "rw"}


def check_free(db: Reader, volume: Volume, server_id: str) -> None:
    """Refuse a volume that cannot be held for one more.

    Raises:
        BadRequest: 400, in Cinder's words.
    """
    now = volume_rules.status(volume)
    shared = volume.multiattach and now in ("in-use", "reserved", "attaching", "detaching")
    if now not in ("available", "downloading") and not shared:
        raise BadRequest(
            f"Invalid volume: Volume {volume.id} status must be available or downloading to reserve,"
            f" but the current status is {now}."
        )
    if server_id and shared:
        for row in db.rows(VolumeAttachment, volume_id=volume.id, server_id=server_id):
            if row.status in ("attached", "attaching", "reserved"):
                raise BadRequest(
                    f"Invalid volume: Volume {volume.id} is attached to {server_id} already."
                )


def reserve(db: Reader, volume: Volume, wished: VolumeAttachment, now_us: int) -> list[AnyOp]:
    """Return the operations that hold a volume by a new attachment.

    Raises:
        BadRequest: 400, it is not free, or it may only be read.
    """
    check_free(db, volume, wished.server_id)
    if volume.read_only and wished.mode == "rw":
        wished = changed(wished, mode="ro")
    row = msgspec.structs.replace(
        wished,
        volume_id=volume.id,
        project_id=volume.project_id,
        created_at=now_us,
        updated_at=now_us,
    )
    return with_change(db, volume, row, now_us)


def set_status(
    db: Reader, volume: Volume, row: VolumeAttachment, status: str, now_us: int, **fields: Any
) -> list[AnyOp]:
    """Return the operations that move an attachment on."""
    more = {"attached_at": now_us} if status == "attached" and not row.attached_at else {}
    after = changed(row, status=status, updated_at=now_us, **more, **fields)
    return with_change(db, volume, after, now_us)


def check_not_used(row: VolumeAttachment) -> None:
    """Refuse to end an attachment under a server that uses it: compute must take it out of the guest first.

    Raises:
        Conflict: 409, in Cinder's words.
    """
    if row.server_id and row.node_id and not row.connector and row.status != "reserved":
        raise Conflict(f"Detach volume from instance {row.server_id} using the Compute API")


def end(
    db: Reader, volume: Volume, row: VolumeAttachment, now_us: int, **fields: Any
) -> list[AnyOp]:
    """Return the operations that end an attachment."""
    return without(db, volume, row.id, now_us, **fields)


def mode_of(*, read_only: bool) -> str:
    """Return the mode of an attachment."""
    return _MODES[read_only]


def held_use(db: Reader, volume: Volume) -> str:
    """Return what the attachments of a volume make of its use."""
    return use_of(db.rows(VolumeAttachment, volume_id=volume.id))
