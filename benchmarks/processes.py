"""CPU and memory of all processes of a node, out of /proc."""

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """Of one kind of process."""

    name: str
    count: int
    rss_mib: float
    pss_mib: float


class Processes:
    """The processes of the node below a supervisor: its tree, its libvirtd, and what names its directory."""

    def __init__(self, supervisor: int, directory: Path, run_directory: Path) -> None:
        self._supervisor = supervisor
        self._directory = str(directory).encode()
        self._run_directory = str(run_directory).encode()
        self._gone_s = 0.0
        self._last: dict[int, float] = {}

    def pids(self) -> list[int]:
        """Return ours, guests included."""
        parents = {pid: _parent(pid) for pid in _all()}
        ours = {self._supervisor, *_peer(self._directory.decode())}
        ours |= {
            pid
            for pid in parents
            if (self._directory in _command(pid) or self._run_directory in _command(pid))
            and pid not in _line_of(os.getpid(), parents)
        }
        grown = True
        while grown:
            fresh = {pid for pid, parent in parents.items() if parent in ours} - ours
            ours |= fresh
            grown = bool(fresh)
        return sorted(pid for pid in ours if pid in parents)

    def cpu_s(self) -> float:
        """Return the CPU seconds that ours have used so far, guests left out; what ended stays counted."""
        now: dict[int, float] = {}
        for pid in self.pids():
            if kind(_command(pid)) != "guest":
                with contextlib.suppress(OSError, IndexError):
                    now[pid] = _cpu(pid)
        self._gone_s += sum(used for pid, used in self._last.items() if pid not in now)
        self._last = now
        return self._gone_s + sum(now.values())

    def memory(self) -> list[Memory]:
        """Return memory by kind of process."""
        found: dict[str, list[tuple[float, float]]] = {}
        for pid in self.pids():
            with contextlib.suppress(OSError):
                found.setdefault(kind(_command(pid)), []).append(_memory(pid))
        return [
            Memory(name, len(some), sum(one[0] for one in some), sum(one[1] for one in some))
            for name, some in sorted(found.items())
        ]


def kind(command: bytes) -> str:
    """Return what sort of process a command line is."""
    words = command.split(b"\0")
    program = words[0].rpartition(b"/")[2].decode()
    if program.startswith("qemu"):
        return "guest"
    if b"node.daemon" in words:
        return words[words.index(b"node.daemon") + 1].decode()
    if b"node.supervisor" in words:
        return "supervisor"
    return program or "?"


def _all() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _line_of(pid: int, parents: dict[int, int]) -> set[int]:
    """Return a process and its ancestors."""
    line = set()
    while pid > 1:
        line.add(pid)
        pid = parents.get(pid, 0)
    return line


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _memory(pid: int) -> tuple[float, float]:
    """Return (RSS, PSS) in MiB."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) / 1024
    return sizes["Rss"], sizes["Pss"]


def _peer(directory: str) -> list[int]:
    """Return the process behind the node's libvirt socket: its command line does not name the directory."""
    found = []
    for path in Path(directory).rglob("libvirt-sock"):
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client,
            contextlib.suppress(OSError),
        ):
            client.connect(str(path))
            size = struct.calcsize("3i")
            peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            found.append(int(struct.unpack("3i", peer)[0]))
    return found
