"""The tree of projects: where one may be, and when it may be disabled or deleted."""

from node.plugins.identity.bodies import given
from node.plugins.identity.domain_rules import home_domain
from node.plugins.identity.faults import missing
from node.plugins.identity.project_bodies import ProjectCreate
from node.plugins.identity.section import IdentitySection
from node.plugins.identity.tables import Project
from node.sdk import BadRequest, Context, Forbidden, Reader


def parent_of(ctx: Context, body: ProjectCreate) -> Project:
    """Return the parent of a new project: a project, or the domain.

    Raises:
        BadRequest: 400, parent and domain do not fit.
        NotFound: 404, there is no such parent or domain.
        Forbidden: 403, the tree is too deep or the parent is disabled.
    """
    domain_id, parent_id = given(body.domain_id) or "", given(body.parent_id) or ""
    if not parent_id:
        parent_id = domain_id or home_domain(ctx)
    parent = ctx.db.get(Project, parent_id)
    if parent is None:
        raise missing("domain" if parent_id == domain_id else "project", parent_id)
    if parent_id == domain_id and not parent.is_domain:
        raise missing("domain", domain_id)
    if domain_id and domain_id != (parent.domain_id or parent.id):
        raise BadRequest(
            f"Cannot create project, since its parent {parent_id} is in another domain."
        )
    above = ancestors(ctx.db, parent)
    for project in (parent, *above):
        if not project.enabled:
            raise Forbidden(f"Cannot create project, since it has disabled parents: {project.id}")
    if len(above) + 1 > ctx.config.section(IdentitySection).max_project_depth:
        raise Forbidden(f"Max hierarchy depth reached for {parent_id} branch.")
    return parent


def ancestors(db: Reader, project: Project) -> list[Project]:
    """Return what is above a project, nearest first; the domain is the last."""
    found: list[Project] = []
    while project.parent_id:
        parent = db.get(Project, project.parent_id)
        if parent is None or parent in found:
            break
        found.append(parent)
        project = parent
    return found


def descendants(db: Reader, project: Project) -> list[Project]:
    """Return what is below a project, level by level."""
    found: list[Project] = []
    level = [project.id]
    while level:
        below = db.rows(Project, parent_id=level)
        found += below
        level = [child.id for child in below]
    return found


def may_disable(db: Reader, project: Project) -> None:
    """Refuse while something enabled is below.

    Raises:
        Forbidden: 403.
    """
    if not project.is_domain and any(child.enabled for child in descendants(db, project)):
        raise Forbidden(
            f"Cannot disable project {project.id} since its subtree contains enabled projects."
        )


def may_enable(db: Reader, project: Project) -> None:
    """Refuse below something disabled.

    Raises:
        Forbidden: 403.
    """
    if any(not parent.enabled for parent in ancestors(db, project)):
        raise Forbidden(f"Cannot enable project {project.id} since it has disabled parents")


def may_delete(db: Reader, project: Project) -> None:
    """Refuse while something is below, or the domain is enabled.

    Raises:
        Forbidden: 403.
    """
    if project.is_domain and project.enabled:
        raise Forbidden("Cannot delete a domain that is enabled, please disable it first.")
    if not project.is_domain and db.count(Project, parent_id=project.id):
        raise Forbidden(
            f"Cannot delete the project {project.id} since it is not a leaf in the hierarchy. Delete the projects "
            "below it first."
        )
    may_change(project)


def may_change(row: Project) -> None:
    """Refuse changes of what was made immutable.

    Raises:
        Forbidden: 403.
    """
    if row.options.get("immutable"):
        kind = "domain" if row.is_domain else "project"
        raise Forbidden(
            f"Cannot change or delete immutable {kind} {row.id}: remove its option `immutable` first."
        )
