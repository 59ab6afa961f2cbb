"""What block storage begins with: a volume type for volumes that name none, and one for group snapshots."""

import uuid

from node.plugins.block.tables import DEFAULT_TYPE, VolumeType
from node.sdk import AnyOp, Reader, insert

_NAMESPACE = uuid.UUID("6ad11a5e-0c1f-4f53-a40e-51c3b0a5d300")


def seeds(db: Reader, now_us: int) -> list[AnyOp]:
    """Return the operations."""
    if db.one(VolumeType, name=DEFAULT_TYPE) is not None:
        return []
    row = VolumeType(
        id=str(uuid.uuid5(_NAMESPACE, DEFAULT_TYPE)),
        created_at=now_us,
        updated_at=now_us,
        name=DEFAULT_TYPE,
        description="Default Volume Type",
    )
    return [insert(row)]
