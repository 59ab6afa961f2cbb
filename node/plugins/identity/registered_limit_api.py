"""Registered limits: the defaults of limits, by service and resource.

Kept for services that ask Keystone for their limits (oslo.limit); this cloud's own services have quotas.
Source: https://docs.openstack.org/api-ref/identity/v3/#unified-limits
"""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from node.plugins.identity.bodies import changes
from node.plugins.identity.catalog_tables import Limit, Region, RegisteredLimit
from node.plugins.identity.change_rules import find, stamps, taken, update
from node.plugins.identity.faults import missing
from node.plugins.identity.limit_view import registered_limit_view
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.service_api import find_service
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Forbidden,
    Frozen,
    NotFound,
    Route,
    check,
    delete,
    insert,
)

FILTERS = Filters(exact=("service_id", "region_id", "resource_name"))
ResourceName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"[\S]+")]
Amount = Annotated[int, Meta(ge=-1, le=0x7FFFFFFF)]


class RegisteredLimitFields(Frozen, forbid_unknown_fields=True):
    """A new registered limit."""

    service_id: str
    resource_name: ResourceName
    default_limit: Amount
    region_id: str | None = None
    description: str | None = None


class RegisteredLimitsBody(Frozen):
    """`{"registered_limits": [...]}`."""

    registered_limits: Annotated[list[RegisteredLimitFields], Meta(min_length=1)]


class RegisteredLimitUpdate(Frozen, forbid_unknown_fields=True):
    """What may be changed of a registered limit."""

    service_id: str | UnsetType = UNSET
    resource_name: ResourceName | UnsetType = UNSET
    default_limit: Amount | UnsetType = UNSET
    region_id: str | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET


class RegisteredLimitBody(Frozen):
    """`{"registered_limit": {...}}`."""

    registered_limit: RegisteredLimitUpdate


def must_exist(ctx: Context, service_id: str, region_id: str) -> None:
    """Refuse a service or region that is not in the catalog.

    Raises:
        BadRequest: 400.
    """
    try:
        find_service(ctx, service_id)
        if region_id:
            find(ctx, Region, "region", region_id)
    except NotFound as error:
        raise BadRequest(error.message) from None


def create_registered_limits(ctx: Context) -> dict[str, Any]:
    """Register limits, all or none."""

    def plan() -> tuple[Sequence[AnyOp], list[RegisteredLimit]]:
        rows = []
        for body in ctx.body.registered_limits:
            must_exist(ctx, body.service_id, body.region_id or "")
            row = RegisteredLimit(
                id=ctx.ids.hex(),
                service_id=body.service_id,
                region_id=body.region_id or "",
                resource_name=body.resource_name,
                default_limit=body.default_limit,
                description=body.description,
                **stamps(ctx),
            )
            rows.append(row)
        return [insert(row) for row in rows], rows

    rows = ctx.transact(
        plan, refused=taken("registered_limit", "of this service, region and resource")
    )
    return collection(ctx, "registered_limits", rows, lambda row: registered_limit_view(ctx, row))


def list_registered_limits(ctx: Context) -> dict[str, Any]:
    """List registered limits."""
    rows = filtered(ctx, ctx.db.rows(RegisteredLimit), FILTERS)
    return collection(ctx, "registered_limits", rows, lambda row: registered_limit_view(ctx, row))


def show_registered_limit(ctx: Context, registered_limit_id: str) -> dict[str, Any]:
    """Show a registered limit."""
    row = find(ctx, RegisteredLimit, "registered limit", registered_limit_id)
    return {"registered_limit": registered_limit_view(ctx, row)}


def update_registered_limit(ctx: Context, registered_limit_id: str) -> dict[str, Any]:
    """Change a registered limit; what it is for only while no limit rests on it."""
    sent = changes(ctx.body.registered_limit)
    if "region_id" in sent:
        sent["region_id"] = sent["region_id"] or ""

    def fields_of(row: RegisteredLimit) -> dict[str, Any]:
        must_exist(
            ctx, sent.get("service_id", row.service_id), sent.get("region_id", row.region_id)
        )
        moved = {name for name in ("service_id", "region_id", "resource_name") if name in sent}
        if any(sent[name] != getattr(row, name) for name in moved):
            _must_be_free(ctx, row)
        return sent

    row = update(ctx, RegisteredLimit, "registered limit", registered_limit_id, fields_of)
    return {"registered_limit": registered_limit_view(ctx, row)}


def delete_registered_limit(ctx: Context, registered_limit_id: str) -> None:
    """Delete a registered limit that no limit rests on."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = ctx.db.get(RegisteredLimit, registered_limit_id)
        if row is None:
            raise missing("registered limit", registered_limit_id)
        _must_be_free(ctx, row)
        return [check(row), delete(RegisteredLimit, row.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


def _must_be_free(ctx: Context, row: RegisteredLimit) -> None:
    limits = ctx.db.count(
        Limit, service_id=row.service_id, region_id=row.region_id, resource_name=row.resource_name
    )
    if limits:
        raise Forbidden(
            f"Unable to update or delete registered limit {row.id} because there are project limits associated "
            "with it."
        )


_ALL = "/v3/registered_limits"
_ONE = _ALL + "/{registered_limit_id}"

ROUTES = (
    Route(
        method="POST",
        path=_ALL,
        handler=create_registered_limits,
        policy="identity:create_registered_limits",
        status=201,
        body=RegisteredLimitsBody,
    ),
    Route(
        method="GET",
        path=_ALL,
        handler=list_registered_limits,
        policy="identity:list_registered_limits",
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=show_registered_limit,
        policy="identity:get_registered_limit",
    ),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_registered_limit,
        policy="identity:update_registered_limit",
        body=RegisteredLimitBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_registered_limit,
        policy="identity:delete_registered_limit",
        status=204,
    ),
)
