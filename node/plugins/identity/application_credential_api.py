"""Application credentials: secrets with some of their user's roles on one project.

Source: https://docs.openstack.org/api-ref/identity/v3/#application-credentials
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta

from node.plugins.identity.access_rule_api import AccessRuleBody, resolve_rules
from node.plugins.identity.application_credential_view import credential_view
from node.plugins.identity.bodies import Name
from node.plugins.identity.change_rules import find, stamps, taken
from node.plugins.identity.delegation_rules import may_delegate
from node.plugins.identity.directory import directory
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.password_rules import Passwords
from node.plugins.identity.tables import ApplicationCredential, User
from node.plugins.identity.user_api import target
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    Reply,
    Route,
    check,
    delete,
    insert,
    parse_iso,
)

_FILTERS = Filters(exact=("name",))
_SECRET_BYTES = 64
_Secret = Annotated[str, Meta(min_length=1, max_length=4096)]


class RoleRef(Frozen):
    """A role by id or name."""

    id: str | None = None
    name: str | None = None


class CredentialFields(Frozen, forbid_unknown_fields=True):
    """What may be given for a new application credential."""

    name: Name
    secret: _Secret | None = None
    description: str | None = None
    expires_at: str | None = None
    roles: list[RoleRef] | None = None
    unrestricted: bool | None = None
    access_rules: list[AccessRuleBody] | None = None
    project_id: str | None = None
    user_id: str | None = None
    system: Literal["all"] | None = None


class ApplicationCredentialBody(Frozen):
    """`{"application_credential": {...}}`."""

    application_credential: CredentialFields


def create_credential(passwords: Passwords, ctx: Context, user_id: str) -> Reply:
    """Create an application credential on the token's project; its secret is shown this once.

    Raises:
        Forbidden: 403, the token is of a restricted application credential itself.
        BadRequest: 400, no project scope, a role that the token does not have, or an end in the past.
    """
    body = ctx.body.application_credential
    may_delegate(ctx)
    project_id = ctx.token.project_id
    if not project_id:
        raise BadRequest(
            "Application credentials are made with a token that is scoped to a project."
        )
    secret = body.secret or ctx.ids.secret(_SECRET_BYTES)
    secret_hash = passwords.hash(secret)
    expires_at = _end(ctx, body.expires_at)

    def plan() -> tuple[Sequence[AnyOp], ApplicationCredential]:
        user = find(ctx, User, "user", user_id)
        ops: list[AnyOp] = [check(user)]
        rules = None
        if body.access_rules:
            rules, rule_ops = resolve_rules(ctx, user_id, body.access_rules)
            ops += rule_ops
        row = ApplicationCredential(
            id=ctx.ids.hex(),
            name=body.name,
            user_id=user_id,
            project_id=project_id,
            secret_hash=secret_hash,
            role_ids=_role_ids(ctx, body.roles),
            description=body.description,
            unrestricted=bool(body.unrestricted),
            expires_at=expires_at,
            access_rules=rules,
            **stamps(ctx),
        )
        return [*ops, insert(row)], row

    row = ctx.transact(plan, refused=taken("application_credential", body.name))
    shown = {**credential_view(ctx, row), "secret": secret}
    return Reply(
        body={"application_credential": shown}, headers={"Location": shown["links"]["self"]}
    )


def _end(ctx: Context, text: str | None) -> int:
    if text is None:
        return 0
    try:
        end = parse_iso(text)
    except ValueError:
        raise BadRequest(f"Invalid input for field 'expires_at': {text!r} is not a time") from None
    if end <= ctx.now():
        raise BadRequest("Invalid input for field 'expires_at': it is in the past")
    return end


def _role_ids(ctx: Context, wanted: list[RoleRef] | None) -> tuple[str, ...]:
    """Return the roles that the credential gets: those named, or all of the token's when none is."""
    held = {name: ident for ident, name in _held(ctx).items()}
    if not wanted:
        return tuple(held.values())
    found = []
    for ref in wanted:
        ident = ref.id or held.get(ref.name or "")
        if ident is None or ident not in held.values():
            raise BadRequest(
                f"Invalid application credential: could not find role assignment with role: {ref.id or ref.name}, "
                f"user or group: {ctx.token.user_id}, project, domain, or system: {ctx.token.project_id}."
            )
        found.append(ident)
    return tuple(dict.fromkeys(found))


def _held(ctx: Context) -> dict[str, str]:
    """Return the roles of the token, names by id."""
    roles = directory(ctx.db).roles.values()
    return {r.id: r.name for r in roles if not r.domain_id and r.name in ctx.token.roles}


def list_credentials(ctx: Context, user_id: str) -> dict[str, Any]:
    """List a user's application credentials."""
    find(ctx, User, "user", user_id)
    rows = filtered(ctx, ctx.db.rows(ApplicationCredential, user_id=user_id), _FILTERS)
    return collection(ctx, "application_credentials", rows, lambda row: credential_view(ctx, row))


def _find(ctx: Context, user_id: str, ident: str) -> ApplicationCredential:
    row = ctx.db.get(ApplicationCredential, ident)
    if row is None or row.user_id != user_id:
        raise missing("application credential", ident)
    return row


def show_credential(ctx: Context, user_id: str, application_credential_id: str) -> dict[str, Any]:
    """Show an application credential without its secret."""
    row = _find(ctx, user_id, application_credential_id)
    return {"application_credential": credential_view(ctx, row)}


def delete_credential(ctx: Context, user_id: str, application_credential_id: str) -> None:
    """Delete an application credential; its tokens end."""
    may_delegate(ctx)

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = _find(ctx, user_id, application_credential_id)
        return [delete(ApplicationCredential, row.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


def routes(passwords: Passwords) -> tuple[Route, ...]:
    """Return the routes of application credentials."""
    every = "/v3/users/{user_id}/application_credentials"
    one = every + "/{application_credential_id}"

    def of_user(ctx: Context, user_id: str, **_more: str) -> Any:
        return target(ctx, user_id)

    return (
        Route(
            method="POST",
            path=every,
            handler=partial(create_credential, passwords),
            policy="identity:create_application_credential",
            target=of_user,
            status=201,
            body=ApplicationCredentialBody,
            summary="Create an application credential",
        ),
        Route(
            method="GET",
            path=every,
            handler=list_credentials,
            policy="identity:list_application_credentials",
        ),
        Route(
            method="GET",
            path=one,
            handler=show_credential,
            policy="identity:get_application_credential",
        ),
        Route(
            method="DELETE",
            path=one,
            handler=delete_credential,
            policy="identity:delete_application_credential",
            status=204,
        ),
    )
