"""Brings the files of a server that moves here from the node that it leaves.

The guest is off, so the files do not change; a fetch that was cut off goes on where it ended. A disk comes as it is, an
overlay, and beside it the image that it rests on, where this node does not have that yet: the image itself may be gone
from the image service. Holes stay holes.
"""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec

from node.plugins.compute import disk, names
from node.plugins.compute.disk import DiskError
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.tables import Server
from node.sdk import DataPort, Frozen, NotFound, Unavailable

FILES_PATH = "/v2.1/peer/servers/{server_id}/files"
_MOVED = ("disk", "disk.eph0", "disk.swap", "disk.config", "console.log")
STILL = ("disk.config",)
"""What does not change while a guest runs."""
_BLOCK_BYTES = 1 << 20


class FileFacts(Frozen):
    """One file."""

    name: str
    size: int
    virtual: int = 0
    """Bytes that a guest sees of it, where that is not its size."""


class Manifest(Frozen):
    """What a server consists of."""

    files: list[FileFacts]
    base: FileFacts | None = None
    """The image that its disk rests on."""


def moved_files(state_dir: Path, server_id: str) -> list[Path]:
    """Return the files of a server that go with it."""
    directory = names.server_dir(state_dir, server_id)
    return [path for name in _MOVED if (path := directory / name).is_file()]


def base_of(files: ServerFiles, state_dir: Path, server_id: str) -> Path | None:
    """Return the file that a server's disk rests on, None when it rests on none."""
    name = files.record(server_id).base
    path = state_dir / "instances" / "_base" / name
    return path if name and "/" not in name and path.is_file() else None


class Fetch:
    """The destination's side."""

    def __init__(
        self, port: DataPort, files: ServerFiles, state_dir: Path, stopping: Callable[[], bool]
    ) -> None:
        self._port = port
        self._files = files
        self._state_dir = state_dir
        self._stopping = stopping

    def bring(self, server: Server) -> None:
        """Bring all files; what is here already stays.

        Raises:
            DiskError: they cannot be had, or there is no room.
            Unavailable: 503, the other node does not answer now; what came stays and is gone on with.
        """
        path = f"/compute{FILES_PATH.format(server_id=server.id)}"
        directory = self._files.directory(server.id)
        try:
            with self._port.get(server.old_node_id, path) as answer:
                manifest = msgspec.json.decode(answer.read(), type=Manifest)
            if manifest.base is not None:
                self._bring_base(server, path, manifest.base)
            for file in manifest.files:
                if file.name not in _MOVED:
                    raise DiskError(f"node {server.old_node_id} sends a file {file.name}")
                self._one(server, f"{path}/{file.name}", file.size, directory / file.name)
        except NotFound as error:
            raise DiskError(f"the disks cannot be had: {error.message}") from error
        except msgspec.MsgspecError as error:
            raise DiskError(f"node {server.old_node_id} does not say what there is: {error}") from error
        except OSError as error:
            raise DiskError(f"the disks cannot be written: {error.strerror}") from error

    def prepare(self, server: Server, source: str) -> None:
        """Make what a guest that runs elsewhere will write its disks into, and bring what it does not change.

        Raises:
            DiskError: it cannot be made.
            Unavailable: 503, the other node does not answer now.
        """
        path = f"/compute{FILES_PATH.format(server_id=server.id)}"
        directory = self._files.directory(server.id)
        try:
            with self._port.get(source, path) as answer:
                manifest = msgspec.json.decode(answer.read(), type=Manifest)
            for file in manifest.files:
                target = directory / file.name
                if file.name in STILL:
                    moving = msgspec.structs.replace(server, old_node_id=source)
                    self._one(moving, f"{path}/{file.name}", file.size, target)
                elif file.virtual:
                    target.unlink(missing_ok=True)
                    disk.make_blank(target, file.virtual)
                elif file.name in _MOVED and file.name != "console.log":
                    with target.open("wb") as raw:
                        raw.truncate(file.size)
        except NotFound as error:
            raise DiskError(f"the disks cannot be had: {error.message}") from error
        except (msgspec.MsgspecError, OSError) as error:
            raise DiskError(f"the disks cannot be prepared: {error}") from error

    def _bring_base(self, server: Server, path: str, base: FileFacts) -> None:
        image_id, dot, disk_format = base.name.rpartition(".")
        if not dot or "/" in image_id or disk_format not in disk.FORMATS:
            raise DiskError(f"node {server.old_node_id} sends a base {base.name}")
        incoming = self._files.directory(server.id) / f"{base.name}.base"
        if self._files.find_base(image_id) is None:
            self._one(server, f"{path}/{quote(base.name)}", base.size, incoming)
        self._files.take_base(server.id, image_id, disk_format, incoming)
        incoming.unlink(missing_ok=True)

    def _one(self, server: Server, path: str, size: int, target: Path) -> None:
        if target.exists():
            return
        part = target.with_name(f"{target.name}.part-{server.job}")
        for other in target.parent.glob(f"{target.name}.part-*"):
            if other != part:
                other.unlink()
        with part.open("ab") as file:
            got = file.tell()
        with part.open("r+b") as file:
            file.seek(got)
            if got < size:
                with self._port.get(server.old_node_id, path, offset=got) as answer:
                    while data := answer.read(_BLOCK_BYTES):
                        if data.count(0) == len(data):
                            file.seek(len(data), os.SEEK_CUR)
                        else:
                            file.write(data)
                        if self._stopping():
                            raise Unavailable("this node goes down")
            if file.tell() != size:
                part.unlink()
                raise Unavailable(f"{target.name} of server {server.id} did not come whole")
            file.truncate(size)
            file.flush()
            os.fdatasync(file.fileno())
        part.replace(target)
