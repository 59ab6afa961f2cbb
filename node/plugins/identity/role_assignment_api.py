"""The listing of role assignments, as they were made or as they take effect.

Source: https://docs.openstack.org/api-ref/identity/v3/#list-role-assignments
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from node.plugins.identity.directory import directory
from node.plugins.identity.listing import flag, self_link
from node.plugins.identity.project_api import target as project_target
from node.plugins.identity.project_rules import descendants
from node.plugins.identity.role_assignment_view import Line, assignment_view
from node.plugins.identity.tables import Assignment, Membership, Project
from node.plugins.identity.user_api import target_of_list
from node.sdk import BadRequest, Context, Route


def list_assignments(ctx: Context) -> dict[str, Any]:
    """List assignments; `effective` resolves groups, inheritance and implied roles."""
    if flag(ctx, "include_subtree") and not ctx.param("scope.project.id"):
        raise BadRequest("scope.project.id must be specified if include_subtree is also specified")
    if flag(ctx, "include_subtree"):
        ctx.require(
            "identity:list_role_assignments_for_tree",
            project_target(ctx, ctx.param("scope.project.id") or ""),
        )
    effective = flag(ctx, "effective")
    if effective and ctx.param("group.id"):
        raise BadRequest(
            "Combining effective and group filter will always result in an empty list."
        )
    rows = _narrowed(ctx, effective=effective)
    lines = _effective(ctx, rows) if effective else [Line(assignment=row) for row in rows]
    shown = [
        assignment_view(ctx, line, names=flag(ctx, "include_names"))
        for line in lines
        if _wanted(ctx, line) and _in_domain(ctx, line)
    ]
    return {
        "role_assignments": shown,
        "links": {"next": None, "self": self_link(ctx), "previous": None},
    }


def _narrowed(ctx: Context, *, effective: bool) -> list[Assignment]:
    """Return the rows that can matter, by index where the query names an actor."""
    user_id = ctx.param("user.id")
    if user_id and effective:
        return directory(ctx.db).assignments_of(user_id)
    actor = user_id or ctx.param("group.id")
    return ctx.db.rows(Assignment, actor_id=actor) if actor else ctx.db.rows(Assignment)


def _effective(ctx: Context, rows: Iterable[Assignment]) -> list[Line]:
    """Return what takes effect: by user, on the very target, with implied roles."""
    found: dict[tuple[str, ...], Line] = {}
    for row in rows:
        for placed in _placed(ctx, row):
            for line in _of_users(ctx, placed):
                for final in _implied(ctx, line):
                    a = final.assignment
                    found.setdefault((a.actor_id, a.target_kind, a.target_id, a.role_id), final)
    return list(found.values())


def _placed(ctx: Context, row: Assignment) -> list[Line]:
    if not row.inherited:
        return [Line(assignment=row)]
    top = directory(ctx.db).get(Project, row.target_id)
    below = descendants(ctx.db, top) if top else []
    return [
        Line(
            assignment=_moved(row, target_kind="project", target_id=project.id, inherited=False),
            inherited_from=row,
        )
        for project in below
    ]


def _of_users(ctx: Context, line: Line) -> list[Line]:
    row = line.assignment
    if row.actor_kind == "user":
        return [line]
    return [
        Line(
            assignment=_moved(row, actor_kind="user", actor_id=member.user_id),
            inherited_from=line.inherited_from,
            group_id=row.actor_id,
        )
        for member in ctx.db.rows(Membership, group_id=row.actor_id)
    ]


def _implied(ctx: Context, line: Line) -> Iterable[Line]:
    known = directory(ctx.db)
    waiting, seen = [(line.assignment.role_id, "")], set()
    while waiting:
        role_id, prior = waiting.pop(0)
        if role_id in seen:
            continue
        seen.add(role_id)
        waiting += [(other, role_id) for other in known.implied.get(role_id, ())]
        role = known.roles.get(role_id)
        if role is not None and not role.domain_id:
            yield Line(
                assignment=_moved(line.assignment, role_id=role_id),
                inherited_from=line.inherited_from,
                group_id=line.group_id,
                prior_role_id=prior,
            )


def _moved(row: Assignment, **fields: Any) -> Assignment:
    return msgspec.structs.replace(row, **fields)


def _wanted(ctx: Context, line: Line) -> bool:
    row = line.assignment
    wanted: Mapping[str, str | None] = {
        name: ctx.param(name)
        for name in (
            "user.id",
            "group.id",
            "role.id",
            "scope.domain.id",
            "scope.project.id",
            "scope.system",
        )
    }
    if (user := wanted["user.id"]) and (row.actor_kind, row.actor_id) != ("user", user):
        return False
    if (group := wanted["group.id"]) and (row.actor_kind, row.actor_id) != ("group", group):
        return False
    if (role := wanted["role.id"]) and row.role_id != role:
        return False
    if wanted["scope.system"] and row.target_kind != "system":
        return False
    if (domain := wanted["scope.domain.id"]) and (row.target_kind, row.target_id) != (
        "domain",
        domain,
    ):
        return False
    if (project := wanted["scope.project.id"]) and not _on_project(ctx, row, project):
        return False
    return (
        not ctx.param("scope.OS-INHERIT:inherited_to")
        or row.inherited
        or line.inherited_from is not None
    )


def _on_project(ctx: Context, row: Assignment, project_id: str) -> bool:
    if row.target_kind != "project":
        return False
    if row.target_id == project_id:
        return True
    if not flag(ctx, "include_subtree"):
        return False
    target = directory(ctx.db).get(Project, row.target_id)
    return target is not None and project_id in directory(ctx.db).above(target)


def _in_domain(ctx: Context, line: Line) -> bool:
    """Say whether a domain's token may see this: the place is in its domain."""
    domain_id = ctx.token.domain_id
    if not domain_id or ctx.token.is_admin:
        return True
    place = directory(ctx.db).get(Project, line.assignment.target_id)
    actor = directory(ctx.db).actor(line.assignment.actor_kind, line.assignment.actor_id)
    return place is not None and actor is not None and (place.domain_id or place.id) == domain_id


def _target(ctx: Context) -> Mapping[str, Any]:
    """Return what the policy is asked about; for a subtree, the project on top of it."""
    found = dict(target_of_list(ctx))
    if flag(ctx, "include_subtree"):
        found.update(project_target(ctx, ctx.param("scope.project.id") or ""))
    return found


ROUTES = (
    Route(
        method="GET",
        path="/v3/role_assignments",
        handler=list_assignments,
        policy="identity:list_role_assignments",
        target=_target,
    ),
    Route(
        method="HEAD",
        path="/v3/role_assignments",
        handler=list_assignments,
        policy="identity:list_role_assignments",
        target=_target,
    ),
)
