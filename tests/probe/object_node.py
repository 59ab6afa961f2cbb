"""One node's object store with its real store process, kept by its real reconciler."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.clock import SystemClock
from node.errors import NodeError
from node.plugins import object as plugin
from node.plugins.object.store.contract import Entry, Facts, Store
from node.plugins.object.store.open import open_store
from node.plugins.object.store_sync import StoreSync, ask_process, stop_process
from node.sdk import NoDataPort, NodeRow, insert
from node.testing.cloud import Cloud

LIMIT_S = 60.0


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait for something."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            found = holds()
        except NodeError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class ObjectNode:
    """A node: `store` is what its API processes have."""

    def __init__(self, directory: Path, *, disks: int = 1) -> None:
        self.directory = directory
        paths = ",".join(str(directory / f"d{number}") for number in range(disks))
        text = f"[node]\nname = n\nstate_dir = {directory}\n[object]\ndata_dirs = {paths}\n"
        self.cloud = Cloud(directory, [plugin], config_text=text)
        self.cloud.clock = SystemClock()  # type: ignore[assignment]
        self.cloud.control.clock = self.cloud.clock
        node = NodeRow(id="node-1", name="n", created_at=1)
        self.cloud.commit(insert(node))
        self.sync = StoreSync(self.cloud.control)
        self.store: Store = open_store(directory, NoDataPort(), SystemClock())
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Bring it up, and keep it up."""
        self.cloud.reconcile(self.sync)
        self._keeper.start()
        until(lambda: self.pid, "the store process does not run")

    def _keep(self) -> None:
        while not self._stop.wait(0.05):
            self.sync.reconcile("process")

    @property
    def pid(self) -> int:
        """Return the store process."""
        return int(ask_process(self.cloud.control, "hello")["pid"])

    def kill(self) -> int:
        """Kill the store process."""
        pid = until(lambda: self.pid, "the store process does not run")
        os.kill(pid, signal.SIGKILL)
        return int(pid)

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._keeper.join()
        stop_process(self.cloud.control)
        if self.sync._child is not None:
            self.sync._child.terminate()
            self.sync._child.wait(LIMIT_S)


def put(store: Store, container: str, name: str, data: bytes) -> Entry:
    """Write an object."""
    with store.writer(container, name) as writer:
        writer.write(data)
        return writer.commit(Facts(etag=str(len(data))))


def get(store: Store, container: str, name: str) -> bytes | None:
    """Read an object."""
    entry = store.head(container, name)
    return None if entry is None else b"".join(store.read(entry))
