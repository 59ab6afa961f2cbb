"""`/v2.0/security-group-rules`.

Source: https://docs.openstack.org/api-ref/network/v2/#security-group-rules-security-group-rules
"""

from typing import Any

from node.plugins.network import converters as to
from node.plugins.network import secgroup_rules as rules
from node.plugins.network.attributes import Wish, check_attributes, parse_create
from node.plugins.network.collection import collection
from node.plugins.network.faults import conflict, disallowed, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.revise import stamps
from node.plugins.network.secgroup_find import Sight, find
from node.plugins.network.secgroup_view import rule_view
from node.plugins.network.tables import SecurityGroup, SecurityGroupRule
from node.sdk import AnyOp, Context, Reply, patch

_RULE_COLUMNS = {
    "id": "id",
    "project_id": "project_id",
    "security_group_id": "security_group_id",
    "direction": "direction",
    "ethertype": "ethertype",
}


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
        ops: list[AnyOp] = [_bump(ctx, group) for group in groups.values()]
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
        owner = ctx.db.get(SecurityGroup, row.security_group_id)
        return [*rules.remove_rule_ops(row), *([_bump(ctx, owner)] if owner else [])], None

    ctx.transact(plan, frees=True)


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
            remote_ip_prefix=to.prefix(wish["remote_ip_prefix"])
            if wish["remote_ip_prefix"]
            else "",
            given_prefix=wish["remote_ip_prefix"],
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


def _bump(ctx: Context, group: SecurityGroup) -> AnyOp:
    """Return the operation that notes a change of a group's rules; refused when the group is gone."""
    return patch(SecurityGroup, group.id, revision=group.revision + 1, updated_at=ctx.now())


ROUTES = collection(
    "security_group_rule",
    "security-group-rules",
    index=list_rules,
    create=create_rules,
    show=show_rule,
    update=None,
    remove=delete_rule,
)
