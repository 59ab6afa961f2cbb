"""A volume as JSON, by microversion.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#show-a-volume-s-details
"""

from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.block import volume_rules
from node.plugins.block.listing import stamp
from node.plugins.block.lookup import host_name, links
from node.plugins.block.tables import Volume, VolumeAttachment, VolumeType
from node.sdk import Context, Frozen


class Around(Frozen):
    """What the views of volumes need besides their rows."""

    types: Mapping[str, str]
    """Names of volume types by id."""
    attachments: Mapping[str, list[VolumeAttachment]]
    """By volume."""


def around(ctx: Context, volumes: Sequence[Volume]) -> Around:
    """Return what the views of these volumes need."""
    found: dict[str, list[VolumeAttachment]] = {}
    if volumes:
        for row in ctx.db.rows(VolumeAttachment, volume_id=[volume.id for volume in volumes]):
            found.setdefault(row.volume_id, []).append(row)
    types = {row.id: row.name for row in ctx.db.rows(VolumeType)}
    return Around(types=types, attachments=found)


def summary(ctx: Context, volume: Volume) -> dict[str, Any]:
    """Return the entry of a list without details."""
    return {
        "id": volume.id,
        "name": volume.name,
        "links": links(ctx, "volumes", volume.id),
    }


def attachment(ctx: Context, row: VolumeAttachment) -> dict[str, Any]:
    """Return one entry of `attachments`."""
    return {
        "id": row.volume_id,
        "attachment_id": row.id,
        "volume_id": row.volume_id,
        "server_id": row.server_id or None,
        "host_name": (row.host or None) if ctx.token.is_admin else None,
        "device": row.device or None,
        "attached_at": stamp(row.attached_at),
    }


def created(ctx: Context, volume: Volume, known: Around) -> dict[str, Any]:
    """Return what an answer to create or update shows."""
    version = ctx.microversion
    view: dict[str, Any] = {
        "id": volume.id,
        "status": volume_rules.status(volume),
        "size": volume.size_gib,
        "availability_zone": volume.zone,
        "created_at": stamp(volume.created_at),
        "updated_at": stamp(volume.updated_at),
        "name": volume.name,
        "description": volume.description,
        "volume_type": known.types.get(volume.type_id),
        "snapshot_id": volume.snapshot_id or None,
        "source_volid": volume.source_volume_id or None,
        "metadata": volume.metadata,
        "links": links(ctx, "volumes", volume.id),
        "user_id": volume.user_id,
        "bootable": "true" if volume.bootable else "false",
        "encrypted": volume.encrypted,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": volume.multiattach,
        "attachments": [
            attachment(ctx, row)
            for row in known.attachments.get(volume.id, [])
            if row.status in ("attached", "detaching")
        ],
    }
    if ctx.token.is_admin:
        view["migration_status"] = volume.migration_status
    if version >= (3, 13):
        view["group_id"] = volume.group_id or None
    if version >= (3, 21) and ctx.token.is_admin:
        view["provider_id"] = None
    if version >= (3, 48):
        view["shared_targets"] = None if version >= (3, 69) else False
        view["service_uuid"] = volume.node_id or None
    if version >= (3, 61) and ctx.token.is_admin:
        view["cluster_name"] = None
    if version >= (3, 63):
        view["volume_type_id"] = volume.type_id or None
    if version >= (3, 64) and volume.encrypted:
        view["encryption_key_id"] = volume.key_id or None
    if version >= (3, 65):
        view["consumes_quota"] = True
    return view


def detail(ctx: Context, volume: Volume, known: Around) -> dict[str, Any]:
    """Return all that is shown of a volume."""
    view = created(ctx, volume, known)
    view["os-vol-tenant-attr:tenant_id"] = volume.project_id
    if ctx.token.is_admin:
        view["os-vol-host-attr:host"] = host_name(ctx, volume.node_id, volume.driver) or None
        view["os-vol-mig-status-attr:migstat"] = volume.migration_status
        view["os-vol-mig-status-attr:name_id"] = None
    if volume.image_metadata:
        view["volume_image_metadata"] = volume.image_metadata
    return view
