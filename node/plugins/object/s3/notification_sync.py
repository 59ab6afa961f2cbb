"""Delivers events: in their order for each bucket, again and again for a day, then they are dropped.

An event that cannot be delivered holds back those behind it to the same place, not those to others.
"""

import logging
from collections.abc import Callable, Iterable

from node.plugins.object.hidden_containers import events_id
from node.plugins.object.s3 import webhook
from node.plugins.object.s3.lifecycle_sync import is_mine
from node.plugins.object.s3.section import S3Section
from node.plugins.object.store.contract import Entry, Query, Store
from node.plugins.object.tables import Container
from node.sdk import Control, Done, Reconciler, Row

log = logging.getLogger("hedgerow.s3")

_LOOK_S, _BUSY_S, _RETRY_S = 5.0, 0.5, 20.0
_PAGE = 200
_KEEP_US = 24 * 3600 * 1_000_000


class NotificationSync(Reconciler):
    """Posts events to their targets."""

    name = "s3-notification"
    watches = (Container,)
    resync_s = 600.0
    workers = 2

    def __init__(self, control: Control, store: Callable[[], Store]) -> None:
        super().__init__(control)
        self._store = store

    def keys(self) -> Iterable[str]:
        """Return the buckets that tell of events."""
        rows = self.control.db.rows(Container, order_by=())
        return [row.id for row in rows if row.sys.get("s3-notification")]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the bucket, if it tells of events."""
        row = self.control.db.get(Container, id) if row_type is Container else None
        return (id,) if row is not None and row.sys.get("s3-notification") else ()

    def reconcile(self, key: str) -> Done:
        """Deliver what one bucket has to tell."""
        bucket = self.control.db.get(Container, key)
        if bucket is None or bucket.closing or not bucket.sys.get("s3-notification"):
            return Done()
        if not is_mine(self.control.db, self.control.node_id, key):
            return Done(again_s=60.0)
        found, stuck = self._deliver(bucket)
        return Done(again_s=_RETRY_S if stuck else _BUSY_S if found else _LOOK_S)

    def _deliver(self, bucket: Container) -> tuple[bool, bool]:
        """Deliver a page of events; return whether there were any, and whether some place does not take its."""
        store = self._store()
        section = self.control.config.section(S3Section)
        stuck: set[str] = set()
        page = store.list(events_id(bucket.id), Query(limit=_PAGE))
        for entry in page.items:
            if not isinstance(entry, Entry) or self.control.stopping():
                continue
            url = entry.sys.get("url", "")
            if url not in stuck:
                try:
                    webhook.post(
                        url,
                        b"".join(store.read(entry)),
                        timeout_s=section.webhook_timeout_s,
                        allowed=section.webhook_hosts,
                    )
                except webhook.Undeliverable as error:
                    log.info("notification of bucket %s waits: %s", bucket.name, error.message)
                    stuck.add(url)
            old = entry.modified_at + _KEEP_US <= self.control.clock.now_us()
            if url not in stuck or old:
                store.delete(entry.container_id, entry.name)
        return bool(page.items), bool(stuck)
