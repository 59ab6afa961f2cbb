"""Projects.

Source: https://docs.openstack.org/api-ref/identity/v3/#projects
"""

from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.identity.bodies import ProjectBody, changes, given, parse
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.directory import directory
from node.plugins.identity.domain_rules import home_domain
from node.plugins.identity.listing import Filters, collection, filtered, flag
from node.plugins.identity.project_bodies import ProjectCreate, ProjectUpdate
from node.plugins.identity.project_rules import (
    ancestors,
    descendants,
    may_change,
    may_delete,
    may_disable,
    may_enable,
    parent_of,
)
from node.plugins.identity.project_view import parents_tree, project_view, subtree
from node.plugins.identity.removal_rules import domain_ops, project_ops
from node.plugins.identity.role_rules import direct_roles
from node.plugins.identity.tables import Project, User
from node.plugins.identity.user_api import target as user_target
from node.plugins.identity.user_api import target_of_list
from node.sdk import AnyOp, BadRequest, Context, Forbidden, Route

FILTERS = Filters(exact=("name", "domain_id", "parent_id", "id"), flags=("enabled",))
_TAG_FILTERS = ("tags", "tags-any", "not-tags", "not-tags-any")


def target(ctx: Context, project_id: str, **_more: str) -> Mapping[str, Any]:
    """Return what the policy of a project is asked about."""
    project = directory(ctx.db).get(Project, project_id)
    if project is None:
        return {}
    return {
        "target.project.id": project.id,
        "target.project.domain_id": project.domain_id or project.id,
    }


def _target_of_body(ctx: Context) -> Mapping[str, Any]:
    """Return the domain that the project would be in: that of its parent, however it is named."""
    given_domain, parent_id = (ctx.body.project.get(key) for key in ("domain_id", "parent_id"))
    parent = directory(ctx.db).get(Project, parent_id) if isinstance(parent_id, str) else None
    domain_id = (parent.domain_id or parent.id) if parent else given_domain or home_domain(ctx)
    return {"target.project.domain_id": domain_id}


def create_project(ctx: Context) -> dict[str, Any]:
    """Create a project or, with `is_domain`, a domain."""
    body, extra = parse("project", ctx.body.project, ProjectCreate)
    is_domain = given(body.is_domain, False)
    if is_domain and (given(body.parent_id) or given(body.domain_id)):
        raise BadRequest(
            "Cannot create a domain below another: domains have neither parent nor domain."
        )
    parent = None if is_domain else parent_of(ctx, body)
    if is_domain:
        ctx.require("identity:create_domain")
    project = Project(
        id=ctx.ids.hex(),
        name=body.name,
        domain_id=(parent.domain_id or parent.id) if parent else "",
        parent_id=parent.id if parent else "",
        is_domain=is_domain,
        enabled=given(body.enabled, True),
        description=given(body.description) or "",
        tags=tuple(dict.fromkeys(given(body.tags, ()))),
        options=changes(body.options),
        extra=extra,
        **stamps(ctx),
    )
    create(
        ctx,
        "project",
        project,
        name=project.name,
        domain_id=project.domain_id,
        rests_on=lambda: [] if is_domain else [parent_of(ctx, body)],
    )
    return {"project": project_view(ctx, project)}


def list_projects(ctx: Context) -> dict[str, Any]:
    """List projects, or domains with `is_domain=true`; with a domain's token only those of the domain."""
    scope: dict[str, Any] = {"is_domain": flag(ctx, "is_domain")}
    if ctx.token.domain_id:
        scope["domain_id"] = ctx.token.domain_id
    for name in ("domain_id", "parent_id", "name"):
        if (wanted := ctx.param(name)) and name not in scope:
            scope[name] = wanted
    rows = _with_tags(ctx, filtered(ctx, ctx.db.rows(Project, **scope), FILTERS))
    return collection(ctx, "projects", rows, lambda project: project_view(ctx, project))


def _with_tags(ctx: Context, rows: list[Project]) -> list[Project]:
    for name in _TAG_FILTERS:
        text = ctx.param(name)
        if text is None:
            continue
        wanted = set(text.split(","))
        count = any if name.endswith("-any") else all
        keep = not name.startswith("not-")
        rows = [row for row in rows if count(tag in row.tags for tag in wanted) == keep]
    return rows


