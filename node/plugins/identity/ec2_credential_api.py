"""EC2 keys: pairs for signed requests (S3).

Source: https://docs.openstack.org/api-ref/identity/v3-ext/#os-ec2-admin-extension
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from node.plugins.identity.change_rules import create, find, stamps
from node.plugins.identity.credential_api import ec2_id
from node.plugins.identity.credential_view import ec2_view
from node.plugins.identity.delegation_rules import may_delegate
from node.plugins.identity.directory import directory
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import collection
from node.plugins.identity.tables import Credential, Project, User
from node.sdk import AnyOp, Context, Forbidden, Frozen, Reply, Route, delete


class Ec2Body(Frozen):
    """The project that the key is for."""

    tenant_id: str


def create_key(ctx: Context, user_id: str) -> Reply:
    """Make a key pair of a user for a project in which the user has a role."""
    may_delegate(ctx)
    find(ctx, User, "user", user_id)
    project_id = ctx.body.tenant_id
    find(ctx, Project, "project", project_id)
    if not directory(ctx.db).role_ids(user_id, "project", project_id):
        raise Forbidden(f"The user {user_id} has no role on the project {project_id}.")
    access = ctx.ids.hex()
    row = Credential(
        id=ec2_id(access),
        user_id=user_id,
        type="ec2",
        blob=msgspec.json.encode({"access": access, "secret": ctx.ids.hex()}).decode(),
        project_id=project_id,
        access=access,
        application_credential_id=ctx.token.application_credential_id,
        **stamps(ctx),
    )
    create(ctx, "credential", row, rests_on=lambda: [find(ctx, User, "user", user_id)])
    shown = ec2_view(ctx, row)
    return Reply(body={"credential": shown}, headers={"Location": shown["links"]["self"]})


def list_keys(ctx: Context, user_id: str) -> dict[str, Any]:
    """List a user's key pairs."""
    find(ctx, User, "user", user_id)
    rows = ctx.db.rows(Credential, user_id=user_id, type="ec2")
    return collection(ctx, "credentials", rows, lambda row: ec2_view(ctx, row))


def _find(ctx: Context, user_id: str, access: str) -> Credential:
    row = ctx.db.one(Credential, access=access)
    if row is None or row.user_id != user_id:
        raise missing("credential", access)
    return row


def show_key(ctx: Context, user_id: str, access: str) -> dict[str, Any]:
    """Show a key pair."""
    return {"credential": ec2_view(ctx, _find(ctx, user_id, access))}


def delete_key(ctx: Context, user_id: str, access: str) -> None:
    """Delete a key pair."""
    may_delegate(ctx)

    def plan() -> tuple[Sequence[AnyOp], None]:
        return [delete(Credential, _find(ctx, user_id, access).id, must_exist=True)], None

    ctx.transact(plan, frees=True)


_ALL = "/v3/users/{user_id}/credentials/OS-EC2"
_ONE = _ALL + "/{access}"

ROUTES = (
    Route(
        method="POST",
        path=_ALL,
        handler=create_key,
        policy="identity:ec2_create_credential",
        status=201,
        body=Ec2Body,
    ),
    Route(method="GET", path=_ALL, handler=list_keys, policy="identity:ec2_list_credentials"),
    Route(method="GET", path=_ONE, handler=show_key, policy="identity:ec2_get_credential"),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_key,
        policy="identity:ec2_delete_credential",
        status=204,
    ),
)
