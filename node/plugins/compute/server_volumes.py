"""Keeps the volumes of this node's servers connected, and in their guests, as their rows say.

What is connected is in the server's record, written before it is connected: a node that died in between lets go of it
again. The guest itself knows which volumes it has. A volume that cannot be had is given back.
"""

import logging
from pathlib import Path

import msgspec

from node.plugins.compute.domain_xml import DiskPlan
from node.plugins.compute.drivers.hypervisor import Hypervisor, HypervisorRefused
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_volume_ops import root_of, volumes_of_server
from node.plugins.compute.tables import ActionEvent, Server, ServerAction, ServerVolume
from node.sdk import (
    AnyOp,
    Conflict,
    Control,
    Frozen,
    NotFound,
    Unavailable,
    check,
    delete,
    insert,
    patch,
    volumes_of,
)

log = logging.getLogger("hedgerow.compute")

_SOON_S = 0.5
_ASK_AGAIN_S = 3.0
_GIB = 2**30


class Kept(Frozen):
    """What one look came to."""

    ops: tuple[AnyOp, ...] = ()
    again_s: float | None = None


class ServerVolumes:
    """Volumes of one node's servers."""

    def __init__(self, control: Control, hypervisor: Hypervisor, files: ServerFiles) -> None:
        self._control = control
        self._hypervisor = hypervisor
        self._files = files

    def wanted(self, server_id: str) -> list[ServerVolume]:
        """Return the volumes that a server is to have, the one that it boots from first."""
        rows = [
            row for row in volumes_of_server(self._control.db, server_id) if row.want == "attached"
        ]
        return sorted(rows, key=lambda row: (row.boot_index != 0, row.device))

    def has_root(self, server_id: str) -> bool:
        """Return whether a server boots from a volume."""
        return root_of(self.wanted(server_id)) is not None

    def disks(self, server_id: str) -> list[tuple[ServerVolume, DiskPlan]]:
        """Connect a server's volumes, for a guest that is about to start.

        Raises:
            Unavailable: 503, one is not made yet.
            HypervisorRefused: one cannot be had.
        """
        found = []
        for row in self.wanted(server_id):
            try:
                found.append((row, self._plan(row)))
            except (Conflict, NotFound) as error:
                raise HypervisorRefused(f"Volume {row.volume_id}: {error.message}") from error
        return found

    def _plan(self, row: ServerVolume) -> DiskPlan:
        record = self._files.record(row.server_id)
        if row.id not in record.volumes:
            kept = tuple(sorted({*record.volumes, row.id}))
            self._files.remember(row.server_id, msgspec.structs.replace(record, volumes=kept))
        link = volumes_of(self._control.hook).connect(self._control, row.id)
        return DiskPlan(
            path=str(link.socket),
            export=link.export,
            target=Path(row.device).name,
            format="raw",
            serial=row.volume_id,
            read_only=link.read_only,
            shared=link.shared,
            boot_order=1 if row.boot_index == 0 else 0,
        )

    def attached_ops(self, server: Server) -> list[AnyOp]:
        """Return the operations that report the volumes of a guest that was started, or need not be."""
        now = self._control.clock.now_us()
        ops: list[AnyOp] = []
        volumes = volumes_of(self._control.hook)
        for row in self.wanted(server.id):
            more = volumes.attached_ops(self._control.db, row.id, self._control.node_id, now)
            if row.have != "attached":
                ops += [check(row), patch(ServerVolume, row.id, have="attached", updated_at=now)]
            ops += more
        return ops

    def keep(self, server: Server, *, alive: bool) -> Kept:
        """Take the next step for a server's volumes."""
        rows = volumes_of_server(self._control.db, server.id)
        record = self._files.record(server.id)
        if not rows and not record.volumes:
            return Kept()
        if not alive:
            return self._off(server, rows)
        if self._settled(rows, record.volumes):
            return Kept()
        held = self._hypervisor.volumes(server.id)
        ops: list[AnyOp] = []
        again_s: float | None = None
        for row in rows:
            step = self._step(server, row, held)
            ops += step.ops
            again_s = again_s if step.again_s is None else min(again_s or 60.0, step.again_s)
        for gone in set(record.volumes) - {row.id for row in rows}:
            self._disconnect(server.id, gone)
        return Kept(ops=tuple(ops), again_s=again_s)

    def _settled(self, rows: list[ServerVolume], connected: tuple[str, ...]) -> bool:
        """Return whether nothing is to be done: every volume is in the guest, at the size it has."""
        if {row.id for row in rows} != set(connected):
            return False
        if any(row.have != "attached" or row.want != "attached" for row in rows):
            return False
        sizes = {row.volume_id: self._size(row) for row in rows}
        held = self._hypervisor.volumes(rows[0].server_id)
        return all(held.get(volume_id, 0) >= size for volume_id, size in sizes.items())

    def _size(self, row: ServerVolume) -> int:
        facts = volumes_of(self._control.hook).facts(self._control.db, row.volume_id)
        return facts.size_gib * _GIB if facts else 0

    def _step(self, server: Server, row: ServerVolume, held: dict[str, int]) -> Kept:
        if row.want == "absent":
            return self._take_out(server, row, held)
        if row.volume_id not in held:
            return self._put_in(server, row)
        size = self._size(row)
        if held[row.volume_id] < size:
            try:
                self._hypervisor.resize_volume(server.id, row.volume_id, size)
            except HypervisorRefused as error:
                log.info("the guest does not see the new size yet: %s", error.message)
                return Kept(again_s=_ASK_AGAIN_S)
            return Kept(ops=(*self._reported(row), insert(self._grown(server))))
        return Kept(ops=self._reported(row))

    def _grown(self, server: Server) -> ServerAction:
        """Return the record that a guest sees that its volume grew."""
        now = self._control.clock.now_us()
        event = ActionEvent(
            name="compute_extend_volume",
            start_at=now,
            finish_at=now,
            result="Success",
            node_id=self._control.node_id,
        )
        return ServerAction(
            id=self._control.ids.uuid(),
            created_at=now,
            updated_at=now,
            server_id=server.id,
            action="extend_volume",
            request_id=self._control.ids.request_id(),
            user_id=server.user_id,
            project_id=server.project_id,
            start_at=now,
            finish_at=now,
            events=[event],
        )

    def _put_in(self, server: Server, row: ServerVolume) -> Kept:
        try:
            self._hypervisor.plug_volume(server.id, self._plan(row))
        except Unavailable as error:
            log.info("volume %s waits: %s", row.volume_id, error.message)
            return Kept(again_s=_SOON_S)
        except (Conflict, NotFound, HypervisorRefused) as error:
            log.warning("volume %s cannot be attached: %s", row.volume_id, error.message)
            return Kept(ops=self._ended(server, row))
        return Kept(ops=self._reported(row))

    def _take_out(self, server: Server, row: ServerVolume, held: dict[str, int]) -> Kept:
        if row.volume_id in held:
            self._hypervisor.unplug_volume(server.id, row.volume_id)
            if row.volume_id in self._hypervisor.volumes(server.id):
                return Kept(again_s=_ASK_AGAIN_S)  # a guest that is still booting does not hear it
        return Kept(ops=self._ended(server, row))

    def _reported(self, row: ServerVolume) -> tuple[AnyOp, ...]:
        now = self._control.clock.now_us()
        volumes = volumes_of(self._control.hook)
        more = volumes.attached_ops(self._control.db, row.id, self._control.node_id, now)
        if row.have == "attached":
            return tuple(more)
        return (check(row), patch(ServerVolume, row.id, have="attached", updated_at=now), *more)

    def _ended(self, server: Server, row: ServerVolume) -> tuple[AnyOp, ...]:
        self._disconnect(server.id, row.id)
        now = self._control.clock.now_us()
        more = volumes_of(self._control.hook).detached_ops(self._control.db, row.id, now)
        return (check(row), delete(ServerVolume, row.id, must_exist=True), *more)

    def _off(self, server: Server, rows: list[ServerVolume]) -> Kept:
        """Let go of everything for a guest that does not run; report what came and went meanwhile."""
        self.let_go(server.id)
        ops: list[AnyOp] = []
        for row in rows:
            if row.want == "absent":
                ops += self._ended(server, row)
            elif row.have != "attached":
                ops += self._reported(row)
        return Kept(ops=tuple(ops))

    def let_go(self, server_id: str) -> None:
        """Disconnect all volumes of a server whose guest does not run."""
        for attachment_id in self._files.record(server_id).volumes:
            self._disconnect(server_id, attachment_id)

    def _disconnect(self, server_id: str, attachment_id: str) -> None:
        record = self._files.record(server_id)
        if attachment_id not in record.volumes:
            return
        volumes_of(self._control.hook).disconnect(self._control, attachment_id)
        kept = tuple(one for one in record.volumes if one != attachment_id)
        self._files.remember(server_id, msgspec.structs.replace(record, volumes=kept))
