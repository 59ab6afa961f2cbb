"""Carries out lifecycle rules: each bucket that has some is walked a few times a day, by one node.

The node of a bucket is chosen by hashing, from those that are up, so that all share the work and nobody has to agree.
Should two of them walk at once, the second finds done what the first has done.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import xxhash

from node.plugins.object.s3 import lifecycle_rules, lock_rules, uploads
from node.plugins.object.s3.lifecycle_rules import LifecycleRule
from node.plugins.object.store.contract import Entry, Query, Store
from node.plugins.object.tables import Container
from node.sdk import Control, Done, NodeRow, Reader, Reconciler, Row

_EVERY_S = 4 * 3600.0
_PAGE = 1000


def is_mine(db: Reader, node_id: str, key: str) -> bool:
    """Return whether this node does a chore: the one with the highest hash among those that are up."""
    nodes = [row.id for row in db.rows(NodeRow) if row.state == "up"] or [node_id]
    return (
        max(nodes, key=lambda node: xxhash.xxh3_64_intdigest(f"{node}/{key}".encode())) == node_id
    )


class LifecycleSync(Reconciler):
    """Deletes what lifecycle rules say."""

    name = "s3-lifecycle"
    watches = (Container,)
    resync_s = 3600.0
    workers = 1

    def __init__(self, control: Control, store: Callable[[], Store]) -> None:
        super().__init__(control)
        self._store = store
        self._walked: dict[str, tuple[str, float]] = {}
        """By which rules a bucket was walked last, and when: other changes of its row are no reason to do it again."""

    def keys(self) -> Iterable[str]:
        """Return the buckets that have rules."""
        rows = self.control.db.rows(Container, order_by=())
        return [row.id for row in rows if row.sys.get("s3-lifecycle")]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the bucket, if it has rules."""
        row = self.control.db.get(Container, id) if row_type is Container else None
        return (id,) if row is not None and row.sys.get("s3-lifecycle") else ()

    def reconcile(self, key: str) -> Done:
        """Walk one bucket."""
        bucket = self.control.db.get(Container, key)
        if (
            bucket is None
            or bucket.closing
            or not is_mine(self.control.db, self.control.node_id, key)
        ):
            return Done()
        text = bucket.sys.get("s3-lifecycle", "")
        rules, now_s = lifecycle_rules.loaded(text), self.control.clock.monotonic_s()
        last_text, last_s = self._walked.get(key, ("", 0.0))
        if last_text == text and now_s - last_s < _EVERY_S:
            return Done(again_s=_EVERY_S - (now_s - last_s))
        if rules:
            self._walk(bucket, rules)
        self._walked[key] = (text, now_s)
        return Done(again_s=_EVERY_S)

    def _walk(self, bucket: Container, rules: tuple[LifecycleRule, ...]) -> None:
        store = self._store()
        for _name, some in groupby(_versions(store, bucket.id), key=lambda entry: entry.name):
            if self.control.stopping():
                return
            self._one(store, bucket, rules, list(some))
        now = self.control.clock.now_us()
        for upload in list(uploads.unfinished(store, bucket.id)):
            key, upload_id = uploads.parted(upload.name)
            if any(
                rule.abort_days
                and key.startswith(rule.prefix)
                and lifecycle_rules.due_us(upload.modified_at, rule.abort_days) <= now
                for rule in rules
            ):
                uploads.drop(store, bucket.id, key, upload_id)

    def _one(
        self, store: Store, bucket: Container, rules: tuple[LifecycleRule, ...], all_of: list[Entry]
    ) -> None:
        """Look at all versions of one name, newest first."""
        now = self.control.clock.now_us()
        newest, older = all_of[0], all_of[1:]
        left = len(older)
        for place, entry in enumerate(older):
            since = all_of[place].modified_at
            gone = lifecycle_rules.is_outdated(rules, entry, since, place, now)
            if gone and not lock_rules.is_locked(entry.sys, now):
                store.delete(bucket.id, entry.name, entry.version_id)
                left -= 1
        if newest.is_marker:
            alone = not left and any(
                (rule.markers or rule.days) and newest.name.startswith(rule.prefix)
                for rule in rules
            )
            if alone:
                store.delete(bucket.id, newest.name, newest.version_id)
            return
        if lifecycle_rules.is_expired(rules, newest, now):
            marker = {"enabled": "version", "suspended": "null"}.get(bucket.versioning, "")
            if marker or not lock_rules.is_locked(newest.sys, now):
                store.delete(bucket.id, newest.name, marker=marker)


def _versions(store: Store, bucket_id: str) -> Iterator[Entry]:
    """Yield all versions of all names; a page that was read stays as it was."""
    marker = version = ""
    while True:
        query = Query(marker=marker, version_marker=version, versions=True, limit=_PAGE)
        page = store.list(bucket_id, query)
        entries = [item for item in page.items if isinstance(item, Entry)]
        if entries:
            marker, version = entries[-1].name, entries[-1].version_id
        yield from entries
        if not page.truncated or not entries:
            return
