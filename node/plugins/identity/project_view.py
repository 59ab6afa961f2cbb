"""Projects and domains as Keystone prints them."""

from collections.abc import Iterable, Mapping
from typing import Any

from node.plugins.identity.tables import Project
from node.sdk import Context


def project_view(ctx: Context, project: Project) -> dict[str, Any]:
    """Return a project; a domain seen as a project has neither domain nor parent."""
    return {
        **project.extra,
        "id": project.id,
        "name": project.name,
        "domain_id": project.domain_id or None,
        "description": project.description,
        "enabled": project.enabled,
        "parent_id": project.parent_id or None,
        "is_domain": project.is_domain,
        "tags": project.tags,
        "options": project.options,
        "links": {"self": ctx.url(f"/v3/projects/{project.id}")},
    }


def domain_view(ctx: Context, domain: Project) -> dict[str, Any]:
    """Return a domain."""
    return {
        **domain.extra,
        "id": domain.id,
        "name": domain.name,
        "description": domain.description,
        "enabled": domain.enabled,
        "tags": domain.tags,
        "options": domain.options,
        "links": {"self": ctx.url(f"/v3/domains/{domain.id}")},
    }


def parents_tree(chain: Iterable[str]) -> dict[str, Any] | None:
    """Return ancestors as nested ids, nearest first: `{"parent": {"grandparent": null}}`."""
    tree: dict[str, Any] | None = None
    for ident in reversed(list(chain)):
        tree = {ident: tree}
    return tree


def subtree(project_id: str, children: Mapping[str, list[Project]]) -> dict[str, Any] | None:
    """Return descendants as nested ids."""
    below = children.get(project_id, [])
    return {child.id: subtree(child.id, children) for child in below} or None