def show_project(ctx: Context, project_id: str) -> dict[str, Any]:
    """Show a project, on request with what is above and below it."""
    project = find(ctx, Project, "project", project_id)
    shown = project_view(ctx, project)
    lists = flag(ctx, "parents_as_list") or flag(ctx, "subtree_as_list")
    held = _visible(ctx) if lists else set()
    if flag(ctx, "parents_as_list"):
        above = [row for row in ancestors(ctx.db, project) if not row.is_domain]
        shown["parents"] = [{"project": project_view(ctx, row)} for row in above if row.id in held]
    elif flag(ctx, "parents_as_ids"):
        shown["parents"] = parents_tree(row.id for row in ancestors(ctx.db, project))
    if flag(ctx, "subtree_as_list"):
        below = descendants(ctx.db, project)
        shown["subtree"] = [{"project": project_view(ctx, row)} for row in below if row.id in held]
    elif flag(ctx, "subtree_as_ids"):
        children: dict[str, list[Project]] = {}
        for row in descendants(ctx.db, project):
            children.setdefault(row.parent_id, []).append(row)
        shown["subtree"] = subtree(project.id, children)
    return {"project": shown}


def _visible(ctx: Context) -> set[str]:
    """Return the ids of the projects in which the caller has a role."""
    return {row.id for row in projects_of_user(ctx, ctx.token.user_id)}


def projects_of_user(ctx: Context, user_id: str) -> list[Project]:
    """Return the projects in which a user has a role, by an assignment there or inherited from above."""
    known = directory(ctx.db)
    assignments = known.assignments_of(user_id)
    places = {a.target_id for a in assignments if a.target_kind == "project" and not a.inherited}
    tops = {a.target_id for a in assignments if a.inherited}
    found = {row.id: row for row in ctx.db.rows(Project, id=places)} if places else {}
    for top in tops:
        row = known.get(Project, top)
        if row is not None:
            found.update({below.id: below for below in descendants(ctx.db, row)})
    return [
        row
        for row in sorted(found.values(), key=lambda row: (row.created_at, row.id))
        if not row.is_domain and direct_roles(assignments, "project", row.id, known.above(row))
    ]


def list_projects_of_user(ctx: Context, user_id: str) -> dict[str, Any]:
    """List the projects in which a user has a role."""
    find(ctx, User, "user", user_id)
    rows = filtered(ctx, projects_of_user(ctx, user_id), FILTERS)
    return collection(ctx, "projects", rows, lambda project: project_view(ctx, project))


def update_project(ctx: Context, project_id: str) -> dict[str, Any]:
    """Change a project. Disabling it ends its tokens."""
    body, extra = parse("project", ctx.body.project, ProjectUpdate)
    project = update(
        ctx,
        Project,
        "project",
        project_id,
        lambda row: changed_fields(ctx, row, body, extra),
        name=given(body.name, ""),
    )
    return {"project": project_view(ctx, project)}


def changed_fields(ctx: Context, row: Project, body: Any, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a project or domain after an update.

    Raises:
        Forbidden: 403, its place in the tree, or what hangs on it, does not let it change so.
    """
    sent = changes(body)
    for name in ("domain_id", "parent_id", "is_domain"):
        held = getattr(row, name)
        if sent.pop(name, held) not in (held, held or None):
            error = Forbidden if name == "parent_id" else BadRequest
            raise error(f"Update of `{name}` is not allowed.")
    options = changes(sent.pop("options")) if "options" in sent else {}
    if options.get("immutable", True):
        may_change(row)
    if "description" in sent and sent["description"] is None:
        sent["description"] = ""
    if "tags" in sent:
        sent["tags"] = tuple(dict.fromkeys(sent["tags"]))
    if sent.get("enabled") is False and row.enabled:
        may_disable(ctx.db, row)
        sent["tokens_valid_from"] = ctx.now()
    if sent.get("enabled") and not row.enabled:
        may_enable(ctx.db, row)
    merged = {
        name: value for name, value in {**row.options, **options}.items() if value is not None
    }
    return {**sent, "options": merged, "extra": {**row.extra, **extra}}


def delete_project(ctx: Context, project_id: str) -> None:
    """Delete a project and the assignments, credentials and limits on it."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        project = find(ctx, Project, "project", project_id)
        if project.is_domain:
            ctx.require("identity:delete_domain")
        may_delete(ctx.db, project)
        ops_of = domain_ops if project.is_domain else project_ops
        return ops_of(ctx.db, project, ctx.now()), None

    ctx.transact(plan, frees=True)


_ONE = "/v3/projects/{project_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/projects",
        handler=create_project,
        policy="identity:create_project",
        target=_target_of_body,
        status=201,
        body=ProjectBody,
    ),
    Route(
        method="GET",
        path="/v3/projects",
        handler=list_projects,
        policy="identity:list_projects",
        target=target_of_list,
    ),
    Route(
        method="GET", path=_ONE, handler=show_project, policy="identity:get_project", target=target
    ),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_project,
        policy="identity:update_project",
        target=target,
        body=ProjectBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_project,
        policy="identity:delete_project",
        target=target,
        status=204,
    ),
    Route(
        method="GET",
        path="/v3/users/{user_id}/projects",
        handler=list_projects_of_user,
        policy="identity:list_user_projects",
        target=user_target,
    ),
)
