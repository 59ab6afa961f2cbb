"""The processes of a node: the core, the API server, and the supervisor that keeps both running.

The supervisor imports next to nothing, starts the two as children, restarts what dies, and ends both when it is
told to. The children end when the supervisor does. VMs, networks and libvirt belong to neither.
"""

import contextlib
import ctypes
import logging
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.config import Config
    from node.pluginhost import PluginHost

log = logging.getLogger("hedgerow.daemon")

PARTS = ("core", "api")
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 20.0
_STEADY_S = 30.0
_GRACE_S = 20.0
_REPORT_S = 60.0
_PR_SET_PDEATHSIG = 1
_MALLOC = "glibc.malloc.mmap_threshold=1048576:glibc.malloc.arena_max=2"
"""What a password hash takes (19 MiB) goes back to the system instead of staying in each thread's arena."""
_HUGE = ":glibc.malloc.hugetlb=1"
"""For the API, which hashes: page faults would cost half a hash. The core would only take some MiB more."""


def run(config_path: Path | None) -> int:
    """Supervise a node until SIGTERM; return the exit code."""
    from node.config import LogSection, load
    from node.observe.log import configure

    config = load(config_path, others_allowed=True)
    section = config.section(LogSection)
    configure(section.level, section.format)
    lock = _only_one(config.state_dir)
    if lock is None:
        return 1
    stop = _StopSignal(signal.SIGTERM, signal.SIGINT)
    parts = [_Part(name, config_path) for name in PARTS]
    for part in parts:
        part.start()
    notify("READY=1")
    while not stop.wait(0.2):
        for part in parts:
            part.keep()
    notify("STOPPING=1")
    for part in reversed(parts):
        part.stop()
    os.close(lock)
    return 0


class _StopSignal:
    """Waits for a signal that ends the process.

    No `threading.Event`: its `set`, called by a handler that interrupts its own `wait`, may wait for ever.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in numbers:
            signal.signal(number, self._arrived)

    def _arrived(self, _signal: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"x")

    def wait(self, timeout_s: float) -> bool:
        """Return whether the signal came, at the latest after the time."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])


def _only_one(directory: Path) -> int | None:
    """Hold the state directory for this supervisor; None, and a line in the log, when another one has it."""
    import fcntl

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        log.critical(
            "Another hedgerow runs on %s: stop that one first, or give this one a state_dir of its own",
            directory,
        )
        return None
    return descriptor


