"""Regions, services and endpoints as Keystone prints them."""

from typing import Any

from node.plugins.identity.catalog_tables import CatalogService, Endpoint, Region
from node.sdk import Context


def region_view(ctx: Context, region: Region) -> dict[str, Any]:
    """Return a region."""
    return {
        **region.extra,
        "id": region.id,
        "description": region.description,
        "parent_region_id": region.parent_region_id or None,
        "links": {"self": ctx.url(f"/v3/regions/{region.id}")},
    }


def service_view(ctx: Context, service: CatalogService) -> dict[str, Any]:
    """Return a service; a description that was never given is left out."""
    shown: dict[str, Any] = {
        **service.extra,
        "id": service.id,
        "type": service.type,
        "name": service.name,
        "enabled": service.enabled,
        "links": {"self": ctx.url(f"/v3/services/{service.id}")},
    }
    if service.description is not None:
        shown["description"] = service.description
    return shown


def endpoint_view(ctx: Context, endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint."""
    shown: dict[str, Any] = {
        **endpoint.extra,
        "id": endpoint.id,
        "interface": endpoint.interface,
        "region": endpoint.region_id or None,
        "region_id": endpoint.region_id or None,
        "service_id": endpoint.service_id,
        "url": endpoint.url,
        "enabled": endpoint.enabled,
        "links": {"self": ctx.url(f"/v3/endpoints/{endpoint.id}")},
    }
    if endpoint.name:
        shown["name"] = endpoint.name
    return shown
