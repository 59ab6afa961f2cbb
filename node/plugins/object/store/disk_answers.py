"""What one disk answers those who heal: which names it has, which bytes its entries need, which fragments lie there."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from node.plugins.object.store.committer import Committer
from node.plugins.object.store.data_disk import is_rebuilding
from node.plugins.object.store.fragment import fragment_path
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.index_pool import IndexPool
from node.plugins.object.store.index_read import IndexReader
from node.plugins.object.store.layout import Places
from node.plugins.object.store.map_file import MapFile
from node.plugins.object.store.scheme import extents, is_inline
from node.sdk import BadRequest, Unavailable

_BATCH_BYTES = 4 << 20
_OF_INDEX = ("changes", "walk", "names", "referenced")


class DiskAnswers:
    """Answers questions about the disks of this node. Thread-safe."""

    def __init__(self, map_file: MapFile, host: DiskHost) -> None:
        self._map_file = map_file
        self._host = host
        self._pool = IndexPool(inner=True)
        self.rotten_found = threading.Event()
        """Set when a fragment was set aside: the repairer should look."""
        self._questions: dict[str, Callable[[str, Any], Any]] = {
            "changes": self._changes,
            "walk": self._walk,
            "names": self._names,
            "has": self._has,
            "referenced": self._referenced,
            "drop": self._drop,
            "rotten": self._rotten,
        }

    def answer(self, disk_id: str, question: str, argument: Any) -> Any:
        """Answer one.

        Raises:
            BadRequest: nobody knows it.
            Unavailable: 503, the disk is not there.
        """
        found = self._questions.get(question)
        if question in _OF_INDEX and is_rebuilding(self._committer(disk_id).root):
            raise Unavailable(f"The disk {disk_id} is being rebuilt")
        if found is None:
            raise BadRequest(f"The object store does not know {question}")
        return found(disk_id, argument)

    def _committer(self, disk_id: str) -> Committer:
        return self._host.committer(disk_id)

    def reader(self, disk_id: str) -> IndexReader:
        """Return a reader of a disk's index."""
        return self._pool.reader(disk_id, self._committer(disk_id).root)

    # -- names

    def _is_for(self, places: Places, container_id: str, disk_id: str) -> bool:
        return any(disk_id in disks for disks in places.write_sets(container_id))

    def _changes(self, disk_id: str, argument: Any) -> Any:
        """Return the keys of names that changed since, for a disk that holds a replica of them.

        `[since, limit, for_disk]` → `{"seq", "oldest", "newest", "layout", "names": [[container, name, keys]]}`.
        """
        since, limit, for_disk = argument
        reader, places = self.reader(disk_id), self._map_file.places()
        layout = self._host.newest
        oldest, newest = reader.db.execute("SELECT min(seq), max(seq) FROM changes").fetchone()
        rows = reader.db.execute(
            "SELECT seq, container, name FROM changes WHERE seq>? ORDER BY seq LIMIT ?",
            (since, limit),
        ).fetchall()
        wanted = dict.fromkeys(
            (container, name)
            for _seq, container, name in rows
            if self._is_for(places, container, for_disk)
        )
        self._host.note_follower(disk_id, for_disk, since)
        return {
            "seq": rows[-1][0] if rows else since,
            "oldest": oldest or 0,
            "newest": newest or 0,
            "layout": layout,
            "names": [[c, n, keys(reader, c, n)] for c, n in wanted],
        }

    def _walk(self, disk_id: str, argument: Any) -> Any:
        """Return the keys of all names behind one: `[container, name, limit, for_disk]`."""
        container, name, limit, for_disk = argument
        reader, places = self.reader(disk_id), self._map_file.places()
        found: dict[tuple[str, str], None] = {}
        last: list[tuple[str, str]] = []
        for table in ("entries", "tombs"):
            rows = reader.db.execute(
                f"SELECT DISTINCT container, name FROM {table} WHERE (container, name)>(?,?)"  # noqa: S608
                " ORDER BY container, name LIMIT ?",
                (container, name, limit),
            ).fetchall()
            found |= dict.fromkeys(rows)
            if len(rows) == limit:
                last.append(rows[-1])
        end = min(last) if last else None
        some = sorted(key for key in found if end is None or key <= end)
        return {
            "end": list(end) if end else None,
            "names": [[c, n, keys(reader, c, n)] for c, n in some if self._is_for(places, c, for_disk)],
        }  # fmt: skip

    def _names(self, disk_id: str, argument: Any) -> Any:
        """Return records and inline bytes of names, as many of the first ones as fit: `[[container, name]]`."""
        reader = self.reader(disk_id)
        found = []
        size = 0
        for container, name in argument:
            if name == "":
                row = reader.db.execute(
                    "SELECT closed FROM containers WHERE container=?", (container,)
                ).fetchone()
                found.append({"closed": bool(row and row[0]), "records": [], "blobs": {}})
                continue
            records = reader.records(container, name)
            blobs = {}
            for record in records:
                if is_inline(record.data):
                    blob_id = extents(record.data)[0].id
                    blob = reader.blob(blob_id)
                    if blob is not None:
                        blobs[blob_id] = blob
                        size += len(blob)
            found.append({"closed": False, "records": records, "blobs": blobs})
            if size > _BATCH_BYTES:
                break
        return found

    # -- bytes

    def _has(self, disk_id: str, names: Sequence[str]) -> Any:
        root = self._committer(disk_id).root
        return [os.path.exists(fragment_path(root, name)) for name in names]

    def _referenced(self, disk_id: str, ids: Sequence[str]) -> Any:
        """Return the scheme of each of these bytes that an entry here needs."""
        db = self.reader(disk_id).db
        found = {}
        for bytes_id in ids:
            row = db.execute("SELECT scheme FROM refs WHERE id=? LIMIT 1", (bytes_id,)).fetchone()
            if row is not None:
                found[bytes_id] = row[0]
        return found

    def _drop(self, disk_id: str, names: Sequence[str]) -> Any:
        """Remove fragments that nothing needs."""
        root = self._committer(disk_id).root
        for name in names:
            with contextlib.suppress(OSError):
                fragment_path(root, name).unlink(missing_ok=True)
        return True

    def _rotten(self, disk_id: str, name: str) -> Any:
        """Set a rotten fragment aside, so that it is made anew."""
        root = self._committer(disk_id).root
        with contextlib.suppress(FileNotFoundError):
            fragment_path(root, name).rename(root / "rotten" / name)
            self.rotten_found.set()
        return True

    def fragments(self, disk_id: str) -> "FragmentWalk":
        """Return the fragments of a disk."""
        return FragmentWalk(self._committer(disk_id).root)


class FragmentWalk:
    """All fragments of a disk, directory by directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directories(self) -> list[Path]:
        """Return the directories that hold fragments."""
        try:
            return sorted(path for path in (self.root / "fragments").iterdir() if path.is_dir())
        except OSError:
            return []


def keys(reader: IndexReader, container: str, name: str) -> list[tuple[str, int]]:
    """Return what tells one state of a name from another: (version, when it was written or confirmed) of each."""
    rows = reader.db.execute(
        "SELECT version, max(stamp, meta_stamp, ballot) FROM entries WHERE container=? AND name=?"
        " UNION ALL SELECT version, stamp FROM tombs WHERE container=? AND name=?",
        (container, name, container, name),
    )
    return [(version, at) for version, at in rows]
