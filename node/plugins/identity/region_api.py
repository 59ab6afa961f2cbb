"""Regions of the catalog.

Source: https://docs.openstack.org/api-ref/identity/v3/#regions
"""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from node.plugins.identity.bodies import RegionBody, changes, given, parse
from node.plugins.identity.catalog_tables import Endpoint, Region
from node.plugins.identity.catalog_view import region_view
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.listing import Filters, collection, filtered
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    Frozen,
    NodeSection,
    Route,
    delete,
)

_FILTERS = Filters(exact=("parent_region_id", "id"))
RegionId = Annotated[str, Meta(max_length=255, pattern=r"^[^/]*$")]


class RegionFields(Frozen):
    """What may be given for a region."""

    id: RegionId | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    parent_region_id: str | None | UnsetType = UNSET


def create_region(ctx: Context) -> dict[str, Any]:
    """Create a region with an id of the client's or ours."""
    return _create(ctx, ctx.body.region.get("id"))


def put_region(ctx: Context, region_id: str) -> dict[str, Any]:
    """Create a region with the id in the path."""
    if ctx.body.region.get("id", region_id) != region_id:
        raise BadRequest("The ids of the region in the path and in the body differ.")
    return _create(ctx, region_id)


def _create(ctx: Context, ident: str | None) -> dict[str, Any]:
    sent = {**ctx.body.region, "id": ident} if ident else ctx.body.region
    body, extra = parse("region", sent, RegionFields)
    parent_id = given(body.parent_region_id) or ""
    region = Region(
        id=ident or ctx.ids.hex(),
        description=given(body.description) or "",
        parent_region_id=parent_id,
        extra=extra,
        **stamps(ctx),
    )
    create(ctx, "region", region, rests_on=lambda: _parents(ctx, parent_id))
    return {"region": region_view(ctx, region)}


def _parents(ctx: Context, parent_id: str) -> list[Region]:
    return [find(ctx, Region, "region", parent_id)] if parent_id else []


def list_regions(ctx: Context) -> dict[str, Any]:
    """List regions."""
    rows = filtered(ctx, ctx.db.rows(Region), _FILTERS)
    return collection(ctx, "regions", rows, lambda region: region_view(ctx, region))


def show_region(ctx: Context, region_id: str) -> dict[str, Any]:
    """Show a region."""
    return {"region": region_view(ctx, find(ctx, Region, "region", region_id))}


def update_region(ctx: Context, region_id: str) -> dict[str, Any]:
    """Change a region."""
    body, extra = parse("region", ctx.body.region, RegionFields)
    sent = {name: value or "" for name, value in changes(body).items() if name != "id"}
    parent_id = sent.get("parent_region_id", "")

    def fields_of(region: Region) -> dict[str, Any]:
        above = _parents(ctx, parent_id)
        while above:
            if above[0].id == region_id:
                raise BadRequest(f"The region {region_id} cannot be below itself.")
            above = _parents(ctx, above[0].parent_region_id)
        return {**sent, "extra": {**region.extra, **extra}}

    return {"region": region_view(ctx, update(ctx, Region, "region", region_id, fields_of))}


def delete_region(ctx: Context, region_id: str) -> None:
    """Delete a region that nothing is in."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        find(ctx, Region, "region", region_id)
        if region_id == ctx.config.section(NodeSection).region:
            raise Forbidden(
                f"The region {region_id} cannot be deleted: this cloud's own services are in it."
            )
        if ctx.db.count(Endpoint, region_id=region_id):
            raise Conflict(
                f"Unable to delete region {region_id} because it has associated endpoints."
            )
        if ctx.db.count(Region, parent_region_id=region_id):
            raise Forbidden(
                f"Unable to delete region {region_id} because it or its child regions have endpoints."
            )
        return [delete(Region, region_id, must_exist=True)], None

    ctx.transact(plan, frees=True)


_ONE = "/v3/regions/{region_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/regions",
        handler=create_region,
        policy="identity:create_region",
        status=201,
        body=RegionBody,
    ),
    Route(
        method="PUT",
        path=_ONE,
        handler=put_region,
        policy="identity:create_region",
        status=201,
        body=RegionBody,
    ),
    Route(method="GET", path="/v3/regions", handler=list_regions, policy="identity:list_regions"),
    Route(method="GET", path=_ONE, handler=show_region, policy="identity:get_region"),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_region,
        policy="identity:update_region",
        body=RegionBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_region,
        policy="identity:delete_region",
        status=204,
    ),
)
