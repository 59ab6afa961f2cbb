"""Quotas and limits.

Source: https://docs.openstack.org/api-ref/compute/#quota-sets-os-quota-sets, #limits-limits and
#quota-class-sets-os-quota-class-sets
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import listing, quota_rules
from node.plugins.compute.checks import boolean, integer
from node.plugins.compute.faults import unexpected
from node.plugins.compute.quota_rules import DEFAULT_CLASS, DEFAULTS
from node.plugins.compute.tables import ComputeQuota
from node.sdk import AnyOp, BadRequest, Check, Context, Frozen, Route, check, delete, put

_POLICY = "os_compute_api:os-quota-sets"
_CLASS = "os_compute_api:os-quota-class-sets"
Limit = int | str | UnsetType


class Limits(Frozen, forbid_unknown_fields=True):
    """Limits to set; numbers may come as text."""

    instances: Limit = UNSET
    cores: Limit = UNSET
    ram: Limit = UNSET
    fixed_ips: Limit = UNSET
    floating_ips: Limit = UNSET
    injected_file_content_bytes: Limit = UNSET
    injected_file_path_bytes: Limit = UNSET
    injected_files: Limit = UNSET
    key_pairs: Limit = UNSET
    metadata_items: Limit = UNSET
    security_groups: Limit = UNSET
    security_group_rules: Limit = UNSET
    server_groups: Limit = UNSET
    server_group_members: Limit = UNSET
    force: bool | str = False


class QuotaBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT os-quota-sets/{id}."""

    quota_set: Limits


class ClassBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT os-quota-class-sets/{id}."""

    quota_class_set: Limits


def _shown(ctx: Context, limits: dict[str, int]) -> dict[str, Any]:
    return {name: limits[name] for name in quota_rules.shown(ctx.microversion)}


def show(ctx: Context, project_id: str) -> dict[str, Any]:
    """Show a project's limits, or those of one of its users."""
    limits = quota_rules.user_limits(ctx.db, project_id, ctx.param("user_id") or "")
    return {"quota_set": {"id": project_id, **_shown(ctx, limits)}}


def defaults(ctx: Context, project_id: str) -> dict[str, Any]:
    """Show the limits of a project that has none of its own."""
    return {"quota_set": {"id": project_id, **_shown(ctx, quota_rules.defaults(ctx.db))}}


def detail(ctx: Context, project_id: str) -> dict[str, Any]:
    """Show a project's limits and use."""
    user_id = ctx.param("user_id") or ""
    limits = quota_rules.user_limits(ctx.db, project_id, user_id)
    used = _in_use(ctx, project_id, user_id)
    body: dict[str, Any] = {"id": project_id}
    for name in quota_rules.shown(ctx.microversion):
        body[name] = {"limit": limits[name], "in_use": used[name], "reserved": 0}
    return {"quota_set": body}


def _wanted(ctx: Context, limits: Limits) -> dict[str, int]:
    known = quota_rules.shown(ctx.microversion)
    found: dict[str, int] = {}
    for name in DEFAULTS:
        value = getattr(limits, name)
        if value is UNSET:
            continue
        if name not in known:
            raise unexpected(name)
        found[name] = integer(value, name, -1)
    return found


def update(ctx: Context, project_id: str) -> dict[str, Any]:
    """Set limits of a project."""
    user_id = ctx.param("user_id") or ""
    wanted = _wanted(ctx, ctx.body.quota_set)
    if user_id:
        _check_within(quota_rules.limits_of(ctx.db, project_id), wanted)
    if not boolean(ctx.body.quota_set.force, "force"):
        used = _in_use(ctx, project_id, user_id)
        for name, limit in wanted.items():
            if 0 <= limit < used[name]:
                raise BadRequest(
                    f"Quota limit {limit} for {name} must be greater than or equal to"
                    f" already used and reserved {used[name]}."
                )
    _store(ctx, quota_rules.user_row(project_id, user_id) if user_id else project_id, wanted)
    return {"quota_set": _shown(ctx, quota_rules.user_limits(ctx.db, project_id, user_id))}


def _in_use(ctx: Context, project_id: str, user_id: str) -> dict[str, int]:
    if user_id:
        return quota_rules.user_in_use(ctx.db, project_id, user_id)
    return quota_rules.in_use(ctx.db, project_id)


def _check_within(project: dict[str, int], wanted: dict[str, int]) -> None:
    """Refuse limits of a user that are beyond the project's."""
    for name, limit in wanted.items():
        if project[name] >= 0 and not 0 <= limit <= project[name]:
            raise BadRequest(
                f"Quota limit {limit} for {name} must be less than or equal to {project[name]}."
            )


