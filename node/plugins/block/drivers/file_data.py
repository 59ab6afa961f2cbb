"""The raw contents of a file, and copies of such files."""

import os
import subprocess
from pathlib import Path

from node.plugins.block.drivers.driver import DriverError

_COPY_S = 3600.0


class FileData:
    """An open raw file as the driver's Protocol has data."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open it.

        Raises:
            DriverError: it is not there.
        """
        try:
            self._fd = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        except OSError as error:
            raise DriverError(
                f"The data of {path.stem} cannot be opened: {error.strerror}"
            ) from error
        self.size_bytes = os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there."""
        self._within(offset, length)
        parts = []
        while length:
            part = os.pread(self._fd, min(length, 1 << 24), offset)
            if not part:
                raise DriverError("The file is shorter than it was")
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """Write the bytes there."""
        self._within(offset, len(data))
        view = memoryview(data)
        while view:
            try:
                done = os.pwrite(self._fd, view, offset)
            except OSError as error:
                raise DriverError(f"The volume cannot be written: {error.strerror}") from error
            offset, view = offset + done, view[done:]

    def flush(self) -> None:
        """Return once everything written is durable."""
        os.fsync(self._fd)

    def extents(self, offset: int, length: int) -> list[tuple[int, int, bool]]:
        """Return what the range consists of."""
        self._within(offset, length)
        found: list[tuple[int, int, bool]] = []
        end = offset + length
        while offset < end:
            try:
                data = min(os.lseek(self._fd, offset, os.SEEK_DATA), end)
            except OSError:  # nothing but holes from here
                data = end
            if data > offset:
                found.append((offset, data - offset, False))
            if data < end:
                hole = min(os.lseek(self._fd, data, os.SEEK_HOLE), end)
                found.append((data, hole - data, True))
                data = hole
            offset = data
        return found

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _within(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise DriverError(f"Bytes {offset} to {offset + length} are outside of the volume")


def copy(source: Path, target: Path) -> None:
    """Copy a raw file, its holes as holes, whole or not at all; shares blocks where the file system can.

    Raises:
        DriverError: there is no room, or no source.
    """
    if target.exists():
        return
    aside = target.with_suffix(".new")
    argv = ["cp", "--reflink=auto", "--sparse=always", "--", str(source), str(aside)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_COPY_S, check=False)
    if done.returncode:
        aside.unlink(missing_ok=True)
        raise DriverError(f"The copy failed: {done.stderr.strip()[-200:]}")
    settle(aside, target)


def settle(aside: Path, target: Path) -> None:
    """Make a file durable, and give it its name."""
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.rename(target)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
