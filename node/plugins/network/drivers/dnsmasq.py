"""Runs one dnsmasq a network: adopted when a right one runs already, restarted when dead or changed.

dnsmasq outlives the daemon. It is known again by its pid file and by its command line, which names our directory.
Files that it reads again on SIGHUP are changed in place; other changes are changes of the command line.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from node.plugins.network.drivers.namespaces import Namespaces

_STOP_S = 3.0
_POLL_S = 0.005
_READABLE_DIRECTORY = 0o755
_READABLE_FILE = 0o644


def unprivileged_user() -> str:
    """Return the user that dnsmasq becomes once it has its sockets."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "dnsmasq" if "dnsmasq" in names else "nobody"


class DnsmasqError(Exception):
    """dnsmasq did not start."""


class Dnsmasq:
    """The dnsmasq of one network; `directory` is its own."""

    def __init__(self, directory: Path, namespace: str, namespaces: Namespaces) -> None:
        self.directory = directory
        self._namespace = namespace
        self._namespaces = namespaces

    def pid(self) -> int | None:
        """Return the process that runs for this directory, or None."""
        try:
            pid = int((self.directory / "pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if f"--pid-file={self.directory}/pid" in _command_line(pid) else None

    def ensure(
        self, argv: Sequence[str], files: Mapping[str, str], *, restart: bool = False
    ) -> bool:
        """Have it run with these arguments and files (text by name); say whether anything changed.

        Raises:
            DnsmasqError: it did not start; says what it said.
        """
        for directory in (*reversed(self.directory.parents[:3]), self.directory):
            if (
                not directory.exists()
            ):  # whatever the umask: dnsmasq reads its files again as another user
                directory.mkdir(exist_ok=True)
                directory.chmod(_READABLE_DIRECTORY)
        changed = [name for name, text in files.items() if self._write(name, text)]
        pid = self.pid()
        if pid is not None and (restart or _command_line(pid) != list(argv)):
            self.stop()
            pid = None
        if pid is None:
            self._start(argv)
            return True
        if changed:
            os.kill(pid, signal.SIGHUP)
        return bool(changed)

    def leases(self) -> str:
        """Return the text of the lease file."""
        try:
            return (self.directory / "leases").read_text()
        except OSError:
            return ""

    def stop(self) -> None:
        """End the process and wait until it is gone."""
        pid = self.pid()
        if pid is None:
            return
        for number, patience_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
            _signal(pid, number)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline:
                if not _command_line(pid):
                    return
                time.sleep(_POLL_S)

    def remove(self) -> None:
        """End the process and remove its files."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, argv: Sequence[str]) -> None:
        def call() -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                list(argv), capture_output=True, text=True, timeout=30, check=False
            )

        done = self._namespaces.run(self._namespace, call)
        if done.returncode:
            raise DnsmasqError(
                f"dnsmasq for {self._namespace} did not start: {done.stderr.strip()}"
            )

    def _write(self, name: str, text: str) -> bool:
        path = self.directory / name
        try:
            if path.read_text() == text:
                return False
        except OSError:
            pass
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(_READABLE_FILE)
        fresh.replace(path)
        return True


def _command_line(pid: int) -> list[str]:
    """Return a process's arguments; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
