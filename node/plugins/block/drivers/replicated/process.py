"""One qemu-storage-daemon: started apart from us, found again by its pid file, ended for good.

It belongs to nobody: it outlives the daemon that started it. The files of a role share a directory: ROLE.pid, ROLE.qmp,
ROLE.log. It is known again by its command line, which names the pid file with its whole path.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from node.plugins.block.drivers.replicated.qmp import Qmp

BINARY = "qemu-storage-daemon"
_START_S = 20.0
_GONE_S = 10.0
_LOG_BYTES = 2000


class StorageDaemonError(Exception):
    """A qemu-storage-daemon did not start, or does not end."""


class StorageDaemon:
    """The process of one role (`head`, `replica`) in one directory."""

    def __init__(self, directory: Path, role: str, monitors: Sequence[str] = ("qmp",)) -> None:
        self.directory = directory
        self.role = role
        self.pid_file = directory / f"{role}.pid"
        self._monitors = monitors

    def pid(self) -> int | None:
        """Return the process that runs, or None."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if str(self.pid_file) in command_line(pid) else None

    def start(
        self, arguments: Sequence[str], *, fds: Sequence[int] = (), timeout_s: float = _START_S
    ) -> int:
        """Start it and return its pid once its exports can be reached. None of this role may run.

        Raises:
            StorageDaemonError: it did not start; says what it said.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        argv = [
            BINARY,
            *self._monitor_arguments(),
            *arguments,
            "--pidfile",
            str(self.pid_file),
            "--daemonize",
        ]
        log = self.directory / f"{self.role}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                argv,
                cwd=self.directory,  # socket names are relative: they have 107 bytes
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=fds,
                start_new_session=True,
            )
            try:
                status: int | None = child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                status = None
        if status == 0 and (pid := self.pid()) is not None:
            return pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # both halves of one that never became a daemon
        child.wait(_GONE_S)
        self.kill()
        said = log.read_text("utf-8", "replace")[-_LOG_BYTES:].strip()
        raise StorageDaemonError(f"The {self.role} of {self.directory.name} did not start: {said}")

    def qmp(self, timeout_s: float = 5.0, monitor: str = "qmp") -> Qmp:
        """Connect to one of its monitors, each of which takes one connection at a time.

        Raises:
            QmpLost: it does not run, or hangs, or somebody else is connected.
        """
        return Qmp(self.directory / f"{self.role}.{monitor}", timeout_s)

    def _monitor_arguments(self) -> list[str]:
        found: list[str] = []
        for name in self._monitors:
            (self.directory / f"{self.role}.{name}").unlink(missing_ok=True)
            found += ["--chardev", f"socket,id={name},path={self.role}.{name},server=on,wait=off"]
            found += ["--monitor", f"chardev={name}"]
        return found

    def kill(self) -> None:
        """End it at once, and return when none of its threads can write any more.

        Raises:
            StorageDaemonError: the kernel does not let go of it (a disk that hangs).
        """
        pid = self.pid()
        if pid is not None:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                handle = -1
            try:
                if handle >= 0 and self.pid() == pid:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                    if not _ended(handle, _GONE_S):
                        raise StorageDaemonError(
                            f"Process {pid}, the {self.role} of {self.directory.name}, does not end"
                        )
            finally:
                if handle >= 0:
                    os.close(handle)
        self.pid_file.unlink(missing_ok=True)
        for name in self._monitors:
            (self.directory / f"{self.role}.{name}").unlink(missing_ok=True)

    def end(self, patience_s: float = 3.0) -> bool:
        """Let it finish what it accepted and end; one that takes longer is killed. Say whether it ended by itself.

        Raises:
            StorageDaemonError: as `kill`.
        """
        pid = self.pid()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while self.pid() == pid and time.monotonic() < deadline:
            time.sleep(0.002)
        ended = self.pid() != pid
        self.kill()
        return ended


def _ended(handle: int, timeout_s: float) -> bool:
    ready, _, _ = select.select([handle], [], [], timeout_s)
    return bool(ready)


def command_line(pid: int) -> list[str]:
    """Return a process's arguments; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []
