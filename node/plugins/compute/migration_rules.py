"""Records of servers that got another flavor or another node: how they begin, end, and read. Pure functions of rows."""

from typing import Any

from node.plugins.compute.tables import Migration, Server, ServerAction
from node.sdk import AnyOp, Context, Reader, insert, patch

_EVACUATION = "evacuation"


def next_number(db: Reader) -> int:
    """Return the next migration's integer id; a transaction that was slower than another is planned again."""
    newest = db.rows(Migration, order_by=(("number", "desc"),), limit=1)
    return newest[0].number + 1 if newest else 1


def begin_op(
    ctx: Context, server: Server, action: ServerAction, target_id: str, **fields: Any
) -> AnyOp:
    """Return the operation that records the begin; `fields` are the kind and the new flavor."""
    flavor = server.flavor
    assert flavor is not None
    return insert(
        Migration(
            **{
                "id": ctx.ids.uuid(),
                "number": next_number(ctx.db),
                "action_id": action.id,
                "job": server.job + 1,
                "server_id": server.id,
                "source_node": server.node_id,
                "dest_node": target_id,
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
    rows = ctx.db.rows(Migration, server_id=server.id)
    open_ones = [row for row in rows if row.migration_type == "resize" and not row.end_id]
    fields = {"end_id": action.id, "end": action.action, "updated_at": ctx.now()}
    newest = max(open_ones, key=lambda row: row.number, default=None)
    return [] if newest is None else [patch(Migration, newest.id, **fields)]


def status_of(row: Migration, action: ServerAction | None, end: ServerAction | None) -> str:
    """Return Nova's status: what a move's row says, else what the actions say that began and ended it."""
    if row.status:
        return row.status
    failed = action is not None and action.message == "Error"
    running = action is not None and not action.finish_at
    if row.migration_type == _EVACUATION:
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
