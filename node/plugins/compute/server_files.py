"""The files of this node's servers: one directory each, and the images that their disks begin as.

A disk is a qcow2 overlay over a base file, which is a hard link to the image's file (a copy where a link cannot be):
the base lives as long as a server's directory names it. Directories are never removed for want of a row, only on
request: what is found without a row is left alone and listed.
"""

import contextlib
import threading
import time
from pathlib import Path

import msgspec

from node.plugins.compute import disk, names
from node.plugins.compute.disk import DiskError, DiskFacts
from node.sdk import Frozen, ImageSource

_RECORD = "server.json"
_ASIDE = ".aside-"


class ServerRecord(Frozen):
    """What the node remembers of a server beside its rows."""

    base: str = ""
    """File name of the image that the disk rests on."""
    disk_job: int = 0
    """Job for which the disk was made."""
    started_job: int = 0
    """Last job that started the guest."""
    boot_id: str = ""
    """Boot of the machine in which the guest was last started."""
    ports: tuple[str, ...] | None = None
    """Ports that the guest is plugged into; None: not known."""
    volumes: tuple[str, ...] = ()
    """Attachments of the volumes that are connected on this node."""


def _base_of(directory: Path) -> str:
    """Return the base that a directory's record names; an unreadable record names none."""
    try:
        return msgspec.json.decode((directory / _RECORD).read_bytes(), type=ServerRecord).base
    except (OSError, msgspec.DecodeError):
        return ""


class ServerFiles:
    """Directories and base files below `state_dir/instances`."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._root = state_dir / "instances"
        self._bases = self._root / "_base"
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the directories; servers' data are for root only."""
        self._bases.mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o700)
        for leftover in self._root.glob(".gone-*"):
            disk.erase_tree(self._root / leftover.name.removeprefix(".gone-"))

    def directory(self, server_id: str) -> Path:
        """Return a server's directory, made if need be."""
        path = names.server_dir(self._state_dir, server_id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def exists(self, server_id: str) -> bool:
        """Return whether a server has files here."""
        return names.server_dir(self._state_dir, server_id).is_dir()

    def server_ids(self) -> list[str]:
        """Return the servers that have files here."""
        if not self._root.is_dir():
            return []
        return sorted(entry.name for entry in self._root.iterdir() if entry.name[0] not in "._")

    def record(self, server_id: str) -> ServerRecord:
        """Return what is remembered of a server; an unreadable record counts as none."""
        path = names.server_dir(self._state_dir, server_id) / _RECORD
        try:
            return msgspec.json.decode(path.read_bytes(), type=ServerRecord)
        except (OSError, msgspec.DecodeError):
            return ServerRecord()

    def remember(self, server_id: str, record: ServerRecord) -> None:
        """Replace what is remembered of a server."""
        path = self.directory(server_id) / _RECORD
        part = path.with_name(_RECORD + ".part")
        try:
            part.write_bytes(msgspec.json.encode(record))
            part.replace(path)
        except OSError as error:
            raise DiskError(f"cannot write {path}: {error.strerror}") from error

    def find_base(self, image_id: str) -> tuple[Path, str] | None:
        """Return the base file of an image and its format, if it is here."""
        for disk_format in disk.FORMATS:
            path = self._bases / f"{image_id}.{disk_format}"
            if path.is_file():
                return path, disk_format
        return None

    def keep_base(
        self, server_id: str, image_id: str, source: ImageSource | None
    ) -> tuple[Path, DiskFacts]:
        """Note that a server rests on an image's base, made from the source if it is not here yet.

        Raises:
            DiskError: the image cannot be run, or there is no room.
        """
        with self._lock:
            found = self.find_base(image_id)
            if found is None:
                if source is None:
                    raise DiskError(f"image {image_id} cannot be found")
                disk.inspect(source.path, source.disk_format)
                found = self._bases / f"{image_id}.{source.disk_format}", source.disk_format
                self._bases.mkdir(parents=True, exist_ok=True)
                disk.keep_file(source.path, found[0])
            facts = disk.inspect(*found)
            record = self.record(server_id)
            self.remember(server_id, msgspec.structs.replace(record, base=found[0].name))
        return found[0], facts

    def take_base(self, server_id: str, image_id: str, disk_format: str, source: Path) -> None:
        """Note that a server rests on an image's base, which `source` becomes if it is not here yet.

        Raises:
            DiskError: there is no such file, or no room.
        """
        with self._lock:
            found = self.find_base(image_id)
            if found is None:
                found = self._bases / f"{image_id}.{disk_format}", disk_format
                disk.inspect(source, disk_format)
                disk.keep_file(source, found[0])
            record = self.record(server_id)
            self.remember(server_id, msgspec.structs.replace(record, base=found[0].name))

    def remove_disks(self, server_id: str) -> None:
        """Remove a server's disks, for a rebuild; the console's log stays."""
        directory = names.server_dir(self._state_dir, server_id)
        for path in directory.glob("disk*"):
            path.unlink(missing_ok=True)

    def remove(self, server_id: str) -> None:
        """Remove a server's directory, and its base when no other server rests on it."""
        base = self.record(server_id).base
        disk.erase_tree(names.server_dir(self._state_dir, server_id))
        self.drop_base(base)

    def set_aside(self, server_id: str) -> None:
        """Move a server's directory out of the way without erasing it; a base that it rests on stays."""
        source = names.server_dir(self._state_dir, server_id)
        if source.is_dir():
            source.rename(self._root / f"{_ASIDE}{server_id}.{time.time_ns()}")

    def drop_base(self, base: str) -> None:
        """Remove a base file that no server rests on."""
        if not base or "/" in base:
            return
        with self._lock:
            if any(self.record(server_id).base == base for server_id in self.server_ids()):
                return
            if any(_base_of(path) == base for path in self._root.glob(f"{_ASIDE}*")):
                return
            with contextlib.suppress(OSError):
                (self._bases / base).unlink(missing_ok=True)
