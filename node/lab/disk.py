"""A disk of a machine's own: an image file with a file system, which can be filled, frozen and cut off from its power.

Nothing of this is known to the node: the kernel does it. A frozen file system lets every write and sync wait, as a
disk does that does not answer. One whose power is cut forgets at once what was not synced and refuses everything until
it is mounted again, when its journal is replayed.

Hard part: every mount namespace that is made while the disk is mounted, also by somebody else, has a mount of it, and
the file system is alive before all of these are gone. So after a loss of power it is not mounted again: what is in the
image then is copied, and the copy is mounted.
"""

import contextlib
import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from node.errors import Unavailable

_FILLER = "drill-filler"
_LARGEST, _SMALL = 1 << 28, 1 << 16
# From <linux/fs.h> and the ext4 documentation: _IOWR('X', 119, int), _IOWR('X', 120, int), _IOR('X', 125, __u32).
_FREEZE, _THAW, _SHUTDOWN = 0xC0045877, 0xC0045878, 0x8004587D
_WITHOUT_ITS_LOG = struct.pack("I", 2)


class Disk:
    """The file system of one machine, mounted on a directory; `image` is the file that holds it."""

    def __init__(self, image: Path, directory: Path) -> None:
        self.image = image
        self.directory = directory

    @property
    def is_there(self) -> bool:
        """Return whether it is mounted."""
        return _is_mounted(self.directory)

    def ensure(self, size_mib: int) -> None:
        """Make the disk unless there is one, and mount it unless it is.

        Raises:
            Unavailable: the machine cannot; carries the last words of the program that could not.
        """
        if self.is_there:
            return
        around = self.directory.parent
        around.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not _is_mounted(around):
            _run("mount", "--bind", str(around), str(around))
            _run("mount", "--make-private", str(around))
            _run("mount", "--make-shared", str(around))
        self.directory.mkdir(mode=0o700, exist_ok=True)
        if not self.image.exists():
            aside = self.image.with_suffix(".new")
            with aside.open("wb") as file:
                file.truncate(size_mib << 20)
            _run("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", str(aside))
            aside.rename(self.image)
        _run("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.directory))
        self.directory.chmod(0o700)

    def unmount(self) -> None:
        """Take it off its directory; whoever still looks into it sees what it was."""
        if self.is_there:
            _run("umount", "--lazy", str(self.directory))

    def remove(self) -> None:
        """Unmount it, with what is around it, and delete its image. Harmless when there is none."""
        around = self.directory.parent
        self.thaw()
        self.unmount()
        if _is_mounted(around):
            _run("umount", "--lazy", str(around))
        self.image.unlink(missing_ok=True)

    # -- faults

    def fill(self, leave_bytes: int = 0) -> None:
        """Leave no free block, or not more than so many bytes.

        Raises:
            Unavailable: it is not mounted: others would suffer.
        """
        if not self.is_there:
            raise Unavailable(f"{self.directory} is no file system of its own, so it is not filled")
        with (self.directory / _FILLER).open("ab", buffering=0) as file:
            if leave_bytes:
                free = os.statvfs(self.directory)
                size = free.f_bfree * free.f_frsize - leave_bytes
                os.posix_fallocate(file.fileno(), 0, max(1, size))
                return
            size = _LARGEST
            while size:
                try:
                    if size > _SMALL:  # blocks that are only promised cost no time
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
                    else:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def empty(self) -> None:
        """Remove what filled it."""
        (self.directory / _FILLER).unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let all writes wait until `thaw`."""
        with self._opened() as descriptor:
            fcntl.ioctl(descriptor, _FREEZE, 0)

    def thaw(self) -> None:
        """Let them go on; harmless when they do."""
        if self.is_there:
            with contextlib.suppress(OSError), self._opened() as descriptor:
                fcntl.ioctl(descriptor, _THAW, 0)

    def lose_power(self) -> None:
        """Forget all that was not synced, and refuse everything until `power_on`."""
        try:
            with self._opened() as descriptor:
                fcntl.ioctl(descriptor, _SHUTDOWN, _WITHOUT_ITS_LOG)
        except OSError as error:
            if error.errno != errno.EIO:  # it has lost it already
                raise

    def power_on(self) -> None:
        """Mount again what `lose_power` left; whoever used the disk must have ended."""
        aside = self.image.with_suffix(".new")
        _run("cp", "--sparse=always", str(self.image), str(aside))
        self.unmount()
        aside.rename(self.image)
        self.ensure(0)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        if not self.is_there:
            raise Unavailable(f"{self.directory} is no file system of its own")
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _is_mounted(path: Path) -> bool:
    """Return whether something is mounted there; a directory that is mounted on itself counts."""
    wanted = str(path.absolute())
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(_unescaped(line.split()[4]) == wanted for line in lines)


def _unescaped(text: str) -> str:
    return text.encode().decode("unicode_escape") if "\\" in text else text


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout
