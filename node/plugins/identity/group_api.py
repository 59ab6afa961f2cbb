"""Groups and their members.

Source: https://docs.openstack.org/api-ref/identity/v3/#groups
"""

from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.identity.bodies import GroupBody, changes, given, parse
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.directory import directory
from node.plugins.identity.domain_rules import home_domain, must_be_domain
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.removal_rules import group_ops
from node.plugins.identity.tables import Group, Membership, User, membership_id
from node.plugins.identity.user_api import target as user_target
from node.plugins.identity.user_api import target_of_list
from node.plugins.identity.user_bodies import GroupCreate, GroupUpdate
from node.plugins.identity.user_view import group_view, user_view
from node.sdk import AnyOp, BadRequest, Context, Route, check, delete, insert

_FILTERS = Filters(exact=("name", "domain_id", "id"))
_USER_FILTERS = Filters(exact=("name", "domain_id", "id"), flags=("enabled",))


def _target_of_body(ctx: Context) -> Mapping[str, Any]:
    return {"target.group.domain_id": ctx.body.group.get("domain_id") or home_domain(ctx)}


def _target(ctx: Context, group_id: str, user_id: str = "") -> Mapping[str, Any]:
    group = directory(ctx.db).get(Group, group_id)
    user = directory(ctx.db).get(User, user_id) if user_id else None
    found: dict[str, Any] = {}
    if group is not None:
        found["target.group.domain_id"] = group.domain_id
    if user is not None:
        found["target.user.domain_id"] = user.domain_id
    return found


def create_group(ctx: Context) -> dict[str, Any]:
    """Create a group."""
    body, extra = parse("group", ctx.body.group, GroupCreate)
    domain_id = given(body.domain_id) or home_domain(ctx)
    group = Group(
        id=ctx.ids.hex(),
        name=body.name,
        domain_id=domain_id,
        description=given(body.description) or "",
        extra=extra,
        **stamps(ctx),
    )
    create(
        ctx,
        "group",
        group,
        name=group.name,
        domain_id=domain_id,
        rests_on=lambda: [must_be_domain(ctx, domain_id)],
    )
    return {"group": group_view(ctx, group)}


def list_groups(ctx: Context) -> dict[str, Any]:
    """List groups; with a domain's token only those of the domain."""
    scope: dict[str, Any] = {"domain_id": ctx.token.domain_id} if ctx.token.domain_id else {}
    rows = filtered(ctx, ctx.db.rows(Group, **scope), _FILTERS)
    return collection(ctx, "groups", rows, lambda group: group_view(ctx, group))


def show_group(ctx: Context, group_id: str) -> dict[str, Any]:
    """Show a group."""
    return {"group": group_view(ctx, find(ctx, Group, "group", group_id))}


def update_group(ctx: Context, group_id: str) -> dict[str, Any]:
    """Change a group."""
    body, extra = parse("group", ctx.body.group, GroupUpdate)
    sent = changes(body)
    domain_id = sent.pop("domain_id", None)
    if sent.get("description", "") is None:
        sent["description"] = ""

    def fields_of(group: Group) -> dict[str, Any]:
        if domain_id not in (None, group.domain_id):
            raise BadRequest("Cannot change Domain ID")
        return {**sent, "extra": {**group.extra, **extra}}

    group = update(ctx, Group, "group", group_id, fields_of, name=sent.get("name", ""))
    return {"group": group_view(ctx, group)}


def delete_group(ctx: Context, group_id: str) -> None:
    """Delete a group; its members lose the roles that it gave."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        return group_ops(ctx.db, find(ctx, Group, "group", group_id)), None

    ctx.transact(plan, frees=True)


def list_members(ctx: Context, group_id: str) -> dict[str, Any]:
    """List the users in a group."""
    find(ctx, Group, "group", group_id)
    ids = [row.user_id for row in ctx.db.rows(Membership, group_id=group_id)]
    rows = filtered(ctx, ctx.db.rows(User, id=ids) if ids else [], _USER_FILTERS)
    return collection(ctx, "users", rows, lambda user: user_view(ctx, user))


def list_groups_of_user(ctx: Context, user_id: str) -> dict[str, Any]:
    """List the groups that a user is in."""
    find(ctx, User, "user", user_id)
    ids = [row.group_id for row in ctx.db.rows(Membership, user_id=user_id)]
    rows = filtered(ctx, ctx.db.rows(Group, id=ids) if ids else [], _FILTERS)
    return collection(ctx, "groups", rows, lambda group: group_view(ctx, group))


def add_member(ctx: Context, group_id: str, user_id: str) -> None:
    """Put a user into a group; once more is no error."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        group, user = find(ctx, Group, "group", group_id), find(ctx, User, "user", user_id)
        ident = membership_id(group_id, user_id)
        if ctx.db.get(Membership, ident) is not None:
            return [], None
        row = Membership(id=ident, group_id=group_id, user_id=user_id, **stamps(ctx))
        return [check(group), check(user), insert(row)], None

    ctx.transact(plan)


def check_member(ctx: Context, group_id: str, user_id: str) -> None:
    """Say whether a user is in a group."""
    _membership(ctx, group_id, user_id)


def remove_member(ctx: Context, group_id: str, user_id: str) -> None:
    """Take a user out of a group."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = _membership(ctx, group_id, user_id)
        return [delete(Membership, row.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


def _membership(ctx: Context, group_id: str, user_id: str) -> Membership:
    find(ctx, Group, "group", group_id)
    find(ctx, User, "user", user_id)
    row = ctx.db.get(Membership, membership_id(group_id, user_id))
    if row is None:
        raise missing("user", f"{user_id} in group {group_id}")
    return row


_ALL = "/v3/groups"
_ONE = "/v3/groups/{group_id}"
_MEMBER = "/v3/groups/{group_id}/users/{user_id}"

ROUTES = (
    Route(
        method="GET",
        path="/v3/users/{user_id}/groups",
        handler=list_groups_of_user,
        policy="identity:list_groups_for_user",
        target=user_target,
    ),
    Route(
        method="POST",
        path=_ALL,
        handler=create_group,
        policy="identity:create_group",
        target=_target_of_body,
        status=201,
        body=GroupBody,
    ),
    Route(
        method="GET",
        path=_ALL,
        handler=list_groups,
        policy="identity:list_groups",
        target=target_of_list,
    ),
    Route(method="GET", path=_ONE, handler=show_group, policy="identity:get_group", target=_target),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_group,
        policy="identity:update_group",
        target=_target,
        body=GroupBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_group,
        policy="identity:delete_group",
        target=_target,
        status=204,
    ),
    Route(
        method="GET",
        path=_ONE + "/users",
        handler=list_members,
        policy="identity:list_users_in_group",
        target=_target,
    ),
    Route(
        method="PUT",
        path=_MEMBER,
        handler=add_member,
        policy="identity:add_user_to_group",
        target=_target,
        status=204,
    ),
    *(
        Route(
            method=method,
            path=_MEMBER,
            handler=check_member,
            policy="identity:check_user_in_group",
            target=_target,
            status=204,
        )
        for method in ("HEAD", "GET")
    ),
    Route(
        method="DELETE",
        path=_MEMBER,
        handler=remove_member,
        policy="identity:remove_user_from_group",
        target=_target,
        status=204,
    ),
)
