"""Roles, of the cloud and of domains.

Source: https://docs.openstack.org/api-ref/identity/v3/#roles
"""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import Ident, Name, RoleBody, changes, given, parse
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.domain_rules import must_be_domain
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.project_bodies import ResourceOptions
from node.plugins.identity.removal_rules import role_ops
from node.plugins.identity.role_view import role_view
from node.plugins.identity.tables import Role
from node.sdk import AnyOp, BadRequest, Context, Forbidden, Frozen, Route

_FILTERS = Filters(exact=("name", "id"))


class RoleCreate(Frozen):
    """What may be given for a new role."""

    name: Name
    domain_id: Ident | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    options: ResourceOptions | UnsetType = UNSET


class RoleUpdate(Frozen):
    """What may be changed of a role."""

    name: Name | UnsetType = UNSET
    domain_id: Ident | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    options: ResourceOptions | UnsetType = UNSET


def create_role(ctx: Context) -> dict[str, Any]:
    """Create a role."""
    body, extra = parse("role", ctx.body.role, RoleCreate)
    domain_id = given(body.domain_id) or ""
    role = Role(
        id=ctx.ids.hex(),
        name=body.name,
        domain_id=domain_id,
        description=given(body.description),
        options=changes(body.options),
        extra=extra,
        **stamps(ctx),
    )
    create(
        ctx,
        "role",
        role,
        name=role.name,
        domain_id=domain_id,
        rests_on=lambda: [must_be_domain(ctx, domain_id)] if domain_id else [],
    )
    return {"role": role_view(ctx, role)}


def list_roles(ctx: Context) -> dict[str, Any]:
    """List the roles of the cloud, or of a domain with `domain_id`."""
    domain_id = ctx.param("domain_id") or ""
    if domain_id in ("null", "None"):
        domain_id = ""
    rows = filtered(ctx, ctx.db.rows(Role, domain_id=domain_id), _FILTERS)
    return collection(ctx, "roles", rows, lambda role: role_view(ctx, role))


def show_role(ctx: Context, role_id: str) -> dict[str, Any]:
    """Show a role."""
    return {"role": role_view(ctx, find(ctx, Role, "role", role_id))}


def update_role(ctx: Context, role_id: str) -> dict[str, Any]:
    """Change a role."""
    body, extra = parse("role", ctx.body.role, RoleUpdate)
    sent = changes(body)
    domain_id = sent.pop("domain_id", None)
    options = changes(sent.pop("options")) if "options" in sent else {}

    def fields_of(role: Role) -> dict[str, Any]:
        if (domain_id or role.domain_id) != role.domain_id:
            raise BadRequest("Cannot change Domain ID")
        if options.get("immutable", True):
            _may_change(role)
        merged = {
            name: value for name, value in {**role.options, **options}.items() if value is not None
        }
        return {**sent, "options": merged, "extra": {**role.extra, **extra}}

    role = update(ctx, Role, "role", role_id, fields_of, name=sent.get("name", ""))
    return {"role": role_view(ctx, role)}


def delete_role(ctx: Context, role_id: str) -> None:
    """Delete a role wherever it is held."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        role = find(ctx, Role, "role", role_id)
        _may_change(role)
        return role_ops(ctx.db, role), None

    ctx.transact(plan, frees=True)


def _may_change(role: Role) -> None:
    if role.options.get("immutable"):
        raise Forbidden(
            f"Cannot change or delete immutable role {role.id}: remove its option `immutable` first."
        )


_ONE = "/v3/roles/{role_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/roles",
        handler=create_role,
        policy="identity:create_role",
        status=201,
        body=RoleBody,
    ),
    Route(method="GET", path="/v3/roles", handler=list_roles, policy="identity:list_roles"),
    Route(method="GET", path=_ONE, handler=show_role, policy="identity:get_role"),
    Route(
        method="PATCH", path=_ONE, handler=update_role, policy="identity:update_role", body=RoleBody
    ),
    Route(
        method="DELETE", path=_ONE, handler=delete_role, policy="identity:delete_role", status=204
    ),
)
