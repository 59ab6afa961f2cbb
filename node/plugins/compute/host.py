"""Facts of this machine, read from the kernel."""

import os
import shutil
from pathlib import Path

from node.sdk import Frozen

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MEMINFO = Path("/proc/meminfo")


class HostResources(Frozen):
    """What this node can give to servers."""

    vcpus: int
    memory_mib: int
    disk_gib: int


def boot_id() -> str:
    """Return an id that changes with every boot of the machine."""
    return _BOOT_ID.read_text().strip()


def architecture() -> str:
    """Return the machine's architecture as QEMU spells it."""
    return os.uname().machine


def node_resources(
    state_dir: Path, *, reserved_memory_mib: int = 512, reserved_disk_gib: int = 1
) -> HostResources:
    """Return what this node can give: all CPUs, memory and the state directory's disk less the reserves."""
    usage = shutil.disk_usage(state_dir)
    return HostResources(
        vcpus=len(os.sched_getaffinity(0)),
        memory_mib=max(0, _memory_total_mib() - reserved_memory_mib),
        disk_gib=max(0, usage.total // 2**30 - reserved_disk_gib),
    )


def disk_free_bytes(path: Path) -> int:
    """Return the bytes that can still be written at a path."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def process_start(pid: int) -> str:
    """Return when a process was started, in clock ticks since boot, or "" when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _memory_total_mib() -> int:
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0