def _store(ctx: Context, id: str, wanted: dict[str, int]) -> None:
    def plan() -> tuple[list[AnyOp], None]:
        row = ctx.db.get(ComputeQuota, id)
        if row is None:
            new = ComputeQuota(id=id, limits=wanted, created_at=ctx.now(), updated_at=ctx.now())
            return [Check(ComputeQuota.__table__.name, id, 0), put(new)], None
        merged = msgspec.structs.replace(row, limits={**row.limits, **wanted}, updated_at=ctx.now())
        return [check(row), put(merged)], None

    ctx.transact(plan)


def reset(ctx: Context, project_id: str) -> None:
    """Give a project the default limits again."""
    user_id = ctx.param("user_id") or ""
    row_id = quota_rules.user_row(project_id, user_id) if user_id else project_id
    ctx.transact(lambda: ([delete(ComputeQuota, row_id)], None), frees=True)


def _class_shown(ctx: Context) -> dict[str, Any]:
    body = _shown(ctx, quota_rules.defaults(ctx.db))
    if ctx.microversion < (2, 50):  # a slip of Nova's that its clients know
        for name in ("server_groups", "server_group_members"):
            body.pop(name)
    return body


def class_show(ctx: Context, class_id: str) -> dict[str, Any]:
    """Show the default limits; every class but `default` is as that one."""
    return {"quota_class_set": {"id": class_id, **_class_shown(ctx)}}


def class_update(ctx: Context, class_id: str) -> dict[str, Any]:
    """Set default limits."""
    if class_id != "default":
        raise BadRequest(f"There is no quota class {class_id}: only `default` is used")
    _store(ctx, DEFAULT_CLASS, _wanted(ctx, ctx.body.quota_class_set))
    return {"quota_class_set": _class_shown(ctx)}


_ABSOLUTE = {
    "maxTotalInstances": ("instances", None),
    "maxTotalCores": ("cores", None),
    "maxTotalRAMSize": ("ram", None),
    "maxServerMeta": ("metadata_items", None),
    "maxTotalKeypairs": ("key_pairs", None),
    "maxServerGroups": ("server_groups", None),
    "maxServerGroupMembers": ("server_group_members", None),
    "maxImageMeta": ("metadata_items", (2, 38)),
    "maxPersonality": ("injected_files", (2, 56)),
    "maxPersonalitySize": ("injected_file_content_bytes", (2, 56)),
    "maxSecurityGroups": ("security_groups", (2, 35)),
    "maxSecurityGroupRules": ("security_group_rules", (2, 35)),
    "maxTotalFloatingIps": ("floating_ips", (2, 35)),
}
"""Quota behind each absolute limit, and the last microversion that shows it."""
_USED = {
    "totalInstancesUsed": ("instances", None),
    "totalCoresUsed": ("cores", None),
    "totalRAMUsed": ("ram", None),
    "totalServerGroupsUsed": ("server_groups", None),
    "totalSecurityGroupsUsed": ("security_groups", (2, 35)),
    "totalFloatingIpsUsed": ("floating_ips", (2, 35)),
}


def absolute_limits(ctx: Context) -> dict[str, Any]:
    """Show the caller's limits and use; administrators may name another project."""
    listing.check_query(ctx, "tenant_id")
    project_id = ctx.param("tenant_id") or ctx.project_id
    if project_id != ctx.project_id:
        ctx.require("os_compute_api:limits:other_project", {"project_id": project_id})
    limits = quota_rules.limits_of(ctx.db, project_id)
    used = quota_rules.in_use(ctx.db, project_id)
    absolute: dict[str, int] = {}
    for names, values in ((_ABSOLUTE, limits), (_USED, used)):
        for name, (resource, until) in names.items():
            if until is None or ctx.microversion <= until:
                absolute[name] = values[resource]
    return {"limits": {"rate": [], "absolute": absolute}}


_ONE = "/v2.1/os-quota-sets/{project_id}"
_ONE_CLASS = "/v2.1/os-quota-class-sets/{class_id}"
ROUTES = (
    Route(method="GET", path=_ONE, handler=show, policy=f"{_POLICY}:show"),
    Route(method="GET", path=f"{_ONE}/defaults", handler=defaults, policy=f"{_POLICY}:defaults"),
    Route(method="GET", path=f"{_ONE}/detail", handler=detail, policy=f"{_POLICY}:detail"),
    Route(method="PUT", path=_ONE, handler=update, policy=f"{_POLICY}:update", body=QuotaBody),
    Route(method="DELETE", path=_ONE, handler=reset, policy=f"{_POLICY}:delete", status=202),
    Route(method="GET", path=_ONE_CLASS, handler=class_show, policy=f"{_CLASS}:show"),
    Route(
        method="PUT",
        path=_ONE_CLASS,
        handler=class_update,
        policy=f"{_CLASS}:update",
        body=ClassBody,
    ),
    Route(
        method="GET", path="/v2.1/limits", handler=absolute_limits, policy="os_compute_api:limits"
    ),
)
