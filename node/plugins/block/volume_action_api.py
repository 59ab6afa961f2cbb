"""Actions that change volumes: grow, retype, revert, flags, and what administrators do.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volume-actions-volumes-action
"""

from collections.abc import Callable
from typing import Any

from node.plugins.block import (
    backend,
    lookup,
    quota_rules,
    requests,
    type_rules,
    volume_api,
    volume_rules,
)
from node.plugins.block.checks import Text255, positive
from node.plugins.block.listing import boolean
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import (
    Snapshot,
    Volume,
    VolumeAttachment,
    VolumeType,
)
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Count,
    Frozen,
    NotFound,
    Reply,
    Route,
    check,
    delete,
    patch,
)

_ACTION = "/v3/volumes/{volume_id}/action"
_ADMIN = "volume_extension:volume_admin_actions"


class Extend(Frozen):
    """Value of `os-extend`."""

    new_size: int | str


class ResetStatus(Frozen):
    """Value of `os-reset_status`."""

    status: Text255 | None = None
    attach_status: Text255 | None = None
    migration_status: Text255 | None = None


class ReadOnly(Frozen):
    """Value of `os-update_readonly_flag`."""

    readonly: bool | str


class Bootable(Frozen):
    """Value of `os-set_bootable`."""

    bootable: bool | str


class Retype(Frozen):
    """Value of `os-retype`."""

    new_type: Text255
    migration_policy: str = "never"


class Migrate(Frozen):
    """Value of `os-migrate_volume`."""

    host: Text255 | None = None
    cluster: Text255 | None = None
    force_host_copy: bool | str = False
    lock_volume: bool | str = False


class Revert(Frozen):
    """Value of `revert`."""

    snapshot_id: str


def change(
    ctx: Context,
    volume_id: str,
    rule: str,
    ops: Callable[[Volume], list[AnyOp]],
    requested: dict[str, int] | None = None,
) -> None:
    """Commit what `ops` plans for a volume that the caller may do `rule` with."""

    def plan() -> tuple[list[AnyOp], None]:
        return ops(lookup.volume(ctx, volume_id, rule)), None

    requests.transact(ctx, plan, requested)


def extend(ctx: Context, volume_id: str) -> Reply:
    """Make a volume larger; one in use since 3.42."""
    size_gib = positive(ctx.body.new_size, "new_size")

    def ops(row: Volume) -> list[AnyOp]:
        allowed = ["available"]
        if ctx.microversion >= (3, 42):
            allowed.append("in-use")
        volume_rules.check_status(row, allowed, "extend")
        if size_gib <= row.size_gib:
            raise BadRequest(
                f"Invalid input received: New size for extend must be greater than current size."
                f" (current: {row.size_gib}, extended: {size_gib})."
            )
        limits = quota_rules.limits_of(ctx.db, ctx.config, row.project_id)
        most = limits["per_volume_gigabytes"]
        if 0 <= most < size_gib:
            raise BadRequest(
                f"Invalid input received: Volume size {size_gib}G is over the limit {most}G."
            )
        type_rules.check_size(ctx.db.get(VolumeType, row.type_id), size_gib)
        grown = {"gigabytes": size_gib - row.size_gib}
        return [
            check(row),
            patch(
                Volume,
                row.id,
                **volume_rules.next_job(row, "extend", ctx.now(), size_gib=str(size_gib)),
            ),
            *quota_rules.take(ctx.db, ctx.config, row.project_id, grown, row.type_id),
        ]

    change(ctx, volume_id, "volume:extend", ops, {"gigabytes": size_gib})
    return Reply(status=202)


def reset_status(ctx: Context, volume_id: str) -> Reply:
    """Set what a volume's status shows."""
    body: ResetStatus = ctx.body
    if not any((body.status, body.attach_status, body.migration_status)):
        raise BadRequest("Must specify 'status', 'attach_status' or 'migration_status' for update.")
    if body.status and body.status not in volume_rules.STATUSES:
        raise BadRequest(f"Must specify a valid status: {body.status} is none")

    def ops(row: Volume) -> list[AnyOp]:
        fields: dict[str, Any] = {"updated_at": ctx.now()}
        if body.migration_status:
            fields["migration_status"] = (
                None if body.migration_status == "none" else body.migration_status
            )
        more: list[AnyOp] = []
        attached = ctx.db.rows(VolumeAttachment, volume_id=row.id)
        if body.status:
            natural = row.use or "available"
            plain = (
                row.have == "present" and row.want == "present" and not volume_rules.is_busy(row)
            )
            fields["override"] = "" if plain and body.status == natural else body.status
        if body.attach_status == "detached" and not any(one.node_id for one in attached):
            more = [delete(VolumeAttachment, one.id) for one in attached]
            fields["use"] = ""
        return [check(row), patch(Volume, row.id, **fields), *more]

    change(ctx, volume_id, f"{_ADMIN}:reset_status:volume", ops)
    return Reply(status=202)


