"""Records of servers that got another flavor or another node: how they begin, end, and read. Pure functions of rows."""

from typing import Any

from node.plugins.compute.tables import Migration, Server, ServerAction
from node.sdk import AnyOp, Context, insert, patch

_EVACUATION = "evacuation"


def begin_op(
    ctx: Context, server: Server, action: ServerAction, target_id: str, **fields: Any
) -> AnyOp:
    """Return the operation that records the begin; `fields` are the kind and the new flavor."""
    flavor = server.flavor
    assert flavor is not None
    newest = ctx.db.rows(Migration, order_by=(("number", "desc"),), limit=1)
    return insert(
        Migration(
            **{
                "id": action.id,
                "number": newest[0].number + 1 if newest else 1,
                "uuid": ctx.ids.uuid(),
                "server_id": server.id,
                "source_id": server.node_id,
                "target_id": target_id,
                "old_flavor_id": flavor.id,
                "new_flavor_id": flavor.id,
                "user_id": ctx.token.user_id,
                "project_id": server.project_id,
                "created_at": ctx.now(),
                "updated_at": ctx.now(),
                **fields,
            }
        )
    )


def end_ops(ctx: Context, server: Server, action: ServerAction) -> list[AnyOp]:
    """Return the operations that record that a resize is confirmed or reverted by an action."""
    open_ones = ctx.db.rows(Migration, server_id=server.id, kind="resize", end_id="")
    fields = {"end_id": action.id, "end": action.action, "updated_at": ctx.now()}
    return [patch(Migration, row.id, **fields) for row in open_ones[-1:]]


def status_of(row: Migration, action: ServerAction | None, end: ServerAction | None) -> str:
    """Return Nova's status, of the action that began it and of the one that ended it."""
    failed = action is not None and action.message == "Error"
    running = action is not None and not action.finish_at
    if row.kind == _EVACUATION:
        return "accepted" if running else "failed" if failed else "done"
    if row.end:
        done = end is None or bool(end.finish_at)
        return {
            ("confirmResize", True): "confirmed",
            ("confirmResize", False): "confirming",
            ("revertResize", True): "reverted",
            ("revertResize", False): "reverting",
        }[row.end, done]
    return "migrating" if running else "error" if failed else "finished"
