"""The way from a request to the store."""

from node.plugins.object.store.contract import Store
from node.sdk import Context, Unavailable

KEPT = "object.store"
"""What the API process keeps the store under."""


def store_of(ctx: Context) -> Store:
    """Return the object store of this node.

    Raises:
        Unavailable: 503, this node has none.
    """
    store: Store = ctx.kept.get(KEPT, _none)
    return store


def _none() -> Store:
    raise Unavailable("This node keeps no objects")
