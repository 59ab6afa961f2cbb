"""Trusts as Keystone prints them."""

from typing import Any

from node.plugins.identity.directory import directory
from node.plugins.identity.role_view import role_view
from node.plugins.identity.tables import Trust
from node.sdk import Context, iso_utc


def trust_view(ctx: Context, trust: Trust, *, roles: bool) -> dict[str, Any]:
    """Return a trust; a listing leaves its roles out."""
    link = ctx.url(f"/v3/OS-TRUST/trusts/{trust.id}")
    shown: dict[str, Any] = {
        "id": trust.id,
        "trustor_user_id": trust.trustor_user_id,
        "trustee_user_id": trust.trustee_user_id,
        "project_id": trust.project_id or None,
        "impersonation": trust.impersonation,
        "expires_at": iso_utc(trust.expires_at, micros=True) if trust.expires_at else None,
        "remaining_uses": trust.remaining_uses,
        "redelegation_count": trust.redelegation_count,
        "redelegated_trust_id": trust.redelegated_trust_id or None,
        "deleted_at": None,
        "links": {"self": link},
    }
    if roles:
        known = directory(ctx.db).roles
        shown["roles"] = [
            role_view(ctx, known[ident]) for ident in trust.role_ids if ident in known
        ]
        shown["roles_links"] = {"next": None, "self": link + "/roles", "previous": None}
    return shown
