"""Domains.

Source: https://docs.openstack.org/api-ref/identity/v3/#domains
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.identity.bodies import DomainBody, changes, given, parse
from node.plugins.identity.change_rules import create, stamps, update
from node.plugins.identity.domain_rules import must_be_domain
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.project_api import changed_fields
from node.plugins.identity.project_bodies import DomainCreate, DomainUpdate
from node.plugins.identity.project_rules import may_delete
from node.plugins.identity.project_view import domain_view
from node.plugins.identity.removal_rules import domain_ops
from node.plugins.identity.tables import DEFAULT_DOMAIN, Project
from node.sdk import AnyOp, BadRequest, Context, Forbidden, Route

FILTERS = Filters(exact=("name", "id"), flags=("enabled",))
_HEX = re.compile(r"[0-9a-f]{32}")


def _target(_ctx: Context, domain_id: str) -> Mapping[str, Any]:
    return {"target.domain.id": domain_id}


def create_domain(ctx: Context) -> dict[str, Any]:
    """Create a domain."""
    body, extra = parse("domain", ctx.body.domain, DomainCreate)
    ident = given(body.explicit_domain_id) or ctx.ids.hex()
    if not _HEX.fullmatch(ident):
        raise BadRequest(f"The domain ID {ident} does not have the form of 32 hexadecimal digits")
    domain = Project(
        id=ident,
        name=body.name,
        is_domain=True,
        enabled=given(body.enabled, True),
        description=given(body.description) or "",
        tags=tuple(given(body.tags, ())),
        options=changes(body.options),
        extra=extra,
        **stamps(ctx),
    )
    create(ctx, "domain", domain, name=domain.name)
    return {"domain": domain_view(ctx, domain)}


def list_domains(ctx: Context) -> dict[str, Any]:
    """List domains; who is not of the whole cloud sees the own one."""
    rows = filtered(ctx, ctx.db.rows(Project, is_domain=True), FILTERS)
    if not ctx.allows("identity:create_domain") and not ctx.token.system:
        rows = [row for row in rows if row.id == ctx.token.domain_id]
    return collection(ctx, "domains", rows, lambda domain: domain_view(ctx, domain))


def show_domain(ctx: Context, domain_id: str) -> dict[str, Any]:
    """Show a domain."""
    return {"domain": domain_view(ctx, must_be_domain(ctx, domain_id))}


def update_domain(ctx: Context, domain_id: str) -> dict[str, Any]:
    """Change a domain. Disabling it ends the tokens of its users and projects."""
    body, extra = parse("domain", ctx.body.domain, DomainUpdate)
    must_be_domain(ctx, domain_id)
    if domain_id == DEFAULT_DOMAIN and given(body.enabled) is False:
        raise Forbidden("The default domain cannot be disabled: nobody could log in any more.")
    domain = update(
        ctx,
        Project,
        "domain",
        domain_id,
        lambda row: changed_fields(ctx, row, body, extra),
        name=given(body.name, ""),
    )
    return {"domain": domain_view(ctx, domain)}


def delete_domain(ctx: Context, domain_id: str) -> None:
    """Delete a disabled domain with its users, groups, projects and roles."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        domain = must_be_domain(ctx, domain_id)
        may_delete(ctx.db, domain)
        return domain_ops(ctx.db, domain, ctx.now()), None

    ctx.transact(plan, frees=True)


_ONE = "/v3/domains/{domain_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/domains",
        handler=create_domain,
        policy="identity:create_domain",
        status=201,
        body=DomainBody,
    ),
    Route(method="GET", path="/v3/domains", handler=list_domains, policy="identity:list_domains"),
    Route(
        method="GET", path=_ONE, handler=show_domain, policy="identity:get_domain", target=_target
    ),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_domain,
        policy="identity:update_domain",
        body=DomainBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_domain,
        policy="identity:delete_domain",
        status=204,
    ),
)
