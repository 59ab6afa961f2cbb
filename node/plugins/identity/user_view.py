"""Users and groups as Keystone prints them."""

from typing import Any

from node.plugins.identity.tables import Group, User
from node.sdk import Context, iso_utc


def user_view(ctx: Context, user: User) -> dict[str, Any]:
    """Return a user. A default project or description that was never given is left out."""
    shown: dict[str, Any] = {
        **user.extra,
        "id": user.id,
        "name": user.name,
        "domain_id": user.domain_id,
        "enabled": user.enabled,
        "options": user.options,
        "password_expires_at": expiry_text(user.password_expires_at),
        "links": {"self": ctx.url(f"/v3/users/{user.id}")},
    }
    if user.default_project_id:
        shown["default_project_id"] = user.default_project_id
    if user.description is not None:
        shown["description"] = user.description
    return shown


def group_view(ctx: Context, group: Group) -> dict[str, Any]:
    """Return a group."""
    return {
        **group.extra,
        "id": group.id,
        "name": group.name,
        "domain_id": group.domain_id,
        "description": group.description,
        "links": {"self": ctx.url(f"/v3/groups/{group.id}")},
    }


def expiry_text(at_us: int) -> str | None:
    """Return the end of a password; None: it has none."""
    return iso_utc(at_us, suffix="", micros=True) if at_us else None
