"""Image data on this node's disk: streamed in with all hashes, never half there.

Hard part: speed. MD5 and SHA-512 each take longer than the disk, so each runs in a thread of its own (hashing
gives up the interpreter's lock) over buffers that the reader fills straight from the socket and that are used again,
and the disk is written to all along. An upload goes to a file of its own that
is locked while its worker lives; it becomes the image by a rename after it is durable.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from node.plugins.image.format_rules import HEADER_BYTES, Inspection, inspect
from node.sdk import BadRequest, DiskFull, Frozen, TooLarge

_BLOCK_BYTES = 2 << 20
_BLOCKS = 6
_WRITE_BACK_BYTES = 8 << 20
_FULL_ERRNOS = (28, 122)  # ENOSPC, EDQUOT
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
                return _pump(stream, descriptor, limit_bytes)
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


class _Block:
    """A buffer that is free again when all who use it have let it go."""

    def __init__(self, free: "queue.SimpleQueue[_Block]") -> None:
        self.buffer = memoryview(bytearray(_BLOCK_BYTES))
        self.data = self.buffer
        self._free = free
        self._users = 0
        self._lock = threading.Lock()

    def lend(self, size_bytes: int, users: int) -> memoryview:
        self.data = self.buffer[:size_bytes]
        self._users = users
        return self.data

    def let_go(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._free.put(self)


class _Blocks:
    """The buffers of one upload: as many as it needs, up to a limit."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[_Block] = queue.SimpleQueue()
        self._made = 0

    def take(self) -> _Block:
        if self._free.empty() and self._made < _BLOCKS:
            self._made += 1
            return _Block(self._free)
        return self._free.get()


class _Hasher:
    """One digest in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._digest = hashlib.new(name, usedforsecurity=False)
        self._blocks: queue.SimpleQueue[_Block | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"hash-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._digest.update(block.data)
            block.let_go()

    def update(self, block: _Block) -> None:
        self._blocks.put(block)

    def finish(self) -> str:
        self._blocks.put(None)
        self._thread.join()
        return self._digest.hexdigest()


class _WriteBack:
    """Has a file written to the disk while it grows, so that little is left to wait for at its end.

    `sync_file_range` starts the writing and goes on: an `fdatasync` now and then would wait for the file system's
    journal each time. What goes wrong is told by the one `fdatasync` at the end.
    """

    _START = 2  # SYNC_FILE_RANGE_WRITE

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0
        self._call = ctypes.CDLL(None).sync_file_range
        self._call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def grown(self, size_bytes: int) -> None:
        """Begin to write what is new, when it is enough."""
        if size_bytes - self._begun >= _WRITE_BACK_BYTES:
            self._call(self._descriptor, self._begun, size_bytes - self._begun, self._START)
            self._begun = size_bytes


def _pump(stream: Any, descriptor: int, limit_bytes: int) -> Stored:
    blocks = _Blocks()
    hashers = (_Hasher("md5"), _Hasher("sha512"))
    write_back = _WriteBack(descriptor)
    header = bytearray()
    size = 0
    try:
        while got := _fill(stream, block := blocks.take()):
            data = block.lend(got, len(hashers) + 1)
            for hasher in hashers:
                hasher.update(block)
            size += got
            if size > limit_bytes:
                raise TooLarge(f"The image is larger than the limit of {limit_bytes} bytes.")
            if len(header) < HEADER_BYTES:
                header += data[: HEADER_BYTES - len(header)]
            while data:
                data = data[os.write(descriptor, data) :]
            block.let_go()
            write_back.grown(size)
    finally:
        digests = [hasher.finish() for hasher in hashers]
    os.fdatasync(descriptor)
    if size and _free_bytes(descriptor) < _MIN_FREE_BYTES:
        raise DiskFull("There is not enough disk space to store the image.")
    return Stored(
        size=size, checksum=digests[0], os_hash_value=digests[1], inspection=inspect(bytes(header))
    )


def _fill(stream: Any, block: _Block) -> int:
    """Read a buffer full, or what is left; return how much that was."""
    got = 0
    while got < _BLOCK_BYTES and (more := stream.readinto(block.buffer[got:])):
        got += more
    return got


def _free_bytes(descriptor: int) -> int:
    found = os.fstatvfs(descriptor)
    return found.f_bavail * found.f_frsize


def verify(stored: Stored, disk_format: str | None) -> int | None:
    """Return the virtual size of data that may be taken under the declared format.

    Raises:
        BadRequest: 400, the data is dangerous, or of another format than declared.
    """
    found = stored.inspection
    if disk_format == "raw" and found.disk_format == "raw":
        return stored.size
    if found.disk_format == "qcow2" and disk_format == "qcow2":
        if found.refusal:
            raise BadRequest(found.refusal)
        return found.virtual_size
    if found.disk_format == "qcow2" and disk_format in (
        "raw",
        "iso",
        "vmdk",
        "vdi",
        "vhd",
        "vhdx",
        "ploop",
    ):
        raise BadRequest(f"Image content is qcow2, which does not match disk_format {disk_format}")
    if disk_format == "raw":
        return stored.size
    if disk_format == "qcow2":
        raise BadRequest(
            f"Image content is {found.disk_format}, which does not match disk_format qcow2"
        )
    return None
