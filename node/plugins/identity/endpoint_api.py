"""Endpoints of the catalog: the built-in ones can be seen, others added.

Source: https://docs.openstack.org/api-ref/identity/v3/#service-catalog-and-endpoints
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import EndpointBody, Url, changes, given, parse
from node.plugins.identity.catalog_rules import endpoints
from node.plugins.identity.catalog_tables import CatalogService, Endpoint, EndpointGrant, Region
from node.plugins.identity.catalog_view import endpoint_view
from node.plugins.identity.change_rules import create, stamps, update
from node.plugins.identity.faults import missing
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
    Row,
    delete,
    insert,
)

_FILTERS = Filters(exact=("interface", "service_id", "region_id", "id"), flags=("enabled",))
Interface = Literal["public", "internal", "admin"]


class EndpointCreate(Frozen):
    """What may be given for a new endpoint. `region` is the old name of `region_id`."""

    service_id: str
    interface: Interface
    url: Url
    region_id: str | None | UnsetType = UNSET
    region: str | None | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    name: str | UnsetType = UNSET


class EndpointUpdate(Frozen):
    """What may be changed of an endpoint."""

    service_id: str | UnsetType = UNSET
    interface: Interface | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    region_id: str | None | UnsetType = UNSET
    region: str | None | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    name: str | UnsetType = UNSET


def create_endpoint(ctx: Context) -> dict[str, Any]:
    """Add an endpoint to the catalog. A `region` that does not exist is created, a `region_id` must exist."""
    body, extra = parse("endpoint", ctx.body.endpoint, EndpointCreate)
    _create_region(ctx, given(body.region))
    endpoint = Endpoint(
        id=ctx.ids.hex(),
        service_id=body.service_id,
        interface=body.interface,
        url=body.url,
        region_id=given(body.region_id) or given(body.region) or "",
        enabled=given(body.enabled, True),
        name=given(body.name, ""),
        extra=extra,
        **stamps(ctx),
    )
    create(
        ctx,
        "endpoint",
        endpoint,
        rests_on=lambda: _grounds(ctx, body.service_id, endpoint.region_id),
    )
    return {"endpoint": endpoint_view(ctx, endpoint)}


def _create_region(ctx: Context, region_id: str | None) -> None:
    if region_id and ctx.db.get(Region, region_id) is None:
        ctx.commit([insert(Region(id=region_id, **stamps(ctx)))])


def _grounds(ctx: Context, service_id: str, region_id: str) -> list[Row]:
    """Return the rows that an endpoint rests on.

    Raises:
        BadRequest: 400, there is no such service or region.
    """
    try:
        service = find_service(ctx, service_id)
    except NotFound:
        raise BadRequest(f"Could not find service: {service_id}.") from None
    rows: list[Row] = []
    if ctx.db.get(CatalogService, service.id) is not None:
        rows.append(service)
    if region_id:
        region = ctx.db.get(Region, region_id)
        if region is None:
            raise BadRequest(f"Could not find region: {region_id}.")
        rows.append(region)
    return rows


def list_endpoints(ctx: Context) -> dict[str, Any]:
    """List endpoints, built-in ones first."""
    rows = filtered(ctx, endpoints(ctx), _FILTERS)
    return collection(ctx, "endpoints", rows, lambda endpoint: endpoint_view(ctx, endpoint))


def show_endpoint(ctx: Context, endpoint_id: str) -> dict[str, Any]:
    """Show an endpoint."""
    return {"endpoint": endpoint_view(ctx, find_endpoint(ctx, endpoint_id))}


def find_endpoint(ctx: Context, endpoint_id: str) -> Endpoint:
    """Return an endpoint, built-in or not.

    Raises:
        NotFound: 404.
    """
    for endpoint in endpoints(ctx):
        if endpoint.id == endpoint_id:
            return endpoint
    raise missing("endpoint", endpoint_id)


def update_endpoint(ctx: Context, endpoint_id: str) -> dict[str, Any]:
    """Change an endpoint that was added."""
    _must_be_added(ctx, endpoint_id)
    body, extra = parse("endpoint", ctx.body.endpoint, EndpointUpdate)
    sent = changes(body)
    if "region" in sent:
        region_id = sent.pop("region")
        _create_region(ctx, region_id)
        sent.setdefault("region_id", region_id)
    if "region_id" in sent:
        sent["region_id"] = sent["region_id"] or ""

    def fields_of(row: Endpoint) -> dict[str, Any]:
        _grounds(ctx, sent.get("service_id", row.service_id), sent.get("region_id", row.region_id))
        return {**sent, "extra": {**row.extra, **extra}}

    return {
        "endpoint": endpoint_view(ctx, update(ctx, Endpoint, "endpoint", endpoint_id, fields_of))
    }


def delete_endpoint(ctx: Context, endpoint_id: str) -> None:
    """Delete an endpoint that was added."""
    _must_be_added(ctx, endpoint_id)

    def plan() -> tuple[Sequence[AnyOp], None]:
        if ctx.db.get(Endpoint, endpoint_id) is None:
            raise missing("endpoint", endpoint_id)
        grants = ctx.db.rows(EndpointGrant, subject_id=endpoint_id)
        return [
            delete(Endpoint, endpoint_id, must_exist=True),
            *(delete(EndpointGrant, grant.id) for grant in grants),
        ], None

    ctx.transact(plan, frees=True)


def _must_be_added(ctx: Context, endpoint_id: str) -> None:
    if ctx.db.get(Endpoint, endpoint_id) is None and any(
        e.id == endpoint_id for e in endpoints(ctx)
    ):
        raise Forbidden(
            f"The endpoint {endpoint_id} is built in: its address follows the configuration."
        )


_ONE = "/v3/endpoints/{endpoint_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/endpoints",
        handler=create_endpoint,
        policy="identity:create_endpoint",
        status=201,
        body=EndpointBody,
    ),
    Route(
        method="GET", path="/v3/endpoints", handler=list_endpoints, policy="identity:list_endpoints"
    ),
    Route(method="GET", path=_ONE, handler=show_endpoint, policy="identity:get_endpoint"),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_endpoint,
        policy="identity:update_endpoint",
        body=EndpointBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_endpoint,
        policy="identity:delete_endpoint",
        status=204,
    ),
)
