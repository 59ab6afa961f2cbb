"""Reconcilers of replicated volumes: heads that run, copies that are missing, replicas that are kept or go.

A head's reconciler must be quick, for it is what a guest waits for when a replica is lost; copies have their own.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

from node.plugins.block.drivers.replicated.copying import Pace
from node.plugins.block.drivers.replicated.engine import HEADS, Engine
from node.plugins.block.drivers.replicated.placing import homes
from node.plugins.block.drivers.replicated.resync import resync
from node.plugins.block.drivers.replicated.scrub import scrub
from node.plugins.block.replica_tables import Leftover, VolumeSet
from node.plugins.block.section import BlockSection
from node.sdk import (
    AnyOp,
    Control,
    Done,
    NodeRow,
    Reconciler,
    Row,
    check,
    delete,
    patch,
    put,
)

log = logging.getLogger("hedgerow.block")

_LOOK_S = 10.0
_MIB = 1 << 20


class HeadSync(Reconciler):
    """Runs the heads of the volumes that this node uses, and ends those that it does not use any more."""

    name = HEADS
    watches = (VolumeSet,)
    resync_s = 30.0
    workers = 4

    def __init__(self, control: Control, engine: Engine) -> None:
        super().__init__(control)
        self._engine = engine

    def start(self) -> None:
        """Find out where this node's replicas listen."""
        self._engine.prepare()

    def stop(self) -> None:
        """Let go of sockets and probes; heads go on."""
        self._engine.stop()

    def world(self) -> Mapping[str, Sequence[str]]:
        """Return the volumes that have a head here."""
        site = self._engine.site
        return {"heads": [v for v in site.volumes() if self._engine.head(v).running() is not None]}

    def keys(self) -> Iterable[str]:
        """Return the volumes used here, and those that have something here."""
        own = self.control.db.rows(VolumeSet, head_node=self.control.node_id, order_by=())
        return {row.id for row in own} | set(self._engine.site.volumes())

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the volume."""
        del row_type
        return [id]

    def reconcile(self, key: str) -> Done:
        """Have the head run that the row says, over those replicas that live."""
        row = self._engine.tend(key)
        if row is None or row.head_node != self.control.node_id:
            return Done()
        return Done(again_s=_LOOK_S if row.epoch > row.opened else None)


class CopySync(Reconciler):
    """Fills replicas that are missing; a volume that nobody uses is used for that by its first member's node."""

    name = "block.copies"
    watches = (VolumeSet, NodeRow)
    resync_s = 60.0
    workers = 2

    def __init__(self, control: Control, engine: Engine) -> None:
        super().__init__(control)
        self._engine = engine
        self._section = control.config.section(BlockSection)

    def keys(self) -> Iterable[str]:
        """Return the volumes that lack a replica, the most endangered first."""
        rows = [row for row in self.control.db.rows(VolumeSet, order_by=()) if _lacks(row)]
        return [row.id for row in sorted(rows, key=lambda row: (len(row.members), row.id))]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the volume; all of them when a node comes or goes."""
        if row_type is NodeRow:
            return self.keys()
        row = self.control.db.get(VolumeSet, id)
        return [id] if row is not None and _lacks(row) else []

    def reconcile(self, key: str) -> Done:
        """Place a replica elsewhere whose node is gone for long, and fill one that is missing."""
        row = self.control.db.get(VolumeSet, key)
        if row is None or not _lacks(row) or not is_keeper(self.control, row):
            return Done()
        nodes = {node.id: node for node in self.control.db.rows(NodeRow)}
        if ops := self._moved(row, nodes):
            return Done(ops=ops, again_s=0.1)
        for target in [node for node in row.wanted if node not in row.members]:
            if target in nodes and nodes[target].state == "up":
                self._fill(row, target)
                return Done(again_s=0.1)
        return Done(again_s=_LOOK_S)

    def _moved(self, row: VolumeSet, nodes: Mapping[str, NodeRow]) -> list[AnyOp]:
        now = self.control.clock.now_us()
        patience_us = self._section.replace_after_s * 1_000_000
        lost = [
            node
            for node in row.wanted
            if node not in row.members
            and (node not in nodes or nodes[node].state == "down")
            and now - row.lost_at.get(node, now) > patience_us
        ]
        kept = [node for node in row.wanted if node not in lost]
        wanted = homes(
            [node for node in nodes.values() if node.id not in lost],
            len(row.wanted),
            kept[0] if kept else "",
            kept,
        )
        if not lost or set(wanted) <= set(kept):
            return []
        ops: list[AnyOp] = [
            check(row),
            patch(VolumeSet, row.id, wanted=wanted, updated_at=now),
        ]
        for node in lost:
            left = Leftover(
                id=f"{row.id}/{node}", node_id=node, volume_id=row.id, layers=row.layers[-1:]
            )
            ops.append(put(left))
        return ops

    def _fill(self, row: VolumeSet, target: str) -> None:
        pace = Pace(self._section.resync_mib_per_s * _MIB, self.control.stopping)
        with self._engine.in_use(row.id):
            resync(self._engine, row.id, target, pace)


class ScrubSync(Reconciler):
    """Compares the replicas of volumes that this node uses, and of idle ones whose first member it is."""

    name = "block.scrubs"
    resync_s = 900.0
    workers = 1

    def __init__(self, control: Control, engine: Engine) -> None:
        super().__init__(control)
        self._engine = engine
        self._section = control.config.section(BlockSection)

    def keys(self) -> Iterable[str]:
        """Return the volumes whose turn it is, the longest due first."""
        if not self._section.scrub_hours:
            return []
        due = self.control.clock.now_us() - self._section.scrub_hours * 3_600_000_000
        rows = [
            row
            for row in self.control.db.rows(VolumeSet, order_by=())
            if max(row.scrubbed_at, row.created_at) < due
            and len(row.members) > 1
            and is_keeper(self.control, row)
        ]
        return [row.id for row in sorted(rows, key=lambda row: (row.scrubbed_at, row.id))]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return nothing: time alone makes it due."""
        del row_type, id
        return []

    def reconcile(self, key: str) -> Done:
        """Compare, and note when that was and what was found."""
        pace = Pace(self._section.scrub_mib_per_s * _MIB, self.control.stopping)
        with self._engine.in_use(key):
            found = scrub(self._engine, key, pace)
        row = self.control.db.must(VolumeSet, key)
        now = self.control.clock.now_us()
        fields = {"scrubbed_at": now, "fault": found, "updated_at": now}
        return Done(ops=[check(row), patch(VolumeSet, key, **fields)])


