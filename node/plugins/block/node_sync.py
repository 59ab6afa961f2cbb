"""What a node tells of its block storage, and what it keeps running.

`BlockServiceSync` keeps the figures of the node's pool;
`AttachmentSync` wakes the servers of volumes that became larger.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from node.plugins.block.driver_choice import chosen, driver_named
from node.plugins.block.left_ops import left_ops
from node.plugins.block.tables import BlockService, Message, Volume, VolumeAttachment
from node.sdk import AnyOp, Done, Reconciler, Row, delete, insert, patch

_FRESH_S = 30.0
_STEP_GIB = 0.25


class BlockServiceSync(Reconciler):
    """One key: this node."""

    name: ClassVar[str] = "block-service"
    watches: ClassVar[tuple[type[Row], ...]] = (Volume,)
    resync_s: ClassVar[float] = _FRESH_S
    workers: ClassVar[int] = 1

    def keys(self) -> Iterable[str]:
        """Return this node."""
        return [self.control.node_id]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return this node: what its volumes have together changed."""
        del row_type, id
        return [self.control.node_id]

    def reconcile(self, key: str) -> Done:
        """Report figures that changed by more than a little, and end messages that are old."""
        control = self.control
        driver = driver_named(control, chosen(control))
        stats = driver.stats()
        volumes = control.db.rows(Volume, node_id=key, order_by=())
        figures: dict[str, Any] = {
            "driver": driver.name,
            "total_gib": round(stats.total_gib, 2),
            "free_gib": round(stats.free_gib, 2),
            "allocated_gib": float(sum(row.size_gib for row in volumes)),
            "shared": stats.shared,
        }
        now = control.clock.now_us()
        name = f"cinder-volume/{key}"
        row = control.db.get(BlockService, name)
        ops: list[AnyOp] = []
        if row is None:
            made = BlockService(id=name, node_id=key, created_at=now, updated_at=now, **figures)
            ops.append(insert(made))
        elif _differs(row, figures):
            ops.append(patch(BlockService, name, updated_at=now, **figures))
        ops += left_ops(control, driver)
        old = control.db.rows(Message, where=[("expires_at", "<", now)], limit=100)
        ops += [delete(Message, one.id) for one in old]
        return Done(ops=ops)


def _differs(row: BlockService, figures: dict[str, Any]) -> bool:
    for name, value in figures.items():
        before = getattr(row, name)
        if isinstance(value, float):
            if abs(before - value) >= _STEP_GIB:
                return True
        elif before != value:
            return True
    return False


class AttachmentSync(Reconciler):
    """Keys are volumes that guests of this node use."""

    name: ClassVar[str] = "volume-attachments"
    watches: ClassVar[tuple[type[Row], ...]] = (Volume, VolumeAttachment)
    workers: ClassVar[int] = 1

    def keys(self) -> Iterable[str]:
        """Return the volumes that guests of this node use."""
        rows = self.control.db.rows(VolumeAttachment, node_id=self.control.node_id)
        return sorted({row.volume_id for row in rows})

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the volume."""
        if row_type is Volume:
            return [id]
        row = self.control.db.get(VolumeAttachment, id)
        return [row.volume_id] if row is not None else []

    def reconcile(self, key: str) -> Done:
        """Have compute look at the servers that use a volume."""
        own = self.control.node_id
        for row in self.control.db.rows(VolumeAttachment, volume_id=key, node_id=own):
            if row.server_id:
                self.control.wake("servers", row.server_id)
        return Done()
