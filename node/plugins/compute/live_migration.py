"""Live migration on its source: a thread that moves the guest, and the job that waits for it.

The destination prepares first (`migration_sync`). The guest goes on here until the moment it goes on there. Until the
rows say so it is still this node's: a node that dies in between finds, when it is back, where the guest is.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.plugins.compute import migration_ops
from node.plugins.compute.drivers.hypervisor import Hypervisor, MigrationWay
from node.plugins.compute.migration_tunnel import Tunnel, guest_socket
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_outcome import Ended, Handed, Outcome, Waiting
from node.plugins.compute.server_plan import placed_plan
from node.plugins.compute.tables import Migration, Server
from node.sdk import Control, NodeError, patch

log = logging.getLogger("hedgerow.compute")

_POLL_S = 0.5
_PREPARE_S = 120.0


class _Move:
    """One guest on its way."""

    def __init__(self) -> None:
        self.is_done = False
        self.error = ""


class LiveMigration:
    """Moves running guests of this node elsewhere."""

    def __init__(
        self, hypervisor: Hypervisor, builder: ServerBuilder, control: Control, virt_type: Callable[[], str]
    ) -> None:
        self._hypervisor = hypervisor
        self._builder = builder
        self._control = control
        self._virt_type = virt_type
        self._root: Path = control.config.state_dir / "libvirt"
        self._moves: dict[tuple[str, int], _Move] = {}

    def work(self, server: Server, waited_s: float) -> Outcome:
        """Take the next step of a live migration; `waited_s` is how long the job has been looked at."""
        db, now = self._control.db, self._control.clock.now_us()
        migration = migration_ops.of(db, server)
        if migration is None:
            return self._stays(server, "the destination could not take it")
        if migration.status == "queued":
            if waited_s > _PREPARE_S:
                return self._stays(server, "the destination was not ready in time")
            return Waiting(again_s=_POLL_S)
        move = self._moves.get((server.id, server.job))
        state = self._hypervisor.state(server.id)
        is_here = state is not None and state.alive
        if move is None and is_here:
            return self._begin(server, migration)
        if move is not None and not move.is_done:
            return Waiting(again_s=_POLL_S)
        why = move.error if move is not None else "the guest does not run"
        if is_here or migration.status != "running":
            self._moves.pop((server.id, server.job), None)
            return self._stays(server, why or "the guest came back")
        if (move is None or move.error) and not self._has_arrived(server, migration):
            # Neither here nor there: what is here is whole, and is all there is.
            self._moves.pop((server.id, server.job), None)
            lost = msgspec.structs.replace(server, have="stopped", power=4)
            return self._stays(lost, why)
        self._moves.pop((server.id, server.job), None)
        fresh = db.get(Server, server.id)
        if fresh is None or fresh.want == "absent" or fresh.job != server.job:
            return Handed()
        log.info("the guest runs elsewhere now", extra={"server": server.id})
        ops = migration_ops.switch_ops(db, self._control.hook, fresh, migration.dest_node, now)
        power = 3 if server.have == "paused" else 1
        return Ended(have=server.have, power=power, ops=tuple(ops))

    def abandon(self, server: Server) -> None:
        """Give up what is under way of a server that goes."""
        if (server.id, server.job) in self._moves:
            self._hypervisor.abort_migration(server.id)

    def _has_arrived(self, server: Server, migration: Migration) -> bool:
        """Ask the destination whether the guest goes on there.

        Raises:
            HypervisorGone: 503, it does not answer: as long as nobody knows, nothing is done.
        """
        with Tunnel(self._control, self._root, server.id, migration.dest_node) as tunnel:
            return self._hypervisor.has_arrived(server.id, tunnel.control_path)

    def _stays(self, server: Server, why: str) -> Outcome:
        db, now = self._control.db, self._control.clock.now_us()
        ops = migration_ops.stay_ops(db, server, now)
        return Ended(have=server.have, power=server.power, ops=tuple(ops), fault=why)

    def _begin(self, server: Server, migration: Migration) -> Outcome:
        now = self._control.clock.now_us()
        if migration.status != "running":
            started = patch(Migration, migration.id, status="running", updated_at=now)
            if not self._control.commit([started]):
                return Waiting(again_s=_POLL_S)
        move = self._moves[server.id, server.job] = _Move()
        threading.Thread(
            target=self._run, args=(server, migration, move), name="live-migration", daemon=True
        ).start()
        return Waiting(again_s=_POLL_S)

    def _run(self, server: Server, migration: Migration, move: _Move) -> None:
        try:
            self._move(server, migration)
        except (NodeError, OSError) as error:
            move.error = getattr(error, "message", "") or str(error)
            log.warning("live migration failed: %s", move.error, extra={"server": server.id})
        except Exception as error:
            move.error = f"{type(error).__name__}: {error}"
            log.exception("live migration failed", extra={"server": server.id})
        finally:
            move.is_done = True
            self._control.wake("servers", server.id)

    def _move(self, server: Server, migration: Migration) -> None:
        ports = self._builder.ports(server)
        plan = self._builder.plan(server, ports, self._virt_type())
        there = placed_plan(plan, server.id, Path(migration.dest_dir))
        with Tunnel(self._control, self._root, server.id, migration.dest_node) as tunnel:
            way = MigrationWay(
                control_path=tunnel.control_path,
                memory=guest_socket(server.id, "memory"),
                disks=guest_socket(server.id, "disks"),
                plan=there,
            )
            self._hypervisor.migrate(server.id, way)
