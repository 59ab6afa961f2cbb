"""Backups of volumes: full, incremental, restored, exported and imported.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#backups-backups
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.block import (
    listing,
    lookup,
    quota_rules,
    requests,
    volume_create_api,
    volume_rules,
)
from node.plugins.block.checks import (
    LooseMetadata,
    Text255,
    reference,
    text_or_none,
    texts,
)
from node.plugins.block.listing import boolean, stamp
from node.plugins.block.lookup import links
from node.plugins.block.tables import Backup, Snapshot, Volume
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    Reply,
    Route,
    check,
    insert,
    patch,
)

_STATUSES = ("available", "error", "creating", "deleting", "error_deleting", "restoring")
_SORT: Mapping[str, Callable[[Backup], Any]] = {
    "id": lambda row: row.id,
    "name": lambda row: row.name,
    "status": volume_rules.backup_status,
    "size": lambda row: row.size_gib,
    "volume_id": lambda row: row.volume_id,
    "created_at": lambda row: row.created_at,
    "data_timestamp": lambda row: row.data_at,
}


class New(Frozen):
    """`backup` of a create request."""

    volume_id: str
    container: Text255 | None = None
    description: Text255 | None = None
    name: Text255 | None = None
    incremental: bool | str = False
    force: bool | str = False
    snapshot_id: str | None = None
    metadata: LooseMetadata | None = None
    availability_zone: Text255 | None = None


class CreateBody(Frozen):
    """Body of POST /backups."""

    backup: New


class Change(Frozen):
    """`backup` of an update request (3.9)."""

    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    metadata: LooseMetadata | UnsetType | None = UNSET


class UpdateBody(Frozen):
    """Body of PUT /backups/{id}."""

    backup: Change


class Restore(Frozen):
    """`restore` of a restore request."""

    volume_id: str | None = None
    name: Text255 | None = None


class RestoreBody(Frozen):
    """Body of POST restore."""

    restore: Restore


class Status(Frozen):
    """Value of `os-reset_status`."""

    status: Text255


def brief(ctx: Context, row: Backup) -> dict[str, Any]:
    """Return the entry of a list without details."""
    return {"id": row.id, "name": row.name, "links": links(ctx, "backups", row.id)}


def view(ctx: Context, row: Backup) -> dict[str, Any]:
    """Return a backup as JSON."""
    dependents = ctx.db.count(Backup, parent_id=row.id)
    shown: dict[str, Any] = {
        **brief(ctx, row),
        "status": volume_rules.backup_status(row),
        "size": row.size_gib,
        "object_count": row.object_count,
        "availability_zone": row.zone,
        "container": row.container,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "description": row.description,
        "fail_reason": row.fault or None,
        "volume_id": row.volume_id,
        "is_incremental": row.incremental,
        "has_dependent_backups": dependents > 0,
        "snapshot_id": row.snapshot_id or None,
        "data_timestamp": stamp(row.data_at or row.created_at),
    }
    if ctx.microversion >= (3, 18) and ctx.token.is_admin:
        shown["os-backup-project-attr:project_id"] = row.project_id
    if ctx.microversion >= (3, 43):
        shown["metadata"] = row.metadata
    if ctx.microversion >= (3, 56):
        shown["user_id"] = row.user_id
    if ctx.microversion >= (3, 64):
        shown["encryption_key_id"] = None
    return shown


def _list(ctx: Context, shown: Callable[[Backup], dict[str, Any]]) -> dict[str, Any]:
    rows = listing.own_rows(ctx, Backup)
    for name, value in (
        ("name", lambda row: row.name or ""),
        ("status", volume_rules.backup_status),
        ("volume_id", lambda row: row.volume_id),
        ("snapshot_id", lambda row: row.snapshot_id),
    ):
        wanted = ctx.param(name)
        if wanted is not None:
            rows = [row for row in rows if value(row) == wanted]
        rows = [row for row in rows if listing.like(ctx, name, value(row)) is not False]
    found, more = listing.page(ctx, rows, key=lambda row: row.id, collection="backups", sort=_SORT)
    return {"backups": [shown(row) for row in found], **more, **listing.count_of(ctx, len(rows))}


def index(ctx: Context) -> dict[str, Any]:
    """List backups."""
    return _list(ctx, lambda row: brief(ctx, row))


def detail(ctx: Context) -> dict[str, Any]:
    """List backups with all that is shown of them."""
    return _list(ctx, lambda row: view(ctx, row))


def show(ctx: Context, backup_id: str) -> dict[str, Any]:
    """Show a backup."""
    return {"backup": view(ctx, lookup.backup(ctx, backup_id, "backup:get"))}


def create(ctx: Context) -> Reply:
    """Back a volume up, or a snapshot of it."""
    new: New = ctx.body.backup
    volume_id = reference(new.volume_id, "volume_id")
    snapshot_id = reference(new.snapshot_id, "snapshot_id")
    incremental, force = boolean(new.incremental, "incremental"), boolean(new.force, "force")

    def plan() -> tuple[list[AnyOp], Backup]:
        volume = lookup.volume(ctx, volume_id, "backup:create")
        ops: list[AnyOp] = []
        if snapshot_id:
            _check_snapshot(ctx, volume, snapshot_id)
        else:
            allowed = ("available", "in-use") if force else ("available",)
            volume_rules.check_status(volume, allowed, "back up")
            fields: dict[str, Any] = {"use": "backing-up", "previous_use": volume.use}
            fields |= {"override": "", "updated_at": ctx.now()}
            ops = [check(volume), patch(Volume, volume.id, **fields)]
        row = Backup(
            id=ctx.ids.uuid(),
            created_at=ctx.now(),
            updated_at=ctx.now(),
            project_id=volume.project_id,
            user_id=ctx.token.user_id,
            node_id=volume.node_id,
            want="present",
            volume_id=volume.id,
            snapshot_id=snapshot_id,
            parent_id=_parent(ctx, volume.id) if incremental else "",
            incremental=incremental,
            name=text_or_none(new.name),
            description=text_or_none(new.description),
            container=new.container or "volumebackups",
            zone="nova",
            size_gib=volume.size_gib,
            metadata=texts(new.metadata or {}),
            volume_metadata=volume.metadata,
            image_metadata=volume.image_metadata,
            bootable=volume.bootable,
            data_at=ctx.now(),
        )
        amounts = {"backups": 1, "backup_gigabytes": volume.size_gib}
        ops += [insert(row), *quota_rules.take(ctx.db, ctx.config, row.project_id, amounts)]
        return ops, row

    row = requests.transact(ctx, plan)
    shown = brief(ctx, row)
    if ctx.microversion >= (3, 43):
        shown["metadata"] = row.metadata
    return Reply(status=202, body={"backup": shown})


def _check_snapshot(ctx: Context, volume: Volume, snapshot_id: str) -> Snapshot:
    row = lookup.snapshot(ctx, snapshot_id)
    if row.volume_id != volume.id:
        raise BadRequest("Invalid snapshot: it is not of the volume that is to be backed up.")
    if volume_rules.snapshot_status(row) != "available":
        raise BadRequest("Invalid snapshot: Snapshot to be backed up must be available.")
    return row


def _parent(ctx: Context, volume_id: str) -> str:
    """Return the backup that an incremental one builds on: the newest of the volume."""
    done = [
        row
        for row in ctx.db.rows(Backup, volume_id=volume_id)
        if volume_rules.backup_status(row) == "available"
    ]
    if not done:
        raise BadRequest(
            "Invalid backup: No backups available to do an incremental backup. A full backup must exist."
        )
    return max(done, key=lambda row: (row.data_at, row.id)).id


def update(ctx: Context, backup_id: str) -> dict[str, Any]:
    """Change a backup's name, description, metadata (3.9)."""
    body: Change = ctx.body.backup
    fields: dict[str, Any] = {}
    for name in ("name", "description"):
        if getattr(body, name) is not UNSET:
            fields[name] = text_or_none(getattr(body, name))
    if body.metadata is not UNSET:
        if ctx.microversion < (3, 43):
            raise BadRequest("Additional properties are not allowed ('metadata' was unexpected)")
        fields["metadata"] = texts(body.metadata or {})
    if not fields:
        raise BadRequest("Missing updated parameters in request body.")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.backup(ctx, backup_id, "backup:update")
        return [check(row), patch(Backup, row.id, updated_at=ctx.now(), **fields)], None

    ctx.transact(plan)
    row = lookup.backup(ctx, backup_id)
    shown = brief(ctx, row)
    if ctx.microversion >= (3, 43):
        shown["metadata"] = row.metadata
    return {"backup": shown}


