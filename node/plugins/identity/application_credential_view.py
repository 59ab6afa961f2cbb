"""Application credentials and access rules as Keystone prints them."""

from typing import Any

from node.plugins.identity.directory import directory
from node.plugins.identity.tables import AccessRule, ApplicationCredential, StoredAccessRule
from node.sdk import Context, iso_utc


def credential_view(ctx: Context, credential: ApplicationCredential) -> dict[str, Any]:
    """Return an application credential without its secret."""
    roles = directory(ctx.db).roles
    shown: dict[str, Any] = {
        "id": credential.id,
        "name": credential.name,
        "description": credential.description,
        "user_id": credential.user_id,
        "project_id": credential.project_id,
        "system": credential.system,
        "unrestricted": credential.unrestricted,
        "expires_at": (
            iso_utc(credential.expires_at, suffix="", micros=True)
            if credential.expires_at
            else None
        ),
        "roles": [
            {"id": ident, "name": roles[ident].name, "domain_id": roles[ident].domain_id or None}
            for ident in credential.role_ids
            if ident in roles
        ],
        "links": {
            "self": ctx.url(
                f"/v3/users/{credential.user_id}/application_credentials/{credential.id}"
            )
        },
    }
    if credential.access_rules is not None:
        shown["access_rules"] = [access_rule_view(rule) for rule in credential.access_rules]
    return shown


def access_rule_view(rule: AccessRule | StoredAccessRule) -> dict[str, Any]:
    """Return an access rule."""
    return {"id": rule.id, "service": rule.service, "path": rule.path, "method": rule.method}
