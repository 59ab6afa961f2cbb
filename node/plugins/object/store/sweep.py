"""Removes what nothing needs any more: bytes of replaced entries and dead writers, expired entries, old tombstones.

Hard part: bytes may be needed by an entry in another container (`compose` moves them), and fragments of one object lie
on many disks. So bytes go only when every index of the cluster has been asked and none needs them, and never while
somebody may still be reading what he was shown a moment ago.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from node.plugins.object.store.disk_answers import DiskAnswers
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.index_write import IndexWriter
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.pace import Pace
from node.plugins.object.store.scheme import born_at, parse
from node.sdk import Clock, Frozen, NodeError

log = logging.getLogger("hedgerow.object")

TASK = "sweep"
_MICROS = 1_000_000
_BATCH = 500


class Grace(Frozen):
    """How long things stay, seconds."""

    trash_s: float = 120.0
    """Bytes of an entry that was replaced: as long as a slow reader may take to ask for the next block."""
    orphan_s: float = 3600.0
    """Bytes without an entry: as long as the slowest `commit` may take."""
    tomb_s: float = 7 * 86400.0
    promise_s: float = 3600.0
    expired_s: float = 60.0


class Sweeper:
    """Sweeps the disks of this node."""

    def __init__(
        self, nodes: Nodes, host: DiskHost, answers: DiskAnswers, pace: Pace, clock: Clock, grace: Grace
    ) -> None:  # fmt: skip
        self._nodes = nodes
        self._host = host
        self._answers = answers
        self._pace = pace
        self._clock = clock
        self._grace = grace
        self.removed = 0
        """Fragments and inline objects, since this process began."""

    def run(self) -> None:
        """Empty the trash, and take out what has expired or is out of date. Cheap when there is nothing."""
        for disk_id in self._host.disks():
            while self._empty_trash(disk_id):
                self._pace.check(TASK)
            self._drop_old(disk_id)

    def _before(self, seconds: float) -> int:
        return self._clock.now_us() - int(seconds * _MICROS)

    def _empty_trash(self, disk_id: str) -> bool:
        """Take out one batch; say whether there may be more."""
        reader = self._answers.reader(disk_id)
        rows = reader.db.execute(
            "SELECT id FROM trash WHERE at<=? ORDER BY id LIMIT ?",
            (self._before(self._grace.trash_s), _BATCH),
        ).fetchall()
        ids = [row[0] for row in rows]
        if not ids:
            return False
        inline = {
            id
            for id in ids  # noqa: A001
            if reader.db.execute("SELECT 1 FROM blobs WHERE id=?", (id,)).fetchone()
        }
        gone = self._unneeded([id for id in ids if id not in inline])  # noqa: A001
        done = [*inline, *(gone if gone is not None else [])]
        needed = [] if gone is None else [id for id in ids if id not in done]  # noqa: A001

        def task(db: sqlite3.Connection) -> None:
            for bytes_id in done:
                db.execute("DELETE FROM blobs WHERE id=?", (bytes_id,))
            for bytes_id in (*done, *needed):
                db.execute("DELETE FROM trash WHERE id=?", (bytes_id,))

        self._host.committer(disk_id).call(task)
        self.removed += len(done)
        return len(ids) == _BATCH and gone is not None

    def _unneeded(self, ids: Sequence[str]) -> list[str] | None:
        """Have bytes removed that no entry needs; return their ids, None while not all disks can be asked."""
        if not ids:
            return []
        needed = self.references(ids)
        if needed is None:
            return None
        gone = [bytes_id for bytes_id in ids if bytes_id not in needed]
        if not gone:
            return []
        names = [f"{bytes_id}.{number}" for bytes_id in gone for number in range(_MOST_FRAGMENTS)]
        for disk in self._nodes.map_file.places().map.disks():
            try:
                self._nodes.ask(disk.id, "drop", names)
            except NodeError as error:
                log.debug("disk %s keeps litter for now: %s", disk.id, error)
        return gone

    def references(self, ids: Sequence[str]) -> dict[str, str] | None:
        """Return the scheme of each of these bytes that any entry needs; None where a disk cannot be asked."""
        found: dict[str, str] = {}
        for disk in self._nodes.map_file.places().map.disks():
            try:
                found |= self._nodes.ask(disk.id, "referenced", list(ids))
            except NodeError as error:
                log.debug("disk %s cannot be asked: %s", disk.id, error)
                return None
        return found

    def _drop_old(self, disk_id: str) -> None:
        clock = self._clock
        followed = self._host.followed(disk_id, self._others(disk_id))
        tombs_before = self._before(self._grace.tomb_s) if followed is not None else 0
        promises_before = self._before(self._grace.promise_s)
        expired_before = self._before(self._grace.expired_s)

        def task(db: sqlite3.Connection) -> int:
            db.execute("DELETE FROM promises WHERE at<=?", (promises_before,))
            db.execute("DELETE FROM tombs WHERE at<=?", (tombs_before,))
            if followed:
                db.execute("DELETE FROM changes WHERE seq<?", (followed,))
            return IndexWriter(db, clock).drop_expired(expired_before, _BATCH)

        if self._has_old(disk_id, promises_before, tombs_before, expired_before, followed or 0):
            self._host.committer(disk_id).call(task)

    def _others(self, disk_id: str) -> Iterable[str]:
        return [disk.id for disk in self._nodes.map_file.places().map.disks() if disk.id != disk_id]

    def _has_old(self, disk_id: str, *limits: Any) -> bool:
        db = self._answers.reader(disk_id).db
        queries = (
            "SELECT 1 FROM promises WHERE at<=? LIMIT 1",
            "SELECT 1 FROM tombs WHERE at<=? LIMIT 1",
            "SELECT 1 FROM entries INDEXED BY entries_expires WHERE expires IS NOT NULL AND expires<=? LIMIT 1",
            "SELECT 1 FROM changes WHERE seq<? LIMIT 1",
        )
        return any(
            db.execute(query, (limit,)).fetchone() is not None
            for query, limit in zip(queries, limits, strict=True)
        )

    # -- everything that lies on the disks

    def look_through(self) -> None:
        """Look at every fragment of this node: remove those without an entry, and those that are somewhere better."""
        for disk_id in self._host.disks():
            walk = self._answers.fragments(disk_id)
            for directory in walk.directories():
                self._pace.check(TASK)
                names = sorted(self._settled(directory))
                for at in range(0, len(names), _BATCH):
                    self._look_at(disk_id, names[at : at + _BATCH])

    def _settled(self, directory: Path) -> Iterator[str]:
        """Yield the fragments that were written long ago: a writer may be about to commit the others."""
        before_s = self._before(self._grace.orphan_s) / _MICROS
        for path in directory.iterdir():
            try:
                if path.stat().st_mtime <= before_s:
                    yield path.name
            except FileNotFoundError:
                continue

    def _look_at(self, disk_id: str, names: Sequence[str]) -> None:
        before = self._before(self._grace.orphan_s)
        old: dict[str, list[str]] = {}
        for name in names:
            bytes_id = name.partition(".")[0]
            if len(bytes_id) > 14 and born_at(bytes_id) <= before:
                old.setdefault(bytes_id, []).append(name)
        needed = self.references(list(old)) if old else {}
        if needed is None:
            return
        drop: list[str] = []
        for bytes_id, some in old.items():
            if bytes_id not in needed:
                drop += some
            else:
                drop += [n for n in some if self._is_elsewhere(disk_id, n, needed[bytes_id])]
        if drop:
            log.info("%d fragments on disk %s are not needed there", len(drop), disk_id)
            self._answers.answer(disk_id, "drop", drop)
            self.removed += len(drop)

    def _is_elsewhere(self, disk_id: str, name: str, scheme: str) -> bool:
        """Return whether a fragment is where it should be, which is not here."""
        places = self._nodes.map_file.places()
        bytes_id, _, number = name.partition(".")
        homes = [
            home.id
            for wanted, home in places.fragment_homes(bytes_id, parse(scheme))
            if wanted == int(number)
        ]
        if not homes or disk_id in homes or len(places.map.layouts) > 1:
            return False
        try:
            return all(self._nodes.ask(home, "has", [name]) == [True] for home in homes)
        except NodeError:
            return False


_MOST_FRAGMENTS = 16
"""No scheme has more."""
