"""Services of the catalog: the built-in ones can be seen, others added.

Source: https://docs.openstack.org/api-ref/identity/v3/#service-catalog-and-endpoints
"""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from node.plugins.identity.bodies import Name, ServiceBody, changes, given, parse
from node.plugins.identity.catalog_rules import builtins, services
from node.plugins.identity.catalog_tables import CatalogService, Endpoint
from node.plugins.identity.catalog_view import service_view
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import Filters, collection, filtered
from node.sdk import AnyOp, Context, Forbidden, Frozen, Route, delete

_FILTERS = Filters(exact=("type", "name", "id"))
_Type = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"[\S]+")]


class ServiceCreate(Frozen):
    """What may be given for a new service."""

    type: _Type
    name: Name | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class ServiceUpdate(Frozen):
    """What may be changed of a service."""

    type: _Type | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


def create_service(ctx: Context) -> dict[str, Any]:
    """Add a service to the catalog."""
    body, extra = parse("service", ctx.body.service, ServiceCreate)
    service = CatalogService(
        id=ctx.ids.hex(),
        type=body.type,
        name=given(body.name, ""),
        description=given(body.description),
        enabled=given(body.enabled, True),
        extra=extra,
        **stamps(ctx),
    )
    create(ctx, "service", service)
    return {"service": service_view(ctx, service)}


def list_services(ctx: Context) -> dict[str, Any]:
    """List services, built-in ones first."""
    rows = filtered(ctx, services(ctx), _FILTERS)
    return collection(ctx, "services", rows, lambda service: service_view(ctx, service))


def find_service(ctx: Context, service_id: str) -> CatalogService:
    """Return a service, built-in or not.

    Raises:
        NotFound: 404.
    """
    for entry in builtins(ctx):
        if entry.service.id == service_id:
            return entry.service
    return find(ctx, CatalogService, "service", service_id)


def show_service(ctx: Context, service_id: str) -> dict[str, Any]:
    """Show a service."""
    return {"service": service_view(ctx, find_service(ctx, service_id))}


def update_service(ctx: Context, service_id: str) -> dict[str, Any]:
    """Change a service that was added."""
    _must_be_added(ctx, service_id)
    body, extra = parse("service", ctx.body.service, ServiceUpdate)
    service = update(
        ctx,
        CatalogService,
        "service",
        service_id,
        lambda row: {**changes(body), "extra": {**row.extra, **extra}},
    )
    return {"service": service_view(ctx, service)}


def delete_service(ctx: Context, service_id: str) -> None:
    """Delete a service that was added, with its endpoints."""
    _must_be_added(ctx, service_id)

    def plan() -> tuple[Sequence[AnyOp], None]:
        if ctx.db.get(CatalogService, service_id) is None:
            raise missing("service", service_id)
        endpoints = ctx.db.rows(Endpoint, service_id=service_id)
        return [
            delete(CatalogService, service_id, must_exist=True),
            *(delete(Endpoint, endpoint.id) for endpoint in endpoints),
        ], None

    ctx.transact(plan, frees=True)


def _must_be_added(ctx: Context, service_id: str) -> None:
    if any(entry.service.id == service_id for entry in builtins(ctx)):
        raise Forbidden(
            f"The service {service_id} is built in: block its plugin in the configuration instead."
        )


_ONE = "/v3/services/{service_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/services",
        handler=create_service,
        policy="identity:create_service",
        status=201,
        body=ServiceBody,
    ),
    Route(
        method="GET", path="/v3/services", handler=list_services, policy="identity:list_services"
    ),
    Route(method="GET", path=_ONE, handler=show_service, policy="identity:get_service"),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_service,
        policy="identity:update_service",
        body=ServiceBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_service,
        policy="identity:delete_service",
        status=204,
    ),
)
