"""Hidden containers: what the store keeps for a container besides its objects. No row stands for them.

Their ids are made from the container's, so that whoever deletes the container finds them.
"""

from node.plugins.object.store.contract import Entry, Query, Store

_PAGE = 1000


def uploads_id(container_id: str) -> str:
    """Return the id of the hidden container of a bucket's uploads in progress."""
    return f"{container_id}-uploads"


def parts_id(container_id: str) -> str:
    """Return the id of the hidden container of the parts of those uploads."""
    return f"{container_id}-parts"


def events_id(container_id: str) -> str:
    """Return the id of the hidden container of events to be delivered."""
    return f"{container_id}-events"


def drop_all(store: Store, bucket_id: str) -> None:
    """Forget all that a deleted bucket has besides its objects. The uploads go first: what is sent late finds none."""
    hidden = (uploads_id(bucket_id), parts_id(bucket_id), events_id(bucket_id))
    usage = store.usage(hidden)
    for one in hidden:
        while one in usage and usage[one].objects:
            page = store.list(one, Query(limit=_PAGE))
            for item in page.items:
                if isinstance(item, Entry):
                    store.delete(one, item.name)
            if not page.truncated:
                break