class ReplicaSync(Reconciler):
    """Keeps the logs of this node's replicas going, ends those that nobody uses, removes what is left over."""

    name = "block.replicas"
    watches = (Leftover,)
    resync_s = _LOOK_S
    workers = 1

    def __init__(self, control: Control, engine: Engine) -> None:
        super().__init__(control)
        self._engine = engine

    def keys(self) -> Iterable[str]:
        """Return the volumes that have something here, and what is left over."""
        left = self.control.db.rows(Leftover, node_id=self.control.node_id, order_by=())
        return [*self._engine.site.volumes(), *(row.id for row in left)]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return what is left over."""
        del row_type
        return [id]

    def reconcile(self, key: str) -> Done:
        """Look at one replica, or remove one."""
        left = self.control.db.get(Leftover, key)
        if left is not None:
            return self._remove(left)
        if "/" in key:
            return Done()
        row = self.control.db.get(VolumeSet, key)
        if row is not None and not row.head_node:
            self._engine.site.close(key, row.epoch)
        elif row is not None:
            self._engine.site.rotate(key)
        return Done()

    def _remove(self, left: Leftover) -> Done:
        if left.node_id != self.control.node_id:
            return Done()
        row = self.control.db.get(VolumeSet, left.volume_id) if left.volume_id else None
        if row is not None and self.control.node_id in (*row.wanted, *row.members):
            return Done(ops=[check(left), delete(Leftover, left.id)])  # it is wanted here again
        if left.volume_id:
            self._engine.site.delete(left.volume_id, left.layers)
        for layer in left.layers:
            self._engine.site.layers.remove(layer)
        return Done(ops=[check(left), delete(Leftover, left.id)], frees=True)


def is_keeper(control: Control, row: VolumeSet) -> bool:
    """Return whether this node looks after a volume: it uses it, or has the first replica of one that is idle."""
    if row.head_node:
        return row.head_node == control.node_id
    up = {node.id for node in control.db.rows(NodeRow, state="up")}
    return next((node for node in row.members if node in up), "") == control.node_id


def _lacks(row: VolumeSet) -> bool:
    return bool(set(row.wanted) - set(row.members))
