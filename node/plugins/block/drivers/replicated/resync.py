"""Fills a replica that is out of sync while the guest writes, and makes it a member.

Passes over what was written since the last one, marked by dirty bitmaps in the head, until little is left; then the
guest's export is ended, the last pass copies the rest, and the next epoch begins with one member more. The head may
be replaced at any time in between (a replica is lost): then the copy begins again.
"""

import contextlib
import logging
from typing import Any

from node.plugins.block.drivers.replicated.copying import (
    Pace,
    bitmap_context,
    copy,
    data_parts,
    dirty_parts,
)
from node.plugins.block.drivers.replicated.engine import Engine
from node.plugins.block.drivers.replicated.head_process import COPIES, EXPORT, TOP
from node.plugins.block.drivers.replicated.nbd import ALLOCATION, Nbd, NbdError
from node.plugins.block.drivers.replicated.peers import Request
from node.plugins.block.drivers.replicated.qmp import Qmp, QmpError, QmpLost
from node.plugins.block.drivers.replicated.replica_process import wait_gone
from node.plugins.block.drivers.replicated.set_change import Change
from node.plugins.block.replica_tables import VolumeSet
from node.sdk import Unavailable

log = logging.getLogger("hedgerow.block")

_PASSES = 12
_LITTLE_BYTES = 4 << 20
_GRANULARITY = 65536
_FREEZE_S = 10.0


def resync(engine: Engine, volume_id: str, target: str, pace: Pace) -> None:
    """Make a node's replica a member of a volume that this node uses.

    Raises:
        Unavailable: 503, it was cut off: try again.
    """
    row = engine.control.db.must(VolumeSet, volume_id)
    if target in row.members:
        return
    request = Request(
        epoch=row.epoch, layers=row.layers, size_bytes=row.size_bytes, source=row.members[0]
    )
    try:
        answer = engine.peers.ask(target, "receive", volume_id, request)
        with (
            engine.dial(target, answer, ()) as replica,
            engine.head(volume_id).daemon.qmp(monitor=COPIES) as qmp,
        ):
            passes = _Passes(engine, volume_id, qmp, "limited" if row.limits else TOP)
            copied = passes.first(replica, pace)
            for _number in range(_PASSES):
                last = passes.next(replica, pace)
                copied += last
                if last <= _LITTLE_BYTES:
                    break
            _finish(engine, row, target, passes, replica)
    except (NbdError, QmpError, QmpLost) as error:
        raise Unavailable(f"The copy of volume {volume_id} to {target} broke: {error}") from error
    log.info("replica in sync", extra={"volume": volume_id, "node": target, "bytes": copied})


def _finish(engine: Engine, began: VolumeSet, target: str, passes: "_Passes", replica: Nbd) -> None:
    with engine.locked(began.id):
        row = engine.control.db.must(VolumeSet, began.id)
        if (row.epoch, row.layers, row.head_node) != (
            began.epoch,
            began.layers,
            engine.control.node_id,
        ):
            raise Unavailable(f"Volume {began.id} was changed during a copy: it begins again")
        change = Change()
        try:
            passes.freeze()
            passes.next(replica, Pace())
            change = Change(joins=target)
        finally:  # the guest waits: whatever went wrong, it goes on
            engine.change(began.id, change)


class _Passes:
    """The passes of one copy, over one head."""

    def __init__(self, engine: Engine, volume_id: str, qmp: Qmp, node: str) -> None:
        self._engine = engine
        self._volume_id = volume_id
        self._qmp = qmp
        self._node = node
        self._number = 0
        self._tag = f"sync-{engine.control.ids.hex()[:8]}"

    def first(self, replica: Nbd, pace: Pace) -> int:
        """Copy all that is there; return how many bytes that were."""
        self._qmp.ask("block-dirty-bitmap-add", self._bitmap(0, granularity=_GRANULARITY))
        with self._exported(f"{self._tag}-all", []) as source:
            return copy(source, replica, data_parts(source), pace)

    def next(self, replica: Nbd, pace: Pace) -> int:
        """Copy what was written since the last pass began; return how many bytes that were."""
        number, self._number = self._number, self._number + 1
        actions = [
            {
                "type": "block-dirty-bitmap-add",
                "data": self._bitmap(number + 1, granularity=_GRANULARITY),
            },
            {"type": "block-dirty-bitmap-disable", "data": self._bitmap(number)},
        ]
        self._qmp.ask("transaction", {"actions": actions})
        name = f"{self._tag}-{number}"
        with self._exported(name, [name]) as source:
            copied = copy(source, replica, dirty_parts(source, [name]), pace)
        self._qmp.ask("block-dirty-bitmap-remove", self._bitmap(number))
        return copied

    def freeze(self) -> None:
        """End the guest's export: when this returns nothing is written any more."""
        self._qmp.ask("block-export-del", {"id": EXPORT, "mode": "hard"}, _FREEZE_S)
        wait_gone(self._qmp, EXPORT, _FREEZE_S)

    def _bitmap(self, number: int, **more: Any) -> dict[str, Any]:
        return {"node": self._node, "name": f"{self._tag}-{number}", **more}

    @contextlib.contextmanager
    def _exported(self, name: str, bitmaps: list[str]) -> Any:
        arguments = {"type": "nbd", "id": name, "name": name, "node-name": self._node}
        self._qmp.ask("block-export-add", {**arguments, "bitmaps": bitmaps})
        contexts = [bitmap_context(bitmap) for bitmap in bitmaps] or [ALLOCATION]
        try:
            with self._engine.connect(self._volume_id, contexts, name) as source:
                yield source
        finally:
            with contextlib.suppress(QmpError, QmpLost):
                self._qmp.ask("block-export-del", {"id": name, "mode": "hard"})
                wait_gone(self._qmp, name)
