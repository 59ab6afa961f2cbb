"""`/v2.0/security-groups` and `/v2.0/security-group-rules`.

Source: https://docs.openstack.org/api-ref/network/v2/#security-groups-security-groups
"""

from collections import defaultdict
from typing import Any

from node.plugins.network import quota_rules
from node.plugins.network import secgroup_rules as rules
from node.plugins.network.attributes import Wish, check_attributes, parse_create, parse_update
from node.plugins.network.collection import collection
from node.plugins.network.faults import conflict, disallowed, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.revise import in_use_counter, revise, stamps
from node.plugins.network.secgroup_view import rule_view, view
from node.plugins.network.sharing_rules import is_admin, offered
from node.plugins.network.tables import (
    RbacPolicy,
    SecurityGroup,
    SecurityGroupMember,
    SecurityGroupRule,
)
from node.sdk import AnyOp, Context, Count, Reply, check, delete

_COLUMNS = {"id": "id", "name": "name", "project_id": "project_id", "description": "description"}
_RULE_COLUMNS = {
    "id": "id",
    "project_id": "project_id",
    "security_group_id": "security_group_id",
    "direction": "direction",
    "ethertype": "ethertype",
}


class Sight:
    """The groups that one caller sees."""

    def __init__(self, ctx: Context) -> None:
        self.admin = is_admin(ctx)
        self.project_id = ctx.project_id
        self.offered = offered(ctx.db, "security_group", ctx.project_id)

    def sees(self, group: SecurityGroup) -> bool:
        """Return whether the caller may know of the group."""
        return self.admin or group.project_id == self.project_id or group.id in self.offered

    def shared(self, group: SecurityGroup) -> bool:
        """Return whether the group is shown as shared."""
        return group.shared or group.id in self.offered


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
        row = find(ctx, security_group_id, sight)
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
        row = find(ctx, security_group_id, sight)
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
            ops += [delete(SecurityGroupRule, rule.id), _rule_back(rule)]
        for rule in remote:
            ops += _remove_rule(rule)
        ops.append(quota_rules.give_back(row.project_id, "security_group"))
        ops += [delete(RbacPolicy, r.id) for r in ctx.db.rows(RbacPolicy, object_id=row.id)]
        return ops, None

    ctx.transact(plan, frees=True, refused=lambda r: in_use if r.id == users else None)


def list_rules(ctx: Context) -> dict[str, Any]:
    """List the rules of the groups that the caller sees."""
    ask = Ask(ctx, rules.RULE_KIND, rules.RULE_KIND.by_name)
    rules.ensure_default(ctx, ctx.project_id)
    rows = ctx.db.rows(SecurityGroupRule, **ask.columns(_RULE_COLUMNS))
    sight = Sight(ctx)
    if not sight.admin:
        own = {
            g.id for g in ctx.db.rows(SecurityGroup, project_id=ctx.project_id, order_by=())
        } | sight.offered
        rows = [
            row for row in rows if row.project_id == ctx.project_id or row.security_group_id in own
        ]
    default = {
        g.id
        for g in ctx.db.rows(SecurityGroup, name=rules.DEFAULT_NAME)
        if g.default_of is not None
    }
    return ask.answer(
        [rule_view(row, default=row.security_group_id in default) for row in rows], {}
    )


def show_rule(ctx: Context, security_group_rule_id: str) -> dict[str, Any]:
    """Show one rule."""
    rule, group = _find_rule(ctx, security_group_rule_id)
    return shown(ctx, rules.RULE_KIND, rule_view(rule, default=group.default_of is not None))


def create_rules(ctx: Context) -> Reply:
    """Add one rule or several to security groups."""
    wishes, bulk = parse_create(ctx, rules.RULE_KIND)
    for wish in wishes:
        check_attributes(
            ctx, "create_security_group_rule", wish.given, {"project_id": wish["project_id"]}
        )
        rules.check_rule(wish)
    sight = Sight(ctx)
    groups: dict[str, SecurityGroup] = {}

    def plan() -> tuple[list[AnyOp], list[SecurityGroupRule]]:
        groups.update({wish["security_group_id"]: _writable(ctx, wish, sight) for wish in wishes})
        ops: list[AnyOp] = [check(group) for group in groups.values()]
        rows: list[SecurityGroupRule] = []
        for wish in wishes:
            if wish["remote_group_id"]:
                find(ctx, wish["remote_group_id"], sight)
            row = _new_rule(ctx, wish, groups[wish["security_group_id"]])
            _refuse_twin(ctx, row, rows)
            ops += rules.rule_ops(ctx, row)
            rows.append(row)
        return ops, rows

    rows = ctx.transact(plan)
    items = [rule_view(r, default=groups[r.security_group_id].default_of is not None) for r in rows]
    return Reply(
        status=201,
        body={"security_group_rules": items} if bulk else {"security_group_rule": items[0]},
    )


