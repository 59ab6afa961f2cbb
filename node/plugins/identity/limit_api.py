"""Limits of projects and domains; each overrides a registered one.

Source: https://docs.openstack.org/api-ref/identity/v3/#unified-limits
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from node.plugins.identity.bodies import changes
from node.plugins.identity.catalog_tables import Limit, RegisteredLimit
from node.plugins.identity.change_rules import find, stamps, taken, update
from node.plugins.identity.directory import directory
from node.plugins.identity.domain_rules import must_be_domain
from node.plugins.identity.limit_view import limit_view
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.registered_limit_api import Amount, ResourceName, must_exist
from node.plugins.identity.tables import Project
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Forbidden,
    Frozen,
    Route,
    Row,
    check,
    delete,
    insert,
)

_FILTERS = Filters(exact=("service_id", "region_id", "resource_name", "project_id", "domain_id"))


class LimitFields(Frozen, forbid_unknown_fields=True):
    """A new limit, of a project or of a domain."""

    service_id: str
    resource_name: ResourceName
    resource_limit: Amount
    project_id: str | None = None
    domain_id: str | None = None
    region_id: str | None = None
    description: str | None = None


class LimitsBody(Frozen):
    """`{"limits": [...]}`."""

    limits: Annotated[list[LimitFields], Meta(min_length=1)]


class LimitUpdate(Frozen, forbid_unknown_fields=True):
    """What may be changed of a limit."""

    resource_limit: Amount | UnsetType = UNSET
    description: str | None | UnsetType = UNSET


class LimitBody(Frozen):
    """`{"limit": {...}}`."""

    limit: LimitUpdate


def _target(ctx: Context, limit_id: str) -> Mapping[str, Any]:
    row = directory(ctx.db).get(Limit, limit_id)
    return {} if row is None else _owner(row)


def _owner(row: Limit) -> dict[str, Any]:
    return {"target.limit.project_id": row.project_id, "target.limit.domain_id": row.domain_id}


def show_model(_ctx: Context) -> dict[str, Any]:
    """Show how limits relate to each other: not at all."""
    description = (
        "Limit enforcement and validation does not take project hierarchy into consideration."
    )
    return {"model": {"name": "flat", "description": description}}


def create_limits(ctx: Context) -> dict[str, Any]:
    """Set limits, all or none.

    Raises:
        Forbidden: 403, nothing is registered for the service, region and resource.
    """

    def plan() -> tuple[Sequence[AnyOp], list[Limit]]:
        rows, ops = [], []
        for body in ctx.body.limits:
            ops += [check(ground) for ground in _grounds(ctx, body)]
            row = Limit(
                id=ctx.ids.hex(),
                service_id=body.service_id,
                region_id=body.region_id or "",
                resource_name=body.resource_name,
                resource_limit=body.resource_limit,
                project_id=body.project_id or "",
                domain_id=body.domain_id or "",
                description=body.description,
                **stamps(ctx),
            )
            rows.append(row)
        return [*ops, *(insert(row) for row in rows)], rows

    rows = ctx.transact(plan, refused=taken("limit", "of this owner, service, region and resource"))
    return collection(ctx, "limits", rows, lambda row: limit_view(ctx, row))


def _grounds(ctx: Context, body: LimitFields) -> list[Row]:
    if bool(body.project_id) == bool(body.domain_id):
        raise BadRequest("A limit is either of a project (project_id) or of a domain (domain_id).")
    must_exist(ctx, body.service_id, body.region_id or "")
    registered = ctx.db.one(
        RegisteredLimit,
        service_id=body.service_id,
        region_id=body.region_id or "",
        resource_name=body.resource_name,
    )
    if registered is None:
        raise Forbidden("Unable to create a limit that has no corresponding registered limit.")
    if body.project_id:
        return [registered, find(ctx, Project, "project", body.project_id)]
    return [registered, must_be_domain(ctx, body.domain_id or "")]


def list_limits(ctx: Context) -> dict[str, Any]:
    """List limits: everybody's for administrators, those of the token's scope otherwise."""
    rows = filtered(ctx, ctx.db.rows(Limit), _FILTERS)
    rows = [row for row in rows if ctx.allows("identity:get_limit", _owner(row))]
    return collection(ctx, "limits", rows, lambda row: limit_view(ctx, row))


def show_limit(ctx: Context, limit_id: str) -> dict[str, Any]:
    """Show a limit."""
    return {"limit": limit_view(ctx, find(ctx, Limit, "limit", limit_id))}


def update_limit(ctx: Context, limit_id: str) -> dict[str, Any]:
    """Change a limit."""
    sent = changes(ctx.body.limit)
    return {"limit": limit_view(ctx, update(ctx, Limit, "limit", limit_id, lambda _row: sent))}


def delete_limit(ctx: Context, limit_id: str) -> None:
    """Delete a limit: the registered one counts again."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        return [delete(Limit, find(ctx, Limit, "limit", limit_id).id, must_exist=True)], None

    ctx.transact(plan, frees=True)


_ALL = "/v3/limits"
_ONE = _ALL + "/{limit_id}"

ROUTES = (
    Route(
        method="GET",
        path="/v3/limits/model",
        handler=show_model,
        policy="identity:get_limit_model",
    ),
    Route(
        method="POST",
        path=_ALL,
        handler=create_limits,
        policy="identity:create_limits",
        status=201,
        body=LimitsBody,
    ),
    Route(method="GET", path=_ALL, handler=list_limits, policy="identity:list_limits"),
    Route(method="GET", path=_ONE, handler=show_limit, policy="identity:get_limit", target=_target),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_limit,
        policy="identity:update_limit",
        body=LimitBody,
    ),
    Route(
        method="DELETE", path=_ONE, handler=delete_limit, policy="identity:delete_limit", status=204
    ),
)
