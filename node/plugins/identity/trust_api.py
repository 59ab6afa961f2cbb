"""Trusts: roles on a project, lent by one user to another.

Source: https://docs.openstack.org/api-ref/identity/v3-ext/#os-trust-api
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from node.plugins.identity.change_rules import find, stamps
from node.plugins.identity.delegation_rules import may_delegate
from node.plugins.identity.directory import directory
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import collection, self_link
from node.plugins.identity.role_view import role_view
from node.plugins.identity.tables import Project, Role, Trust, User
from node.plugins.identity.trust_view import trust_view
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Forbidden,
    Frozen,
    Route,
    check,
    delete,
    insert,
    parse_iso,
)


class RoleRef(Frozen):
    """A role by id or name."""

    id: str | None = None
    name: str | None = None


class TrustFields(Frozen):
    """What may be given for a new trust."""

    trustor_user_id: str
    trustee_user_id: str
    impersonation: bool
    project_id: str | None = None
    roles: list[RoleRef] = []
    expires_at: str | None = None
    remaining_uses: Annotated[int, Meta(ge=1)] | None = None
    allow_redelegation: bool = False
    redelegation_count: Annotated[int, Meta(ge=0)] | None = None


class TrustBody(Frozen):
    """`{"trust": {...}}`."""

    trust: TrustFields


def _target_of_body(ctx: Context) -> Mapping[str, Any]:
    return {"target.trust.trustor_user_id": ctx.body.trust.trustor_user_id}


def _target(ctx: Context, trust_id: str, **_more: str) -> Mapping[str, Any]:
    trust = find(ctx, Trust, "trust", trust_id)
    return {
        "target.trust.trustor_user_id": trust.trustor_user_id,
        "target.trust.trustee_user_id": trust.trustee_user_id,
    }


def create_trust(ctx: Context) -> dict[str, Any]:
    """Lend roles that one has oneself on a project.

    Raises:
        Forbidden: 403, the token is itself of a trust or a credential, or the roles are not the trustor's.
    """
    body = ctx.body.trust
    may_delegate(ctx)
    expires_at = _end(ctx, body.expires_at)
    if body.roles and not body.project_id:
        raise BadRequest("Roles of a trust are on a project: project_id is missing.")
    if body.project_id and not body.roles:
        raise Forbidden("At least one role should be specified.")

    def plan() -> tuple[Sequence[AnyOp], Trust]:
        grounds = [
            find(ctx, User, "user", body.trustor_user_id),
            find(ctx, User, "user", body.trustee_user_id),
        ]
        project = find(ctx, Project, "project", body.project_id) if body.project_id else None
        trust = Trust(
            id=ctx.ids.hex(),
            trustor_user_id=body.trustor_user_id,
            trustee_user_id=body.trustee_user_id,
            impersonation=body.impersonation,
            project_id=body.project_id or "",
            role_ids=_role_ids(ctx, body.roles, body.project_id or ""),
            expires_at=expires_at,
            remaining_uses=body.remaining_uses,
            allow_redelegation=body.allow_redelegation,
            redelegation_count=body.redelegation_count or 0,
            **stamps(ctx),
        )
        ground_ops = [check(row) for row in (*grounds, *([project] if project else []))]
        return [*ground_ops, insert(trust)], trust

    return {"trust": trust_view(ctx, ctx.transact(plan), roles=True)}


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


def _role_ids(ctx: Context, wanted: Sequence[RoleRef], project_id: str) -> tuple[str, ...]:
    known = directory(ctx.db)
    held = known.role_ids(ctx.token.user_id, "project", project_id) if project_id else set()
    found = []
    for ref in wanted:
        row = (
            known.roles.get(ref.id)
            if ref.id
            else ctx.db.one(Role, domain_id="", name=ref.name or "")
        )
        if row is None:
            raise missing("role", ref.id or ref.name or "")
        if row.id not in held:
            raise Forbidden(
                f"The trustor does not have the role {row.id} on the project {project_id}."
            )
        found.append(row.id)
    return tuple(dict.fromkeys(found))


def list_trusts(ctx: Context) -> dict[str, Any]:
    """List trusts: all of them for administrators, otherwise those that one lends or is lent."""
    trustor, trustee = ctx.param("trustor_user_id"), ctx.param("trustee_user_id")
    if not trustor and not trustee:
        ctx.require("identity:list_trusts")
    if trustor:
        ctx.require("identity:list_trusts_for_trustor", {"target.trust.trustor_user_id": trustor})
    if trustee:
        ctx.require("identity:list_trusts_for_trustee", {"target.trust.trustee_user_id": trustee})
    wanted: dict[str, Any] = {}
    if trustor:
        wanted["trustor_user_id"] = trustor
    if trustee:
        wanted["trustee_user_id"] = trustee
    rows = [row for row in ctx.db.rows(Trust, **wanted) if not _ended(ctx, row)]
    return collection(ctx, "trusts", rows, lambda row: trust_view(ctx, row, roles=False))


def _ended(ctx: Context, trust: Trust) -> bool:
    return bool(trust.expires_at and trust.expires_at <= ctx.now())


def _find(ctx: Context, trust_id: str) -> Trust:
    trust = find(ctx, Trust, "trust", trust_id)
    if _ended(ctx, trust) or trust.remaining_uses == 0:
        raise missing("trust", trust_id)
    return trust


def show_trust(ctx: Context, trust_id: str) -> dict[str, Any]:
    """Show a trust."""
    return {"trust": trust_view(ctx, _find(ctx, trust_id), roles=True)}


def delete_trust(ctx: Context, trust_id: str) -> None:
    """End a trust; its tokens end."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        trust = find(ctx, Trust, "trust", trust_id)
        return [delete(Trust, trust.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


def list_trust_roles(ctx: Context, trust_id: str) -> dict[str, Any]:
    """List the roles that a trust lends."""
    trust, roles = _find(ctx, trust_id), directory(ctx.db).roles
    shown = [role_view(ctx, roles[ident]) for ident in trust.role_ids if ident in roles]
    return {"roles": shown, "links": {"next": None, "self": self_link(ctx), "previous": None}}


def show_trust_role(ctx: Context, trust_id: str, role_id: str) -> dict[str, Any]:
    """Show one role that a trust lends."""
    role = directory(ctx.db).roles.get(role_id)
    if role is None or role_id not in _find(ctx, trust_id).role_ids:
        raise missing("role", role_id)
    return {"role": role_view(ctx, role)}


_ALL = "/v3/OS-TRUST/trusts"
_ONE = _ALL + "/{trust_id}"

ROUTES = (
    Route(
        method="POST",
        path=_ALL,
        handler=create_trust,
        policy="identity:create_trust",
        target=_target_of_body,
        status=201,
        body=TrustBody,
    ),
    Route(method="GET", path=_ALL, handler=list_trusts, policy="any"),
    Route(method="GET", path=_ONE, handler=show_trust, policy="identity:get_trust", target=_target),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_trust,
        policy="identity:delete_trust",
        target=_target,
        status=204,
    ),
    Route(
        method="GET",
        path=_ONE + "/roles",
        handler=list_trust_roles,
        policy="identity:list_roles_for_trust",
        target=_target,
    ),
    *(
        Route(
            method=method,
            path=_ONE + "/roles/{role_id}",
            handler=show_trust_role,
            policy="identity:get_role_for_trust",
            target=_target,
        )
        for method in ("GET", "HEAD")
    ),
)
