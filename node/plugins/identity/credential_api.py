"""Credentials: blobs that users keep here.

Source: https://docs.openstack.org/api-ref/identity/v3/#credentials
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import CredentialBody, changes, given, parse
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.credential_view import credential_view
from node.plugins.identity.delegation_rules import may_delegate
from node.plugins.identity.directory import directory
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.tables import Credential, User
from node.sdk import AnyOp, BadRequest, Context, Frozen, Route, delete

_FILTERS = Filters(exact=("user_id", "type"))


class CredentialCreate(Frozen):
    """What may be given for a new credential."""

    blob: str | dict[str, Any]
    type: str
    user_id: str | UnsetType = UNSET
    project_id: str | None | UnsetType = UNSET


class CredentialUpdate(Frozen):
    """What may be changed of a credential."""

    blob: str | dict[str, Any] | UnsetType = UNSET
    type: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    project_id: str | None | UnsetType = UNSET


def _target_of_body(ctx: Context) -> Mapping[str, Any]:
    return {"target.credential.user_id": ctx.body.credential.get("user_id") or ctx.token.user_id}


def _target(ctx: Context, credential_id: str) -> Mapping[str, Any]:
    row = directory(ctx.db).get(Credential, credential_id)
    return {} if row is None else {"target.credential.user_id": row.user_id}


def create_credential(ctx: Context) -> dict[str, Any]:
    """Store a credential. An EC2 key is known by the hash of its public half."""
    may_delegate(ctx)
    body, extra = parse("credential", ctx.body.credential, CredentialCreate)
    blob = _text(body.blob)
    project_id = given(body.project_id) or ""
    access = _access(body.type, blob, project_id)
    user_id = given(body.user_id) or ctx.token.user_id
    row = Credential(
        id=ec2_id(access) if access else ctx.ids.hex(),
        user_id=user_id,
        type=body.type,
        blob=blob,
        project_id=project_id,
        access=access,
        application_credential_id=ctx.token.application_credential_id,
        extra=extra,
        **stamps(ctx),
    )
    create(ctx, "credential", row, rests_on=lambda: [find(ctx, User, "user", user_id)])
    return {"credential": credential_view(ctx, row)}


def ec2_id(access: str) -> str:
    """Return the id of an EC2 key's credential, as Keystone makes it."""
    return hashlib.sha256(access.encode()).hexdigest()


def _text(blob: str | dict[str, Any]) -> str:
    return blob if isinstance(blob, str) else msgspec.json.encode(blob).decode()


def _access(kind: str, blob: str, project_id: str) -> str:
    """Return the public half of an EC2 key; other types have none.

    Raises:
        BadRequest: 400, an EC2 key without its parts or its project.
    """
    if kind != "ec2":
        return ""
    try:
        parts = msgspec.json.decode(blob)
    except msgspec.DecodeError:
        raise BadRequest("Invalid blob in credential: it is not JSON.") from None
    access = parts.get("access") if isinstance(parts, dict) else None
    if not isinstance(access, str) or not access:
        raise BadRequest("Invalid blob in credential: an EC2 key needs access and secret.")
    if not project_id:
        raise BadRequest(
            "Expecting to find project_id in credential: an EC2 key is for one project."
        )
    return access


def list_credentials(ctx: Context) -> dict[str, Any]:
    """List credentials: everybody's for administrators, one's own otherwise."""
    rows = filtered(ctx, ctx.db.rows(Credential), _FILTERS)
    rows = [
        row
        for row in rows
        if ctx.allows("identity:get_credential", {"target.credential.user_id": row.user_id})
    ]
    return collection(ctx, "credentials", rows, lambda row: credential_view(ctx, row))


def show_credential(ctx: Context, credential_id: str) -> dict[str, Any]:
    """Show a credential."""
    return {"credential": credential_view(ctx, find(ctx, Credential, "credential", credential_id))}


def update_credential(ctx: Context, credential_id: str) -> dict[str, Any]:
    """Change a credential; its new owner must be one for whom the caller may act."""
    may_delegate(ctx)
    body, extra = parse("credential", ctx.body.credential, CredentialUpdate)
    sent = changes(body)
    if "blob" in sent:
        sent["blob"] = _text(sent["blob"])
    if "project_id" in sent:
        sent["project_id"] = sent["project_id"] or ""
    if "user_id" in sent:
        ctx.require("identity:update_credential", {"target.credential.user_id": sent["user_id"]})
        find(ctx, User, "user", sent["user_id"])

    def fields_of(row: Credential) -> dict[str, Any]:
        kind, blob = sent.get("type", row.type), sent.get("blob", row.blob)
        access = _access(kind, blob, sent.get("project_id", row.project_id))
        return {**sent, "access": access, "extra": {**row.extra, **extra}}

    row = update(ctx, Credential, "credential", credential_id, fields_of)
    return {"credential": credential_view(ctx, row)}


def delete_credential(ctx: Context, credential_id: str) -> None:
    """Delete a credential."""
    may_delegate(ctx)

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = find(ctx, Credential, "credential", credential_id)
        return [delete(Credential, row.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


_ONE = "/v3/credentials/{credential_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/credentials",
        handler=create_credential,
        policy="identity:create_credential",
        target=_target_of_body,
        status=201,
        body=CredentialBody,
    ),
    Route(
        method="GET",
        path="/v3/credentials",
        handler=list_credentials,
        policy="identity:list_credentials",
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=show_credential,
        policy="identity:get_credential",
        target=_target,
    ),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_credential,
        policy="identity:update_credential",
        target=_target,
        body=CredentialBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_credential,
        policy="identity:delete_credential",
        target=_target,
        status=204,
    ),
)
