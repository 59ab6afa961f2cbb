"""Snapshots of volumes.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volume-snapshots-snapshots
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.block import listing, lookup, requests, volume_rules
from node.plugins.block.checks import LooseMetadata, Text255, reference, text_or_none, texts
from node.plugins.block.listing import boolean, stamp
from node.plugins.block.tables import Snapshot, Volume
from node.plugins.block.volume_ops import new_snapshot_ops, snapshot_gone_ops
from node.sdk import AnyOp, BadRequest, Context, Frozen, NotFound, Reply, Route, check, patch

_SORT: Mapping[str, Callable[[Snapshot], Any]] = {
    "id": lambda row: row.id,
    "name": lambda row: row.name,
    "display_name": lambda row: row.name,
    "status": volume_rules.snapshot_status,
    "size": lambda row: row.size_gib,
    "volume_size": lambda row: row.size_gib,
    "volume_id": lambda row: row.volume_id,
    "created_at": lambda row: row.created_at,
    "updated_at": lambda row: row.updated_at,
    "project_id": lambda row: row.project_id,
}
_STATUSES = ("creating", "available", "deleting", "error", "error_deleting")
_ADMIN = "volume_extension:volume_admin_actions"


class NewSnapshot(Frozen):
    """`snapshot` of a create request."""

    volume_id: str | None = None
    name: Text255 | None = None
    display_name: Text255 | None = None
    description: Text255 | None = None
    display_description: Text255 | None = None
    metadata: LooseMetadata | None = None
    force: bool | str | UnsetType | None = UNSET


class CreateBody(Frozen):
    """Body of POST /snapshots."""

    snapshot: NewSnapshot


class Change(Frozen, forbid_unknown_fields=True):
    """`snapshot` of an update request."""

    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    display_name: Text255 | UnsetType | None = UNSET
    display_description: Text255 | UnsetType | None = UNSET


class UpdateBody(Frozen):
    """Body of PUT /snapshots/{id}."""

    snapshot: Change


class Status(Frozen):
    """Value of os-reset_status and os-update_snapshot_status."""

    status: Text255
    progress: str | None = None


def view(ctx: Context, row: Snapshot, *, detailed: bool) -> dict[str, Any]:
    """Return a snapshot as JSON."""
    shown: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "volume_id": row.volume_id,
        "status": volume_rules.snapshot_status(row),
        "size": row.size_gib,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "metadata": row.metadata,
    }
    if detailed:
        shown["os-extended-snapshot-attributes:progress"] = row.progress
        shown["os-extended-snapshot-attributes:project_id"] = row.project_id
        if ctx.microversion >= (3, 14):
            shown["group_snapshot_id"] = row.group_snapshot_id or None
    if ctx.microversion >= (3, 41):
        shown["user_id"] = row.user_id
    if ctx.microversion >= (3, 65):
        shown["consumes_quota"] = True
    return shown


def _matching(ctx: Context) -> list[Snapshot]:
    if listing.all_tenants(ctx):
        project = ctx.param("project_id")
        rows = ctx.db.rows(Snapshot, project_id=project) if project else ctx.db.rows(Snapshot)
    else:
        rows = ctx.db.rows(Snapshot, project_id=ctx.project_id)
    tests: dict[str, Callable[[Snapshot], str]] = {
        "name": lambda row: row.name or "",
        "display_name": lambda row: row.name or "",
        "description": lambda row: row.description or "",
        "status": volume_rules.snapshot_status,
        "volume_id": lambda row: row.volume_id,
        "id": lambda row: row.id,
        "user_id": lambda row: row.user_id,
        "availability_zone": lambda _row: "nova",
    }
    for name, value in tests.items():
        wanted = ctx.param(name)
        if wanted is not None:
            rows = [row for row in rows if value(row) == wanted]
        rows = [row for row in rows if listing.like(ctx, name, value(row)) is not False]
    metadata = ctx.param("metadata")
    if metadata and ctx.microversion >= (3, 22):
        wanted_items = listing.mapping(metadata)
        rows = [
            row for row in rows if all(row.metadata.get(k) == v for k, v in wanted_items.items())
        ]
    return rows


def _list(ctx: Context, *, detailed: bool) -> dict[str, Any]:
    found = _matching(ctx)
    rows, more = listing.page(
        ctx, found, key=lambda row: row.id, collection="snapshots", sort=_SORT
    )
    shown = [view(ctx, row, detailed=detailed) for row in rows]
    return {"snapshots": shown, **more, **listing.count_of(ctx, len(found))}


def index(ctx: Context) -> dict[str, Any]:
    """List snapshots."""
    return _list(ctx, detailed=False)


def detail(ctx: Context) -> dict[str, Any]:
    """List snapshots with all that is shown of them."""
    return _list(ctx, detailed=True)


def show(ctx: Context, snapshot_id: str) -> dict[str, Any]:
    """Show a snapshot."""
    row = lookup.snapshot(ctx, snapshot_id, "volume:get_snapshot")
    return {"snapshot": view(ctx, row, detailed=True)}


def create(ctx: Context) -> Reply:
    """Snapshot a volume."""
    new: NewSnapshot = ctx.body.snapshot
    force = _force(ctx, new)
    volume_id = reference(new.volume_id, "volume_id")
    if not volume_id:
        raise NotFound(f"Volume {new.volume_id} could not be found.")

    def plan() -> tuple[list[AnyOp], Snapshot]:
        volume = lookup.volume(ctx, volume_id, "volume:create_snapshot")
        allowed = ("available", "in-use") if force else ("available",)
        volume_rules.check_status(volume, allowed, "snapshot")
        fields: dict[str, Any] = {
            "name": text_or_none(new.name if new.name is not None else new.display_name),
            "description": text_or_none(
                new.description if new.description is not None else new.display_description
            ),
            "metadata": texts(new.metadata or {}),
        }
        row = of_volume(ctx, volume, fields)
        return [*held(volume), *new_snapshot_ops(ctx.db, ctx.config, row)], row

    row = requests.transact(ctx, plan)
    return Reply(status=202, body={"snapshot": view(ctx, row, detailed=False)})


def _force(ctx: Context, new: NewSnapshot) -> bool:
    if ctx.microversion < (3, 66):
        return new.force not in (UNSET, None) and boolean(new.force, "force")
    if new.force not in (UNSET, None) and not boolean(new.force, "force"):
        raise BadRequest(
            "Invalid value 'False' for 'force': it is not accepted since microversion 3.66"
        )
    return True


def of_volume(ctx: Context, volume: Volume, fields: Mapping[str, Any]) -> Snapshot:
    """Return the row of a new snapshot of a volume."""
    return Snapshot(
        id=ctx.ids.uuid(),
        created_at=ctx.now(),
        updated_at=ctx.now(),
        project_id=volume.project_id,
        user_id=ctx.token.user_id,
        node_id=volume.node_id,
        driver=volume.driver,
        type_id=volume.type_id,
        volume_id=volume.id,
        size_gib=volume.size_gib,
        want="present",
        **fields,
    )


def held(volume: Volume) -> list[AnyOp]:
    """Return the operations by which a volume cannot be deleted beside: its revision moves."""
    return [check(volume), patch(Volume, volume.id, want=volume.want)]


def update(ctx: Context, snapshot_id: str) -> dict[str, Any]:
    """Change name and description."""
    body: Change = ctx.body.snapshot
    fields: dict[str, Any] = {}
    for name, target in (
        ("display_name", "name"),
        ("display_description", "description"),
        ("name", "name"),
        ("description", "description"),
    ):
        value = getattr(body, name)
        if value is not UNSET:
            fields[target] = text_or_none(value)
    if not fields:
        raise BadRequest("None is not a valid snapshot: nothing is to be changed")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.snapshot(ctx, snapshot_id, "volume:update_snapshot")
        return [check(row), patch(Snapshot, row.id, updated_at=ctx.now(), **fields)], None

    requests.transact(ctx, plan)
    return {"snapshot": view(ctx, lookup.snapshot(ctx, snapshot_id), detailed=False)}


def _remove(ctx: Context, snapshot_id: str, rule: str, allowed: tuple[str, ...] | None) -> Reply:
    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.snapshot(ctx, snapshot_id, rule)
        now = volume_rules.snapshot_status(row)
        if allowed is not None and now not in allowed:
            raise BadRequest(
                "Invalid snapshot: Snapshot status must be available or error, and must not belong"
                f" to a group snapshot, but it is {now}."
            )
        if row.group_snapshot_id and allowed is not None:
            raise BadRequest("Invalid snapshot: Snapshot belongs to a group snapshot.")
        if ctx.db.count(Volume, snapshot_id=row.id, job_done=0, want="present"):
            raise BadRequest("Invalid snapshot: A volume is being made from it.")
        if not row.node_id:
            return snapshot_gone_ops(row), None
        fields = {"want": "absent", "override": "", "fault": "", "updated_at": ctx.now()}
        return [check(row), patch(Snapshot, row.id, **fields)], None

    ctx.transact(plan, frees=True)
    return Reply(status=202)


def remove(ctx: Context, snapshot_id: str) -> Reply:
    """Delete a snapshot."""
    return _remove(
        ctx, snapshot_id, "volume:delete_snapshot", ("available", "error", "error_deleting")
    )


def force_delete(ctx: Context, snapshot_id: str) -> Reply:
    """Delete a snapshot whatever its status."""
    return _remove(ctx, snapshot_id, f"{_ADMIN}:force_delete:snapshot", None)


def _set(ctx: Context, snapshot_id: str, rule: str, fields: dict[str, Any]) -> Reply:
    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.snapshot(ctx, snapshot_id, rule)
        changed = dict(fields)
        natural = {"": "creating", "present": "available"}.get(row.have, row.have)
        if changed["override"] == natural and row.want == "present":
            changed["override"] = ""
        return [check(row), patch(Snapshot, row.id, updated_at=ctx.now(), **changed)], None

    ctx.transact(plan)
    return Reply(status=202)


def reset_status(ctx: Context, snapshot_id: str) -> Reply:
    """Set what a snapshot's status shows."""
    body: Status = ctx.body
    if body.status not in _STATUSES:
        raise BadRequest(f"Must specify a valid status: {body.status} is none")
    return _set(ctx, snapshot_id, f"{_ADMIN}:reset_status:snapshot", {"override": body.status})


