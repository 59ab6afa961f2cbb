"""Tokens as Keystone prints them."""

from typing import Any

import msgspec

from node.plugins.identity.application_credential_view import access_rule_view
from node.plugins.identity.directory import Grant
from node.plugins.identity.tables import Project
from node.plugins.identity.token_codec import Claims
from node.plugins.identity.user_view import expiry_text
from node.sdk import iso_utc


def token_view(claims: Claims, grant: Grant, catalog: msgspec.Raw | None) -> dict[str, Any]:
    """Return `{"token": {...}}`."""
    user = grant.user
    token: dict[str, Any] = {
        "methods": claims.methods,
        "user": {
            "domain": _domain(grant.user_domain),
            "id": user.id,
            "name": user.name,
            "password_expires_at": expiry_text(user.password_expires_at),
        },
        "audit_ids": claims.audit_ids,
        "expires_at": iso_utc(claims.expires_at, micros=True),
        "issued_at": iso_utc(claims.issued_at, micros=True),
    }
    if grant.project is not None and grant.project_domain is not None:
        token["project"] = {
            "domain": _domain(grant.project_domain),
            "id": grant.project.id,
            "name": grant.project.name,
        }
        token["is_domain"] = grant.project.is_domain
    elif grant.domain is not None:
        token["domain"] = _domain(grant.domain)
    elif grant.system:
        token["system"] = {"all": True}
    if claims.scope:
        token["roles"] = [{"id": role.id, "name": role.name} for role in grant.roles]
    _lender(token, grant)
    if catalog is not None:
        token["catalog"] = catalog
    return {"token": token}


def _lender(token: dict[str, Any], grant: Grant) -> None:
    credential = grant.application_credential
    if credential is not None:
        shown: dict[str, Any] = {
            "id": credential.id,
            "name": credential.name,
            "restricted": not credential.unrestricted,
        }
        if credential.access_rules is not None:
            shown["access_rules"] = [access_rule_view(rule) for rule in credential.access_rules]
        token["application_credential"] = shown
    trust = grant.trust
    if trust is not None:
        token["OS-TRUST:trust"] = {
            "id": trust.id,
            "impersonation": trust.impersonation,
            "trustee_user": {"id": trust.trustee_user_id},
            "trustor_user": {"id": trust.trustor_user_id},
        }


def _domain(domain: Project) -> dict[str, str]:
    return {"id": domain.id, "name": domain.name}
