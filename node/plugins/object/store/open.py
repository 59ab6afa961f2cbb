"""The store of this process."""

from node.plugins.object.store.contract import Store
from node.sdk import Context, Unavailable


def store_of(ctx: Context) -> Store:
    """Return the store that this process keeps."""
    found: Store = ctx.kept.get("object.store", _none)
    return found


def _none() -> Store:
    raise Unavailable("This node has no object store yet")
