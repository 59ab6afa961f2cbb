"""Operations on volumes that the API, compute and the node share. They only build; whoever calls them commits.

A volume's `use` follows its attachments: in-use while any is attached, else what the newest of them is about.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from node.plugins.block import quota_rules
from node.plugins.block.tables import Snapshot, Volume, VolumeAttachment
from node.sdk import AnyOp, Config, Reader, check, delete, insert, patch

_BY_STATUS = {
    "attached": "in-use",
    "reserved": "reserved",
    "attaching": "attaching",
    "detaching": "detaching",
}
_ORDER = ("attaching", "detaching", "attached", "reserved")


def use_of(attachments: Sequence[VolumeAttachment]) -> str:
    """Return what a volume is held for by its attachments."""
    found = {row.status for row in attachments}
    for one in _ORDER:
        if one in found:
            return _BY_STATUS[one]
    return ""


def with_change(
    db: Reader, volume: Volume, changed: VolumeAttachment, now_us: int, **fields: Any
) -> list[AnyOp]:
    """Return the operations that store an attachment, new or not, and what that makes of its volume."""
    others = [row for row in db.rows(VolumeAttachment, volume_id=volume.id) if row.id != changed.id]
    known = db.get(VolumeAttachment, changed.id)
    ops: list[AnyOp] = [check(volume)]
    if known is None:
        ops.append(insert(changed))
    else:
        columns = {
            name: getattr(changed, name)
            for name in VolumeAttachment.__struct_fields__
            if name not in ("id", "rev") and getattr(changed, name) != getattr(known, name)
        }
        ops += [check(known), patch(VolumeAttachment, changed.id, **columns)]
    ops.append(
        patch(
            Volume,
            volume.id,
            use=use_of([*others, changed]),
            override="",
            updated_at=now_us,
            **fields,
        )
    )
    return ops


def without(db: Reader, volume: Volume, gone_id: str, now_us: int, **fields: Any) -> list[AnyOp]:
    """Return the operations that remove an attachment and free its volume when it was the last."""
    others = [row for row in db.rows(VolumeAttachment, volume_id=volume.id) if row.id != gone_id]
    use = use_of(others)
    if not others and volume.use in ("backing-up", "maintenance", "awaiting-transfer"):
        use = volume.use
    return [
        check(volume),
        delete(VolumeAttachment, gone_id, must_exist=True),
        patch(Volume, volume.id, use=use, override="", updated_at=now_us, **fields),
    ]


def changed(row: VolumeAttachment, **fields: Any) -> VolumeAttachment:
    """Return an attachment with other values."""
    return msgspec.structs.replace(row, **fields)


def new_volume_ops(
    db: Reader, config: Config, volume: Volume, others: Sequence[AnyOp] = ()
) -> list[AnyOp]:
    """Return the operations that store a new volume and count it."""
    amounts = {"volumes": 1, "gigabytes": volume.size_gib}
    return [
        insert(volume),
        *quota_rules.take(db, config, volume.project_id, amounts, volume.type_id),
        *others,
    ]


def gone_ops(volume: Volume) -> list[AnyOp]:
    """Return the operations that end a volume for good: commit them with frees=True."""
    amounts = {"volumes": 1, "gigabytes": volume.size_gib}
    return [
        check(volume),
        delete(Volume, volume.id, must_exist=True),
        *quota_rules.give_back(volume.project_id, amounts, volume.type_id),
    ]


def snapshot_gone_ops(snapshot: Snapshot) -> list[AnyOp]:
    """Return the operations that end a snapshot for good: commit them with frees=True."""
    amounts = {"snapshots": 1, "gigabytes": snapshot.size_gib}
    return [
        check(snapshot),
        delete(Snapshot, snapshot.id, must_exist=True),
        *quota_rules.give_back(snapshot.project_id, amounts, snapshot.type_id),
    ]


def new_snapshot_ops(db: Reader, config: Config, snapshot: Snapshot) -> list[AnyOp]:
    """Return the operations that store a new snapshot and count it."""
    amounts = {"snapshots": 1, "gigabytes": snapshot.size_gib}
    return [
        insert(snapshot),
        *quota_rules.take(db, config, snapshot.project_id, amounts, snapshot.type_id),
    ]


def kept_metadata(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the image metadata that a volume keeps: texts only."""
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}