def _remove(ctx: Context, backup_id: str, rule: str, *, force: bool) -> Reply:
    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.backup(ctx, backup_id, rule)
        now = volume_rules.backup_status(row)
        if not force and now not in ("available", "error", "error_deleting"):
            raise BadRequest(
                f"Invalid backup: Backup status must be available or error, but is {now}."
            )
        if ctx.db.count(Backup, parent_id=row.id, want="present"):
            raise BadRequest("Invalid backup: Incremental backups exist for this backup.")
        fields = {"want": "absent", "override": "", "fault": "", "updated_at": ctx.now()}
        return [check(row), patch(Backup, row.id, **fields)], None

    ctx.transact(plan, frees=True)
    return Reply(status=202)


def remove(ctx: Context, backup_id: str) -> Reply:
    """Delete a backup."""
    return _remove(ctx, backup_id, "backup:delete", force=False)


def force_delete(ctx: Context, backup_id: str) -> Reply:
    """Delete a backup whatever its status."""
    rule = "volume_extension:backup_admin_actions:force_delete"
    return _remove(ctx, backup_id, rule, force=True)


def restore(ctx: Context, backup_id: str) -> Reply:
    """Write a backup into a volume, a new one where none is named."""
    body: Restore = ctx.body.restore
    volume_id = reference(body.volume_id, "volume_id")

    def plan() -> tuple[list[AnyOp], Volume]:
        row = lookup.backup(ctx, backup_id, "backup:restore")
        if volume_rules.backup_status(row) != "available":
            raise BadRequest("Invalid backup: Backup status must be available.")
        if volume_id:
            volume, ops = _into(ctx, row, lookup.volume(ctx, volume_id))
        else:
            order = volume_create_api.order(ctx, size=row.size_gib, backup_id=row.id)
            name = text_or_none(body.name) or f"restore_backup_{row.id}"
            text = "auto-created_from_restore_from_backup"
            volume, ops = volume_create_api.planned(ctx, order, {"name": name, "description": text})
        fields = {"restoring_to": volume.id, "updated_at": ctx.now()}
        return [check(row), patch(Backup, row.id, **fields), *ops], volume

    volume = requests.transact(ctx, plan)
    shown = {"backup_id": backup_id, "volume_id": volume.id, "volume_name": volume.name or ""}
    return Reply(status=202, body={"restore": shown})


