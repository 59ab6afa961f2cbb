"""What the caller's own token may reach: projects, domains, the system, the catalog.

Source: https://docs.openstack.org/api-ref/identity/v3/#authentication-and-token-management
"""

from typing import Any

from node.plugins.identity.catalog_rules import catalog_json
from node.plugins.identity.directory import directory
from node.plugins.identity.domain_api import FILTERS as DOMAIN_FILTERS
from node.plugins.identity.listing import collection, filtered, self_link
from node.plugins.identity.project_api import FILTERS as PROJECT_FILTERS
from node.plugins.identity.project_api import projects_of_user
from node.plugins.identity.project_view import domain_view, project_view
from node.plugins.identity.role_rules import direct_roles
from node.plugins.identity.tables import SYSTEM, Project
from node.sdk import Context, Forbidden, Route


def list_auth_projects(ctx: Context) -> dict[str, Any]:
    """List the enabled projects that the caller may scope a token to."""
    known = directory(ctx.db)
    rows = [
        row
        for row in projects_of_user(ctx, ctx.token.user_id)
        if row.enabled
        and (domain := known.get(Project, row.domain_id)) is not None
        and domain.enabled
    ]
    rows = filtered(ctx, rows, PROJECT_FILTERS)
    return collection(ctx, "projects", rows, lambda project: project_view(ctx, project))


def list_auth_domains(ctx: Context) -> dict[str, Any]:
    """List the enabled domains that the caller may scope a token to."""
    assignments = directory(ctx.db).assignments_of(ctx.token.user_id)
    ids = {a.target_id for a in assignments if a.target_kind == "domain" and not a.inherited}
    rows = ctx.db.rows(Project, id=ids, is_domain=True, enabled=True) if ids else []
    rows = filtered(ctx, rows, DOMAIN_FILTERS)
    return collection(ctx, "domains", rows, lambda domain: domain_view(ctx, domain))


def list_auth_systems(ctx: Context) -> dict[str, Any]:
    """Say whether the caller may scope a token to the system."""
    assignments = directory(ctx.db).assignments_of(ctx.token.user_id)
    held = direct_roles(assignments, "system", SYSTEM)
    return {"system": [{"all": True}] if held else [], "links": {"self": self_link(ctx)}}


def show_catalog(ctx: Context) -> dict[str, Any]:
    """Show the catalog of the token's scope.

    Raises:
        Forbidden: 403, the token has no scope.
    """
    token = ctx.token
    if not (token.project_id or token.domain_id or token.system):
        raise Forbidden(
            "You are not authorized to perform the requested action: identity:get_auth_catalog."
        )
    return {
        "catalog": catalog_json(ctx, token.project_id, token.user_id),
        "links": {"next": None, "self": self_link(ctx), "previous": None},
    }


ROUTES = tuple(
    Route(method=method, path=path, handler=handler, policy=f"identity:{rule}")
    for path, handler, rule in (
        ("/v3/auth/projects", list_auth_projects, "get_auth_projects"),
        ("/v3/auth/domains", list_auth_domains, "get_auth_domains"),
        ("/v3/auth/system", list_auth_systems, "get_auth_system"),
        ("/v3/auth/catalog", show_catalog, "get_auth_catalog"),
    )
    for method in ("GET", "HEAD")
)
