"""Credentials and EC2 keys as Keystone prints them."""

from typing import Any

import msgspec

from node.plugins.identity.tables import Credential
from node.sdk import Context


def credential_view(ctx: Context, row: Credential) -> dict[str, Any]:
    """Return a credential with its blob: only its owner and administrators get here."""
    return {
        **row.extra,
        "id": row.id,
        "type": row.type,
        "blob": row.blob,
        "user_id": row.user_id,
        "project_id": row.project_id or None,
        "links": {"self": ctx.url(f"/v3/credentials/{row.id}")},
    }


def ec2_view(ctx: Context, row: Credential) -> dict[str, Any]:
    """Return an EC2 key: both halves, and whose it is."""
    link = ctx.url(f"/v3/users/{row.user_id}/credentials/OS-EC2/{row.access}")
    return {
        "access": row.access,
        "secret": ec2_secret(row),
        "user_id": row.user_id,
        "tenant_id": row.project_id,
        "trust_id": row.trust_id or None,
        "links": {"self": link},
    }


def ec2_secret(row: Credential) -> str:
    """Return the secret half of an EC2 key, or an empty string where the blob holds none."""
    try:
        blob = msgspec.json.decode(row.blob)
    except msgspec.DecodeError:
        return ""
    secret = blob.get("secret", "") if isinstance(blob, dict) else ""
    return secret if isinstance(secret, str) else ""
