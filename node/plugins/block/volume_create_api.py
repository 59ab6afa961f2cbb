"""Create volumes: empty, or from an image, a snapshot, another volume or a backup.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#create-a-volume
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.block import backend, lookup, requests, type_rules, volume_rules, volume_view
from node.plugins.block.checks import (
    LooseMetadata,
    Text255,
    is_uuid,
    positive,
    reference,
    text_or_none,
    texts,
)
from node.plugins.block.listing import boolean
from node.plugins.block.message_ops import no_backend
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import Group, Snapshot, Volume, VolumeType
from node.plugins.block.volume_ops import kept_metadata, new_volume_ops
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    ImageFacts,
    NotFound,
    Reply,
    Route,
    check,
    images_of,
    insert,
    patch,
)

_POLICY = "volume:create"
_GIB = 2**30


class NewVolume(Frozen):
    """`volume` of a create request."""

    size: int | str | None = None
    name: Text255 | None = None
    display_name: Text255 | None = None
    description: Text255 | None = None
    display_description: Text255 | None = None
    volume_type: Text255 | None = None
    availability_zone: Text255 | None = None
    metadata: LooseMetadata | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    imageRef: str | None = None  # noqa: N815 - the API's name
    image_id: str | None = None
    consistencygroup_id: str | None = None
    group_id: str | None = None
    backup_id: str | None = None
    multiattach: bool | str | None = None


class CreateBody(Frozen):
    """Body of POST /volumes."""

    volume: NewVolume
    hints: dict[str, Any] | UnsetType | None = msgspec.field(
        default=UNSET, name="OS-SCH-HNT:scheduler_hints"
    )


class Order(Frozen):
    """What a volume is made from and of, resolved."""

    size_gib: int
    source_type: str = ""
    snapshot: Snapshot | None = None
    source: Volume | None = None
    image: ImageFacts | None = None
    backup_id: str = ""
    kind: VolumeType | None = None
    node_id: str = ""
    """The only node that can take it."""
    driver: str = ""
    not_on: frozenset[str] = frozenset()


def create(ctx: Context) -> Reply:
    """Create a volume."""
    new: NewVolume = ctx.body.volume
    _check(ctx, new)

    def plan() -> tuple[list[AnyOp], Volume]:
        found = order(
            ctx,
            size=new.size,
            image_id=new.imageRef or new.image_id or "",
            snapshot_id=reference(new.snapshot_id, "snapshot_id"),
            source_id=reference(new.source_volid, "source_volid"),
            backup_id=reference(new.backup_id, "backup_id") if ctx.microversion >= (3, 47) else "",
            type_name=new.volume_type or "",
            hints=ctx.body.hints if isinstance(ctx.body.hints, dict) else {},
        )
        group = _group(ctx, new, found)
        name = new.name if new.name is not None else new.display_name
        about = new.description if new.description is not None else new.display_description
        fields: dict[str, Any] = {
            "name": text_or_none(name),
            "description": text_or_none(about),
            "metadata": texts(new.metadata or {}),
            "zone": new.availability_zone or "nova",
            "group_id": group.id if group else "",
        }
        volume, ops = planned(ctx, found, fields)
        if group is not None:
            ops += [check(group), patch(Group, group.id, updated_at=ctx.now())]
        return ops, volume

    asked = new.size if isinstance(new.size, int) else 0
    volume = requests.transact(ctx, plan, {"gigabytes": asked})
    known = volume_view.around(ctx, [volume])
    return Reply(status=202, body={"volume": volume_view.created(ctx, volume, known)})


def _check(ctx: Context, new: NewVolume) -> None:
    sources = [new.snapshot_id, new.source_volid, new.imageRef or new.image_id, new.backup_id]
    if sum(bool(source) for source in sources) > 1:
        raise BadRequest("May specify only one of snapshot, imageRef or source volume")
    if new.consistencygroup_id:
        raise NotFound(f"ConsistencyGroup {new.consistencygroup_id} could not be found.")
    if new.multiattach is not None and boolean(new.multiattach, "multiattach"):
        raise BadRequest(
            "multiattach parameter has been removed. The default behavior is to use multiattach"
            " enabled volume types. Contact your administrator to create a multiattach enabled"
            " volume type and use it to create multiattach volumes."
        )
    if new.availability_zone not in (None, "", "nova"):
        raise BadRequest(
            f"Invalid input received: Availability zone '{new.availability_zone}' is invalid."
        )
    if new.group_id and ctx.microversion < (3, 13):
        raise BadRequest("Additional properties are not allowed ('group_id' was unexpected)")


def order(  # noqa: PLR0913 - the ways to make a volume
    ctx: Context,
    *,
    size: Any,
    image_id: str = "",
    snapshot_id: str = "",
    source_id: str = "",
    backup_id: str = "",
    type_name: str = "",
    hints: dict[str, Any] | None = None,
    node_id: str = "",
) -> Order:
    """Return what a volume is made from, and how large it becomes.

    Raises:
        BadRequest: 400.
        NotFound: 404, a source or the type is not there.
    """
    size_gib = positive(size, "size") if size not in (None, "") else 0
    found = Order(size_gib=size_gib, node_id=node_id)
    if snapshot_id:
        found = _from_snapshot(ctx, found, snapshot_id)
    elif source_id:
        found = _from_volume(ctx, found, source_id)
    elif image_id:
        found = _from_image(ctx, found, image_id)
    elif backup_id:
        found = _from_backup(ctx, found, backup_id)
    if not found.size_gib:
        raise BadRequest("Invalid input received: 'size' parameter must be provided")
    source = found.snapshot or found.source
    if type_name:
        kind: VolumeType | None = lookup.volume_type(ctx, type_name)
    elif source is not None and source.type_id:
        kind = ctx.db.get(VolumeType, source.type_id)
    elif found.image is not None and "cinder_img_volume_type" in found.image.properties:
        kind = lookup.volume_type(ctx, found.image.properties["cinder_img_volume_type"])
    else:
        kind = type_rules.default_of(ctx.db, ctx.project_id)
    type_rules.check_size(kind, found.size_gib)
    type_rules.check_encryption(kind)
    return msgspec.structs.replace(found, kind=kind, not_on=_hinted(ctx, hints or {}))


def _from_snapshot(ctx: Context, found: Order, snapshot_id: str) -> Order:
    row = lookup.snapshot(ctx, snapshot_id)
    if volume_rules.snapshot_status(row) != "available":
        raise BadRequest(f"Invalid snapshot: Snapshot {row.id} must be available.")
    size_gib = _at_least(found.size_gib, row.size_gib, "snapshot")
    return msgspec.structs.replace(
        found,
        size_gib=size_gib,
        snapshot=row,
        source_type="snapshot",
        node_id=row.node_id,
        driver=row.driver,
    )


def _from_volume(ctx: Context, found: Order, source_id: str) -> Order:
    row = lookup.volume(ctx, source_id)
    if volume_rules.status(row) not in ("available", "in-use"):
        raise BadRequest("Invalid volume: Source volume must be available or in-use to be cloned.")
    size_gib = _at_least(found.size_gib, row.size_gib, "source volume")
    return msgspec.structs.replace(
        found,
        size_gib=size_gib,
        source=row,
        source_type="volume",
        node_id=row.node_id,
        driver=row.driver,
    )


def _at_least(size_gib: int, source_gib: int, what: str) -> int:
    if size_gib and size_gib < source_gib:
        raise BadRequest(
            f"Invalid input received: Volume size '{size_gib}'GB cannot be smaller than original"
            f" {what} size {source_gib}GB. They must be >= original {what} size."
        )
    return size_gib or source_gib


def _from_image(ctx: Context, found: Order, image_id: str) -> Order:
    image_id = image_id.rpartition("/")[2]
    if not is_uuid(image_id):
        raise BadRequest("Invalid imageRef provided.")
    facts = images_of(ctx.hook).facts(ctx.db, image_id)
    visible = facts is not None and (
        ctx.token.is_admin
        or facts.visibility in ("public", "community")
        or ctx.project_id in (facts.project_id, *facts.members)
    )
    if facts is None or not visible:
        raise BadRequest(
            f"Invalid image identifier or unable to access requested image {image_id}."
        )
    if facts.status != "active":
        raise BadRequest(f"Invalid input received: Image {image_id} is not active.")
    least = max(facts.min_disk_gib, -(-max(facts.size_bytes, facts.virtual_size_bytes) // _GIB))
    if found.size_gib < facts.min_disk_gib:
        raise BadRequest(
            f"Invalid input received: Volume size {found.size_gib}GB cannot be smaller than the"
            f" image minDisk size {facts.min_disk_gib}GB."
        )
    if found.size_gib < least:
        raise BadRequest(
            f"Invalid input received: Size of specified image {least}GB is larger than volume"
            f" size {found.size_gib}GB."
        )
    return msgspec.structs.replace(found, image=facts, source_type="image")


def _from_backup(ctx: Context, found: Order, backup_id: str) -> Order:
    row = lookup.backup(ctx, backup_id)
    if volume_rules.backup_status(row) != "available":
        raise BadRequest(f"Invalid backup: Backup {row.id} must be available.")
    size_gib = _at_least(found.size_gib, row.size_gib, "backup")
    return msgspec.structs.replace(
        found, size_gib=size_gib, backup_id=row.id, source_type="backup", node_id=row.node_id
    )


def _hinted(ctx: Context, hints: dict[str, Any]) -> frozenset[str]:
    """Return the nodes that a volume must not be on, by the hint different_host."""
    others = hints.get("different_host", [])
    ids = [others] if isinstance(others, str) else others if isinstance(others, list) else []
    rows = [ctx.db.get(Volume, str(one)) for one in ids]
    return frozenset(row.node_id for row in rows if row is not None)


def _group(ctx: Context, new: NewVolume, found: Order) -> Group | None:
    group_id = reference(new.group_id, "group_id")
    if not group_id:
        return None
    group = lookup.group(ctx, group_id)
    if found.kind is None or found.kind.id not in group.type_ids:
        raise BadRequest(
            f"Invalid input received: Volume type of the volume is not supported by group {group_id}"
        )
    return group


def planned(ctx: Context, found: Order, fields: dict[str, Any]) -> tuple[Volume, list[AnyOp]]:
    """Return the row of a new volume and the operations that store it: in error where no pool takes it."""
    section = ctx.config.section(BlockSection)
    pool = backend.choose(
        backend.pools(ctx.db, ctx.config),
        section,
        found.size_gib,
        kind=found.kind,
        node_id=found.node_id,
        not_on=found.not_on,
    )
    source = found.snapshot or found.source
    origin = found.source
    if found.snapshot is not None:
        origin = ctx.db.get(Volume, found.snapshot.volume_id)
    kind = found.kind
    volume = Volume(
        id=ctx.ids.uuid(),
        created_at=ctx.now(),
        updated_at=ctx.now(),
        project_id=ctx.project_id,
        user_id=ctx.token.user_id,
        want="present",
        size_gib=found.size_gib,
        type_id=kind.id if kind else "",
        node_id=pool.node_id if pool else "",
        driver=(found.driver or pool.driver) if pool else "",
        multiattach=kind is not None and volume_rules.is_true(kind.extra_specs.get("multiattach")),
        encrypted=kind is not None and bool(kind.encryption),
        source_type=found.source_type,
        snapshot_id=found.snapshot.id if found.snapshot else "",
        source_volume_id=found.source.id if found.source else "",
        image_id=found.image.id if found.image else "",
        backup_id=found.backup_id,
        bootable=found.image is not None or (origin is not None and origin.bootable),
        image_metadata=_image_metadata(found.image)
        if found.image
        else dict(origin.image_metadata)
        if origin
        else {},
        **fields,
    )
    ops: list[AnyOp] = []
    if pool is None:
        volume = msgspec.structs.replace(
            volume, have="error", job_done=1, fault="No valid backend was found."
        )
        ops.append(insert(no_backend(ctx, volume)))
    ops = new_volume_ops(ctx.db, ctx.config, volume, ops)
    if source is not None:  # it must not go while it is being read
        ops += [check(source), patch(type(source), source.id, want=source.want)]
    return volume, ops


def _image_metadata(image: ImageFacts | None) -> dict[str, str]:
    if image is None:
        return {}
    return kept_metadata(
        {
            **image.properties,
            "image_id": image.id,
            "image_name": image.name,
            "checksum": image.checksum,
            "container_format": image.container_format,
            "disk_format": image.disk_format,
            "min_disk": str(image.min_disk_gib),
            "min_ram": str(image.min_ram_mib),
            "size": str(image.size_bytes),
        }
    )


ROUTES = (
    Route(
        method="POST",
        path="/v3/volumes",
        handler=create,
        policy=_POLICY,
        body=CreateBody,
        status=202,
    ),
)
