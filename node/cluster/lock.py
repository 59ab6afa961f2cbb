"""One daemon per data directory."""

import fcntl
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from node.errors import NodeError

_PATIENCE_S = 0.5  # a predecessor that was killed may still be on its way out
_PAUSE_S = 0.02


class DirectoryInUse(NodeError):
    """Another process runs on this directory."""


class DirectoryLock:
    """Holds a directory for this process until it ends; forked children do not hold it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor = -1
        os.register_at_fork(after_in_child=_weakly(self.release))

    def take(self) -> None:
        """Take the lock, and leave our process id for whoever finds it taken.

        Raises:
            DirectoryInUse: names the process that holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline_s = time.monotonic() + _PATIENCE_S
        while not _locked(descriptor):
            if time.monotonic() > deadline_s:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise DirectoryInUse(
                    f"The data directory {self._path.parent} is in use by process {holder}: "
                    "stop that one first"
                )
            time.sleep(_PAUSE_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Close our hold; in a forked child the parent keeps its own."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """Return a call of a method that does not keep its object alive."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        found = reference()
        if found is not None:
            found()

    return call
