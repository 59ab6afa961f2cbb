"""A directory that holds objects: who it is, and whether it is still there.

Its id is in a file on the disk itself, so that a disk keeps its data wherever it is mounted, and a mount point without
its disk is never taken for an empty one.
"""

import os
from pathlib import Path

import msgspec

from node.plugins.object.store.fragment import sync_directory
from node.sdk import Frozen

MARK_FILE = "disk.json"
REBUILDING_FILE = "rebuilding"


class DiskMark(Frozen):
    """Who a disk is."""

    id: str


# Made while this is imported: msgspec must not look at a type for the first time in two threads at once.
_marks = msgspec.json.Decoder(DiskMark)


def read_mark(root: Path) -> DiskMark | None:
    """Return who the disk is; None where it is not there or is nobody yet."""
    try:
        return _marks.decode((root / MARK_FILE).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


def make_mark(root: Path, id: str) -> DiskMark:
    """Make a directory a disk."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = root / f"{MARK_FILE}.new"
    with aside.open("wb") as file:
        file.write(msgspec.json.encode(DiskMark(id=id)))
        file.flush()
        os.fsync(file.fileno())
    aside.rename(root / MARK_FILE)
    sync_directory(root)
    return DiskMark(id=id)


def is_rebuilding(root: Path) -> bool:
    """Return whether a disk was away for too long: it answers nobody until it has learned everything anew.

    Others may have forgotten, meanwhile, what was deleted while it was away.
    """
    return os.path.exists(f"{root}/{REBUILDING_FILE}")


def begin_rebuilding(root: Path, index: str) -> None:
    """Set a disk's index aside; it begins with an empty one."""
    (root / REBUILDING_FILE).touch()
    sync_directory(root)
    for name in (f"{index}-wal", f"{index}-shm", index):
        if (root / name).exists():
            (root / name).rename(root / f"{name}.old")
    sync_directory(root)


def end_rebuilding(root: Path) -> None:
    """Let a disk answer again."""
    (root / REBUILDING_FILE).unlink(missing_ok=True)
