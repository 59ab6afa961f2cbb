"""A fragment's file: its bytes first, then what tells whether they are what they were.

The bytes come first so that a whole copy can be sent by the kernel as it lies there. Behind them are a hash (xxh3_128)
of each block, what the file is, and the length of that. A file gets its name when all of it is on the disk, so a file
with a name is whole or has rotted.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import xxhash

from node.sdk import DiskFull, Frozen, NotFound, Unavailable

BLOCK_BYTES = 1 << 18
_TAIL = b"hdgrfrg1"
_TAIL_BYTES = len(_TAIL) + 4
_HASH_BYTES = 16


class Footer(Frozen, array_like=True):
    """What stands behind the bytes."""

    name: str
    """`id.number`: the file's own name, so that a misplaced one is known."""
    scheme: str
    size_bytes: int
    """Of the bytes of this fragment."""
    object_bytes: int
    """Of the whole extent."""
    hashes: bytes


# Made while this is imported: msgspec must not look at a type for the first time in two threads at once.
_footers = msgspec.msgpack.Decoder(Footer)


class Rotten(Exception):
    """A fragment is not what it was."""


class Hasher:
    """Hashes blocks while bytes pass by."""

    def __init__(self) -> None:
        self._block = xxhash.xxh3_128()
        self._filled = 0
        self._hashes = bytearray()
        self.size_bytes = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take bytes."""
        view = memoryview(data)
        self.size_bytes += len(view)
        while view:
            part = view[: BLOCK_BYTES - self._filled]
            self._block.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == BLOCK_BYTES:
                self._end_block()

    def _end_block(self) -> None:
        self._hashes += self._block.digest()
        self._block = xxhash.xxh3_128()
        self._filled = 0

    def footer(self, name: str, scheme: str, object_bytes: int) -> bytes:
        """Return what goes behind the bytes."""
        if self._filled:
            self._end_block()
        body = msgspec.msgpack.encode(
            Footer(
                name=name, scheme=scheme, size_bytes=self.size_bytes, object_bytes=object_bytes,
                hashes=bytes(self._hashes),
            )
        )  # fmt: skip
        return body + xxhash.xxh3_64_digest(body)[:4] + len(body).to_bytes(4, "little") + _TAIL


class FragmentFile:
    """A fragment that is open for reading."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            NotFound: 404, it is not there.
            Rotten: it is not whole.
        """
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"There is no fragment {path.name}") from error
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error}") from error
        try:
            self.footer = self._read_footer(path.name)
        except BaseException:
            self.close()
            raise

    def _read_footer(self, name: str) -> Footer:
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        if len(tail) != _TAIL_BYTES or tail[4:] != _TAIL:
            raise Rotten(f"{name} has no end")
        length = int.from_bytes(tail[:4], "little")
        start = size - _TAIL_BYTES - 4 - length
        if start < 0:
            raise Rotten(f"{name} has a bad length")
        raw = os.pread(self._fd, length + 4, start)
        if xxhash.xxh3_64_digest(raw[:-4])[:4] != raw[-4:]:
            raise Rotten(f"{name} has a bad footer")
        try:
            footer = _footers.decode(raw[:-4])
        except msgspec.MsgspecError as error:
            raise Rotten(f"{name} has a bad footer") from error
        if footer.name != name or footer.size_bytes != start:
            raise Rotten(f"{name} is another fragment")
        return footer

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes that are what they were.

        Raises:
            Rotten: they are not.
        """
        end = min(offset + length, self.footer.size_bytes)
        if offset >= end:
            return b""
        first = offset - offset % BLOCK_BYTES
        last = min(-(-end // BLOCK_BYTES) * BLOCK_BYTES, self.footer.size_bytes)
        data = os.pread(self._fd, last - first, first)
        if len(data) != last - first:
            raise Rotten(f"{self.footer.name} is cut off")
        view = memoryview(data)
        for at in range(first, last, BLOCK_BYTES):
            number = at // BLOCK_BYTES * _HASH_BYTES
            block = view[at - first : at - first + BLOCK_BYTES]
            if xxhash.xxh3_128_digest(block) != self.footer.hashes[number : number + _HASH_BYTES]:
                raise Rotten(f"{self.footer.name} has a bad block at {at}")
        return data if first == offset and last == end else bytes(view[offset - first : end - first])

    def raw(self, offset: int, length: int) -> bytes:
        """Return bytes of the file as they lie there, footer included, for a copy of it."""
        return os.pread(self._fd, length, offset)

    def blocks(self, offset: int = 0, length: int | None = None, step: int = 1 << 20) -> Iterator[bytes]:
        """Yield bytes in pieces."""
        end = self.footer.size_bytes if length is None else offset + length
        while offset < end:
            stop = min(end, offset - offset % step + step)
            yield self.read(offset, stop - offset)
            offset = stop

    def close(self) -> None:
        """Close it. Harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close it."""
        self.close()


class FragmentSink:
    """A fragment on its way to a disk: nameless until `commit`."""

    def __init__(self, root: Path, name: str) -> None:
        """Begin a file below a disk's directory.

        Raises:
            DiskFull: 507.
            Unavailable: 503, the disk cannot be written.
        """
        self._name = name
        self._path = staged_path(root, name)
        self._final = fragment_path(root, name)
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(error, self._path) from error
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _refused(error, self._path) from error

    def commit(self) -> None:
        """Give it its name, durably."""
        try:
            os.fsync(self._fd)
            try:
                self._path.rename(self._final)
            except FileNotFoundError:
                self._final.parent.mkdir(mode=0o700, exist_ok=True)
                self._path.rename(self._final)
                sync_directory(self._final.parent.parent)
            sync_directory(self._final.parent)
        except OSError as error:
            self.abort()
            raise _refused(error, self._path) from error
        os.close(self._fd)
        self._fd = -1

    def abort(self) -> None:
        """Forget it. Harmless after `commit`."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def _refused(error: OSError, path: Path) -> DiskFull | Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"The disk of {path} is full")
    return Unavailable(f"{path} cannot be written: {error}")


def fragment_path(root: Path, name: str) -> Path:
    """Return where a fragment lies on a disk: by chance's last digits, which are evenly spread."""
    return root / "fragments" / name.partition(".")[0][-2:] / name


def staged_path(root: Path, name: str) -> Path:
    """Return where a fragment is written before it has its name."""
    return root / "staged" / name


def sync_directory(path: Path) -> None:
    """Have the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_dead_staged(root: Path) -> int:
    """Remove what writers left that have died; return how many there were."""
    count = 0
    for path in (root / "staged").glob("*"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            count += 1
        except BlockingIOError:
            pass
        finally:
            os.close(fd)
    return count
