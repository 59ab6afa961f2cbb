"""Quotas of projects, quota classes and limits.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#quota-sets-extension-os-quota-sets
"""

from typing import Any

from node.plugins.block import quota_rules
from node.plugins.block.listing import boolean
from node.plugins.block.tables import VolumeQuota
from node.sdk import AnyOp, BadRequest, Context, Frozen, Reply, Route, delete, put

_MAX = 0x7FFFFFFF


class SetBody(Frozen):
    """Body of PUT /os-quota-sets/{id}."""

    quota_set: dict[str, Any]


class ClassBody(Frozen):
    """Body of PUT /os-quota-class-sets/{name}."""

    quota_class_set: dict[str, Any]


def show(ctx: Context, of_project_id: str) -> dict[str, Any]:
    """Show the quotas of a project, with their use where `usage` says so."""
    ctx.require("volume_extension:quotas:show", {"project_id": of_project_id})
    limits = quota_rules.limits_of(ctx.db, ctx.config, of_project_id)
    if not boolean(ctx.param("usage", "false"), "usage"):
        return {"quota_set": {**limits, "id": of_project_id}}
    used = quota_rules.in_use(ctx.db, of_project_id)
    shown: dict[str, Any] = {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
        for name, limit in limits.items()
    }
    return {"quota_set": {**shown, "id": of_project_id}}


def show_defaults(ctx: Context, of_project_id: str) -> dict[str, Any]:
    """Show the quotas of a project that has none of its own."""
    ctx.require("volume_extension:quotas:show", {"project_id": of_project_id})
    return {"quota_set": {**quota_rules.defaults(ctx.db, ctx.config), "id": of_project_id}}


def update(ctx: Context, of_project_id: str) -> dict[str, Any]:
    """Change the quotas of a project."""
    given = {k: v for k, v in ctx.body.quota_set.items() if k not in ("tenant_id", "id")}
    skip = boolean(ctx.param("skip_validation", "true"), "skip_validation")
    new = _limits(ctx, given)

    def plan() -> tuple[list[AnyOp], None]:
        used = quota_rules.in_use(ctx.db, of_project_id)
        for name, limit in new.items():
            if not skip and 0 <= limit < used.get(name, 0):
                raise BadRequest(
                    f"Validation Failure: quota {name} is less than its use {used[name]}"
                )
        return [_put(ctx, of_project_id, new)], None

    ctx.transact(plan)
    return {"quota_set": quota_rules.limits_of(ctx.db, ctx.config, of_project_id)}


def _put(ctx: Context, id: str, new: dict[str, int]) -> AnyOp:
    row = ctx.db.get(VolumeQuota, id)
    limits = {**(row.limits if row else {}), **new}
    created = row.created_at if row else ctx.now()
    return put(VolumeQuota(id=id, created_at=created, updated_at=ctx.now(), limits=limits))


def _limits(ctx: Context, given: dict[str, Any]) -> dict[str, int]:
    known = quota_rules.names(ctx.db)
    new: dict[str, int] = {}
    for name, value in given.items():
        if name not in known:
            raise BadRequest(f"Bad key(s) in quota set: {name}")
        text = str(value).strip()
        if isinstance(value, bool) or not text.removeprefix("-").isascii():
            raise BadRequest(f"Quota limit for {name} must be an integer.")
        if not text.removeprefix("-").isdigit() or not -1 <= int(text[:18]) <= _MAX:
            raise BadRequest(f"Quota limit for {name} must be from -1 to {_MAX}.")
        new[name] = int(text)
    return new


def remove(ctx: Context, of_project_id: str) -> Reply:
    """Let a project have the default quotas again."""
    ctx.transact(lambda: ([delete(VolumeQuota, of_project_id)], None))
    return Reply(status=200)


def show_class(ctx: Context, class_name: str) -> dict[str, Any]:
    """Show a quota class: only `default` has an effect."""
    limits = quota_rules.defaults(ctx.db, ctx.config)
    if class_name != "default":
        row = ctx.db.get(VolumeQuota, f"class/{class_name}")
        limits = {**limits, **(row.limits if row else {})}
    return {"quota_class_set": {**limits, "id": class_name}}


def update_class(ctx: Context, class_name: str) -> dict[str, Any]:
    """Change a quota class."""
    new = _limits(
        ctx, {k: v for k, v in ctx.body.quota_class_set.items() if k not in ("id", "class_name")}
    )
    ctx.transact(lambda: ([_put(ctx, f"class/{class_name}", new)], None))
    shown = show_class(ctx, class_name)["quota_class_set"]
    shown.pop("id")
    return {"quota_class_set": shown}


def limits(ctx: Context) -> dict[str, Any]:
    """Show the limits of the caller's project."""
    project_id = ctx.project_id
    asked = ctx.param("project_id") or ctx.param("tenant_id")
    if asked and ctx.microversion >= (3, 39) and ctx.token.is_admin:
        project_id = asked
    most = quota_rules.limits_of(ctx.db, ctx.config, project_id)
    used = quota_rules.in_use(ctx.db, project_id)
    absolute = {
        "maxTotalVolumes": most["volumes"],
        "maxTotalSnapshots": most["snapshots"],
        "maxTotalBackups": most["backups"],
        "maxTotalVolumeGigabytes": most["gigabytes"],
        "maxTotalBackupGigabytes": most["backup_gigabytes"],
        "totalVolumesUsed": used["volumes"],
        "totalSnapshotsUsed": used["snapshots"],
        "totalBackupsUsed": used["backups"],
        "totalGigabytesUsed": used["gigabytes"],
        "totalBackupGigabytesUsed": used["backup_gigabytes"],
    }
    return {"limits": {"rate": [], "absolute": absolute}}


_SET = "/v3/os-quota-sets/{of_project_id}"
_CLASS = "/v3/os-quota-class-sets/{class_name}"
_CLASSES = "volume_extension:quota_classes:{}"

ROUTES = (
    Route(method="GET", path=_SET, handler=show, policy="any"),
    Route(method="GET", path=f"{_SET}/defaults", handler=show_defaults, policy="any"),
    Route(
        method="PUT",
        path=_SET,
        handler=update,
        policy="volume_extension:quotas:update",
        body=SetBody,
    ),
    Route(method="DELETE", path=_SET, handler=remove, policy="volume_extension:quotas:delete"),
    Route(method="GET", path=_CLASS, handler=show_class, policy=_CLASSES.format("get")),
    Route(
        method="PUT",
        path=_CLASS,
        handler=update_class,
        policy=_CLASSES.format("update"),
        body=ClassBody,
    ),
    Route(method="GET", path="/v3/limits", handler=limits, policy="limits_extension:used_limits"),
)
