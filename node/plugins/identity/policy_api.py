"""Policy blobs: kept for clients, read by nobody here (deprecated in Keystone, still part of its API).

Source: https://docs.openstack.org/api-ref/identity/v3/#policies
"""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import PolicyBody, changes, parse
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.tables import Policy
from node.sdk import AnyOp, Context, Frozen, Route, delete

_FILTERS = Filters(exact=("type",))


class PolicyCreate(Frozen):
    """What may be given for a new policy."""

    blob: str
    type: str


class PolicyUpdate(Frozen):
    """What may be changed of a policy."""

    blob: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


def _view(ctx: Context, row: Policy) -> dict[str, Any]:
    return {
        **row.extra,
        "id": row.id,
        "type": row.type,
        "blob": row.blob,
        "links": {"self": ctx.url(f"/v3/policies/{row.id}")},
    }


def create_policy(ctx: Context) -> dict[str, Any]:
    """Store a policy blob."""
    body, extra = parse("policy", ctx.body.policy, PolicyCreate)
    row = Policy(id=ctx.ids.hex(), type=body.type, blob=body.blob, extra=extra, **stamps(ctx))
    return {"policy": _view(ctx, create(ctx, "policy", row))}


def list_policies(ctx: Context) -> dict[str, Any]:
    """List policy blobs."""
    rows = filtered(ctx, ctx.db.rows(Policy), _FILTERS)
    return collection(ctx, "policies", rows, lambda row: _view(ctx, row))


def show_policy(ctx: Context, policy_id: str) -> dict[str, Any]:
    """Show a policy blob."""
    return {"policy": _view(ctx, find(ctx, Policy, "policy", policy_id))}


def update_policy(ctx: Context, policy_id: str) -> dict[str, Any]:
    """Change a policy blob."""
    body, extra = parse("policy", ctx.body.policy, PolicyUpdate)
    row = update(
        ctx,
        Policy,
        "policy",
        policy_id,
        lambda held: {**changes(body), "extra": {**held.extra, **extra}},
    )
    return {"policy": _view(ctx, row)}


def delete_policy(ctx: Context, policy_id: str) -> None:
    """Delete a policy blob."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        return [delete(Policy, find(ctx, Policy, "policy", policy_id).id, must_exist=True)], None

    ctx.transact(plan, frees=True)


_ONE = "/v3/policies/{policy_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/policies",
        handler=create_policy,
        policy="identity:create_policy",
        status=201,
        body=PolicyBody,
    ),
    Route(
        method="GET", path="/v3/policies", handler=list_policies, policy="identity:list_policies"
    ),
    Route(method="GET", path=_ONE, handler=show_policy, policy="identity:get_policy"),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_policy,
        policy="identity:update_policy",
        body=PolicyBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_policy,
        policy="identity:delete_policy",
        status=204,
    ),
)
