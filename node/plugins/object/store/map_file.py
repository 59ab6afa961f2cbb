"""The map of disks as a file: written by the core process when rows change, read by whoever uses the store."""

import os
import threading
from pathlib import Path

import msgspec

from node.plugins.object.store.layout import DiskMap, Places
from node.sdk import Unavailable

# Made while this is imported: msgspec must not look at a type for the first time in two threads at once.
_maps = msgspec.json.Decoder(DiskMap)

MAP_FILE = "map.json"
SOCKET_FILE = "store.sock"


def store_directory(state_dir: Path) -> Path:
    """Return where the store's own files of a node are."""
    return state_dir / "object"


def write_map(directory: Path, disk_map: DiskMap) -> bool:
    """Write the map where it differs from what is there; say whether it did."""
    raw = msgspec.json.encode(disk_map)
    path = directory / MAP_FILE
    if path.exists() and path.read_bytes() == raw:
        return False
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_bytes(raw)
    aside.rename(path)
    return True


class MapFile:
    """The map as it is now. Thread-safe."""

    def __init__(self, directory: Path) -> None:
        self._path = f"{directory}/{MAP_FILE}"
        self._lock = threading.Lock()
        self._seen: tuple[int, int] = (0, 0)
        self._places: Places | None = None

    def places(self) -> Places:
        """Return what follows from the map.

        Raises:
            Unavailable: 503, there is none yet.
        """
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise Unavailable("The object store of this node is not ready yet") from error
        seen = found.st_ino, found.st_mtime_ns
        places = self._places
        if places is not None and seen == self._seen:
            return places
        with self._lock:
            raw = Path(self._path).read_bytes()
            self._places = Places(_maps.decode(raw))
            self._seen = seen
            return self._places
