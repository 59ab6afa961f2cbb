"""Keeps this node's part of the object store: its disks' rows, the map of disks, and the store process.

Three keys: `disks` (what this node's directories are), `map` (the file that the store goes by, and the layouts), and
`process` (the store process runs).
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from node.plugins.object.store.data_disk import make_mark, read_mark
from node.plugins.object.store.layout_rules import (
    disk_map,
    in_order,
    is_done,
    next_layout,
    wanted_disks,
)
from node.plugins.object.store.local_access import SocketBackend
from node.plugins.object.store.map_file import SOCKET_FILE, store_directory, write_map
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.store.wire import AskRequest
from node.plugins.object.tables import DataDisk, ObjectLayout, StoragePolicy
from node.sdk import (
    AnyOp,
    ClusterSection,
    Control,
    Done,
    NodeError,
    NodeRow,
    Reconciler,
    Row,
    Unavailable,
    check,
    delete,
    insert,
    patch,
)

log = logging.getLogger("hedgerow.object")

_GIB = 2**30
_FULL_SHARE = 0.97
_AGAIN_S = 5.0


def disk_paths(control: Control) -> list[Path]:
    """Return the directories that hold objects on this node."""
    given = control.config.section(ObjectSection).data_dirs
    named = [Path(part.strip()) for part in given.split(",") if part.strip()]
    return named or [store_directory(control.config.state_dir).absolute() / "disk-1"]


def ask_process(control: Control, question: str, argument: Any = None, disk_id: str = "") -> Any:
    """Ask the store process of this node.

    Raises:
        Unavailable: 503, it does not run.
    """
    backend = SocketBackend(store_directory(control.config.state_dir) / SOCKET_FILE)
    try:
        return backend.ask(AskRequest(disk_id=disk_id, question=question, argument=argument))
    finally:
        backend.close()


class StoreSync(Reconciler):
    """One key for each of the three parts."""

    name = "object-store"
    watches = (DataDisk, ObjectLayout, StoragePolicy, NodeRow)
    resync_s = 10.0
    workers = 1

    def __init__(self, control: Control) -> None:
        super().__init__(control)
        self._child: subprocess.Popen[bytes] | None = None

    def keys(self) -> Iterable[str]:
        """Return the three."""
        return ["disks", "map", "process"]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the map: it is made of these rows."""
        del row_type, id
        return ["map"]

    def world(self) -> dict[str, list[str]]:
        """Return the store process."""
        try:
            return {"processes": [f"object store {ask_process(self.control, 'hello')['pid']}"]}
        except NodeError:
            return {}

    def reconcile(self, key: str) -> Done:
        """Look at one part."""
        if key == "disks":
            return Done(ops=self._disks())
        if key == "map":
            return self._map()
        return self._process()

    # -- disks

    def _disks(self) -> list[AnyOp]:
        ops: list[AnyOp] = []
        rows = {row.path: row for row in self.control.db.rows(DataDisk, node_id=self.control.node_id)}
        for path in disk_paths(self.control):
            ops += self._disk(path, rows.pop(str(path), None))
        for row in rows.values():
            ops += self._now(row, "gone", "It is in no configuration of its node any more")
        return ops

    def _disk(self, path: Path, row: DataDisk | None) -> list[AnyOp]:
        mark = read_mark(path)
        if row is not None:
            if mark is None or mark.id != row.id:
                return self._now(row, "gone", f"{path} does not hold this disk")
            return self._alive(path, row)
        if mark is None:
            if path.is_dir() and any(path.iterdir()):
                log.error("%s is not empty and is no disk of an object store: it is left alone", path)
                return []
            mark = make_mark(path, self.control.ids.hex())
        known = self.control.db.get(DataDisk, mark.id)
        if known is not None:  # the same disk, mounted elsewhere
            moved = {"path": str(path), "node_id": self.control.node_id}
            return [check(known), patch(DataDisk, known.id, **moved)]
        return [insert(self._new(path, mark.id))]

    def _new(self, path: Path, id: str) -> DataDisk:
        found = os.statvfs(path)
        size = found.f_blocks * found.f_frsize
        section = self.control.config.section(ObjectSection)
        now = self.control.clock.now_us()
        return DataDisk(
            id=id,
            node_id=self.control.node_id,
            path=str(path),
            zone=section.zone or self.control.config.section(ClusterSection).failure_domain,
            size_bytes=size,
            weight=float(max(1, size // _GIB)),
            have="ok",
            have_since=now,
            created_at=now,
        )

    def _alive(self, path: Path, row: DataDisk) -> list[AnyOp]:
        try:
            found = os.statvfs(path)
        except OSError as error:
            return self._now(row, "failed", str(error))
        used = 1 - found.f_bavail / max(1, found.f_blocks)
        ops = self._now(row, "full" if used > _FULL_SHARE else "ok", "")
        return ops or self._synced(row)

    def _synced(self, row: DataDisk) -> list[AnyOp]:
        try:
            synced = int(ask_process(self.control, "synced", None, row.id))
        except (NodeError, TypeError):
            return []
        return [patch(DataDisk, row.id, synced=synced)] if synced > row.synced else []

    def _now(self, row: DataDisk, have: str, fault: str) -> list[AnyOp]:
        if (row.have, row.fault) == (have, fault):
            return []
        since = row.have_since if row.have == have else self.control.clock.now_us()
        return [patch(DataDisk, row.id, have=have, fault=fault, have_since=since)]

    # -- the map and the layouts

    def _map(self) -> Done:
        db = self.control.db
        layouts = in_order(db.rows(ObjectLayout))
        nodes = {node.id: node for node in db.rows(NodeRow)}
        policies = db.rows(StoragePolicy)
        made = disk_map(self.control.node_id, layouts, policies, nodes.values())
        write_map(store_directory(self.control.config.state_dir), made)
        disks = {disk.id: disk for disk in db.rows(DataDisk)}
        now = self.control.clock.now_us()
        section = self.control.config.section(ObjectSection)
        wanted = wanted_disks(disks.values(), nodes, now, section.rebuild_after_s)
        if is_done(layouts, disks, nodes):
            return Done(ops=[check(layouts[-1]), delete(ObjectLayout, layouts[0].id)])
        fresh = next_layout(layouts, wanted)
        if fresh is None or not self.control.lease_valid():
            return Done()
        number = int(layouts[-1].id) + 1 if layouts else 1
        row = ObjectLayout(id=str(number), disks=fresh, created_at=now)
        return Done(ops=[*(check(layout) for layout in layouts), insert(row)])

    # -- the process

    def _process(self) -> Done:
        directory = store_directory(self.control.config.state_dir)
        if not self.control.db.rows(ObjectLayout):
            return Done(again_s=0.5)
        try:
            ask_process(self.control, "hello")
        except Unavailable:
            self._spawn(directory)
            return Done(again_s=1.0)
        return Done(again_s=_AGAIN_S)

    def _spawn(self, directory: Path) -> None:
        """Start the process; one that is only slow makes the second one give up."""
        if self._child is not None and self._child.poll() is None:
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        state_dir = str(self.control.config.state_dir.absolute())
        module = "node.plugins.object.store.process"
        settings = msgspec.json.encode(self.control.config.section(ObjectSection)).decode()
        with (directory / "store.log").open("ab") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-m", module, state_dir, str(os.getpid()), settings],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        log.info("the store process of this node is started")


def stop_process(control: Control) -> None:
    """End the store process of this node, if one runs."""
    try:
        ask_process(control, "stop")
    except NodeError:
        log.debug("no store process runs")