def force_delete(ctx: Context, volume_id: str) -> Reply:
    """Delete a volume whatever its status, but not while it is attached."""
    volume_api.remove(ctx, volume_id, f"{_ADMIN}:force_delete:volume", cascade=False, force=True)
    return Reply(status=202)


def set_read_only(ctx: Context, volume_id: str) -> Reply:
    """Say whether a volume may only be read."""
    flag = boolean(ctx.body.readonly, "readonly")

    def ops(row: Volume) -> list[AnyOp]:
        volume_rules.check_status(row, ("available",), "update readonly flag")
        metadata = {**row.metadata, "readonly": str(flag)}
        return [
            check(row),
            patch(Volume, row.id, read_only=flag, metadata=metadata, updated_at=ctx.now()),
        ]

    change(ctx, volume_id, "volume:update_readonly_flag", ops)
    return Reply(status=202)


def set_bootable(ctx: Context, volume_id: str) -> Reply:
    """Say whether servers may boot from a volume."""
    flag = boolean(ctx.body.bootable, "bootable")

    def ops(row: Volume) -> list[AnyOp]:
        return [check(row), patch(Volume, row.id, bootable=flag, updated_at=ctx.now())]

    change(ctx, volume_id, "volume_extension:volume_image_metadata:set", ops)
    return Reply(status=200)


def retype(ctx: Context, volume_id: str) -> Reply:
    """Give a volume another type; `on-demand` may move it."""
    body: Retype = ctx.body
    if body.migration_policy not in ("never", "on-demand"):
        raise BadRequest("migration_policy must be 'on-demand' or 'never'")

    def ops(row: Volume) -> list[AnyOp]:
        kind = lookup.volume_type(ctx, body.new_type)
        volume_rules.check_status(row, ("available", "in-use"), "retype")
        if kind.id == row.type_id:
            raise BadRequest(
                f"Invalid input received: New volume_type same as original: {kind.id}."
            )
        _check_retype(ctx, row, kind, body.migration_policy)
        old = {"volumes": 1, "gigabytes": row.size_gib}
        return [
            check(row),
            patch(
                Volume, row.id, **volume_rules.next_job(row, "retype", ctx.now(), type_id=kind.id)
            ),
            *_type_counts(ctx, row, kind, old),
        ]

    change(ctx, volume_id, "volume:retype", ops)
    return Reply(status=202)


def _type_counts(
    ctx: Context, row: Volume, kind: VolumeType, amounts: dict[str, int]
) -> list[AnyOp]:
    """Return the operations that count a volume for another type; its project has it all the same."""
    limits = quota_rules.limits_of(ctx.db, ctx.config, row.project_id)
    ops: list[AnyOp] = []
    for name, amount in amounts.items():
        ops.append(
            Count(
                quota_rules.counter(row.project_id, f"{name}_{kind.id}"),
                amount,
                limits.get(f"{name}_{kind.name}"),
            )
        )
        if row.type_id:
            ops.append(Count(quota_rules.counter(row.project_id, f"{name}_{row.type_id}"), -amount))
    return ops


def _check_retype(ctx: Context, row: Volume, kind: VolumeType, policy: str) -> None:
    type_rules.check_size(kind, row.size_gib)
    shared = volume_rules.is_true(kind.extra_specs.get("multiattach"))
    if row.use and shared != row.multiattach:
        raise BadRequest(
            "Invalid input received: Volume must be available to be retyped to or from a multiattach type."
        )
    type_rules.check_encryption(kind)
    found = {pool.node_id: pool for pool in backend.pools(ctx.db, ctx.config)}
    here = found.get(row.node_id)
    if here is not None and not backend.suits(here, kind.extra_specs) and policy == "never":
        raise BadRequest(
            f"Invalid input received: No valid backend for {kind.name}: the volume would have to migrate."
        )


