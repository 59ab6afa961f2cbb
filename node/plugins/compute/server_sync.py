"""Makes the servers of this node run as their rows say.

See tables.py for who writes what. In short: `want="absent"` removes; a job that is not done is worked on; else the
node only observes, and steers in one case: what ran when the machine went down is started again. A domain or a
directory that no row names is left alone and reported: only `want="absent"` removes.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from node.plugins.compute import console, migration_ops, names
from node.plugins.compute.disk import DiskError, ImageError
from node.plugins.compute.drivers.hypervisor import (
    DomainState,
    Hypervisor,
    HypervisorGone,
    HypervisorRefused,
)
from node.plugins.compute.host import boot_id
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_interfaces import ServerInterfaces
from node.plugins.compute.server_jobs import ServerJobs
from node.plugins.compute.server_move import drain_ops, leave_ops, retry_ops
from node.plugins.compute.server_ops import job_done_ops, release_ops
from node.plugins.compute.server_outcome import Ended, Handed, Waiting
from node.plugins.compute.server_placement import Placer
from node.plugins.compute.server_volumes import ServerVolumes
from node.plugins.compute.tables import Server, ServerGone, ServerVolume
from node.sdk import AnyOp, Control, Done, NodeRow, Reconciler, Row, check, patch

log = logging.getLogger("hedgerow.compute")

_NO_LEASE_S = 5.0
_ROOM_BYTES = 64 << 20
"""How much a disk must have before guests that filled it go on."""
_HALTED_S = 5.0
_LOOK_AGAIN_S = 1.0
_DRAIN_AGAIN_S = 20.0
_PAUSED = 3
"""Nova's power state."""
_OFF = {"stopped", "suspended", "error", "shelved", "resized", "rescued", ""}


