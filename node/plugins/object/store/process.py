"""The store process of a node: `python -m node.plugins.object.store.process STATE_DIR SPAWNER_PID SETTINGS`.

It owns the writing side of the node's disks. It may be killed at any time; the core process starts it again. It
outlives a core that is restarted, and ends by itself when the node has been stopped.
"""

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from node.plugins.object.store.disk_answers import DiskAnswers
from node.plugins.object.store.healer import Healer
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.local_access import InnerBackend, LocalAccess
from node.plugins.object.store.map_file import SOCKET_FILE, MapFile, store_directory
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.remote_access import RemoteAccess
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.store.server import StoreServer
from node.sdk import Clock, NodeTls, Place, SystemClock, TlsDataPort, Unavailable

log = logging.getLogger("hedgerow.object")

LOCK_FILE = "store.lock"
_TICK_S = 1.0
_ORPHAN_S = 5.0
_START_S = 10.0
_NOTE_S = 60.0


class StoreProcess:
    """Everything that lives in the store process."""

    def __init__(self, state_dir: Path, clock: Clock, section: ObjectSection) -> None:
        self._state_dir = state_dir
        self.directory = store_directory(state_dir)
        self.map_file = MapFile(self.directory)
        self.host = DiskHost(self.map_file, clock)
        self.answers = DiskAnswers(self.map_file, self.host)
        port = TlsDataPort(NodeTls(state_dir / "tls"), self._place)
        local = LocalAccess(self.map_file, InnerBackend(self.host, self.answer), clock)
        self.nodes = Nodes(
            self.map_file, local, lambda node_id: RemoteAccess(port, node_id), clock
        )
        self.healer = Healer(self.nodes, self.host, self.answers, clock, section, self.directory)
        self.server = StoreServer(self.directory / SOCKET_FILE, self.host, self.answer)
        self.stopping = threading.Event()

    def start(self) -> None:
        """Open the disks and listen."""
        with contextlib.suppress(Unavailable):
            self.host.refresh()
        self.server.start()
        self.healer.start()

    def _place(self, node_id: str) -> Place | None:
        found = self.map_file.places().map.nodes.get(node_id)
        return Place(address=found.address, port=found.port, name=found.name) if found else None

    def answer(self, disk_id: str, question: str, argument: Any) -> Any:
        """Answer a question."""
        if question == "hello":
            return {
                "pid": os.getpid(),
                "disks": self.host.state(),
                "newest": self.host.newest,
                "tasks": self.healer.state(),
            }
        if question == "stop":
            self.stopping.set()
            return True
        if question == "synced":
            return self.healer.follower.synced(disk_id)
        if question in ("pause", "resume"):
            self.healer.pause(str(argument), paused=question == "pause")
            return True
        if question == "run":
            self.healer.want(str(argument))
            return True
        return self.answers.answer(disk_id, question, argument)

    def run(self, spawner: int) -> None:
        """Look after the disks until this is told to stop, or the node is gone."""
        orphan_since: float | None = None
        noted_s = 0.0
        while not self.stopping.wait(_TICK_S):
            with contextlib.suppress(Unavailable):
                self.host.refresh()
            if time.monotonic() - noted_s > _NOTE_S:
                noted_s = time.monotonic()
                with contextlib.suppress(Unavailable):
                    self.host.note_alive()
            if is_wanted(self._state_dir, spawner):
                orphan_since = None
            elif orphan_since is None:
                orphan_since = time.monotonic()
            elif time.monotonic() - orphan_since > _ORPHAN_S:
                log.info("the node has been stopped, so its store process ends")
                break
        self.server.stop()
        self.healer.stop()
        self.host.close()


def is_wanted(state_dir: Path, spawner: int) -> bool:
    """Return whether the node runs: its supervisor holds a lock, or who started this process is alive."""
    try:
        os.kill(spawner, 0)
        return True
    except OSError:
        pass
    try:
        fd = os.open(state_dir / "run.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def only_one(directory: Path) -> int | None:
    """Hold the store of a node for this process; None where another one keeps it."""
    fd = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _START_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(fd)
                return None
            time.sleep(0.05)
            continue
        return fd


def main(arguments: list[str]) -> int:
    """Run until the node ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    state_dir = Path(arguments[0])
    directory = store_directory(state_dir)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if only_one(directory) is None:
        log.error("another store process keeps %s", directory)
        return 1
    section = msgspec.json.decode(arguments[2], type=ObjectSection)
    process = StoreProcess(state_dir, SystemClock(), section)
    signal.signal(signal.SIGTERM, lambda _number, _frame: process.stopping.set())
    process.start()
    process.run(int(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
