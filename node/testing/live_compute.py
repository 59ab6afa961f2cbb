"""A compute node for tests with real guests: the real runtime and a libvirtd of its own below one directory."""

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.clock import SystemClock
from node.control.runtime import NodeControl, Runtime
from node.plugins.compute import names, planes
from node.plugins.compute.tables import Server
from node.state.txn import Applied, decode_txn, encode_outcome, insert, patch
from node.testing.cloud import Cloud
from node.testing.compute_plane import IMAGE, PlaneWorld, server_rows
from node.types import NodeId


def eventually(what: str, look: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Return the first true answer of `look`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)
    return answer


class LiveNode:
    """Rows, the runtime and a libvirtd below one directory, with a short name: sockets live in it."""

    def __init__(self, image: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hedgerow-vm-"))
        self.world = PlaneWorld()
        self.world.image_files[IMAGE] = (image, "qcow2")
        text = f"[node]\nname = vm\nstate_dir = {self.directory}\n"
        text += "[hypervisor]\nvirt_type = qemu\nshutdown_timeout_s = 30\n"
        self.cloud = Cloud(self.directory, [self.world], config_text=text)
        self.runtime = self._runtime()
        self.runtime.start()

    def _runtime(self) -> Runtime:
        self.control = NodeControl(
            node_id=NodeId("node-1"),
            config=self.cloud.config,
            clock=SystemClock(),
            ids=self.cloud.ids,
            hook=self.cloud.host.hook,
            readers=self.cloud._readers,  # noqa: SLF001
            propose=self._propose,
        )
        return Runtime(self.control, planes.reconcilers(self.control))

    def _propose(self, data: bytes, timeout_s: float) -> bytes:
        outcome = self.cloud.proposer.propose(decode_txn(data), timeout_s)
        self._tell()
        return encode_outcome(outcome)

    def _tell(self) -> None:
        while self.cloud.changes:
            self.runtime.changed(self.cloud.changes.pop(0))

    def restart(self) -> None:
        """Let the node's process end and begin anew; guests and libvirtd stay."""
        self.runtime.stop()
        self.runtime = self._runtime()
        self.runtime.start()

    def create(self, **fields: Any) -> str:
        """Store a server's rows; return its id."""
        server_id = str(uuid.uuid4())
        rows = server_rows(server_id, IMAGE, **fields)
        assert isinstance(self.cloud.commit(*[insert(row) for row in rows]), Applied)
        self._tell()
        return server_id

    def job(self, server_id: str, kind: str, **fields: Any) -> None:
        """Give a server its next job."""
        number = self.row(server_id).job + 1
        self.cloud.commit(patch(Server, server_id, job=number, job_kind=kind, **fields))
        self._tell()

    def delete(self, server_id: str) -> None:
        """Wish a server away, and wait until it is."""
        self.cloud.commit(patch(Server, server_id, want="absent"))
        self._tell()
        eventually("row gone", lambda: self.cloud.db.get(Server, server_id) is None)

    def row(self, server_id: str) -> Server:
        """Return a server's row."""
        return self.cloud.db.must(Server, server_id)

    def wait_for(self, server_id: str, have: str, timeout_s: float = 60.0) -> Server:
        """Wait until all jobs are done and the server has this state."""

        def look() -> Server | None:
            row = self.row(server_id)
            assert row.have == have or not row.fault, row.fault
            return row if row.have == have and row.job == row.job_done else None

        found: Server = eventually(f"server is {have}", look, timeout_s)
        return found

    def wait_for_mark(self, server_id: str, mark: str, count: int = 1) -> None:
        """Wait until the guest's console shows a mark so many times."""
        log = names.console_log_path(self.directory, server_id)

        def look() -> bool:
            return log.exists() and log.read_text(errors="replace").count(mark) >= count

        eventually(f"{mark} x{count} on the console", look, 90.0)

    def qemus(self) -> dict[int, str]:
        """Return the QEMU processes of this node: ids and command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                except OSError:
                    continue
                if "qemu-system" in line.split(" ")[0] and str(self.directory) in line and alive:
                    found[int(entry.name)] = line
        return found

    def libvirtd_pid(self) -> int:
        """Return the libvirtd's process id, 0 when there is none."""
        return planes.libvirt_daemon(self.directory).pid()

    def destroy(self) -> None:
        """End everything, then look for what is left."""
        self.runtime.stop()
        pid = self.libvirtd_pid()
        try:
            planes.teardown(self.directory)
            eventually("no QEMU left", lambda: not self.qemus(), 20.0)
            assert not self.libvirtd_pid()
            assert not pid or not Path(f"/proc/{pid}/ns").exists() or _is_zombie(pid)
        finally:
            for left in self.qemus():
                os.kill(left, signal.SIGKILL)
            shutil.rmtree(self.directory, ignore_errors=True)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
