"""A machine of the lab: network, mount and UTS namespaces of its own, held open by one sleeping process.

No file or mount of the machine that runs the lab keeps it alive: what the node mounts and the namespaces that it makes
are in the mount namespace of its machine and go with it. Every process of a machine, libvirtd and guests too, sees
the mount that carries the machine's mark, also when it made a mount namespace of its own since: so all of them are
found, whoever started them and whatever has died meanwhile. A machine has a boot id of its own: without power, it has
booted, as far as anybody there can tell.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from node.errors import Unavailable

_SETUP = """
set -eu
mark=$1 name=$2 resolv=$3
hostname "$name"
mkdir -p /run/netns /run/hedgerow
mount -t tmpfs -o mode=755 "$mark" /run/netns
mount -t tmpfs -o mode=755 "$mark" /run/hedgerow
mount -t sysfs hedgerow /sys
cat /proc/sys/kernel/random/uuid >/run/hedgerow/boot_id
mount --bind /run/hedgerow/boot_id /proc/sys/kernel/random/boot_id
if [ -n "$resolv" ]; then mount --bind "$resolv" /etc/resolv.conf; fi
ip link set lo up
echo ready
exec sleep infinity >/dev/null 2>&1
"""
_RESOLV = Path("/etc/resolv.conf")
_UPSTREAM = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved lists the servers behind itself: its own address is not reached from a namespace."""
_LONGEST_UPTIME_S = 10_000_000
_END_S = 20.0


class Machine:
    """One machine, by its mark (unique among all labs) and its host name."""

    def __init__(self, mark: str, name: str, *, own_clocks: bool = False) -> None:
        """Take its names; with `own_clocks` it counts its seconds since a moment of its own, which each boot draws."""
        self.mark = mark
        self.name = name
        self._own_clocks = own_clocks
        self._pid = 0

    @property
    def pid(self) -> int:
        """Return the process that holds the machine; 0: it is off."""
        if not (self._pid and _is_holder(self._pid, self.mark)):
            held = (pid for pid in marked([self.mark]) if _is_holder(pid, self.mark))
            self._pid = next(held, 0)
        return self._pid

    def ensure(self) -> bool:
        """Switch the machine on unless it is; say whether it was off.

        Raises:
            Unavailable: the kernel or a missing program does not allow it.
        """
        if self.pid:
            return False
        argv = ["unshare", "--mount", "--uts", "--net", "--propagation", "slave"]
        if self._own_clocks:
            uptime_s = str(random.randrange(1000, _LONGEST_UPTIME_S))
            argv += ["--time", "--monotonic", uptime_s, "--boottime", uptime_s]
        argv += ["sh", "-c", _SETUP, "sh", self.mark, self.name, _resolv_conf()]
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, cwd="/", text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline().strip() != "ready":
            words = process.stderr.read().strip()
            process.wait()
            raise Unavailable(f"The machine {self.name} cannot be made: {words}")
        process.stdout.close()
        process.stderr.close()
        while not _is_holder(process.pid, self.mark):  # it becomes `sleep` right after that word
            if process.poll() is not None:
                raise Unavailable(f"The machine {self.name} ended as soon as it was made")
            time.sleep(0.005)
        self._pid = process.pid
        return True

    def entering(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs a command on this machine; the process id stays what it was.

        Raises:
            Unavailable: the machine is off.
        """
        pid = self.pid
        if not pid:
            raise Unavailable(f"{self.name} is off: `hedgerow lab start {self.name}`")
        clocks = ["--time"] if self._own_clocks else []
        return ["nsenter", "--target", str(pid), "--mount", "--uts", "--net", *clocks, *argv]

    def run(self, argv: Sequence[str], text: str = "") -> str:
        """Run a command on this machine and return what it printed.

        Raises:
            Unavailable: it failed; carries its last words.
        """
        return command(self.entering(argv), text)

    def processes(self) -> list[int]:
        """Return all processes of this machine except the one that holds it."""
        return [pid for pid in marked([self.mark]) if not _is_holder(pid, self.mark)]

    def off(self) -> None:
        """Cut its power: every process ends at once, and all of its namespaces, links and mounts go."""
        end([self.mark])
        self._pid = 0


def command(argv: Sequence[str], text: str = "") -> str:
    """Run a command and return what it printed.

    Raises:
        Unavailable: it failed; carries its last words.
    """
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, check=False, cwd="/", timeout=60
    )
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout


def marked(marks: Iterable[str]) -> list[int]:
    """Return the processes of machines with any of these marks."""
    wanted = {f" tmpfs {mark} " for mark in marks}
    seen: dict[str, bool] = {}  # by mount namespace: most processes share one
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                namespace = os.readlink(entry / "ns" / "mnt")
                if namespace not in seen:
                    mounts = (entry / "mountinfo").read_text(errors="replace")
                    seen[namespace] = any(mark in mounts for mark in wanted)
                if seen[namespace]:
                    found.append(int(entry.name))
    return sorted(found)


def end(marks: Sequence[str]) -> None:
    """Kill every process of these machines.

    Raises:
        Unavailable: one does not die.
    """
    deadline = time.monotonic() + _END_S
    while left := [pid for pid in marked(marks) if is_running(pid)]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Unavailable(f"These processes do not end even when killed: {left}")
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _is_holder(pid: int, mark: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        mounts = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace")
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3]
    except OSError:
        return False
    # The holder leads a session of its own: somebody's `sleep infinity` in `lab shell` does not.
    return words == b"sleep\0infinity\0" and int(parent) == pid and f" tmpfs {mark} " in mounts


def _resolv_conf() -> str:
    """Return the file that lists name servers for a machine when the usual one names none that it reaches."""
    try:
        lines = [line.split() for line in _RESOLV.read_text().splitlines()]
    except OSError:
        return ""
    servers = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    is_local = bool(servers) and all(one.startswith("127.") or one == "::1" for one in servers)
    return str(_UPSTREAM) if is_local and _UPSTREAM.exists() else ""
