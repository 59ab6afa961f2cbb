"""Room on the disk: notice that it runs out, keep a reserve so that deletes still go through.

Hard part: a full disk must not lose what was acknowledged and must not stop what would free space. A reserve
file holds blocks back. When a write fails for want of room the reserve is given up, from then on only
transactions that free space are taken, and once there is room again the reserve is made anew.
"""

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from node.errors import DiskFull

_SPARED_BYTES = 128 << 20
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_CHECK_PERIOD_S = 1.0
_CHECK_PERIOD_FULL_S = 0.25


def is_full_error(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is a lack of room on the disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
            return True
        code = getattr(error, "sqlite_errorcode", None)
        if (
            isinstance(error, sqlite3.Error)
            and code is not None
            and code & 0xFF == sqlite3.SQLITE_FULL
        ):
            return True
        error = error.__cause__
    return False


def free_bytes(path: Path) -> int:
    """Return how many bytes this process can still write below a directory."""
    found = os.statvfs(path)
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return blocks * found.f_frsize


def check_room(directory: Path, size_bytes: int) -> None:
    """Refuse to begin something large for which there is no room beside what the log needs.

    Raises:
        DiskFull: 507, says how much is missing.
    """
    missing = size_bytes + _SPARED_BYTES - free_bytes(directory)
    if missing > 0:
        raise DiskFull(f"{directory} lacks {missing >> 20} MiB for a copy of the rows")


class SpaceGuard:
    """Keeps the reserve of one data directory. Used from one thread only, but for `is_full`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        reserve_bytes: int,
        floor_bytes: int,
        measure: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._dir = data_dir
        self._path = data_dir / "reserve"
        self._reserve_bytes = reserve_bytes
        self._floor_bytes = floor_bytes
        self._measure = measure
        self._next_check_s = 0.0
        self.is_full = False
        self.check(force=True)
        if self.is_full and measure(data_dir) < floor_bytes // 4:
            self.hit()  # the log must be able to start

    def check(self, *, force: bool = False) -> None:
        """Look at the free space, at most once a period, and enter or leave the full state."""
        now_s = time.monotonic()
        if now_s < self._next_check_s and not force:
            return
        free = self._measure(self._dir)
        if self.is_full:
            self._recover(free)
        elif free + self._held() < self._floor_bytes + self._reserve_bytes:
            self.is_full = True
        elif self._held() < self._reserve_bytes:
            self.is_full = not self._take()
        self._next_check_s = now_s + (_CHECK_PERIOD_FULL_S if self.is_full else _CHECK_PERIOD_S)

    def hit(self) -> bool:
        """Note that a write found no room; give up the reserve and say whether that freed anything."""
        self.is_full = True
        self._next_check_s = time.monotonic() + _CHECK_PERIOD_FULL_S
        held = self._held()
        if held == 0:
            return False
        # Truncate and sync first: some file systems give the blocks back only then.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, 0)
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def _recover(self, free: int) -> None:
        slack = self._floor_bytes // 4
        if free + self._held() >= self._floor_bytes + self._reserve_bytes + slack:
            self.is_full = not self._take()

    def _held(self) -> int:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return 0
        return min(found.st_size, found.st_blocks * 512)

    def _take(self) -> bool:
        if self._reserve_bytes == 0:
            return True
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._reserve_bytes)
        except OSError as error:
            if not is_full_error(error):
                raise
            os.ftruncate(descriptor, 0)
            return False
        finally:
            os.close(descriptor)
        return True
