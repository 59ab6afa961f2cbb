"""Jobs that put a server on trial: another flavor, or another disk to boot from. Both can be taken back.

The disk from before is kept aside whole until the trial ends, so each step can be repeated after a crash at any point.
"""

from pathlib import Path
from typing import Protocol

import msgspec

from node.plugins.compute import disk, names
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_outcome import RUNNING, STOPPED, Ended, Outcome, Waiting
from node.plugins.compute.server_plan import flavor_of
from node.plugins.compute.tables import Server

_GIB, _MIB = 2**30, 2**20


class Power(Protocol):
    """What these jobs need of the others: `server_jobs.ServerJobs`."""

    def boot(self, server: Server) -> Outcome:
        """Bring the guest up from its disks."""

    def shut_down(self, server: Server) -> Waiting | None:
        """Have the guest switch itself off; None once it is off."""

    def take_down(self, server: Server) -> None:
        """End the guest, and the memory that was saved of it."""


class ChangeJobs:
    """Resize, rescue, and their ends."""

    def __init__(
        self, power: Power, builder: ServerBuilder, files: ServerFiles, state_dir: Path
    ) -> None:
        self._power = power
        self._builder = builder
        self._files = files
        self._state_dir = state_dir

    def resize(self, server: Server) -> Outcome:
        """Boot with another flavor; the disk from before stays beside the new one."""
        if self._files.record(server.id).disk_job != server.job:
            if waiting := self._power.shut_down(server):
                return waiting
            self._power.take_down(server)
            self._grow(server)
        return self._try(server)

    def _grow(self, server: Server) -> None:
        root, before = self._disk(server), self._before(server)
        flavor = flavor_of(server)
        if root.exists() and not before.exists():
            disk.copy_file(root, before)
        size_bytes = flavor.disk_gib * _GIB
        if root.exists() and size_bytes > disk.size_of(root):
            disk.resize(root, size_bytes)
        swap = root.with_name("disk.swap")
        if swap.exists() and swap.stat().st_size != flavor.swap_mib * _MIB:
            swap.unlink()
        self._remember(server)

    def _try(self, server: Server) -> Outcome:
        """Boot for the trial, unless the server was off before."""
        if server.want == "stopped":
            return Ended(have="resized", power=4)
        outcome = self._power.boot(server)
        return Ended(have="resized", power=1) if outcome == RUNNING else outcome

    def confirm_resize(self, server: Server) -> Outcome:
        """Let the disk from before go."""
        self._before(server).unlink(missing_ok=True)
        return Ended(have="active" if server.power == 1 else "stopped", power=server.power)

    def revert_resize(self, server: Server) -> Outcome:
        """Boot from the disk from before, with the flavor from before."""
        if self._files.record(server.id).disk_job != server.job:
            self._power.take_down(server)
            if self._before(server).exists():
                self._before(server).replace(self._disk(server))
            swap = self._disk(server).with_name("disk.swap")
            if swap.exists() and swap.stat().st_size != flavor_of(server).swap_mib * _MIB:
                swap.unlink()
            self._remember(server)
        return STOPPED if server.want == "stopped" else self._power.boot(server)

    def rescue(self, server: Server) -> Outcome:
        """Boot from a fresh disk of an image, with the server's own as the second one."""
        if self._files.record(server.id).disk_job != server.job:
            if waiting := self._power.shut_down(server):
                return waiting
            self._power.take_down(server)
            self._builder.make_rescue_disk(server, server.job_data.get("image_id", ""))
            self._remember(server)
        outcome = self._power.boot(server)
        return Ended(have="rescued", power=1) if outcome == RUNNING else outcome

    def unrescue(self, server: Server) -> Outcome:
        """Boot from the server's own disk again."""
        if self._files.record(server.id).disk_job != server.job:
            self._power.take_down(server)
            names.rescue_path(self._state_dir, server.id).unlink(missing_ok=True)
            self._remember(server)
        return self._power.boot(server)

    def _disk(self, server: Server) -> Path:
        return names.disk_path(self._state_dir, server.id)

    def _before(self, server: Server) -> Path:
        return self._disk(server).with_name("disk.before")

    def _remember(self, server: Server) -> None:
        record = self._files.record(server.id)
        self._files.remember(server.id, msgspec.structs.replace(record, disk_job=server.job))
