"""`/v2.0/security-groups` and `/v2.0/security-group-rules`.

Source: https://docs.openstack.org/api-ref/network/v2/#security-groups-security-groups
"""

from collections import defaultdict
from typing import Any

from node.plugins.network import quota_rules, rbac_rules
from node.plugins.network import secgroup_rules as rules
from node.plugins.network.attributes import parse_create, parse_update
from node.plugins.network.collection import collection
from node.plugins.network.faults import conflict, disallowed
from node.plugins.network.listing import Ask, shown
from node.plugins.network.revise import constrained, in_use_counter, revise, stamps
from node.plugins.network.secgroup_find import Sight, find
from node.plugins.network.secgroup_view import view
from node.plugins.network.sharing_rules import is_admin
from node.plugins.network.tables import (
    SecurityGroup,
    SecurityGroupMember,
    SecurityGroupRule,
)
from node.sdk import AnyOp, Context, Count, Reply, check, delete

_COLUMNS = {"id": "id", "name": "name", "project_id": "project_id", "description": "description"}


def list_groups(ctx: Context) -> dict[str, Any]:
    """List security groups, the project's `default` among them."""
    ask = Ask(ctx, rules.KIND, rules.KIND.by_name)
    rules.ensure_default(ctx, ctx.project_id)
    sight = Sight(ctx)
    rows = [row for row in ctx.db.rows(SecurityGroup, **ask.columns(_COLUMNS)) if sight.sees(row)]
    own: dict[str, list[SecurityGroupRule]] = defaultdict(list)
    if not ask.fields or "security_group_rules" in ask.fields:
        few: dict[str, Any] = (
            {"security_group_id": [row.id for row in rows]} if len(rows) < 100 else {}
        )
        for rule in ctx.db.rows(SecurityGroupRule, **few):
            own[rule.security_group_id].append(rule)
    return ask.answer([view(row, own[row.id], shared=sight.shared(row)) for row in rows], {})


def show_group(ctx: Context, security_group_id: str) -> dict[str, Any]:
    """Show one security group with its rules."""
    sight = Sight(ctx)
    return shown(ctx, rules.KIND, _view(ctx, find(ctx, security_group_id, sight), sight))


def create_groups(ctx: Context) -> Reply:
    """Create one security group or several."""
    wishes, bulk = parse_create(ctx, rules.KIND)
    for wish in wishes:
        rules.ensure_default(ctx, wish["project_id"])
        if wish["name"] == rules.DEFAULT_NAME:
            raise conflict(
                "SecurityGroupDefaultAlreadyExists", "Default security group already exists."
            )

    def plan() -> tuple[list[AnyOp], list[SecurityGroup]]:
        ops: list[AnyOp] = []
        rows = []
        for wish in wishes:
            row = SecurityGroup(
                id=ctx.ids.uuid(),
                project_id=wish["project_id"],
                name=wish["name"],
                description=wish["description"],
                stateful=wish["stateful"],
                tags=wish.get("tags", ()),
                **stamps(ctx),
            )
            ops += rules.new_group_ops(ctx, row)
            rows.append(row)
        return ops, rows

    rows = ctx.transact(plan)
    items = [_view(ctx, row, Sight(ctx)) for row in rows]
    return Reply(
        status=201, body={"security_groups": items} if bulk else {"security_group": items[0]}
    )


def update_group(ctx: Context, security_group_id: str) -> dict[str, Any]:
    """Rename or describe a security group."""
    sight = Sight(ctx)
    group = find(ctx, security_group_id, sight)
    target = {"project_id": group.project_id}
    ctx.require("update_security_group", target, hidden=disallowed("update_security_group"))
    wish = parse_update(ctx, rules.KIND, target)

    def plan() -> tuple[list[AnyOp], SecurityGroup]:
        row = constrained(ctx, find(ctx, security_group_id, sight))
        if row.default_of is not None and wish.get("name", row.name) != row.name:
            raise conflict(
                "SecurityGroupCannotUpdateDefault", "Updating default security group not allowed."
            )
        if row.default_of is None and wish.get("name") == rules.DEFAULT_NAME:
            raise conflict(
                "SecurityGroupDefaultAlreadyExists", "Default security group already exists."
            )
        if wish.get("stateful", row.stateful) != row.stateful and _port_count(ctx, row.id):
            raise conflict("SecurityGroupInUse", f"Security Group {row.id} in use.")
        fields = {"name": "name", "description": "description", "stateful": "stateful"}
        return revise(ctx, row, **wish.fields(fields))

    return {"security_group": _view(ctx, ctx.transact(plan), sight)}


def delete_group(ctx: Context, security_group_id: str) -> None:
    """Delete a security group with its rules; 409 while a port is in it."""
    sight = Sight(ctx)
    group = find(ctx, security_group_id, sight)
    ctx.require(
        "delete_security_group",
        {"project_id": group.project_id},
        hidden=disallowed("delete_security_group"),
    )
    in_use = conflict("SecurityGroupInUse", f"Security Group {security_group_id} in use.")
    users = in_use_counter(SecurityGroup, security_group_id)

    def plan() -> tuple[list[AnyOp], None]:
        row = constrained(ctx, find(ctx, security_group_id, sight))
        if row.default_of is not None and not is_admin(ctx):
            raise conflict(
                "SecurityGroupCannotRemoveDefault",
                "Insufficient rights for removing default security group.",
            )
        if _port_count(ctx, row.id):
            raise in_use
        own = ctx.db.rows(SecurityGroupRule, security_group_id=row.id)
        remote = [r for r in ctx.db.rows(SecurityGroupRule, remote_group_id=row.id) if r not in own]
        counted = rules.rules_counter(row.id)
        ops: list[AnyOp] = [
            check(row),
            delete(SecurityGroup, row.id),
            Count(users, 1, 1),
            Count(users, -1),
        ]
        ops += [Count(counted, 1, len(own) + 1), Count(counted, -1 - len(own))]
        for rule in own:
            back = quota_rules.give_back(rule.project_id, "security_group_rule")
            ops += [delete(SecurityGroupRule, rule.id), back]
        for rule in remote:
            ops += rules.remove_rule_ops(rule)
        if row.default_of is None:
            ops.append(quota_rules.give_back(row.project_id, "security_group"))
        ops += rbac_rules.object_ops(ctx.db, row.id)
        return ops, None

    ctx.transact(plan, frees=True, refused=lambda r: in_use if r.id == users else None)


def _view(ctx: Context, group: SecurityGroup, sight: Sight) -> dict[str, Any]:
    own = ctx.db.rows(SecurityGroupRule, security_group_id=group.id)
    return view(group, own, shared=sight.shared(group))


def _port_count(ctx: Context, group_id: str) -> int:
    return ctx.db.count(SecurityGroupMember, security_group_id=group_id)


ROUTES = collection(
    "security_group",
    "security-groups",
    index=list_groups,
    create=create_groups,
    show=show_group,
    update=update_group,
    remove=delete_group,
)