def delete_rule(ctx: Context, security_group_rule_id: str) -> None:
    """Remove a rule."""
    _, group = _find_rule(ctx, security_group_rule_id)
    ctx.require(
        "delete_security_group_rule",
        {"project_id": group.project_id},
        hidden=disallowed("delete_security_group_rule"),
    )

    def plan() -> tuple[list[AnyOp], None]:
        row = ctx.db.get(SecurityGroupRule, security_group_rule_id)
        if row is None:
            raise missing("security_group_rule", security_group_rule_id)
        return _remove_rule(row), None

    ctx.transact(plan, frees=True)


def find(ctx: Context, group_id: str, sight: Sight) -> SecurityGroup:
    """Return a group that the caller sees.

    Raises:
        SecurityGroupNotFound: 404.
    """
    row = ctx.db.get(SecurityGroup, group_id)
    if row is None or not sight.sees(row):
        raise missing("security_group", group_id)
    return row


def _view(ctx: Context, group: SecurityGroup, sight: Sight) -> dict[str, Any]:
    own = ctx.db.rows(SecurityGroupRule, security_group_id=group.id)
    return view(group, own, shared=sight.shared(group))


def _find_rule(ctx: Context, rule_id: str) -> tuple[SecurityGroupRule, SecurityGroup]:
    rule = ctx.db.get(SecurityGroupRule, rule_id)
    group = ctx.db.get(SecurityGroup, rule.security_group_id) if rule else None
    if rule is None or group is None or not Sight(ctx).sees(group):
        raise missing("security_group_rule", rule_id)
    return rule, group


def _writable(ctx: Context, wish: Wish, sight: Sight) -> SecurityGroup:
    group = find(ctx, wish["security_group_id"], sight)
    if not sight.admin and group.project_id != ctx.project_id:
        raise missing("security_group", group.id)
    return group


def _new_rule(ctx: Context, wish: Wish, group: SecurityGroup) -> SecurityGroupRule:
    low, high = wish["port_range_min"], wish["port_range_max"]
    return rules.signed(
        SecurityGroupRule(
            id=ctx.ids.uuid(),
            project_id=group.project_id,
            security_group_id=group.id,
            direction=wish["direction"],
            ethertype=wish["ethertype"],
            protocol=wish["protocol"],
            port_min=low,
            port_max=high,
            remote_group_id=wish["remote_group_id"],
            remote_ip_prefix=wish["remote_ip_prefix"],
            description=wish["description"],
            **stamps(ctx),
        )
    )


def _refuse_twin(ctx: Context, rule: SecurityGroupRule, others: list[SecurityGroupRule]) -> None:
    twin = ctx.db.one(
        SecurityGroupRule, security_group_id=rule.security_group_id, signature=rule.signature
    )
    if twin is None:
        twin = next(
            (
                other
                for other in others
                if (other.security_group_id, other.signature)
                == (rule.security_group_id, rule.signature)
            ),
            None,
        )
        if twin is not None:
            raise conflict(
                "DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST."
            )
        return
    raise conflict(
        "SecurityGroupRuleExists", f"Security group rule already exists. Rule id is {twin.id}."
    )


def _remove_rule(rule: SecurityGroupRule) -> list[AnyOp]:
    counted = rules.rules_counter(rule.security_group_id)
    return [
        delete(SecurityGroupRule, rule.id, must_exist=True),
        Count(counted, -1),
        _rule_back(rule),
    ]


def _rule_back(rule: SecurityGroupRule) -> AnyOp:
    return quota_rules.give_back(rule.project_id, "security_group_rule")


def _port_count(ctx: Context, group_id: str) -> int:
    return ctx.db.count(SecurityGroupMember, security_group_id=group_id)


ROUTES = (
    *collection(
        "security_group",
        "security-groups",
        index=list_groups,
        create=create_groups,
        show=show_group,
        update=update_group,
        remove=delete_group,
    ),
    *collection(
        "security_group_rule",
        "security-group-rules",
        index=list_rules,
        create=create_rules,
        show=show_rule,
        update=None,
        remove=delete_rule,
    ),
)
