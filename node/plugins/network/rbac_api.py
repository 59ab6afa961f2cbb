"""`/v2.0/rbac-policies`: offering networks, security groups, subnet pools and address scopes to other projects.

Source: https://docs.openstack.org/api-ref/network/v2/#rbac-policies
"""

from typing import Any

from node.plugins.network import converters as to
from node.plugins.network import quota_rules
from node.plugins.network import rbac_rules as rules
from node.plugins.network.attributes import (
    REQUIRED,
    Attribute,
    Kind,
    Wish,
    check_attributes,
    parse_create,
    parse_update,
    standard,
)
from node.plugins.network.collection import collection
from node.plugins.network.faults import disallowed, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.revise import stamps
from node.plugins.network.sharing_rules import OBJECT_TYPES, is_admin
from node.plugins.network.tables import RbacPolicy
from node.sdk import AnyOp, Context, Reply, check, insert, patch

KIND = Kind(
    name="rbac_policy",
    plural="rbac_policies",
    attributes=(
        *(a for a in standard() if a.name in ("project_id", "tenant_id", "id")),
        Attribute(
            name="object_type", convert=to.one_of(tuple(OBJECT_TYPES)), put=False, default=REQUIRED
        ),
        Attribute(name="object_id", convert=to.uuid, put=False, default=REQUIRED),
        Attribute(
            name="action",
            convert=to.one_of(("access_as_shared", "access_as_external")),
            put=False,
            default=REQUIRED,
        ),
        Attribute(name="target_tenant", convert=to.text(255, empty=False), default=REQUIRED),
    ),
)


def view(row: RbacPolicy) -> dict[str, Any]:
    """Return the JSON object of a policy."""
    return {
        "id": row.id,
        "project_id": row.project_id,
        "tenant_id": row.project_id,
        "object_type": row.object_type,
        "object_id": row.object_id,
        "action": row.action,
        "target_tenant": row.target_project,
    }


def list_policies(ctx: Context) -> dict[str, Any]:
    """List the project's offers; an admin sees all."""
    ask = Ask(ctx, KIND, KIND.by_name)
    own: dict[str, Any] = {} if is_admin(ctx) else {"project_id": ctx.project_id}
    return ask.answer([view(row) for row in ctx.db.rows(RbacPolicy, **own)], {})


def show_policy(ctx: Context, rbac_policy_id: str) -> dict[str, Any]:
    """Show one offer."""
    return shown(ctx, KIND, view(_find(ctx, rbac_policy_id)))


def create_policies(ctx: Context) -> Reply:
    """Offer an object to a project or to all."""
    wishes, bulk = parse_create(ctx, KIND)
    for wish in wishes:
        target = {"project_id": wish["project_id"], "target_tenant": wish["target_tenant"]}
        check_attributes(ctx, "create_rbac_policy", wish.given, target)

    def plan() -> tuple[list[AnyOp], list[RbacPolicy]]:
        ops: list[AnyOp] = []
        rows = []
        for wish in wishes:
            more, row = _new(ctx, wish)
            ops += more
            rows.append(row)
        return ops, rows

    items = [view(row) for row in ctx.transact(plan)]
    return Reply(status=201, body={"rbac_policies": items} if bulk else {"rbac_policy": items[0]})


def update_policy(ctx: Context, rbac_policy_id: str) -> dict[str, Any]:
    """Offer to another project instead."""
    row = _find(ctx, rbac_policy_id)
    asked = ctx.body.get("rbac_policy")
    wanted = asked.get("target_tenant", "") if isinstance(asked, dict) else ""
    target = {"project_id": row.project_id, "target_tenant": wanted}
    ctx.require("update_rbac_policy", target, hidden=disallowed("update_rbac_policy"))
    wish = parse_update(ctx, KIND, target)

    def plan() -> tuple[list[AnyOp], RbacPolicy]:
        old = _find(ctx, rbac_policy_id)
        new = rules.moved(old, wish.get("target_tenant", old.target_project), ctx.now())
        if new.target_project == old.target_project:
            return [], old
        rules.refuse_twin(ctx, new)
        kept = [*_others(ctx, old), new]
        rules.refuse_used(ctx, old, kept)
        change = patch(
            RbacPolicy, old.id, target_project=new.target_project, updated_at=new.updated_at
        )
        return [check(old), change, *rules.network_ops(ctx, old, kept)], new

    return {"rbac_policy": view(ctx.transact(plan))}


def delete_policy(ctx: Context, rbac_policy_id: str) -> None:
    """Withdraw an offer; 409 while it is used."""
    row = _find(ctx, rbac_policy_id)
    target = {"project_id": row.project_id}
    ctx.require("delete_rbac_policy", target, hidden=disallowed("delete_rbac_policy"))

    def plan() -> tuple[list[AnyOp], None]:
        old = _find(ctx, rbac_policy_id)
        kept = _others(ctx, old)
        rules.refuse_used(ctx, old, kept)
        return [check(old), *rules.withdraw_ops([old]), *rules.network_ops(ctx, old, kept)], None

    ctx.transact(plan, frees=True)


def _new(ctx: Context, wish: Wish) -> tuple[list[AnyOp], RbacPolicy]:
    offered = rules.offered_object(ctx, wish["object_type"], wish["object_id"])
    row = RbacPolicy(
        id=ctx.ids.uuid(),
        project_id=wish["project_id"],
        object_type=wish["object_type"],
        object_id=offered.id,
        action=wish["action"],
        target_project=wish["target_tenant"],
        **stamps(ctx),
    )
    rules.check_new(ctx, row, offered)
    guard = rules.network_ops(ctx, row, [*_others(ctx, row), row]) or [check(offered)]
    return [quota_rules.take(ctx.db, row.project_id, "rbac_policy"), *guard, insert(row)], row


def _find(ctx: Context, ident: str) -> RbacPolicy:
    row = ctx.db.get(RbacPolicy, ident)
    if row is None or not (row.project_id == ctx.project_id or is_admin(ctx)):
        raise missing("rbac_policy", ident)
    return row


def _others(ctx: Context, row: RbacPolicy) -> list[RbacPolicy]:
    return [
        other for other in ctx.db.rows(RbacPolicy, object_id=row.object_id) if other.id != row.id
    ]


ROUTES = collection(
    "rbac_policy",
    "rbac-policies",
    index=list_policies,
    create=create_policies,
    show=show_policy,
    update=update_policy,
    remove=delete_policy,
)
