"""Limits as Keystone prints them."""

from typing import Any

from node.plugins.identity.catalog_tables import Limit, RegisteredLimit
from node.sdk import Context


def registered_limit_view(ctx: Context, row: RegisteredLimit) -> dict[str, Any]:
    """Return a registered limit."""
    return {
        "id": row.id,
        "service_id": row.service_id,
        "region_id": row.region_id or None,
        "resource_name": row.resource_name,
        "default_limit": row.default_limit,
        "description": row.description,
        "links": {"self": ctx.url(f"/v3/registered_limits/{row.id}")},
    }


def limit_view(ctx: Context, row: Limit) -> dict[str, Any]:
    """Return a limit of a project or domain."""
    return {
        "id": row.id,
        "service_id": row.service_id,
        "region_id": row.region_id or None,
        "resource_name": row.resource_name,
        "resource_limit": row.resource_limit,
        "project_id": row.project_id or None,
        "domain_id": row.domain_id or None,
        "description": row.description,
        "links": {"self": ctx.url(f"/v3/limits/{row.id}")},
    }