class _Part:
    """One child process that is kept running."""

    def __init__(self, name: str, config_path: Path | None) -> None:
        self._name = name
        self._argv = [sys.executable, "-m", "node.daemon", name, str(config_path or "")]
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._again_s = 0.0
        self._pause_s = _FIRST_PAUSE_S

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._argv,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing else runs in the supervisor
            env={
                "GLIBC_TUNABLES": _MALLOC + (_HUGE if self._name == "api" else ""),
                **os.environ,
            },
        )
        self._started_s = time.monotonic()

    def keep(self) -> None:
        """Start it again when it has ended, with growing pauses while it keeps ending."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._again_s:
                self.start()
            return
        code = self._process.poll()
        if code is None:
            return
        if now - self._started_s > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        log.error("the %s process ended with %d, again in %.1f s", self._name, code, self._pause_s)
        self._process = None
        self._again_s = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """End it; kill it when it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            log.error("the %s process does not end, it is killed", self._name)
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    """Have the kernel end this child when the supervisor dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def notify(state: str) -> None:
    """Tell systemd, when it is there. Source: sd_notify(3)."""
    import socket

    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(address)
            sock.sendall(state.encode())
        except OSError as error:
            log.warning("systemd cannot be told %s: %s", state, error)


def core(config_path: Path | None) -> int:
    """Run the core process until SIGTERM."""
    from node.core import Node
    from node.errors import NodeError

    config, host = _prepare(config_path)
    stop = _StopSignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        node = Node(config, host)
        node.start()
    except NodeError as error:
        log.critical("%s", error.message)
        return 1
    log.info("the core is up", extra={"node_id": node.node_id})
    due_s = time.monotonic() + _REPORT_S
    while not stop.wait(1.0):
        if node.failure:
            log.critical("%s", node.failure)
            return 1
        if time.monotonic() >= due_s:
            node.report()
            due_s = time.monotonic() + _REPORT_S
    node.stop()
    return 0


def api(config_path: Path | None) -> int:
    """Run the API processes until SIGTERM."""
    from node.api.dispatch import Backend
    from node.api.server import ApiServer, TlsFiles, backend_policies
    from node.clock import SystemClock
    from node.cluster.client import SOCKET_FILE, ProposalClient
    from node.cluster.trust import TLS_DIRECTORY, await_server_files
    from node.config import ApiSection, ClusterSection
    from node.control.data_place import Members, data_port
    from node.control.freshness import Freshness
    from node.ids import RandomIds
    from node.observe.notices import begin
    from node.state.proposer import LogProposer
    from node.state.reader import STATE_FILE, Readers

    config, host = _prepare(config_path)
    directory = config.state_dir
    section = config.section(ApiSection)
    _wait_for(directory / STATE_FILE)
    host.notice_to(begin(directory))
    services = host.services()
    files = await_server_files(directory / TLS_DIRECTORY)
    readers = Readers(directory / STATE_FILE)
    members = Members(readers)
    log_client = ProposalClient(directory / SOCKET_FILE)
    is_alone = config.section(ClusterSection).port == 0
    backend = Backend(
        readers=readers,
        proposer=LogProposer(log_client.propose),
        policies=backend_policies(services, section.policy_file),
        hooks=host.manager,
        config=config,
        clock=SystemClock(),
        ids=RandomIds(),
        node_id=_node_id(directory),
        data_port=data_port(config, members),
        is_member=members.is_member,
        is_fresh=(lambda _db: True) if is_alone else Freshness(log_client.read_index).ensure,
    )
    ApiServer(backend, services, TlsFiles(certificate=files.certificate, key=files.key)).run()
    return 0


def teardown(config_path: Path | None) -> int:
    """Remove what this node made outside of its state directory. The node must not run."""
    from node.core import Node
    from node.errors import NodeError

    config, host = _prepare(config_path)
    try:
        node = Node(config, host)
    except NodeError as error:
        log.critical("%s", error.message)
        return 1
    if node.others is not None:
        node.others.forget()
    host.gather("teardown", control=node.control)
    failed = {
        report.name: report.error for report in host.reports if report.source == "hook teardown"
    }
    for name, reason in failed.items():
        log.critical("plugin %s could not undo its part: %s", name, reason)
    return 1 if failed else 0


def _prepare(config_path: Path | None) -> "tuple[Config, PluginHost]":
    """Load plugins and configuration, and begin to log."""
    from node.config import LogSection, NodeSection, load
    from node.observe.log import configure
    from node.pluginhost import PluginHost

    first = load(config_path, others_allowed=True)
    configure(first.section(LogSection).level, first.section(LogSection).format)
    section = first.section(NodeSection)
    host = PluginHost()
    directory = Path(section.plugin_dir) if section.plugin_dir else None
    host.load(
        directory=directory, blocked=[name.strip() for name in section.block_plugins.split(",")]
    )
    sections = host.sections()
    # A plugin that is broken leaves its section behind, which must not stop the node.
    return load(config_path, sections, others_allowed=bool(host.failures())), host


def _node_id(directory: Path) -> str:
    """Return this node's id, which the core made before its store."""
    import msgspec

    identity = msgspec.json.decode((directory / "identity.json").read_bytes(), type=dict[str, str])
    return identity["node_id"]


def _wait_for(path: Path) -> None:
    """Wait until the core has made a file."""
    while not path.exists():
        time.sleep(0.05)


if __name__ == "__main__":
    given = Path(sys.argv[2]) if sys.argv[2] else None
    sys.exit({"core": core, "api": api, "teardown": teardown}[sys.argv[1]](given))
