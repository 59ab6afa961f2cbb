"""Roles and implications as Keystone prints them."""

from typing import Any

from node.plugins.identity.tables import Role
from node.sdk import Context


def role_view(ctx: Context, role: Role) -> dict[str, Any]:
    """Return a role."""
    return {
        **role.extra,
        "id": role.id,
        "name": role.name,
        "domain_id": role.domain_id or None,
        "description": role.description,
        "options": role.options,
        "links": {"self": ctx.url(f"/v3/roles/{role.id}")},
    }


def role_reference(ctx: Context, role: Role) -> dict[str, Any]:
    """Return a role as implications name it."""
    return {
        "id": role.id,
        "name": role.name,
        "links": {"self": ctx.url(f"/v3/roles/{role.id}")},
    }
