"""`/v2.0/quotas`.

Source: https://docs.openstack.org/api-ref/network/v2/#quotas-extension-quotas
"""

from collections.abc import Mapping
from typing import Any

from node.plugins.network import converters as to
from node.plugins.network import quota_rules as rules
from node.plugins.network.faults import conflict, disallowed
from node.plugins.network.revise import quota_counter
from node.plugins.network.tables import NetworkQuota
from node.sdk import AnyOp, BadRequest, Context, Route, delete, put

_MODES = ("tenant_id", "project_id", "check_limit", "force")


def list_quotas(ctx: Context) -> dict[str, Any]:
    """List the limits of the projects that have limits of their own."""
    rows = ctx.db.rows(NetworkQuota)
    return {
        "quotas": [
            {"project_id": r.id, "tenant_id": r.id, **rules.limits(ctx.db, r.id)} for r in rows
        ]
    }


def show_quota(ctx: Context, project_id: str) -> dict[str, Any]:
    """Show a project's limits."""
    if project_id == "tenant":
        return {"tenant": {"tenant_id": ctx.project_id}}
    if project_id == "project":
        return {"project": {"project_id": ctx.project_id}}
    _own_or_admin(ctx, project_id)
    return {"quota": rules.limits(ctx.db, project_id)}


def show_defaults(ctx: Context, project_id: str) -> dict[str, Any]:
    """Show the limits of a project that has none of its own."""
    _own_or_admin(ctx, project_id)
    return {"quota": dict(rules.DEFAULTS)}


def show_details(ctx: Context, project_id: str) -> dict[str, Any]:
    """Show a project's limits and what it uses of them."""
    _own_or_admin(ctx, project_id)
    limits = rules.limits(ctx.db, project_id)
    return {
        "quota": {
            name: {
                "limit": limit,
                "used": ctx.db.counter(quota_counter(project_id, name)),
                "reserved": 0,
            }
            for name, limit in limits.items()
        }
    }


def update_quota(ctx: Context, project_id: str) -> dict[str, Any]:
    """Give a project limits of its own."""
    wish = ctx.body.get("quota")
    if not isinstance(wish, dict):
        raise BadRequest("Unable to find 'quota' in request body")
    checked = _flag(wish.get("check_limit")) and not _flag(wish.get("force"))
    wish = {name: value for name, value in wish.items() if name not in _MODES}
    unknown = [name for name in wish if name not in rules.DEFAULTS]
    if unknown:
        raise BadRequest(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    given = {name: _limit(name, value) for name, value in wish.items()}
    if checked:
        _refuse_below_usage(ctx, project_id, given)

    def plan() -> tuple[list[AnyOp], dict[str, int]]:
        row = ctx.db.get(NetworkQuota, project_id)
        now = ctx.now()
        limits = {**(row.limits if row else {}), **given}
        new = NetworkQuota(
            id=project_id, limits=limits, created_at=row.created_at if row else now, updated_at=now
        )
        return [put(new)], {**rules.DEFAULTS, **limits}

    return {"quota": ctx.transact(plan)}


def delete_quota(ctx: Context, project_id: str) -> None:
    """Give a project the default limits again."""
    ctx.transact(lambda: ([delete(NetworkQuota, project_id)], None), frees=True)


def _refuse_below_usage(ctx: Context, project_id: str, limits: Mapping[str, int]) -> None:
    used = {name: ctx.db.counter(quota_counter(project_id, name)) for name in limits}
    low = [name for name, limit in limits.items() if 0 <= limit < used[name]]
    if low:
        raise conflict(
            "InvalidQuotaValue",
            f"Change would make usage less than 0 for the following resources: {low}.",
        )


def _flag(value: Any) -> bool:
    try:
        return to.boolean(value) if value is not None else False
    except ValueError as error:
        raise BadRequest(f"Invalid input for check_limit. Reason: {error}.") from error


def _limit(name: str, value: Any) -> int:
    try:
        return int(to.integer(-1, 2**31 - 1)(value))
    except ValueError as error:
        raise BadRequest(f"Invalid input for {name}. Reason: {error}.") from error


def _own_or_admin(ctx: Context, project_id: str) -> None:
    if project_id != ctx.project_id and not ctx.allows("update_quota", {"project_id": project_id}):
        raise disallowed("get_quota")


_PATH = "/v2.0/quotas"
ROUTES = (
    Route(method="GET", path=_PATH, handler=list_quotas, policy="update_quota"),
    Route(method="GET", path=_PATH + "/{project_id}", handler=show_quota, policy="get_quota"),
    Route(
        method="GET",
        path=_PATH + "/{project_id}/default",
        handler=show_defaults,
        policy="get_quota",
    ),
    Route(
        method="GET",
        path=_PATH + "/{project_id}/defaults",
        handler=show_defaults,
        policy="get_quota",
    ),
    Route(
        method="GET", path=_PATH + "/{project_id}/details", handler=show_details, policy="get_quota"
    ),
    Route(
        method="GET",
        path=_PATH + "/{project_id}/details.json",
        handler=show_details,
        policy="get_quota",
    ),
    Route(
        method="PUT",
        path=_PATH + "/{project_id}",
        handler=update_quota,
        policy="update_quota",
        body=dict[str, Any],
    ),
    Route(
        method="DELETE",
        path=_PATH + "/{project_id}",
        handler=delete_quota,
        policy="delete_quota",
        status=204,
    ),
)
