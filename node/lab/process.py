"""The lab's node as a background process: start, find, stop, destroy."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from node.clock import SHIFT_VARIABLE
from node.errors import Unavailable
from node.lab.machine import is_running
from node.lab.place import Place, write

_STOP_S = 40.0
_START_S = 60.0
_BECOMING_S = 2.0
_MODULES = {b"node.cli", b"node.supervisor", b"node.daemon"}


def running_pid(place: Place) -> int | None:
    """Return the supervisor's process id when it runs. A file left by another life of the machine names no one."""
    try:
        pid = int(place.pid.read_text())
    except (OSError, ValueError):
        return None
    words = _words(pid)
    return pid if str(place.config).encode() in words and b"run" in words else None


def _words(pid: int) -> list[bytes]:
    """Return the command line of a process; while one program becomes another there is none for a moment."""
    deadline = time.monotonic() + _BECOMING_S
    while True:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return []
        if line or not is_running(pid) or time.monotonic() > deadline:
            return line.split(b"\0")
        time.sleep(0.005)


def start(place: Place, entering: Callable[[Sequence[str]], list[str]] = list) -> int:
    """Start the node in the background and return its process id; one that runs already is left alone.

    `entering` turns a command line into one that runs on the node's machine, under the same process id.
    """
    pid = running_pid(place)
    if pid is not None:
        return pid
    argv = entering([sys.executable, "-m", "node.cli", "run", "--config", str(place.config)])
    wrong = {SHIFT_VARIABLE: str(place.clock_shift)} if place.clock_shift.exists() else {}
    with place.log.open("ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            env={**os.environ, **wrong},
        )  # fmt: skip
    write(place.pid, f"{process.pid}\n".encode(), 0o644)
    return process.pid


def children(pid: int) -> list[int]:
    """Return the process ids of the core and the API server."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def everyone(place: Place) -> list[int]:
    """Return all processes of the daemon: the supervisor, its children, and what those forked."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                is_daemon = not _MODULES.isdisjoint(words)
                if (
                    is_daemon
                    and str(place.config).encode() in words
                    and is_running(int(entry.name))
                ):
                    found.append(int(entry.name))
    return sorted(found)


def send(place: Place, number: signal.Signals) -> list[int]:
    """Send a signal to all processes of the daemon, also to those that it starts meanwhile; return whom."""
    told: set[int] = set()
    while new := set(everyone(place)) - told:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        told |= new
    return sorted(told)


def kill(place: Place) -> list[int]:
    """Kill the daemon as a crash would, and return the processes that it had; its VMs go on."""
    killed = send(place, signal.SIGKILL)
    while everyone(place):
        time.sleep(0.02)
    place.pid.unlink(missing_ok=True)
    return killed


def state(place: Place) -> str:
    """Return whether the daemon is `running`, `paused` or `stopped`."""
    pid = running_pid(place)
    if pid is None:
        return "stopped"
    with contextlib.suppress(OSError):
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "paused" if letter == "T" else "running"
    return "stopped"


def wait_until(
    what: str, ready: Callable[[], bool], place: Place, timeout_s: float = _START_S
) -> None:
    """Wait for a condition while the node runs.

    Raises:
        Unavailable: the node ended, or the time is over; names the log and what to do.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if running_pid(place) is None:
            raise Unavailable(
                f"The node ended before {what}: read {place.log}, then try `hedgerow doctor`"
            )
        if time.monotonic() > deadline:
            raise Unavailable(
                f"{what} took more than {timeout_s:.0f} s: read {place.log}, "
                f"then try `hedgerow status --config {place.config}`"
            )
        time.sleep(0.05)


def stop(place: Place) -> bool:
    """Stop the node; running VMs, networks and libvirt stay. Say whether it ran."""
    pid = running_pid(place)
    if pid is None:
        place.pid.unlink(missing_ok=True)
        return False
    family = [pid, *children(pid)]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while any(is_running(one) for one in family):
        if time.monotonic() > deadline:
            for one in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
        time.sleep(0.05)
    place.pid.unlink(missing_ok=True)
    return True


def teardown(place: Place) -> None:
    """Remove what the node made outside of its directory: VMs, libvirt, namespaces, bridges, nft tables.

    Raises:
        Unavailable: it could not; names the log.
    """
    argv = [sys.executable, "-m", "node.daemon", "teardown", str(place.config)]
    with place.log.open("ab") as log:
        code = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, cwd="/"
        ).returncode
    if code:
        raise Unavailable(
            f"Not everything could be removed: read the end of {place.log}, then repeat --destroy"
        )


def remove(place: Place) -> None:
    """Remove the lab's directory."""
    shutil.rmtree(place.directory)
