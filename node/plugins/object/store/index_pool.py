"""Reading connections to the indexes of this node's disks, one of each thread; they notice when a disk was changed."""

import contextlib
import os
import sqlite3
import threading
from pathlib import Path

from node.plugins.object.store.data_disk import is_rebuilding, read_mark
from node.plugins.object.store.index_read import IndexReader
from node.plugins.object.store.index_schema import INDEX_FILE, open_reader
from node.sdk import Unavailable


class IndexPool:
    """Reads of local disks."""

    def __init__(self, *, inner: bool = False) -> None:
        """`inner`: for the disk's own healing, which reads what nobody else may rely on yet."""
        self._local = threading.local()
        self._inner = inner

    def reader(self, disk_id: str, root: Path) -> IndexReader:
        """Return the calling thread's reader of a disk.

        Raises:
            Unavailable: 503, the disk is not there, or is another one.
        """
        kept: dict[str, tuple[tuple[int, int], IndexReader]] = vars(self._local).setdefault("kept", {})
        path = f"{root}/{INDEX_FILE}"
        try:
            found = os.stat(path)
        except OSError as error:
            raise Unavailable(f"The disk {root} is not there: {error}") from error
        seen = found.st_dev, found.st_ino
        present = kept.get(disk_id)
        if present is not None and present[0] == seen:
            return present[1]
        if present is not None:
            with contextlib.suppress(sqlite3.Error):
                present[1].db.close()
            del kept[disk_id]
        mark = read_mark(root)
        if mark is None or mark.id != disk_id:
            raise Unavailable(f"{root} does not hold the disk {disk_id}")
        if is_rebuilding(root) and not self._inner:
            raise Unavailable(f"The disk {root} is being rebuilt")
        try:
            reader = IndexReader(open_reader(root))
        except sqlite3.Error as error:
            raise Unavailable(f"The index of {root} cannot be read: {error}") from error
        kept[disk_id] = seen, reader
        return reader
