"""Looking a router up for a caller."""

from node.plugins.network.faults import missing
from node.plugins.network.sharing_rules import is_admin
from node.plugins.network.tables import Router
from node.sdk import Context


def find_router(ctx: Context, router_id: str) -> Router:
    """Return a router of the caller's project; an admin sees all.

    Raises:
        RouterNotFound: 404.
    """
    row = ctx.db.get(Router, router_id)
    if row is None or not (row.project_id == ctx.project_id or is_admin(ctx)):
        raise missing("router", router_id)
    return row
