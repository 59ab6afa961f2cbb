"""Groups of endpoints by a rule: service, region, interface.

Source: https://docs.openstack.org/api-ref/identity/v3-ext/#os-ep-filter-api
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import Name, changes, given
from node.plugins.identity.catalog_tables import EndpointGrant, EndpointGroup
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.listing import Filters, collection, filtered
from node.sdk import AnyOp, Context, Frozen, Route, delete

_FILTERS = Filters(exact=("name",))


class FilterFields(Frozen, forbid_unknown_fields=True):
    """What an endpoint must have to be in the group."""

    service_id: str | UnsetType = UNSET
    region_id: str | UnsetType = UNSET
    interface: Literal["public", "internal", "admin"] | UnsetType = UNSET


class GroupFields(Frozen):
    """A new group."""

    name: Name
    filters: FilterFields
    description: str | None | UnsetType = UNSET


class GroupUpdate(Frozen):
    """What may be changed of a group."""

    name: Name | UnsetType = UNSET
    filters: FilterFields | UnsetType = UNSET
    description: str | None | UnsetType = UNSET


class GroupBody(Frozen):
    """`{"endpoint_group": {...}}`."""

    endpoint_group: GroupFields


class GroupUpdateBody(Frozen):
    """`{"endpoint_group": {...}}`."""

    endpoint_group: GroupUpdate


def group_view(ctx: Context, row: EndpointGroup) -> dict[str, Any]:
    """Return a group of endpoints."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "filters": row.filters,
        "links": {"self": ctx.url(f"/v3/OS-EP-FILTER/endpoint_groups/{row.id}")},
    }


def find_group(ctx: Context, ident: str) -> EndpointGroup:
    """Return a group of endpoints.

    Raises:
        NotFound: 404.
    """
    return find(ctx, EndpointGroup, "endpoint group", ident)


def create_group(ctx: Context) -> dict[str, Any]:
    """Create a group of endpoints."""
    body = ctx.body.endpoint_group
    row = EndpointGroup(
        id=ctx.ids.hex(),
        name=body.name,
        filters=changes(body.filters),
        description=given(body.description),
        **stamps(ctx),
    )
    create(ctx, "endpoint_group", row, name=row.name)
    return {"endpoint_group": group_view(ctx, row)}


def list_groups(ctx: Context) -> dict[str, Any]:
    """List groups of endpoints."""
    rows = filtered(ctx, ctx.db.rows(EndpointGroup), _FILTERS)
    return collection(ctx, "endpoint_groups", rows, lambda row: group_view(ctx, row))


def show_group(ctx: Context, endpoint_group_id: str) -> dict[str, Any]:
    """Show a group of endpoints."""
    return {"endpoint_group": group_view(ctx, find_group(ctx, endpoint_group_id))}


def update_group(ctx: Context, endpoint_group_id: str) -> dict[str, Any]:
    """Change a group of endpoints; filters that are not given stay."""
    sent = changes(ctx.body.endpoint_group)
    filters = changes(sent.pop("filters", None))

    def fields_of(row: EndpointGroup) -> dict[str, Any]:
        return {**sent, "filters": {**row.filters, **filters}}

    row = update(
        ctx,
        EndpointGroup,
        "endpoint group",
        endpoint_group_id,
        fields_of,
        name=sent.get("name", ""),
    )
    return {"endpoint_group": group_view(ctx, row)}


def delete_group(ctx: Context, endpoint_group_id: str) -> None:
    """Delete a group of endpoints; projects that saw only it see everything again."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = find_group(ctx, endpoint_group_id)
        grants = ctx.db.rows(EndpointGrant, subject_id=row.id)
        return [
            delete(EndpointGroup, row.id, must_exist=True),
            *(delete(EndpointGrant, grant.id) for grant in grants),
        ], None

    ctx.transact(plan, frees=True)


_ALL = "/v3/OS-EP-FILTER/endpoint_groups"
_ONE = _ALL + "/{endpoint_group_id}"

ROUTES = (
    Route(
        method="POST",
        path=_ALL,
        handler=create_group,
        policy="identity:create_endpoint_group",
        status=201,
        body=GroupBody,
    ),
    Route(method="GET", path=_ALL, handler=list_groups, policy="identity:list_endpoint_groups"),
    *(
        Route(method=method, path=_ONE, handler=show_group, policy="identity:get_endpoint_group")
        for method in ("GET", "HEAD")
    ),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_group,
        policy="identity:update_endpoint_group",
        body=GroupUpdateBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_group,
        policy="identity:delete_endpoint_group",
        status=204,
    ),
)