def migrate(ctx: Context, volume_id: str) -> Reply:
    """Move a volume to another node."""
    body: Migrate = ctx.body
    if body.cluster and ctx.microversion >= (3, 16):
        raise BadRequest(f"Invalid host: there is no cluster {body.cluster}")
    if not body.host:
        raise BadRequest("Invalid input received: 'host' is a required property")
    lock = boolean(body.lock_volume, "lock_volume")
    boolean(body.force_host_copy, "force_host_copy")

    def ops(row: Volume) -> list[AnyOp]:
        volume_rules.check_status(row, ("available", "in-use"), "migrate")
        found = [
            pool
            for pool in backend.pools(ctx.db, ctx.config)
            if body.host in (pool.name, pool.host, pool.node_name)
        ]
        if not found:
            raise BadRequest(f"Invalid host: No available service named '{body.host}'")
        pool = found[0]
        if pool.node_id == row.node_id:
            raise BadRequest("Invalid host: Destination host must be different than current host.")
        if row.use or ctx.db.count(Snapshot, volume_id=row.id):
            raise BadRequest(
                "Invalid volume: A volume that is in use or has snapshots cannot move."
            )
        if not pool.up or not backend.has_room(
            pool, ctx.config.section(BlockSection), row.size_gib
        ):
            raise BadRequest(f"Invalid host: No valid host was found: {body.host} cannot take it")
        fields = volume_rules.next_job(
            row, "migrate", ctx.now(), node_id=pool.node_id, driver=pool.driver
        )
        use = "maintenance" if lock else row.use
        return [
            check(row),
            patch(Volume, row.id, migration_status="starting", use=use, **fields),
        ]

    change(ctx, volume_id, f"{_ADMIN}:migrate_volume", ops)
    return Reply(status=202)


def migrate_completion(ctx: Context, volume_id: str) -> Reply:
    """Refuse: nodes of this cloud end migrations themselves."""
    lookup.volume(ctx, volume_id, f"{_ADMIN}:migrate_volume_completion")
    raise BadRequest("Invalid volume: there is no migration that waits for its completion.")


def revert(ctx: Context, volume_id: str) -> Reply:
    """Give a volume the contents of its newest snapshot again (3.40)."""
    body: Revert = ctx.body

    def ops(row: Volume) -> list[AnyOp]:
        volume_rules.check_status(row, ("available",), "revert to a snapshot")
        found = ctx.db.rows(Snapshot, volume_id=row.id)
        known = {one.id: one for one in found}
        if body.snapshot_id not in known:
            raise NotFound(f"Snapshot {body.snapshot_id} could not be found.")
        one = known[body.snapshot_id]
        if found[-1].id != one.id:
            raise BadRequest(
                f"Invalid input received: Specified snapshot {one.id} is not the latest one of volume {row.id}."
            )
        if volume_rules.snapshot_status(one) != "available":
            raise BadRequest("Invalid snapshot: its status must be available.")
        if one.size_gib != row.size_gib:
            raise BadRequest("Invalid snapshot: the volume was extended since.")
        return [
            check(row),
            check(one),
            patch(
                Volume,
                row.id,
                **volume_rules.next_job(row, "revert", ctx.now(), snapshot_id=one.id),
            ),
        ]

    change(ctx, volume_id, "volume:revert_to_snapshot", ops)
    return Reply(status=202)


def unmanage(ctx: Context, volume_id: str) -> Reply:
    """Forget a volume and leave its data."""

    def ops(row: Volume) -> list[AnyOp]:
        volume_rules.check_status(row, ("available", "error"), "unmanage")
        if row.encrypted:
            raise BadRequest("Invalid volume: Unmanaging encrypted volumes is not supported.")
        if ctx.db.count(Snapshot, volume_id=row.id) or row.group_id:
            raise Conflict(
                "Invalid volume: Volume cannot be unmanaged because it has dependent snapshots or a group."
            )
        return [
            check(row),
            patch(
                Volume, row.id, want="absent", job_data={"unmanage": "yes"}, updated_at=ctx.now()
            ),
        ]

    change(ctx, volume_id, "volume_extension:volume_unmanage", ops)
    return Reply(status=202)


def extend_completion(ctx: Context, volume_id: str) -> Reply:
    """Refuse: servers of this cloud see the new size without being told (3.71)."""
    lookup.volume(ctx, volume_id, f"{_ADMIN}:extend_volume_completion")
    raise BadRequest("Invalid volume: there is no extension that waits for its completion.")


def _route(
    action: str, handler: Any, body: Any = None, status: int = 202, since: str | None = None
) -> Route:
    return Route(
        method="POST",
        path=_ACTION,
        action=action,
        handler=handler,
        policy="any",
        body=body,
        status=status,
        since=since,
    )


ROUTES = (
    _route("os-extend", extend, Extend),
    _route("os-reset_status", reset_status, ResetStatus),
    _route("os-force_delete", force_delete),
    _route("os-update_readonly_flag", set_read_only, ReadOnly),
    _route("os-set_bootable", set_bootable, Bootable, 200),
    _route("os-retype", retype, Retype),
    _route("os-migrate_volume", migrate, Migrate),
    _route("os-migrate_volume_completion", migrate_completion),
    _route("os-unmanage", unmanage),
    _route("revert", revert, Revert, since="3.40"),
    _route("os-extend_volume_completion", extend_completion, since="3.71"),
)
