"""Keeps the core and the API server running: starts them, restarts what dies, ends them when it is told to.

Run as `python -m node.supervisor run CONFIG STATE_DIR LOG_LEVEL LOG_FORMAT`, by `hedgerow run`. VMs, networks and
libvirt belong to none of its children.

Hard part: size. It lives as long as the node and does next to nothing, so it imports next to nothing: it is told what
it needs of the configuration, and loads what writes log lines when there is something to say.
"""

import fcntl
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # typing alone would be a tenth of this process
if TYPE_CHECKING:
    from types import FrameType

PARTS = ("core", "api")
PARENT = "HEDGEROW_SUPERVISOR"
"""The environment variable that tells a child whose end is its own."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 20.0
_STEADY_S = 30.0
_GRACE_S = 20.0
_MALLOC = "glibc.malloc.mmap_threshold=1048576:glibc.malloc.arena_max=2"
"""What a password hash takes (19 MiB) goes back to the system instead of staying in each thread's arena."""
_HUGE = ":glibc.malloc.hugetlb=1"
"""For the API, which hashes: page faults would cost half a hash. The core would only take some MiB more."""


def run(config: str, state_dir: str, level: str, style: str) -> int:
    """Supervise a node until SIGTERM; return the exit code."""
    say = _Log(level, style)
    lock = _only_one(state_dir)
    if lock is None:
        say.critical(
            "Another hedgerow runs on %s: stop that one first, or give this one a state_dir of its own",
            state_dir,
        )
        return 1
    stop = StopSignal(signal.SIGTERM, signal.SIGINT)
    parts = [_Part(name, config, say) for name in PARTS]
    for part in parts:
        part.start()
    _notify("READY=1", say)
    while not stop.wait(0.2):
        for part in parts:
            part.keep()
    _notify("STOPPING=1", say)
    for part in reversed(parts):
        part.stop()
    os.close(lock)
    return 0


class StopSignal:
    """Waits for a signal that ends the process.

    No `threading.Event`: its `set`, called by a handler that interrupts its own `wait`, may wait for ever.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in numbers:
            signal.signal(number, self._arrived)

    def _arrived(self, _signal: int, _frame: "FrameType | None") -> None:
        try:  # noqa: SIM105 - contextlib is not loaded here
            os.write(self._writer, b"x")
        except BlockingIOError:
            pass

    def wait(self, timeout_s: float) -> bool:
        """Return whether the signal came, at the latest after the time."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])


class _Log:
    """Writes log lines as the other processes do, loading what that takes at the first one."""

    def __init__(self, level: str, style: str) -> None:
        self._level, self._style = level, style

    def error(self, text: str, *values: object) -> None:
        self._line("ERROR", text, values)

    def critical(self, text: str, *values: object) -> None:
        self._line("CRITICAL", text, values)

    def _line(self, level: str, text: str, values: tuple[object, ...]) -> None:
        import logging

        from node.observe.log import configure

        configure(self._level, self._style)
        logging.getLogger("hedgerow.daemon").log(logging.getLevelName(level), text, *values)


def _only_one(directory: str) -> int | None:
    """Hold the state directory for this supervisor; None when another one has it."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    descriptor = os.open(
        os.path.join(directory, "run.lock"),
        os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
        0o600,
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class _Part:
    """One child process that is kept running."""

    def __init__(self, name: str, config: str, say: _Log) -> None:
        self._name = name
        self._argv = [sys.executable, "-m", "node.daemon", name, config]
        self._say = say
        self._pid = 0
        self._started_s = 0.0
        self._again_s = 0.0
        self._pause_s = _FIRST_PAUSE_S

    def start(self) -> None:
        malloc = _MALLOC + (_HUGE if self._name == "api" else "")
        environment = {"GLIBC_TUNABLES": malloc, **os.environ, PARENT: str(os.getpid())}
        self._pid = os.posix_spawn(
            sys.executable, self._argv, environment, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ]
        )
        self._started_s = time.monotonic()

    def keep(self) -> None:
        """Start it again when it has ended, with growing pauses while it keeps ending."""
        now = time.monotonic()
        if not self._pid:
            if now >= self._again_s:
                self.start()
            return
        code = self._ended()
        if code is None:
            return
        if now - self._started_s > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        self._again_s = now + self._pause_s
        self._say.error(
            "the %s process ended with %d, again in %.1f s", self._name, code, self._pause_s
        )
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """End it; kill it when it does not."""
        if not self._pid:
            return
        os.kill(self._pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        while self._ended() is None:
            if time.monotonic() > deadline:
                self._say.error("the %s process does not end, it is killed", self._name)
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                self._pid = 0
                return
            time.sleep(0.02)

    def _ended(self) -> int | None:
        """Return the exit code (minus the signal that killed it) once, when it has ended."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return None
        self._pid = 0
        return os.waitstatus_to_exitcode(status)


def _notify(state: str, say: _Log) -> None:
    """Tell systemd, when it is there. Source: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    import socket

    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(address)
            sock.sendall(state.encode())
        except OSError as error:
            say.error("systemd cannot be told %s: %s", state, error)


if __name__ == "__main__":
    sys.exit(run(*sys.argv[2:6]))
