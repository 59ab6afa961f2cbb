"""Implied roles: who has the prior role has the others too.

Source: https://docs.openstack.org/api-ref/identity/v3/#roles
"""

from collections.abc import Sequence
from typing import Any

from node.plugins.identity.change_rules import find, stamps
from node.plugins.identity.directory import directory
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import self_link
from node.plugins.identity.role_rules import makes_circle
from node.plugins.identity.role_view import role_reference
from node.plugins.identity.tables import Implication, Role
from node.sdk import AnyOp, Context, Forbidden, Reply, Route, check, delete, insert


def list_implied(ctx: Context, prior_role_id: str) -> dict[str, Any]:
    """List the roles that a role implies directly."""
    prior = find(ctx, Role, "role", prior_role_id)
    return {
        "role_inference": {
            "prior_role": role_reference(ctx, prior),
            "implies": _implied(ctx, prior),
        },
        "links": {"self": self_link(ctx)},
    }


def _implied(ctx: Context, prior: Role) -> list[dict[str, Any]]:
    known = directory(ctx.db)
    return [role_reference(ctx, known.roles[ident]) for ident in known.implied.get(prior.id, [])]


def list_inferences(ctx: Context) -> dict[str, Any]:
    """List all implications."""
    known = directory(ctx.db)
    shown = [
        {
            "prior_role": role_reference(ctx, known.roles[prior]),
            "implies": _implied(ctx, known.roles[prior]),
        }
        for prior in known.implied
    ]
    return {"role_inferences": shown, "links": {"self": self_link(ctx)}}


def show_implied(ctx: Context, prior_role_id: str, implied_role_id: str) -> dict[str, Any]:
    """Show one implication."""
    prior, implied = _both(ctx, prior_role_id, implied_role_id)
    if ctx.db.get(Implication, f"{prior.id}:{implied.id}") is None:
        raise missing("implied role", f"{prior.id} does not imply {implied.id}")
    return _inference(ctx, prior, implied)


def check_implied(ctx: Context, prior_role_id: str, implied_role_id: str) -> None:
    """Say whether a role implies another directly."""
    show_implied(ctx, prior_role_id, implied_role_id)


def _both(ctx: Context, prior_role_id: str, implied_role_id: str) -> tuple[Role, Role]:
    return find(ctx, Role, "role", prior_role_id), find(ctx, Role, "role", implied_role_id)


def _inference(ctx: Context, prior: Role, implied: Role) -> dict[str, Any]:
    return {
        "role_inference": {
            "prior_role": role_reference(ctx, prior),
            "implies": role_reference(ctx, implied),
        },
        "links": {"self": self_link(ctx)},
    }


def create_implied(ctx: Context, prior_role_id: str, implied_role_id: str) -> Reply:
    """Let a role imply another.

    Raises:
        Forbidden: 403, it would imply itself, or a domain's role would be implied by one of the cloud.
    """

    def plan() -> tuple[Sequence[AnyOp], dict[str, Any]]:
        prior, implied = _both(ctx, prior_role_id, implied_role_id)
        shown = _inference(ctx, prior, implied)
        ident = f"{prior.id}:{implied.id}"
        if ctx.db.get(Implication, ident) is not None:
            return [], shown
        if implied.name == "admin":
            raise Forbidden(f"The role {implied.id} cannot be implied: it is the administrator's.")
        if implied.domain_id and not prior.domain_id:
            raise Forbidden(
                f"The role {prior.id} cannot imply {implied.id}: that is a role of a domain."
            )
        if makes_circle(prior.id, implied.id, directory(ctx.db).implied):
            raise Forbidden(f"The role {prior.id} would imply itself through {implied.id}.")
        row = Implication(
            id=ident, prior_role_id=prior.id, implied_role_id=implied.id, **stamps(ctx)
        )
        return [check(prior), check(implied), insert(row)], shown

    return Reply(body=ctx.transact(plan))


def delete_implied(ctx: Context, prior_role_id: str, implied_role_id: str) -> None:
    """End an implication."""
    show_implied(ctx, prior_role_id, implied_role_id)
    ctx.commit([delete(Implication, f"{prior_role_id}:{implied_role_id}")], frees=True)


_ALL = "/v3/roles/{prior_role_id}/implies"
_ONE = "/v3/roles/{prior_role_id}/implies/{implied_role_id}"

ROUTES = (
    Route(method="GET", path=_ALL, handler=list_implied, policy="identity:list_implied_roles"),
    Route(method="GET", path=_ONE, handler=show_implied, policy="identity:get_implied_role"),
    Route(
        method="HEAD",
        path=_ONE,
        handler=check_implied,
        policy="identity:get_implied_role",
        status=204,
    ),
    Route(
        method="PUT",
        path=_ONE,
        handler=create_implied,
        policy="identity:create_implied_role",
        status=201,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_implied,
        policy="identity:delete_implied_role",
        status=204,
    ),
    Route(
        method="GET",
        path="/v3/role_inferences",
        handler=list_inferences,
        policy="identity:list_role_inference_rules",
    ),
)
