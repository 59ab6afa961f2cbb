"""Named network namespaces, and work inside them.

Python cannot enter a namespace for one call only: setns() changes the calling thread for good. So each piece of work
gets a thread that is born for it and ends with it; threads of pools and the main thread never change their
namespace. Sockets made there stay in the namespace and are used from anywhere; processes started there live there.

/run/netns is shared with whoever else runs on the machine, so a namespace is ours only when this node's state
directory holds a marker of its name, written before the namespace is made.
"""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_NETNS_DIR = Path("/run/netns")


class Namespaces:
    """The namespaces of this node."""

    def __init__(self, marks: Path) -> None:
        self._marks = marks
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._lock = threading.Lock()

    def names(self) -> set[str]:
        """Return the names of all namespaces that this node made (and has not removed)."""
        if not self._marks.is_dir():
            return set()
        return {entry.name for entry in self._marks.iterdir()}

    def alive(self, name: str) -> bool:
        """Return whether the namespace exists."""
        try:
            return (_NETNS_DIR / name).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
        except OSError:
            return False

    def inode(self, name: str) -> int:
        """Return a number that another namespace of the same name would not have.

        Raises:
            OSError: there is no such namespace.
        """
        return (_NETNS_DIR / name).stat().st_ino

    def ensure(self, name: str) -> bool:
        """Make the namespace where it is missing, with its loopback up; say whether it was made."""
        with self._lock:
            if self.alive(name):
                return False
            self._marks.mkdir(parents=True, exist_ok=True)
            (self._marks / name).touch()
            if (_NETNS_DIR / name).exists():
                _ip("netns", "del", name)
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            return True

    def remove(self, name: str) -> None:
        """Remove the namespace if it exists and forget it."""
        with self._lock:
            if (_NETNS_DIR / name).exists():
                _ip("netns", "del", name)
            (self._marks / name).unlink(missing_ok=True)

    def run(self, name: str, work: Callable[[], T]) -> T:
        """Return what `work` returns, called inside the namespace; an empty name is the node's own.

        Raises:
            OSError: there is no such namespace, or what `work` raises.
        """
        if not name:
            return work()
        results: list[T] = []
        errors: list[BaseException] = []

        def inside() -> None:
            try:
                self._enter(name)
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                errors.append(error)

        thread = threading.Thread(target=inside, name=f"netns-{name}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def _enter(self, name: str) -> None:
        fd = os.open(_NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._libc.setns(fd, _CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, f"Cannot enter the namespace {name}: {os.strerror(code)}")
        finally:
            os.close(fd)


def write_sysctls(values: dict[str, str]) -> None:
    """Set kernel parameters of the calling thread's namespace (`net/ipv4/ip_forward`), where they differ."""
    for name, value in values.items():
        path = Path("/proc/sys") / name
        if path.read_text().strip() != value:
            path.write_text(value)


def _ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(args)} failed: {done.stderr.strip()}")
