"""The writing side of this node's disks: opens them, notices when they go, and hands operations to their writers."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from node.plugins.object.store import index_ops as ops
from node.plugins.object.store.committer import Committer
from node.plugins.object.store.data_disk import begin_rebuilding, is_rebuilding, read_mark
from node.plugins.object.store.index_ops import IndexOp, Result
from node.plugins.object.store.index_schema import INDEX_FILE
from node.plugins.object.store.map_file import MapFile
from node.sdk import Clock, Unavailable

log = logging.getLogger("hedgerow.object")

Outcome = Mapping[str, Sequence[Result]]

STALE_MAP = "map"
"""The caller's map of disks is too old."""


AWAY_US = 3 * 86400 * 1_000_000
"""Well below the time after which tombstones may be forgotten (`Grace.tomb_s`)."""
_FOLLOWED_S = 600.0
"""Whoever has not followed for so long is away."""


class _Gather:
    """Waits for several writers, then answers once."""

    def __init__(self, count: int, answer: Callable[[Outcome], None]) -> None:
        self._left = count
        self._answer = answer
        self._results: dict[str, Sequence[Result]] = {}
        self._lock = threading.Lock()

    def take(self, disk_id: str, results: Sequence[Result]) -> None:
        """Take the answer of one disk."""
        with self._lock:
            self._results[disk_id] = results
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._answer(self._results)


class DiskHost:
    """The disks of this node that can be written."""

    def __init__(self, map_file: MapFile, clock: Clock) -> None:
        self._map_file = map_file
        self._clock = clock
        self._lock = threading.Lock()
        self._disks: dict[str, Committer] = {}
        self._followers: dict[tuple[str, str], tuple[int, float]] = {}
        self._known: object = None
        self._newest = 0

    def refresh(self) -> None:
        """Open disks that came, close those that went. Called about once a second, and for each new map."""
        places = self._map_file.places()
        own = {d.id: Path(d.path) for d in places.map.disks() if d.node_id == places.map.node_id}
        with self._lock:
            for disk_id, committer in list(self._disks.items()):
                mark = read_mark(committer.root)
                if own.get(disk_id) != committer.root or mark is None or mark.id != disk_id:
                    log.warning("the disk %s is gone", committer.root)
                    del self._disks[disk_id]
                    threading.Thread(target=committer.close, daemon=True).start()
            for disk_id, root in own.items():
                mark = read_mark(root)
                if disk_id in self._disks or mark is None or mark.id != disk_id:
                    continue
                try:
                    self._disks[disk_id] = self._open(root, is_alone=len(places.map.disks()) == 1)
                except (OSError, sqlite3.Error) as error:
                    log.warning("the disk %s cannot be used: %s", root, error)
            self._known = places
            self._newest = places.map.newest

    def _open(self, root: Path, *, is_alone: bool) -> Committer:
        opened = Committer(root, self._clock)
        if opened.away_us() < AWAY_US or is_alone:
            return opened
        log.warning("the disk %s was away for too long and learns everything anew", root)
        opened.close()
        begin_rebuilding(root, INDEX_FILE)
        return Committer(root, self._clock)

    def note_alive(self) -> None:
        """Remember that the disks are a part of the store now. Called about once a minute."""
        for committer in self.disks().values():
            committer.note_alive()

    def submit(
        self, disk_ids: Sequence[str], work: Sequence[IndexOp], layout: int,
        answer: Callable[[Outcome], None],
    ) -> None:  # fmt: skip
        """Have operations carried out on disks; `answer` gets the results of each."""
        try:
            if self._map_file.places() is not self._known:
                self.refresh()
        except Unavailable:
            answer({disk_id: [Result(state=ops.AWAY)] * len(work) for disk_id in disk_ids})
            return
        if layout < self._newest:
            answer({d: [Result(state=STALE_MAP)] * len(work) for d in disk_ids})
            return
        gather = _Gather(len(disk_ids), answer)
        is_asking = any(isinstance(op, ops.ReserveOp) for op in work)
        for disk_id in disk_ids:
            committer = self._disks.get(disk_id)
            if committer is None or (is_asking and is_rebuilding(committer.root)):
                gather.take(disk_id, [Result(state=ops.AWAY)] * len(work))
                continue
            committer.submit(work, partial(gather.take, disk_id))

    def committer(self, disk_id: str) -> Committer:
        """Return the writer of a disk.

        Raises:
            Unavailable: 503, this node does not have the disk.
        """
        found = self._disks.get(disk_id)
        if found is None:
            raise Unavailable(f"The disk {disk_id} is not there")
        return found

    def disks(self) -> dict[str, Committer]:
        """Return the writers by disk id."""
        with self._lock:
            return dict(self._disks)

    def note_follower(self, disk_id: str, follower: str, seq: int) -> None:
        """Remember how far another disk has followed one of this node's."""
        self._followers[disk_id, follower] = seq, self._clock.monotonic_s()

    def followed(self, disk_id: str, others: Iterable[str]) -> int | None:
        """Return how far all others have followed a disk, None where one has not asked for a while."""
        since = self._clock.monotonic_s() - _FOLLOWED_S
        found = [self._followers.get((disk_id, other), (0, 0.0)) for other in others]
        if any(at < since for _seq, at in found):
            return None
        return min((seq for seq, _at in found), default=0)

    @property
    def newest(self) -> int:
        """Return the number of the newest layout that this host goes by."""
        return self._newest

    def state(self) -> Mapping[str, Any]:
        """Return what is known of each disk."""
        return {
            disk_id: {
                "path": str(c.root),
                "failure": c.failure,
                "commits": c.commits,
                "operations": c.operations,
            }
            for disk_id, c in self.disks().items()
        }

    def close(self) -> None:
        """Close all disks."""
        with self._lock:
            disks, self._disks = self._disks, {}
        for committer in disks.values():
            committer.close()
