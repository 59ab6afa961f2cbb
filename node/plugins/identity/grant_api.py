"""Grants: roles of users and groups on projects, domains and the system, also inherited by the projects below.

The routes are one grid of actor, place and inheritance, made by `_routes`.
Source: https://docs.openstack.org/api-ref/identity/v3/#roles
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from node.plugins.identity.change_rules import find, stamps
from node.plugins.identity.directory import directory
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import collection
from node.plugins.identity.removal_rules import lost_grant_ops
from node.plugins.identity.role_view import role_view
from node.plugins.identity.tables import (
    SYSTEM,
    Assignment,
    Group,
    Membership,
    Project,
    Role,
    User,
    assignment_id,
)
from node.sdk import AnyOp, Context, Forbidden, Frozen, Route, check, delete, insert


class Cell(Frozen):
    """One cell of the grid."""

    actor: str
    """user or group."""
    place: str
    """project, domain or system."""
    inherited: bool = False

    def ids(self, params: Mapping[str, str]) -> tuple[str, str]:
        """Return the ids of actor and place in a path."""
        return params[f"{self.actor}_id"], params.get(f"{self.place}_id", SYSTEM)

    def target(self, ctx: Context, **params: str) -> Mapping[str, Any]:
        """Return what the policy of a grant is asked about."""
        known = directory(ctx.db)
        actor_id, place_id = self.ids(params)
        actor = known.actor(self.actor, actor_id)
        place = known.get(Project, place_id)
        role = known.roles.get(params.get("role_id", ""))
        found: dict[str, Any] = {}
        if actor is not None:
            found["target.actor.domain_id"] = actor.domain_id
        if place is not None:
            found["target.scope.domain_id"] = place.domain_id or place.id
        if role is not None:
            found["target.role.name"] = role.name
        return found

    def grounds(self, ctx: Context, params: Mapping[str, str]) -> list[User | Group | Project]:
        """Return the rows of actor and place.

        Raises:
            NotFound: 404, one is not there.
        """
        actor_id, place_id = self.ids(params)
        rows: list[User | Group | Project] = [
            find(ctx, User, "user", actor_id)
            if self.actor == "user"
            else find(ctx, Group, "group", actor_id)
        ]
        if self.place != "system":
            place = find(ctx, Project, self.place, place_id)
            if place.is_domain != (self.place == "domain"):
                raise missing(self.place, place_id)
            rows.append(place)
        return rows

    def list_roles(self, ctx: Context, **params: str) -> dict[str, Any]:
        """List the roles that are granted here."""
        self.grounds(ctx, params)
        actor_id, place_id = self.ids(params)
        held = ctx.db.rows(
            Assignment, actor_id=actor_id, target_id=place_id, inherited=self.inherited
        )
        roles = directory(ctx.db).roles
        rows = [roles[row.role_id] for row in held if row.role_id in roles]
        return collection(ctx, "roles", rows, lambda role: role_view(ctx, role))

    def check_role(self, ctx: Context, **params: str) -> None:
        """Say whether a role is granted here."""
        self.grounds(ctx, params)
        find(ctx, Role, "role", params["role_id"])
        self._assignment(ctx, params)

    def _assignment(self, ctx: Context, params: Mapping[str, str]) -> Assignment:
        row = ctx.db.get(Assignment, self._assignment_id(params))
        if row is None:
            actor_id, place_id = self.ids(params)
            raise missing(
                "role assignment",
                f"role {params['role_id']} of {self.actor} {actor_id} on {self.place} {place_id}",
            )
        return row

    def _assignment_id(self, params: Mapping[str, str]) -> str:
        actor_id, place_id = self.ids(params)
        return assignment_id(actor_id, place_id, params["role_id"], inherited=self.inherited)

    def grant_role(self, ctx: Context, **params: str) -> None:
        """Grant a role; once more is no error."""

        def plan() -> tuple[Sequence[AnyOp], None]:
            grounds = self.grounds(ctx, params)
            role = find(ctx, Role, "role", params["role_id"])
            self._fits(role, grounds[-1])
            actor_id, place_id = self.ids(params)
            ident = self._assignment_id(params)
            if ctx.db.get(Assignment, ident) is not None:
                return [], None
            row = Assignment(
                id=ident,
                actor_kind=self.actor,
                actor_id=actor_id,
                target_kind=self.place,
                target_id=place_id,
                role_id=role.id,
                inherited=self.inherited,
                **stamps(ctx),
            )
            return [*(check(ground) for ground in grounds), check(role), insert(row)], None

        ctx.transact(plan)

    def _fits(self, role: Role, place: User | Group | Project) -> None:
        """Refuse a domain's role outside of its domain."""
        if not role.domain_id:
            return
        if not isinstance(place, Project) or role.domain_id != (place.domain_id or place.id):
            raise Forbidden(
                f"The role {role.id} is of domain {role.domain_id}: it cannot be granted elsewhere."
            )

    def revoke_role(self, ctx: Context, **params: str) -> None:
        """Take a granted role away; application credentials that rest on it go as well."""

        def plan() -> tuple[Sequence[AnyOp], None]:
            self.grounds(ctx, params)
            row = self._assignment(ctx, params)
            users = [row.actor_id]
            if self.actor == "group":
                users = [
                    member.user_id for member in ctx.db.rows(Membership, group_id=row.actor_id)
                ]
            lost = lost_grant_ops(ctx.db, users, row.target_id)
            return [delete(Assignment, row.id, must_exist=True), *lost], None

        ctx.transact(plan, frees=True)


def _routes(cell: Cell) -> tuple[Route, ...]:
    place = "/system" if cell.place == "system" else f"/{cell.place}s/{{{cell.place}_id}}"
    prefix = "/v3/OS-INHERIT" if cell.inherited else "/v3"
    suffix = "/inherited_to_projects" if cell.inherited else ""
    every = f"{prefix}{place}/{cell.actor}s/{{{cell.actor}_id}}/roles"
    one = f"{every}/{{role_id}}{suffix}"
    system = "system_" if cell.place == "system" else ""

    def route(
        method: str, path: str, handler: Callable[..., Any], rule: str, summary: str, status: int
    ) -> Route:
        return Route(
            method=method,
            path=path,
            handler=handler,
            policy=f"identity:{rule}",
            target=cell.target,
            status=status,
            summary=f"{summary} ({cell.actor} on {cell.place}{', inherited' if cell.inherited else ''})",
        )

    return (
        route("GET", every + suffix, cell.list_roles, f"list_{system}grants", "List grants", 200),
        route("PUT", one, cell.grant_role, f"create_{system}grant", "Grant a role", 204),
        route("HEAD", one, cell.check_role, f"check_{system}grant", "Check a grant", 204),
        route("GET", one, cell.check_role, f"check_{system}grant", "Check a grant", 204),
        route("DELETE", one, cell.revoke_role, f"revoke_{system}grant", "Revoke a grant", 204),
    )


ROUTES = tuple(
    route
    for actor in ("user", "group")
    for place, inherited in (
        ("project", False),
        ("domain", False),
        ("system", False),
        ("project", True),
        ("domain", True),
    )
    for route in _routes(Cell(actor=actor, place=place, inherited=inherited))
)
