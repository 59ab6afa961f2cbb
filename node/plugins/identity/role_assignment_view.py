"""Role assignments as Keystone prints them."""

from typing import Any

from node.plugins.identity.directory import Directory, directory
from node.plugins.identity.tables import Assignment, Project
from node.sdk import Context, Frozen


class Line(Frozen):
    """An assignment, and from which one it follows."""

    assignment: Assignment
    inherited_from: Assignment | None = None
    group_id: str = ""
    """The group that gave it."""
    prior_role_id: str = ""
    """The role that implied it."""


def assignment_view(ctx: Context, line: Line, *, names: bool) -> dict[str, Any]:
    """Return an assignment, with the names of everything it names where wanted."""
    row = line.assignment
    known = directory(ctx.db)
    shown: dict[str, Any] = {
        "role": _role(known, row.role_id, names=names),
        row.actor_kind: _actor(known, row, names=names),
        "scope": _scope(known, line, names=names),
        "links": _links(ctx, line),
    }
    return shown


def _role(known: Directory, role_id: str, *, names: bool) -> dict[str, Any]:
    role = known.roles.get(role_id)
    if not names or role is None:
        return {"id": role_id}
    shown: dict[str, Any] = {"id": role_id, "name": role.name}
    if role.domain_id:
        shown["domain"] = _domain(known, role.domain_id)
    return shown


def _actor(known: Directory, row: Assignment, *, names: bool) -> dict[str, Any]:
    if not names:
        return {"id": row.actor_id}
    actor = known.actor(row.actor_kind, row.actor_id)
    if actor is None:
        return {"id": row.actor_id}
    return {"id": actor.id, "name": actor.name, "domain": _domain(known, actor.domain_id)}


def _scope(known: Directory, line: Line, *, names: bool) -> dict[str, Any]:
    row = line.assignment
    if row.target_kind == "system":
        return {"system": {"all": True}}
    shown: dict[str, Any] = {"id": row.target_id}
    place = known.get(Project, row.target_id)
    if names and place is not None:
        shown["name"] = place.name
        if place.domain_id:
            shown["domain"] = _domain(known, place.domain_id)
    scope: dict[str, Any] = {row.target_kind: shown}
    if row.inherited or line.inherited_from is not None:
        scope["OS-INHERIT:inherited_to"] = "projects"
    return scope


def _domain(known: Directory, domain_id: str) -> dict[str, str]:
    domain = known.get(Project, domain_id)
    return {"id": domain_id, "name": domain.name if domain else ""}


def _links(ctx: Context, line: Line) -> dict[str, str]:
    origin = line.inherited_from or line.assignment
    kind, actor = (
        ("groups", line.group_id) if line.group_id else (f"{origin.actor_kind}s", origin.actor_id)
    )
    place = (
        "system" if origin.target_kind == "system" else f"{origin.target_kind}s/{origin.target_id}"
    )
    role_id = line.prior_role_id or origin.role_id
    prefix, suffix = (
        ("/v3/OS-INHERIT", "/inherited_to_projects") if origin.inherited else ("/v3", "")
    )
    links = {"assignment": ctx.url(f"{prefix}/{place}/{kind}/{actor}/roles/{role_id}{suffix}")}
    if line.group_id:
        links["membership"] = ctx.url(
            f"/v3/groups/{line.group_id}/users/{line.assignment.actor_id}"
        )
    if line.prior_role_id:
        links["prior_role"] = ctx.url(
            f"/v3/roles/{line.prior_role_id}/implies/{line.assignment.role_id}"
        )
    return links