def _into(ctx: Context, row: Backup, volume: Volume) -> tuple[Volume, list[AnyOp]]:
    volume_rules.check_status(volume, ("available",), "be restored to")
    if volume.size_gib < row.size_gib:
        raise BadRequest(
            f"Invalid volume: volume size {volume.size_gib} is too small to restore backup of size {row.size_gib}."
        )
    if volume.node_id != row.node_id:
        raise BadRequest(
            "Invalid volume: the backup is on another node: restore it to a new volume."
        )
    fields = volume_rules.next_job(volume, "restore", ctx.now(), backup_id=row.id)
    return volume, [check(volume), patch(Volume, volume.id, **fields)]


def reset_status(ctx: Context, backup_id: str) -> Reply:
    """Set what a backup's status shows."""
    wanted = ctx.body.status
    if wanted not in _STATUSES:
        raise BadRequest(f"Must specify a valid status: {wanted} is none")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.backup(ctx, backup_id, "volume_extension:backup_admin_actions:reset_status")
        plain = wanted == "available" and row.have == "present" and row.want == "present"
        fields: dict[str, Any] = {"override": "" if plain else wanted, "updated_at": ctx.now()}
        return [check(row), patch(Backup, row.id, **fields)], None

    ctx.transact(plan)
    return Reply(status=202)


_ONE = "/v3/backups/{backup_id}"

ROUTES = (
    Route(method="GET", path="/v3/backups", handler=index, policy="backup:get_all"),
    Route(method="GET", path="/v3/backups/detail", handler=detail, policy="backup:get_all"),
    Route(
        method="POST", path="/v3/backups", handler=create, policy="any", body=CreateBody, status=202
    ),
    Route(method="GET", path=_ONE, handler=show, policy="any"),
    Route(method="PUT", path=_ONE, handler=update, policy="any", body=UpdateBody, since="3.9"),
    Route(method="DELETE", path=_ONE, handler=remove, policy="any", status=202),
    Route(
        method="POST",
        path=f"{_ONE}/restore",
        handler=restore,
        policy="any",
        body=RestoreBody,
        status=202,
    ),
    Route(
        method="POST",
        path=f"{_ONE}/action",
        action="os-reset_status",
        handler=reset_status,
        policy="any",
        body=Status,
        status=202,
    ),
    Route(
        method="POST",
        path=f"{_ONE}/action",
        action="os-force_delete",
        handler=force_delete,
        policy="any",
        status=202,
    ),
)