class ServerSync(Reconciler):
    """Reconciles servers; keys are their ids."""

    name: ClassVar[str] = "servers"
    watches: ClassVar[tuple[type[Row], ...]] = (Server, ServerVolume, NodeRow)
    resync_s: ClassVar[float] = 30.0
    workers: ClassVar[int] = 4
    watches_lease: ClassVar[bool] = True

    def __init__(
        self,
        control: Control,
        hypervisor: Hypervisor,
        files: ServerFiles,
        jobs: ServerJobs,
        interfaces: ServerInterfaces,
        volumes: ServerVolumes,
    ) -> None:
        super().__init__(control)
        self._hypervisor = hypervisor
        self._files = files
        self._jobs = jobs
        self._interfaces = interfaces
        self._volumes = volumes
        self._section = control.config.section(HypervisorSection)
        self._strangers: set[str] = set()

    def start(self) -> None:
        """Connect to the hypervisor."""
        self._files.prepare()
        self._hypervisor.open(self._changed)

    def stop(self) -> None:
        """Let go of the hypervisor; guests go on."""
        self._hypervisor.close()

    def world(self) -> Mapping[str, Sequence[str]]:
        """Return domains, directories of servers, and those of both that no row names."""
        return {
            "domains": self._hypervisor.server_ids(),
            "server directories": self._files.server_ids(),
            "strangers": self.strangers,
        }

    def tell(self, key: str) -> Mapping[str, Any]:
        """Return what a server's guest has used; empty where none runs here."""
        usage = self._hypervisor.usage(key)
        return msgspec.to_builtins(usage) if usage is not None else {}

    def keys(self) -> Iterable[str]:
        """Return the servers of this node: by rows, by domains, by directories."""
        found = {row.id for row in self.control.db.rows(Server, node_id=self.control.node_id)}
        with contextlib.suppress(HypervisorGone, HypervisorRefused):
            found.update(self._hypervisor.server_ids())
        found.update(self._files.server_ids())
        return sorted(found)

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the server itself when it is this node's, or was."""
        if row_type is NodeRow:
            is_own = id == self.control.node_id
            return self.keys() if is_own and self._leaves() else []
        if row_type is ServerVolume:
            volume = self.control.db.get(ServerVolume, id)
            return [] if volume is None else self.affected(Server, volume.server_id)
        row = self.control.db.get(Server, id)
        here = row is not None and row.node_id == self.control.node_id
        return [id] if here or self._files.exists(id) else []

    def reconcile(self, key: str) -> Done:
        """Look at one server and take its next step."""
        server = self.control.db.get(Server, key)
        if server is None or server.node_id != self.control.node_id:
            if server is not None and self._is_moving(server):
                return Done()  # what is here may be wanted again, or is on its way
            return self._stranger(key)
        self._strangers.discard(key)
        if server.want == "absent":
            return self._remove(server)
        if not self.control.lease_valid():
            return Done(
                again_s=_NO_LEASE_S
            )  # another node may have it by now: guests go on, none is started
        if server.job_done < server.job:
            return self._work(server)
        return self._observe(server)

    @property
    def strangers(self) -> list[str]:
        """Return domains and directories that no row of this node names."""
        return sorted(self._strangers)

    def _changed(self, server_id: str) -> None:
        for key in [server_id] if server_id else self.keys():
            self.control.wake(self.name, key)

    def _work(self, server: Server) -> Done:
        if not server.have:
            self._report_building(server)
        try:
            outcome = self._jobs.work(server)
        except (DiskError, HypervisorRefused) as error:
            return self._failed(server, error)
        if isinstance(outcome, Waiting):
            return Done(ops=self._step_ops(server, outcome), again_s=outcome.again_s)
        self._jobs.forget(server)
        if isinstance(outcome, Handed):
            return Done(ops=outcome.ops, again_s=None if outcome.ops else _LOOK_AGAIN_S)
        return self._ended(server, outcome)

    def _report_building(self, server: Server) -> None:
        now = self.control.clock.now_us()
        fields = {"have": "building", "job_step": "spawning", "updated_at": now}
        self.control.commit([patch(Server, server.id, **fields)])

    def _step_ops(self, server: Server, outcome: Waiting) -> list[AnyOp]:
        if not outcome.step or outcome.step == server.job_step:
            return []
        now = self.control.clock.now_us()
        return [patch(Server, server.id, job_step=outcome.step, updated_at=now)]

    def _ended(self, server: Server, outcome: Ended) -> Done:
        log.info("job %s done", server.job_kind, extra={"server": server.id, "have": outcome.have})
        now = self.control.clock.now_us()
        db = self.control.db
        ops = job_done_ops(
            db,
            server,
            now,
            have=outcome.have,
            power=outcome.power,
            fault=outcome.fault or server.job_data.get("fault", ""),
            job=server.job,
        )
        ops = [*outcome.ops, *ops, *self._volumes.attached_ops(server)]
        fresh = db.get(Server, server.id)
        if outcome.have == "shelved_offloaded" and fresh is not None and fresh.want != "absent":
            ops = [check(fresh), *ops, *leave_ops(self.control.hook, db, fresh, now)]
        return Done(ops=ops)

    def _failed(self, server: Server, error: DiskError | HypervisorRefused) -> Done:
        log.warning(
            "job %s failed: %s", server.job_kind, error.message, extra={"server": server.id}
        )
        self._jobs.forget(server)
        now = self.control.clock.now_us()
        if not isinstance(error, ImageError) and (ops := self._elsewhere(server, now)):
            log.info("another node builds it", extra={"server": server.id})
            self._clear(server.id)
            return Done(ops=ops)
        # A server that runs, or could, is not lost because one job of it failed.
        have, power = "error", 0
        if server.job_kind in {"stop", "pause", "unpause", "suspend", "snapshot", "shelve"}:
            state = self._hypervisor.state(server.id)
            have, power = _seen(state, server.have)
        return Done(
            ops=job_done_ops(
                self.control.db,
                server,
                now,
                have=have,
                power=power,
                fault=error.message,
                details=type(error).__name__,
                job=server.job,
            )
        )

    def _elsewhere(self, server: Server, now_us: int) -> list[AnyOp]:
        """Return the operations that have another node build a server; none where no other node may."""
        fresh = self.control.db.get(Server, server.id)  # it was reported on since it was read
        if fresh is None or fresh.want == "absent" or fresh.job != server.job:
            return []
        return retry_ops(Placer.of(self.control), fresh, now_us)

    def _observe(self, server: Server) -> Done:
        state = self._hypervisor.state(server.id)
        if state is not None and state.halted and server.have == "active":
            return self._go_on(server)
        limit = self._section.console_log_kib * 1024
        console.cut(names.console_log_path(self.control.config.state_dir, server.id), limit)
        alive = state is not None and state.alive
        runs = server.have in {"active", "paused", "resized"}
        cut_off = state is not None and state.reason == "daemon"
        if runs and not alive and (cut_off or self._host_rebooted(server)):
            return self._resume(server)
        have, power = _seen(state, server.have)
        if (have, power) == (server.have, server.power) and self._leaves():
            return self._drain(server)
        if (have, power) == (server.have, server.power):
            return self._keep(server, alive=alive)
        log.info(
            "server changed by itself: %s is %s", server.have, have, extra={"server": server.id}
        )
        now = self.control.clock.now_us()
        return Done(
            ops=[check(server), patch(Server, server.id, have=have, power=power, updated_at=now)]
        )

    def _is_moving(self, server: Server) -> bool:
        """Say whether a server of another node was here a moment ago, or comes here."""
        own = self.control.node_id
        if server.old_node_id == own:
            return True
        migration = migration_ops.of(self.control.db, server)
        return migration is not None and migration.dest_node == own

    def _leaves(self) -> bool:
        """Say whether this node is to leave its cluster, once nothing is on it."""
        row = self.control.db.get(NodeRow, self.control.node_id)
        return row is not None and row.want == "absent"

    def _drain(self, server: Server) -> Done:
        """Have a server move to another node, if it can be moved and one takes it."""
        now = self.control.clock.now_us()
        ops = drain_ops(Placer.of(self.control), server, self.control.ids.uuid(), now)
        if ops:
            log.info("this node leaves: the server moves", extra={"server": server.id})
        return Done(ops=ops, again_s=None if ops else _DRAIN_AGAIN_S)

    def _keep(self, server: Server, *, alive: bool) -> Done:
        """Keep a server's interfaces and volumes as they are wished."""
        kept = self._volumes.keep(server, alive=alive)
        again_s = self._interfaces.keep(server) if alive else None
        waits = [one for one in (kept.again_s, again_s) if one is not None]
        return Done(ops=kept.ops, again_s=min(waits) if waits else None)

    def _go_on(self, server: Server) -> Done:
        """Let a guest go on that was halted at a write for which the disk had no room, once there is some."""
        if shutil.disk_usage(self.control.config.state_dir).free >= _ROOM_BYTES:
            log.info("the disk has room again: the guest goes on", extra={"server": server.id})
            self._hypervisor.unpause(server.id)
            return Done(again_s=_HALTED_S)
        if server.power == _PAUSED:
            return Done(again_s=_HALTED_S)
        log.warning("the guest is halted: the disk is full", extra={"server": server.id})
        fields = {"power": _PAUSED, "updated_at": self.control.clock.now_us()}
        return Done(ops=[check(server), patch(Server, server.id, **fields)], again_s=_HALTED_S)

    def _host_rebooted(self, server: Server) -> bool:
        return (
            self._section.resume_guests_on_host_boot
            and server.want == "active"
            and self._files.record(server.id).boot_id != boot_id()
        )

    def _resume(self, server: Server) -> Done:
        """Start a guest again that ran when the machine went down, or that a new libvirtd ended."""
        try:
            outcome = self._jobs.boot(server)
        except (DiskError, HypervisorRefused) as error:
            return self._failed(server, error)
        if isinstance(outcome, Waiting):
            return Done(again_s=outcome.again_s)
        assert isinstance(outcome, Ended)
        self._jobs.forget(server)
        log.info("started again: the machine or its libvirtd had ended it", extra={"server": server.id})
        now = self.control.clock.now_us()
        have = "resized" if server.have == "resized" else outcome.have
        fields = {"have": have, "power": outcome.power, "updated_at": now}
        return Done(ops=[check(server), patch(Server, server.id, **fields)])

    def _clear(self, server_id: str) -> None:
        """Remove what there is of a server here."""
        self._hypervisor.destroy(server_id)
        self._hypervisor.undefine(server_id)
        self._volumes.let_go(server_id)
        self._files.remove(server_id)

    def _remove(self, server: Server) -> Done:
        self._jobs.abandon(server)
        self._clear(server.id)
        self._jobs.forget(server)
        log.info("server removed", extra={"server": server.id})
        db, now = self.control.db, self.control.clock.now_us()
        moves = migration_ops.cancel_ops(db, server, now)
        ops = release_ops(db, self.control.hook, server, now, moves)
        return Done(ops=ops, frees=True)

    def _stranger(self, key: str) -> Done:
        found = self._files.exists(key) or self._hypervisor.state(key) is not None
        if found and self._settled(key):
            found = False
        if found and key not in self._strangers:
            self._strangers.add(key)
            log.warning(
                "a server's domain or files without its row: left alone", extra={"server": key}
            )
        if not found:
            self._strangers.discard(key)
        return Done()

    def _settled(self, key: str) -> bool:
        """Give up what rows say is not this node's any more; say whether they do.

        Only rows that name the server count: one that was moved away while this node was down, or deleted.
        """
        server = self.control.db.get(Server, key)
        own = self.control.node_id
        if server is not None and server.have == "shelved_offloaded" and not server.node_id:
            log.info("the server was shelved: its disk is an image now", extra={"server": key})
            self._clear(key)
            return True
        if server is not None:
            if not server.node_id:
                return False
            disk_job = self._files.record(key).disk_job
            if migration_ops.lets_go(self.control.db, key, own, disk_job):
                log.info("the server has moved", extra={"server": key, "lives_on": server.node_id})
                self._clear(key)
                return True
            log.warning(
                "the server lives on another node now: its domain ends here, its files are set aside",
                extra={"server": key, "lives_on": server.node_id},
            )
            self._hypervisor.destroy(key)
            self._hypervisor.undefine(key)
            self._files.set_aside(key)
            return True
        gone = self.control.db.get(ServerGone, key)
        if gone is None or own not in migration_ops.places(self.control.db, gone):
            return False
        log.info("the server was deleted while this node was away", extra={"server": key})
        self._clear(key)
        return True


def _seen(state: DomainState | None, have: str) -> tuple[str, int]:
    """Return what a server has, and its power state, from what its domain does."""
    if state is not None and state.power == "running":
        return ("active" if have in {"active", "paused", "stopped", "suspended"} else have), 1
    if state is not None and state.power == "paused":
        return ("paused" if have in {"active", "paused"} else have), 3
    if have in {"", "error"} and state is None:
        return have, 0
    crashed = state is not None and (
        state.power == "crashed" or state.reason in {"crashed", "failed"}
    )
    return (have if have in _OFF else "stopped"), 6 if crashed else 4
