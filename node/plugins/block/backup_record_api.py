"""Records of backups: what this cloud needs to know a backup again whose row was lost.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#export-a-backup
"""

import base64
import binascii
from typing import Any

import msgspec

from node.plugins.block import lookup, quota_rules, requests, volume_rules
from node.plugins.block.backup_api import brief
from node.plugins.block.checks import Text255, is_uuid
from node.plugins.block.tables import Backup
from node.sdk import AnyOp, BadRequest, Context, Frozen, NodeRow, Reply, Route, insert

SERVICE = "cinder.backup.drivers.hedgerow.HedgerowBackupDriver"
"""What an exported record says that it is of, in the form of Cinder's drivers."""


class Record(Frozen):
    """`backup-record` of an import request."""

    backup_service: Text255
    backup_url: str


class ImportBody(Frozen):
    """Body of POST import_record."""

    record: Record = msgspec.field(name="backup-record")


class Exported(Frozen):
    """What an exported record holds."""

    id: str
    size: int
    volume_id: str = ""
    display_name: str | None = None
    display_description: str | None = None
    container: str | None = None
    object_count: int = 0
    manifest_id: str = ""
    node: str = ""
    data_at: int = 0


def export_record(ctx: Context, backup_id: str) -> dict[str, Any]:
    """Return what another cloud, or this one later, needs to know of a backup."""
    row = lookup.backup(ctx, backup_id, "backup:export-import")
    if volume_rules.backup_status(row) != "available":
        raise BadRequest("Invalid backup: Backup status must be available.")
    record = Exported(
        id=row.id,
        size=row.size_gib,
        volume_id=row.volume_id,
        display_name=row.name,
        display_description=row.description,
        container=row.container,
        object_count=row.object_count,
        manifest_id=row.manifest_id or row.id,
        node=row.node_id,
        data_at=row.data_at,
    )
    url = base64.b64encode(msgspec.json.encode(record)).decode()
    return {"backup-record": {"backup_service": SERVICE, "backup_url": url}}


def import_record(ctx: Context) -> Reply:
    """Know a backup again by its record."""
    body: Record = ctx.body.record
    if body.backup_service != SERVICE:
        raise BadRequest(
            f"Invalid input received: backup service {body.backup_service} is not known here."
        )
    try:
        record = msgspec.json.decode(
            base64.b64decode(body.backup_url, validate=True), type=Exported
        )
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise BadRequest("Invalid input received: Can't parse backup record.") from None
    if (
        not is_uuid(record.id)
        or not is_uuid(record.manifest_id)
        or record.size < 1
        or record.size > 1 << 31
    ):
        raise BadRequest("Invalid input received: Can't parse backup record.")
    known = ctx.db.get(Backup, record.id)
    if known is not None:
        raise BadRequest("Invalid backup: Backup already exists in database.")
    node = ctx.db.get(NodeRow, record.node)
    if node is None:
        raise BadRequest(
            "Invalid input received: the node that has the backup is not of this cloud."
        )
    row = Backup(
        id=record.id,
        created_at=ctx.now(),
        updated_at=ctx.now(),
        project_id=ctx.project_id,
        user_id=ctx.token.user_id,
        node_id=node.id,
        want="present",
        have="",
        volume_id=record.volume_id,
        manifest_id=record.manifest_id,
        name=record.display_name,
        description=record.display_description,
        container=record.container or "volumebackups",
        zone="nova",
        size_gib=record.size,
        object_count=record.object_count,
        data_at=record.data_at,
    )
    amounts = {"backups": 1, "backup_gigabytes": row.size_gib}

    def plan() -> tuple[list[AnyOp], None]:
        return [insert(row), *quota_rules.take(ctx.db, ctx.config, row.project_id, amounts)], None

    requests.transact(ctx, plan)
    return Reply(status=201, body={"backup": brief(ctx, row)})


_ONE = "/v3/backups/{backup_id}"

ROUTES = (
    Route(method="GET", path=f"{_ONE}/export_record", handler=export_record, policy="any"),
    Route(
        method="POST",
        path="/v3/backups/import_record",
        handler=import_record,
        policy="backup:import",
        body=ImportBody,
        status=201,
    ),
)
