"""The volumes of this cloud as compute sees them."""

from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.block import (
    attach_rules,
    lookup,
    qos_rules,
    snapshot_api,
    volume_create_api,
    volume_rules,
)
from node.plugins.block.driver_choice import driver_of
from node.plugins.block.drivers.driver import DriverError, QosLimits
from node.plugins.block.tables import BlockService, Snapshot, Volume, VolumeAttachment
from node.plugins.block.volume_ops import new_snapshot_ops
from node.sdk import (
    AnyOp,
    AttachmentState,
    AttachWish,
    Conflict,
    Context,
    Control,
    NodeRow,
    Reader,
    Unavailable,
    VolumeFacts,
    VolumeLink,
    VolumePlan,
    VolumeSnapshotFacts,
    VolumeWish,
    insert,
    patch,
)

_PENDING = frozenset({"creating", "downloading", "restoring-backup"})


class StoredVolumes:
    """Volumes over rows and the drivers of the nodes."""

    def facts(self, db: Reader, volume_id: str) -> VolumeFacts | None:
        """Return what compute must know of a volume."""
        row = db.get(Volume, volume_id)
        if row is None:
            return None
        return VolumeFacts(
            id=row.id,
            name=row.name or "",
            project_id=row.project_id,
            status=volume_rules.status(row),
            size_gib=row.size_gib,
            bootable=row.bootable,
            multiattach=row.multiattach,
            encrypted=row.encrypted,
            zone=row.zone,
            node_id=row.node_id if _is_local(db, row) else "",
            type_id=row.type_id,
            image=row.image_metadata,
        )

    def snapshot_facts(self, db: Reader, snapshot_id: str) -> VolumeSnapshotFacts | None:
        """Return what compute must know of a snapshot."""
        row = db.get(Snapshot, snapshot_id)
        if row is None:
            return None
        return VolumeSnapshotFacts(
            id=row.id,
            name=row.name or "",
            project_id=row.project_id,
            volume_id=row.volume_id,
            status=volume_rules.snapshot_status(row),
            size_gib=row.size_gib,
        )

    def attachments(
        self, db: Reader, server_ids: Sequence[str]
    ) -> Mapping[str, list[AttachmentState]]:
        """Return the attachments of servers by server id."""
        found: dict[str, list[AttachmentState]] = {one: [] for one in server_ids}
        rows = db.rows(VolumeAttachment, server_id=list(server_ids)) if server_ids else []
        for row in rows:
            state = AttachmentState(
                id=row.id,
                volume_id=row.volume_id,
                server_id=row.server_id,
                status=row.status,
                device=row.device,
            )
            found[row.server_id].append(state)
        return found

    def plan_create(
        self, ctx: Context, wish: VolumeWish, attach: AttachWish | None = None
    ) -> VolumePlan:
        """Plan a new volume, reserved for a server at once where `attach` says which."""
        order = volume_create_api.order(
            ctx,
            size=wish.size_gib or None,
            image_id=wish.image_id,
            snapshot_id=wish.snapshot_id,
            type_name=wish.type,
            node_id=wish.node_id,
        )
        row, ops = volume_create_api.planned(ctx, order, {"name": wish.name or ""})
        if row.have == "error":
            raise Conflict("No valid backend was found for the volume of the server.")
        if attach is None:
            return VolumePlan(id=row.id, ops=tuple(ops))
        held = _attachment(ctx, attach, row)
        ops += [patch(Volume, row.id, use="reserved"), insert(held)]
        return VolumePlan(id=row.id, ops=tuple(ops))

    def plan_attach(self, ctx: Context, volume_id: str, wish: AttachWish) -> Sequence[AnyOp]:
        """Return the operations that reserve a volume for a server."""
        row = lookup.volume(ctx, volume_id, "volume:attachment_create")
        return attach_rules.reserve(ctx.db, row, _attachment(ctx, wish, row), ctx.now())

    def plan_detach(self, db: Reader, attachment_id: str, now_us: int) -> Sequence[AnyOp]:
        """Return the operations that begin to end an attachment."""
        row = db.get(VolumeAttachment, attachment_id)
        volume = db.get(Volume, row.volume_id) if row else None
        if row is None or volume is None or row.status == "detaching":
            return ()
        return attach_rules.set_status(db, volume, row, "detaching", now_us)

    def plan_snapshot(self, ctx: Context, volume_id: str, name: str) -> VolumePlan:
        """Plan a snapshot of a volume, in use or not."""
        volume = lookup.volume(ctx, volume_id, "volume:create_snapshot")
        volume_rules.check_status(volume, ("available", "in-use"), "snapshot")
        row = snapshot_api.of_volume(ctx, volume, {"name": name})
        ops = [*snapshot_api.held(volume), *new_snapshot_ops(ctx.db, ctx.config, row)]
        return VolumePlan(id=row.id, ops=tuple(ops))

    def connect(self, control: Control, attachment_id: str) -> VolumeLink:
        """Make a volume's data reachable on this node."""
        row = control.db.get(VolumeAttachment, attachment_id)
        volume = control.db.get(Volume, row.volume_id) if row else None
        if row is None or volume is None:
            raise Conflict(f"Attachment {attachment_id} is not there any more")
        now = volume_rules.status(volume)
        if volume.job_kind == "create" and now in _PENDING and volume_rules.is_busy(volume):
            raise Unavailable(f"Volume {volume.id} is not made yet")
        if volume.have in ("", "error"):
            raise Conflict(f"Volume {volume.id} cannot be used: {volume.fault or now}")
        if _is_local(control.db, volume) and volume.node_id != control.node_id:
            raise Conflict(f"The data of volume {volume.id} are on another node, and only there")
        try:
            driver = driver_of(control, volume)
            limits = qos_rules.limits_of(control.db, volume.type_id, volume.size_gib)
            driver.qos(volume, limits or QosLimits())
            link = driver.connect(volume, control.node_id, row.mode)
        except DriverError as error:
            raise Conflict(error.message) from error
        return VolumeLink(
            socket=link.socket,
            export=link.export,
            size_bytes=link.size_bytes,
            read_only=row.mode == "ro",
            shared=volume.multiattach,
        )

    def disconnect(self, control: Control, attachment_id: str) -> None:
        """Let go of a volume on this node, unless another guest here uses it too."""
        row = control.db.get(VolumeAttachment, attachment_id)
        volume = control.db.get(Volume, row.volume_id) if row else None
        if row is None or volume is None:
            return
        others = control.db.rows(VolumeAttachment, volume_id=volume.id, node_id=control.node_id)
        if any(one.id != row.id for one in others):
            return
        driver_of(control, volume).disconnect(volume, control.node_id)

    def attached_ops(
        self, db: Reader, attachment_id: str, node_id: str, now_us: int
    ) -> Sequence[AnyOp]:
        """Return the operations by which a node reports that the guest has the volume."""
        row = db.get(VolumeAttachment, attachment_id)
        volume = db.get(Volume, row.volume_id) if row else None
        if row is None or volume is None or row.status == "detaching":
            return ()
        node = db.get(NodeRow, node_id)
        fields: dict[str, Any] = {"node_id": node_id, "host": node.name if node else node_id}
        if row.status == "attached" and row.node_id == node_id:
            return ()
        return attach_rules.set_status(db, volume, row, "attached", now_us, **fields)

    def detached_ops(
        self, db: Reader, attachment_id: str, now_us: int, *, delete: bool = False
    ) -> Sequence[AnyOp]:
        """Return the operations that end an attachment, and its volume where `delete` says so."""
        row = db.get(VolumeAttachment, attachment_id)
        volume = db.get(Volume, row.volume_id) if row else None
        if row is None or volume is None:
            return ()
        alone = db.count(VolumeAttachment, volume_id=volume.id) == 1
        kept = bool(db.count(Snapshot, volume_id=volume.id))
        fields = {"want": "absent"} if delete and alone and not kept else {}
        return attach_rules.end(db, volume, row, now_us, **fields)


def _is_local(db: Reader, volume: Volume) -> bool:
    """Return whether only the node that owns a volume can use it."""
    service = db.get(BlockService, f"cinder-volume/{volume.node_id}")
    return service is None or not service.shared


def _attachment(ctx: Context, wish: AttachWish, volume: Volume) -> VolumeAttachment:
    node = ctx.db.get(NodeRow, wish.node_id) if wish.node_id else None
    read_only = wish.read_only or volume.read_only
    return VolumeAttachment(
        id=wish.attachment_id,
        created_at=ctx.now(),
        updated_at=ctx.now(),
        volume_id=volume.id,
        project_id=volume.project_id,
        server_id=wish.server_id,
        node_id=wish.node_id,
        host=node.name if node else "",
        device=wish.device,
        mode=attach_rules.mode_of(read_only=read_only),
        status="reserved" if not node else "attaching",
    )
