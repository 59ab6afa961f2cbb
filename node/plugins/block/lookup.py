"""Find rows for a request: what the caller may not know of is not there."""

from typing import Any, TypeVar

from node.plugins.block.tables import (
    Backup,
    Group,
    GroupSnapshot,
    GroupType,
    QosSpec,
    Snapshot,
    Volume,
    VolumeAttachment,
    VolumeType,
)
from node.sdk import Context, NodeRow, NotFound, Row

R = TypeVar("R", bound=Row)


def host_name(ctx: Context, node_id: str, driver: str) -> str:
    """Return the name of a pool in Cinder's form: host@backend#pool."""
    node = ctx.db.get(NodeRow, node_id) if node_id else None
    return f"{node.name if node else node_id}@{driver}#{driver}" if node_id else ""


def _own(ctx: Context, row_type: type[R], id: str, rule: str, what: str) -> R:
    row: Any = ctx.db.get(row_type, id)
    if row is None or not (ctx.token.is_admin or row.project_id == ctx.project_id):
        raise NotFound(f"{what} {id} could not be found.")
    if rule:
        ctx.require(rule, row)
    found: R = row
    return found


def volume(ctx: Context, volume_id: str, rule: str = "") -> Volume:
    """Return a volume that the caller may know of, and do `rule` with.

    Raises:
        NotFound: 404.
        Forbidden: 403.
    """
    return _own(ctx, Volume, volume_id, rule, "Volume")


def snapshot(ctx: Context, snapshot_id: str, rule: str = "") -> Snapshot:
    """Return a snapshot; see `volume`."""
    return _own(ctx, Snapshot, snapshot_id, rule, "Snapshot")


def backup(ctx: Context, backup_id: str, rule: str = "") -> Backup:
    """Return a backup; see `volume`."""
    return _own(ctx, Backup, backup_id, rule, "Backup")


def group(ctx: Context, group_id: str, rule: str = "") -> Group:
    """Return a group; see `volume`."""
    return _own(ctx, Group, group_id, rule, "Group")


def group_snapshot(ctx: Context, group_snapshot_id: str, rule: str = "") -> GroupSnapshot:
    """Return a group snapshot; see `volume`."""
    return _own(ctx, GroupSnapshot, group_snapshot_id, rule, "GroupSnapshot")


def attachment(ctx: Context, attachment_id: str, rule: str = "") -> VolumeAttachment:
    """Return an attachment; see `volume`."""
    row = ctx.db.get(VolumeAttachment, attachment_id)
    if row is None or not (ctx.token.is_admin or row.project_id == ctx.project_id):
        raise NotFound(f"Volume attachment could not be found with filter: id={attachment_id}.")
    if rule:
        ctx.require(rule, row)
    return row


def may_use_type(ctx: Context, row: VolumeType) -> bool:
    """Return whether the caller's project may use a volume type."""
    return row.is_public or ctx.token.is_admin or ctx.project_id in row.projects


def volume_type(ctx: Context, reference: str) -> VolumeType:
    """Return a volume type by id or name.

    Raises:
        NotFound: 404.
    """
    row = ctx.db.get(VolumeType, reference) or ctx.db.one(VolumeType, name=reference)
    if row is None or not may_use_type(ctx, row):
        raise NotFound(f"Volume type {reference} could not be found.")
    return row


def group_type(ctx: Context, reference: str) -> GroupType:
    """Return a group type by id or name.

    Raises:
        NotFound: 404.
    """
    row = ctx.db.get(GroupType, reference) or ctx.db.one(GroupType, name=reference)
    if row is None or not (row.is_public or ctx.token.is_admin):
        raise NotFound(f"Group type {reference} could not be found.")
    return row


def qos(ctx: Context, qos_id: str) -> QosSpec:
    """Return a QoS spec.

    Raises:
        NotFound: 404.
    """
    row: QosSpec = ctx.find(QosSpec, qos_id, f"No such qos_specs {qos_id}.")
    return row


def links(ctx: Context, kind: str, id: str) -> list[dict[str, str]]:
    """Return the links of a resource: `self` and `bookmark`."""
    project = f"{ctx.project_id}/" if ctx.project_id else ""
    return [
        {"rel": "self", "href": ctx.url(f"/v3/{project}{kind}/{id}")},
        {"rel": "bookmark", "href": ctx.url(f"/{project}{kind}/{id}")},
    ]
