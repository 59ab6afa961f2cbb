"""Image data on this node's disk: streamed in with all hashes, never half there.

An upload goes to a file of its own that is locked while its worker lives; it becomes the image by a rename after it
is durable.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from node.plugins.image.format_rules import HEADER_BYTES, Inspection, inspect
from node.sdk import BadRequest, DiskFull, FileSink, Frozen, receive

_FULL_ERRNOS = (28, 122)  # ENOSPC, EDQUOT
_NOT_QCOW2 = frozenset({"raw", "iso", "vmdk", "vdi", "vhd", "vhdx", "ploop"})
_MIN_FREE_BYTES = 64 << 20


class Stored(Frozen):
    """What became of an upload."""

    size: int
    checksum: str
    os_hash_value: str
    inspection: Inspection


class DataStore:
    """The directory `images` of a node's state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / "images"

    def path(self, image_id: str) -> Path:
        """Return where the data of an image is."""
        return self.directory / f"{image_id}.data"

    def staged(self, image_id: str) -> Path:
        """Return where staged data waits for its import."""
        return self.directory / f"{image_id}.staged"

    def fetching(self, image_id: str) -> Path:
        """Return the file of a copy that is on its way from another node."""
        return self.directory / f"{image_id}.fetch"

    def wanted(self, image_id: str) -> Path:
        """Return the file whose existence says that a server of this node waits for the image."""
        return self.directory / f"{image_id}.wanted"

    def part(self, image_id: str, upload: str) -> Path:
        """Return the file of an upload that is going on."""
        return self.directory / f"{image_id}.{upload}.part"

    def receive(self, stream: Any, part: Path, limit_bytes: int) -> Stored:
        """Write a stream to the file `part` and return what it was. On any error nothing is left.

        Raises:
            DiskFull: 507.
            TooLarge: 413, more than the limit.
            ClientGone: 400, the upload ended early.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with self._locked(part) as descriptor:
                return _take(stream, descriptor, limit_bytes)
        except OSError as error:
            part.unlink(missing_ok=True)
            if error.errno in _FULL_ERRNOS:
                raise DiskFull("There is not enough disk space to store the image.") from error
            raise
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def keep(self, part: Path, target: Path) -> None:
        """Make a durable upload the data of its image."""
        part.rename(target)
        descriptor = os.open(self.directory, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[int]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # `is_alive` may hold it for a moment
            yield descriptor
        finally:
            os.close(descriptor)

    def is_alive(self, part: Path) -> bool:
        """Return whether the worker that writes a part file still lives."""
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def mark_used(self, image_id: str, now_us: int) -> None:
        """Note that an image's file is in use here, so that it stays for a while."""
        os.utime(self.path(image_id), (now_us / 1e6, now_us / 1e6))

    def set_aside(self, path: Path) -> None:
        """Move a file out of the way without erasing it."""
        quarantine = self.directory / "quarantine"
        quarantine.mkdir(mode=0o700, exist_ok=True)
        path.rename(quarantine / path.name)

    def remove(self, image_id: str) -> None:
        """Remove all files of an image."""
        for path in self.directory.glob(f"{image_id}.*"):
            path.unlink(missing_ok=True)


def _take(stream: Any, descriptor: int, limit_bytes: int) -> Stored:
    sink = FileSink(descriptor)
    found = receive(
        stream, sink, digests=("md5", "sha512"), limit_bytes=limit_bytes, head_bytes=HEADER_BYTES
    )
    sink.sync()
    if found.size and _free_bytes(descriptor) < _MIN_FREE_BYTES:
        raise DiskFull("There is not enough disk space to store the image.")
    checksum, sha512 = found.digests
    return Stored(
        size=found.size, checksum=checksum, os_hash_value=sha512, inspection=inspect(found.head)
    )


def _free_bytes(descriptor: int) -> int:
    found = os.fstatvfs(descriptor)
    return found.f_bavail * found.f_frsize


def verify(stored: Stored, disk_format: str | None, *, match: bool = True) -> int | None:
    """Return the virtual size of data that may be taken under the declared format.

    `match`: data of another format than the declared one is refused (Glance's `require_image_format_match`). A qcow2
    that names other files is refused in any case.

    Raises:
        BadRequest: 400, the data is dangerous, or of another format than declared.
    """
    found = stored.inspection
    if found.disk_format == "qcow2" and disk_format == "qcow2":
        if found.refusal:
            raise BadRequest(found.refusal)
        return found.virtual_size
    is_other = found.disk_format == "qcow2" and disk_format in _NOT_QCOW2
    if match and (is_other or disk_format == "qcow2"):
        raise BadRequest(
            f"Image content is {found.disk_format}, which does not match disk_format {disk_format}"
        )
    return stored.size if disk_format == "raw" else None
