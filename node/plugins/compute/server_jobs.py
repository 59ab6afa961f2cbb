"""What the node does for each kind of job.

A job is done by looking: each look compares the domain with where the job wants it, takes the next step, and says
either that the job ended (`Ended`) or when to look again (`Waiting`). Nothing waits inside: a guest may take a minute
to switch itself off. What a look needs to remember over its own death is in the server's record.
"""

from collections.abc import Callable, Sequence

import msgspec

from node.plugins.compute.drivers.hypervisor import DomainState, Hypervisor, HypervisorRefused
from node.plugins.compute.host import boot_id
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.live_migration import LiveMigration
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_change_jobs import ChangeJobs
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_migrate_jobs import MigrateJobs
from node.plugins.compute.server_outcome import RUNNING, STOPPED, Ended, Outcome, Waiting
from node.plugins.compute.server_snapshot import ServerSnapshots
from node.plugins.compute.server_volumes import ServerVolumes
from node.plugins.compute.tables import Server
from node.sdk import Control, PortState, Unavailable

_PRESS_AGAIN_S = 5.0
_PORT_POLL_S = 0.25
_IMAGE_POLL_S = 0.5


class ServerJobs:
    """Does the jobs of this node's servers."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        builder: ServerBuilder,
        files: ServerFiles,
        section: HypervisorSection,
        virt_type: Callable[[], str],
        snapshots: ServerSnapshots,
        volumes: ServerVolumes,
        control: Control,
    ) -> None:
        self._hypervisor = hypervisor
        self._builder = builder
        self._files = files
        self._section = section
        self._clock = control.clock
        self._virt_type = virt_type
        self._snapshots = snapshots
        self._volumes = volumes
        # By server: when something of a job began, or the button was last pressed. To lose them is harmless.
        self._timers: dict[str, dict[tuple[int, str], float]] = {}
        changes = ChangeJobs(self, builder, files, builder.state_dir)
        self._changes = changes
        self._migrations = MigrateJobs(self, control, files)
        self._live = LiveMigration(hypervisor, builder, control, virt_type)
        self._verbs: dict[str, Callable[[Server], Outcome]] = {
            "build": self._build,
            "rebuild": self._rebuild,
            "evacuate": self._rebuild,
            "snapshot": self._snapshot,
            "resize": changes.resize,
            "confirm_resize": changes.confirm_resize,
            "revert_resize": self._revert,
            "migrate": self._migrations.migrate,
            "live_migrate": self._live_migrate,
            "rescue": changes.rescue,
            "unrescue": changes.unrescue,
            "shelve": self._shelve,
            "unshelve": self._unshelve,
            "start": self.boot,
            "stop": self._stop,
            "reboot_soft": self._reboot_soft,
            "reboot_hard": self._reboot_hard,
            "pause": self._pause,
            "unpause": self._unpause,
            "suspend": self._suspend,
            "resume": self.boot,
            "crash_dump": self._crash_dump,
        }

    def work(self, server: Server) -> Outcome:
        """Take the next step of the server's job.

        Raises:
            DiskError: the job failed for good; so does HypervisorRefused.
            HypervisorGone: 503, try again.
        """
        verb = self._verbs.get(server.job_kind)
        if verb is None:
            raise HypervisorRefused(f"this node does not know the job {server.job_kind}")
        return verb(server)

    def forget(self, server: Server) -> None:
        """Drop what is remembered of jobs that ended."""
        self._timers.pop(server.id, None)

    def abandon(self, server: Server) -> None:
        """Give up what the outstanding job of a server that goes was to bring forth."""
        if server.job_kind in {"snapshot", "shelve"} and server.job_done < server.job:
            self._snapshots.give_up(server)
        if server.job_kind == "live_migrate":
            self._live.abandon(server)

    def boot(self, server: Server) -> Outcome:
        """Bring the guest up from its disks, once its interfaces are there; a saved one goes on where it was."""
        state = self._hypervisor.state(server.id)
        if state is not None and state.alive:
            if state.power == "paused":
                self._hypervisor.unpause(server.id)
            self._mark_boot(server)
            return RUNNING
        if state is not None and state.power == "starting":
            self._hypervisor.destroy(server.id)
        if waiting := self._make_disks(server):
            return waiting
        ports = self._builder.ports(server)
        if missing := [port.id for port in ports if not port.plugged]:
            if self._late(server, "ports", self._section.port_timeout_s):
                raise HypervisorRefused(f"port {missing[0]} was not plugged in time")
            return Waiting(again_s=_PORT_POLL_S, step="networking")
        try:
            disks = [plan for _row, plan in self._volumes.disks(server.id)]
        except Unavailable as error:
            if self._late(server, "volumes", self._section.volume_timeout_s):
                raise HypervisorRefused(f"a volume did not come in time: {error.message}") from error
            return Waiting(again_s=_IMAGE_POLL_S, step="block_device_mapping")
        saved = state is not None and state.reason == "saved"
        if not saved:
            self._hypervisor.define(self._builder.plan(server, ports, self._virt_type(), disks))
            self._note_ports(server, ports)
        self._mark_started(server)
        self._hypervisor.start(server.id)
        self._mark_boot(server)
        return RUNNING

    def _make_disks(self, server: Server) -> Waiting | None:
        """Make the missing disks; say when to look again while the image is on its way from another node."""
        try:
            self._builder.make_disks(server)
        except Unavailable as error:
            if self._late(server, "image", self._section.image_timeout_s):
                raise HypervisorRefused(
                    f"the image did not come in time: {error.message}"
                ) from error
            return Waiting(again_s=_IMAGE_POLL_S, step="block_device_mapping")
        return None

    def _revert(self, server: Server) -> Outcome:
        """Go back to the flavor, or to the node, from before."""
        if server.old_node_id:
            return self._migrations.give_back(server)
        return self._changes.revert_resize(server)

    def _live_migrate(self, server: Server) -> Outcome:
        now = self._clock.monotonic_s()
        timers = self._timers.setdefault(server.id, {})
        return self._live.work(server, now - timers.setdefault((server.job, "live"), now))

    def _build(self, server: Server) -> Outcome:
        return self.boot(server)

    def _rebuild(self, server: Server) -> Outcome:
        if self._files.record(server.id).disk_job != server.job:
            self.take_down(server)
            self._builder.forget_disks(server)
        if server.want == "stopped":
            return self._make_disks(server) or STOPPED
        return self.boot(server)

    def _stop(self, server: Server) -> Outcome:
        return self.shut_down(server) or STOPPED

    def _reboot_soft(self, server: Server) -> Outcome:
        if not self._started_for(server):
            if waiting := self.shut_down(server):
                return waiting
            self._discard_saved(server)
        return self.boot(server)

    def _reboot_hard(self, server: Server) -> Outcome:
        if not self._started_for(server):
            self.take_down(server)
        return self.boot(server)

    def _snapshot(self, server: Server) -> Outcome:
        self._snapshots.take(server)
        return Ended(have=server.have, power=server.power)

    def _shelve(self, server: Server) -> Outcome:
        """Make an image of the disk; what is here goes once the report holds that the server has left."""
        if waiting := self.shut_down(server):
            return waiting
        self.take_down(server)
        self._snapshots.take(server)
        return Ended(have="shelved_offloaded", power=4)

    def _unshelve(self, server: Server) -> Outcome:
        outcome = self.boot(server)
        if outcome == RUNNING:
            self._snapshots.drop(server)
        return outcome

    def _pause(self, server: Server) -> Outcome:
        self._must_run(server)
        self._hypervisor.pause(server.id)
        return Ended(have="paused", power=3)

    def _unpause(self, server: Server) -> Outcome:
        self._must_run(server)
        self._hypervisor.unpause(server.id)
        return RUNNING

    def _suspend(self, server: Server) -> Outcome:
        state = self._hypervisor.state(server.id)
        if state is None or state.reason != "saved":
            self._must_run(server)
            self._hypervisor.save(server.id)
        return Ended(have="suspended", power=4)

    def _crash_dump(self, server: Server) -> Outcome:
        self._must_run(server)
        self._hypervisor.interrupt(server.id)
        return Ended(have=server.have, power=server.power)

    def shut_down(self, server: Server) -> Waiting | None:
        """Ask the guest to switch itself off, in the end make it; None once it is off."""
        state = self._hypervisor.state(server.id)
        if state is None or not state.alive:
            return None
        if state.power == "paused" or self._late(server, "off", self._section.shutdown_timeout_s):
            self._hypervisor.destroy(server.id)
            return None
        timers = self._timers.setdefault(server.id, {})
        now = self._clock.monotonic_s()
        if now - timers.get((server.job, "pressed"), now - _PRESS_AGAIN_S) >= _PRESS_AGAIN_S:
            # Again and again: a guest that is still booting does not hear it.
            self._hypervisor.press_power(server.id)
            timers[server.job, "pressed"] = now
        return Waiting(again_s=2.0, step="powering-off")

    def take_down(self, server: Server) -> None:
        """End the guest, and the memory that was saved of it."""
        self._hypervisor.destroy(server.id)
        self._discard_saved(server)

    def _discard_saved(self, server: Server) -> None:
        state = self._hypervisor.state(server.id)
        if state is not None and state.reason == "saved":
            self._hypervisor.undefine(server.id)

    def _must_run(self, server: Server) -> DomainState:
        state = self._hypervisor.state(server.id)
        if state is None or not state.alive:
            raise HypervisorRefused(f"server {server.id} does not run")
        return state

    def _started_for(self, server: Server) -> bool:
        """Return whether the guest was started for this very job: then a reboot must not reboot again."""
        return self._files.record(server.id).started_job == server.job

    def _note_ports(self, server: Server, ports: Sequence[PortState]) -> None:
        plugged = tuple(sorted(port.id for port in ports))
        record = self._files.record(server.id)
        self._files.remember(server.id, msgspec.structs.replace(record, ports=plugged))

    def _mark_started(self, server: Server) -> None:
        record = self._files.record(server.id)
        self._files.remember(server.id, msgspec.structs.replace(record, started_job=server.job))

    def _mark_boot(self, server: Server) -> None:
        """Note in which boot of the machine the guest runs: after another one it is started again."""
        record = self._files.record(server.id)
        if record.boot_id != boot_id():
            self._files.remember(server.id, msgspec.structs.replace(record, boot_id=boot_id()))

    def _late(self, server: Server, what: str, limit_s: float) -> bool:
        now = self._clock.monotonic_s()
        timers = self._timers.setdefault(server.id, {})
        return now - timers.setdefault((server.job, what), now) >= limit_s