def update_status(ctx: Context, snapshot_id: str) -> Reply:
    """Note the progress of a snapshot that a compute service makes."""
    body: Status = ctx.body
    lookup.snapshot(ctx, snapshot_id, "snapshot_extension:snapshot_actions:update_snapshot_status")
    row = lookup.snapshot(ctx, snapshot_id)
    now = volume_rules.snapshot_status(row)
    allowed = {
        "creating": ("creating", "available", "error"),
        "deleting": ("deleting", "error_deleting"),
    }
    if body.status not in allowed.get(now, ()):
        raise BadRequest(f"Status cannot be updated: it is {now}, and {body.status} was asked for.")
    fields: dict[str, Any] = {"override": body.status}
    if body.progress is not None:
        if not (body.progress.endswith("%") and body.progress[:-1].isdigit()):
            raise BadRequest("progress must be an integer percentage")
        fields["progress"] = body.progress
    return _set(
        ctx, snapshot_id, "snapshot_extension:snapshot_actions:update_snapshot_status", fields
    )


def unmanage(ctx: Context, snapshot_id: str) -> Reply:
    """Forget a snapshot: its data stay with its volume's."""

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.snapshot(ctx, snapshot_id, "snapshot_extension:snapshot_unmanage")
        if volume_rules.snapshot_status(row) not in ("available", "error"):
            raise BadRequest("Invalid snapshot: Snapshot status must be available or error.")
        return [check(row), patch(Snapshot, row.id, want="absent", reference="unmanage")], None

    ctx.transact(plan)
    return Reply(status=202)


_ONE = "/v3/snapshots/{snapshot_id}"


def _action(action: str, handler: Any, body: Any = None) -> Route:
    return Route(
        method="POST",
        path=f"{_ONE}/action",
        action=action,
        handler=handler,
        policy="any",
        body=body,
        status=202,
    )


ROUTES = (
    Route(method="GET", path="/v3/snapshots", handler=index, policy="volume:get_all_snapshots"),
    Route(
        method="GET", path="/v3/snapshots/detail", handler=detail, policy="volume:get_all_snapshots"
    ),
    Route(
        method="POST",
        path="/v3/snapshots",
        handler=create,
        policy="any",
        body=CreateBody,
        status=202,
    ),
    Route(method="GET", path=_ONE, handler=show, policy="any"),
    Route(method="PUT", path=_ONE, handler=update, policy="any", body=UpdateBody),
    Route(method="DELETE", path=_ONE, handler=remove, policy="any", status=202),
    _action("os-reset_status", reset_status, Status),
    _action("os-force_delete", force_delete),
    _action("os-update_snapshot_status", update_status, Status),
    _action("os-unmanage", unmanage),
)
