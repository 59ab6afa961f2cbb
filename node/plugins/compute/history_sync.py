"""Forgets what is remembered of servers that were deleted long ago, so that the store does not grow for ever."""

from collections.abc import Iterable
from typing import ClassVar

from node.plugins.compute.section import HistorySection
from node.plugins.compute.tables import Migration, ServerAction, ServerGone
from node.sdk import AnyOp, Done, Reconciler, Row, delete

_KEY = "old"
_BATCH = 100
_DAY_US = 24 * 3_600_000_000


class HistorySync(Reconciler):
    """Removes old rows, some at a time. Every node does: removing what is gone already is no error."""

    name: ClassVar[str] = "server_history"
    watches: ClassVar[tuple[type[Row], ...]] = ()
    resync_s: ClassVar[float] = 3600.0
    workers: ClassVar[int] = 1

    def keys(self) -> Iterable[str]:
        """Return the one key there is."""
        return (_KEY,)

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return nothing: only time matters here."""
        del row_type, id
        return ()

    def reconcile(self, key: str) -> Done:
        """Forget a batch of the oldest servers."""
        del key
        keep_days = self.control.config.section(HistorySection).keep_deleted_servers_days
        limit_us = self.control.clock.now_us() - keep_days * _DAY_US
        db = self.control.db
        old = db.rows(ServerGone, where=(("deleted_at", "<", limit_us),), order_by=(), limit=_BATCH)
        ops: list[AnyOp] = [delete(ServerGone, server.id) for server in old]
        if old:
            ids = [server.id for server in old]
            ops += [delete(ServerAction, row.id) for row in db.rows(ServerAction, server_id=ids)]
            ops += [delete(Migration, row.id) for row in db.rows(Migration, server_id=ids)]
        return Done(ops=ops, again_s=1.0 if len(old) == _BATCH else None, frees=True)
