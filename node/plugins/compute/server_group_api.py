"""Server groups: servers to keep together or apart.

Source: https://docs.openstack.org/api-ref/compute/#server-groups-os-server-groups
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import listing, quota_rules
from node.plugins.compute.checks import Name, printable_name
from node.plugins.compute.faults import field_error, unexpected
from node.plugins.compute.server_ops import quota_counter
from node.plugins.compute.tables import Server, ServerGroup
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Count,
    Forbidden,
    Frozen,
    NodeError,
    NotFound,
    Refused,
    Route,
    check,
    insert,
    patch,
)
from node.sdk import delete as delete_row

_POLICY = "os_compute_api:os-server-groups"
Policy = Literal["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]


class GroupRules(Frozen, forbid_unknown_fields=True):
    """`rules` of a group, from 2.64 on."""

    max_server_per_host: Annotated[int, msgspec.Meta(ge=1)] | UnsetType = UNSET


class NewGroup(Frozen, forbid_unknown_fields=True):
    """`server_group` of a create request."""

    name: Name
    policies: Annotated[list[Policy], msgspec.Meta(min_length=1, max_length=1)] | UnsetType = UNSET
    policy: Policy | UnsetType = UNSET
    rules: GroupRules | UnsetType = UNSET


class CreateBody(Frozen, forbid_unknown_fields=True):
    """Body of POST os-server-groups."""

    server_group: NewGroup


def _view(ctx: Context, group: ServerGroup) -> dict[str, Any]:
    members = [server.id for server in ctx.db.rows(Server, group_id=group.id)]
    body: dict[str, Any] = {"id": group.id, "name": group.name, "members": members}
    if ctx.microversion >= (2, 64):
        body |= {"policy": group.policy, "rules": group.rules}
    else:
        body |= {"policies": [group.policy], "metadata": {}}
    if ctx.microversion >= (2, 13):
        body |= {"project_id": group.project_id, "user_id": group.user_id}
    return body


def find(ctx: Context, group_id: str, verb: str) -> ServerGroup:
    """Return a group that the caller may know of.

    Raises:
        NotFound: 404.
    """
    group = ctx.db.get(ServerGroup, group_id)
    if group is None or not (ctx.token.is_admin or group.project_id == ctx.project_id):
        raise NotFound(f"Instance group {group_id} could not be found.")
    ctx.require(f"{_POLICY}:{verb}", group)
    return group


def _policy(ctx: Context, new: NewGroup) -> tuple[str, dict[str, int]]:
    """Return policy and rules in the form that the microversion has."""
    if ctx.microversion >= (2, 64):
        if new.policies is not UNSET:
            raise unexpected("policies")
        if new.policy is UNSET:
            raise BadRequest(
                "Invalid input for field/attribute server_group. 'policy' is a required property"
            )
        most = new.rules.max_server_per_host if isinstance(new.rules, GroupRules) else UNSET
        if isinstance(most, int):
            if new.policy != "anti-affinity":
                raise BadRequest("Only anti-affinity policy supports rules.")
            return str(new.policy), {"max_server_per_host": most}
        return str(new.policy), {}
    for field in ("policy", "rules"):
        if getattr(new, field) is not UNSET:
            raise unexpected(field)
    if not isinstance(new.policies, list):
        raise BadRequest(
            "Invalid input for field/attribute server_group. 'policies' is a required property"
        )
    policy = new.policies[0]
    if ctx.microversion < (2, 15) and policy.startswith("soft-"):
        raise field_error(
            "policies", policy, f"'{policy}' is not one of ['anti-affinity', 'affinity']"
        )
    return policy, {}


def create(ctx: Context) -> dict[str, Any]:
    """Create a group."""
    new: NewGroup = ctx.body.server_group
    policy, rules = _policy(ctx, new)
    group = ServerGroup(
        id=ctx.ids.uuid(),
        project_id=ctx.project_id,
        user_id=ctx.token.user_id,
        name=printable_name(new.name),
        policy=policy,
        rules=rules,
        created_at=ctx.now(),
        updated_at=ctx.now(),
    )
    limit = quota_rules.limits_of(ctx.db, ctx.project_id)["server_groups"]

    def refused(outcome: Refused) -> NodeError | None:
        return (
            Forbidden("Quota exceeded, too many server groups.")
            if outcome.reason == "limit"
            else None
        )

    counter = Count(quota_counter(ctx.project_id, "server_groups"), 1, limit)
    ctx.transact(lambda: ([counter, insert(group)], None), refused=refused)
    return {"server_group": _view(ctx, group)}


def index(ctx: Context) -> dict[str, Any]:
    """List groups."""
    listing.check_query(ctx, "all_projects", "limit", "offset")
    scope = {"project_id": ctx.project_id}
    if "all_projects" in ctx.params and ctx.token.is_admin:
        ctx.require(f"{_POLICY}:index:all_projects", scope)
        scope = {}
    rows = ctx.db.rows(ServerGroup, **scope)  # type: ignore[arg-type]
    offset = ctx.param("offset", "0") or "0"
    if not (offset.isascii() and offset.isdigit()):
        raise field_error("offset", offset, "It is no number of 0 or more")
    rows = rows[int(offset[:9]) :][: listing.limit(ctx)]
    return {"server_groups": [_view(ctx, group) for group in rows]}


def show(ctx: Context, group_id: str) -> dict[str, Any]:
    """Show a group."""
    return {"server_group": _view(ctx, find(ctx, group_id, "show"))}


def delete(ctx: Context, group_id: str) -> None:
    """Delete a group; its servers stay where they are."""

    def plan() -> tuple[list[AnyOp], None]:
        group = find(ctx, group_id, "delete")
        ops: list[AnyOp] = [check(group), delete_row(ServerGroup, group.id, must_exist=True)]
        ops.append(Count(quota_counter(group.project_id, "server_groups"), -1))
        ops += [patch(Server, s.id, group_id="") for s in ctx.db.rows(Server, group_id=group.id)]
        return ops, None

    ctx.transact(plan, frees=True)


_ALL = "/v2.1/os-server-groups"
_ONE = _ALL + "/{group_id}"
ROUTES = (
    Route(method="GET", path=_ALL, handler=index, policy=f"{_POLICY}:index"),
    Route(method="POST", path=_ALL, handler=create, policy=f"{_POLICY}:create", body=CreateBody),
    Route(method="GET", path=_ONE, handler=show, policy=f"{_POLICY}:show"),
    Route(method="DELETE", path=_ONE, handler=delete, policy=f"{_POLICY}:delete", status=204),
)
