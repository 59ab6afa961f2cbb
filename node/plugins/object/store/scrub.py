"""Reads everything that lies on this node's disks, and compares it with its hash.

What has rotted is set aside and made anew by the repairer, or, if it lies in the index, fetched from another replica.
"""

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import xxhash

from node.plugins.object.store.disk_answers import DiskAnswers
from node.plugins.object.store.fragment import FragmentFile, Rotten
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.pace import Pace
from node.sdk import NodeError, NotFound, Unavailable

log = logging.getLogger("hedgerow.object")

TASK = "scrub"
_BATCH = 64


class Scrubber:
    """Scrubs the disks of this node."""

    def __init__(self, nodes: Nodes, host: DiskHost, answers: DiskAnswers, pace: Pace) -> None:
        self._nodes = nodes
        self._host = host
        self._answers = answers
        self._pace = pace
        self.read_bytes = 0
        self.rotten = 0
        self.share = 0.0
        """How far the present round is, 0 to 1."""

    def run(self) -> None:
        """Read everything once."""
        disks = list(self._host.disks())
        for place, disk_id in enumerate(disks):
            directories = self._answers.fragments(disk_id).directories()
            for number, directory in enumerate(directories):
                self.share = (place + number / len(directories)) / len(disks)
                for path in sorted(directory.iterdir()):
                    self._fragment(disk_id, path)
            self._inline(disk_id)
        self.share = 1.0

    def _fragment(self, disk_id: str, path: Path) -> None:
        try:
            with FragmentFile(path) as file:
                for block in file.blocks():
                    self.read_bytes += len(block)
                    self._pace.spend(TASK, len(block))
        except Rotten as error:
            log.warning("fragment %s on disk %s has rotted: %s", path.name, disk_id, error)
            self.rotten += 1
            self._answers.answer(disk_id, "rotten", path.name)
        except NotFound:
            return
        except (OSError, Unavailable) as error:
            log.warning("fragment %s on disk %s cannot be read: %s", path.name, disk_id, error)
            self.rotten += 1
            self._answers.answer(disk_id, "rotten", path.name)

    def _inline(self, disk_id: str) -> None:
        after = ""
        while True:
            rows = (
                self._answers.reader(disk_id)
                .db.execute(
                    "SELECT id, hash, data FROM blobs WHERE id>? ORDER BY id LIMIT ?",
                    (after, _BATCH),
                )
                .fetchall()
            )
            if not rows:
                return
            after = rows[-1][0]
            size = sum(len(row[2]) for row in rows)
            self.read_bytes += size
            self._pace.spend(TASK, size)
            bad = [row[0] for row in rows if xxhash.xxh3_128_digest(row[2]) != row[1]]
            self._mend_inline(disk_id, bad)

    def _mend_inline(self, disk_id: str, bad: Sequence[str]) -> None:
        others = [d.id for d in self._nodes.map_file.places().map.disks() if d.id != disk_id]
        for blob_id in bad:
            self.rotten += 1
            whole = self._from_others(others, blob_id)
            if whole is None:
                log.error("an object in the index of disk %s has rotted: %s", disk_id, blob_id)
                continue
            value = (xxhash.xxh3_128_digest(whole), whole, blob_id)

            def task(db: sqlite3.Connection, value: tuple[bytes, bytes, str] = value) -> None:
                db.execute("UPDATE blobs SET hash=?, data=? WHERE id=?", value)

            self._host.committer(disk_id).call(task)

    def _from_others(self, disk_ids: Sequence[str], blob_id: str) -> bytes | None:
        for disk_id in disk_ids:
            try:
                found = self._nodes.blob(disk_id, blob_id)
            except NodeError:
                continue
            if found is not None:
                return found
        return None
