"""The machine as the doctor sees it: programs, files, ports, clock. Tests hand in another one."""

import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Protocol

from node.types import Frozen

_STA_UNSYNC = 0x40
_TIMEX_BYTES = 208
_TIMEX_STATUS_AT = 5 * ctypes.sizeof(ctypes.c_long)


class Output(Frozen):
    """What a program left: exit status (127: there is no such program) and its output."""

    status: int
    text: str


class Machine(Protocol):
    """Everything that a check asks of the world."""

    def is_root(self) -> bool:
        """Return whether the doctor runs as root."""

    def run(self, *argv: str, stdin: str = "") -> Output:
        """Run a program for at most ten seconds."""

    def find(self, program: str) -> str | None:
        """Return the path of a program, also of one in an administrator's directory."""

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None where there is none that can be read."""

    def can_open(self, path: str) -> bool:
        """Return whether a device opens for reading and writing."""

    def port_user(self, address: str, port: int) -> str | None:
        """Return why a TCP port cannot be listened on, or None when it can."""

    def space(self, path: str) -> tuple[int, str]:
        """Return (free bytes, file system type) of where a path is or will be."""

    def fsync_s(self, path: str) -> float | None:
        """Return the seconds that a small durable write takes there, or None where none can be made."""

    def is_clock_synced(self) -> bool:
        """Return whether the kernel's clock follows a time server."""

    def now_s(self) -> float:
        """Return the time of day, seconds since the epoch."""


class LocalMachine:
    """The machine that this process runs on."""

    def is_root(self) -> bool:
        """Return whether the doctor runs as root."""
        return os.geteuid() == 0

    def run(self, *argv: str, stdin: str = "") -> Output:
        """Run a program for at most ten seconds."""
        program = self.find(argv[0])
        if program is None:
            return Output(status=127, text=f"{argv[0]} is not installed")
        try:
            done = subprocess.run(
                [program, *argv[1:]],
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=10,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Output(status=124, text=f"{argv[0]} did not end within 10 s")
        return Output(status=done.returncode, text=done.stdout.strip())

    def find(self, program: str) -> str | None:
        """Return the path of a program, also of one in an administrator's directory."""
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
        return shutil.which(program, path=path)

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None where there is none that can be read."""
        try:
            return Path(path).read_text()
        except OSError:
            return None

    def can_open(self, path: str) -> bool:
        """Return whether a device opens for reading and writing."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def port_user(self, address: str, port: int) -> str | None:
        """Return why a TCP port cannot be listened on, or None when it can."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address, port))
                sock.listen(1)
            except OSError as error:
                return error.strerror or str(error)
        return None

    def space(self, path: str) -> tuple[int, str]:
        """Return (free bytes, file system type) of where a path is or will be."""
        place = _existing(path)
        free_bytes = shutil.disk_usage(place).free
        best, kind = "", "unknown"
        for line in (self.read("/proc/mounts") or "").splitlines():
            _, mount, found, *_ = line.split()
            if place.is_relative_to(mount) and len(mount) >= len(best):
                best, kind = mount, found
        return free_bytes, kind

    def fsync_s(self, path: str) -> float | None:
        """Return the seconds that a small durable write takes there, or None where none can be made."""
        try:
            with tempfile.TemporaryFile(dir=_existing(path)) as file:
                times = []
                for _ in range(5):
                    begin = time.monotonic()
                    os.pwrite(file.fileno(), b"\0" * 4096, 0)
                    os.fsync(file.fileno())
                    times.append(time.monotonic() - begin)
        except OSError:
            return None
        return sorted(times)[2]

    def is_clock_synced(self) -> bool:
        """Return whether the kernel's clock follows a time server.

        Source: adjtimex(2)
        """
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
        if ctypes.CDLL(None).adjtimex(buffer) < 0:
            return False
        status = ctypes.c_int.from_buffer(buffer, _TIMEX_STATUS_AT).value
        return not status & _STA_UNSYNC

    def now_s(self) -> float:
        """Return the time of day, seconds since the epoch."""
        return time.time()


def _existing(path: str) -> Path:
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return place
