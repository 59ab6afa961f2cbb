"""What compute asks of a hypervisor, small enough for a fake (node.testing.fake_hypervisor)."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from node.plugins.compute.domain_xml import DiskPlan, DomainPlan, InterfacePlan
from node.plugins.compute.guest_usage import GuestUsage
from node.sdk import Frozen, NodeError, Unavailable


class HypervisorRefused(NodeError):
    """The hypervisor says no to this domain: trying again as it is would not help."""


class GuestStuck(HypervisorRefused):
    """libvirt itself waits for the guest, and lets nobody else at it."""


class HypervisorGone(Unavailable):
    """The hypervisor does not answer now."""


class DomainState(Frozen):
    """What a domain does."""

    power: str
    """running, paused, shutoff, crashed; starting: a start that was cut off and has not been cleared away yet."""
    reason: str = ""
    """Of shutoff: shutdown, destroyed, crashed, failed, saved, unknown, daemon (a libvirtd ended it that found it half
    started by the one before). Of paused: io_error, or nothing."""

    @property
    def alive(self) -> bool:
        """Return whether the guest has a process."""
        return self.power in {"running", "paused"}

    @property
    def halted(self) -> bool:
        """Return whether the guest waits for its disk, which could not take a write."""
        return self.power == "paused" and self.reason == "io_error"


class MigrationWay(Frozen):
    """How a guest goes to another node."""

    control_path: Path
    """A socket that leads to the other hypervisor."""
    memory: str
    disks: str
    """Names below /run/libvirt of the sockets that lead to the guest there."""
    plan: DomainPlan
    """What the guest is made of, there."""


class Hypervisor(Protocol):
    """Runs domains. A domain is named by its server's id.

    Every call ends: by its result, by HypervisorRefused or by HypervisorGone (503) after a deadline. Each verb is
    idempotent: what is already so is no error.
    """

    def open(self, on_event: Callable[[str], None]) -> None:
        """Connect, and from now on tell which server's domain has changed ("" for all of them)."""

    def close(self) -> None:
        """Let go of the connection. Guests go on."""

    def server_ids(self) -> list[str]:
        """Return the servers of which there is a domain, running or not."""

    def state(self, server_id: str) -> DomainState | None:
        """Return what a domain does; None when there is none."""

    def define(self, plan: DomainPlan) -> None:
        """Store a domain that is not running, in place of an older definition."""

    def start(self, server_id: str) -> None:
        """Start a defined domain; one whose memory was saved goes on from there."""

    def press_power(self, server_id: str) -> None:
        """Press the guest's power button (ACPI)."""

    def destroy(self, server_id: str) -> None:
        """End the guest's process at once."""

    def pause(self, server_id: str) -> None:
        """Freeze a running guest."""

    def unpause(self, server_id: str) -> None:
        """Thaw a paused guest."""

    def interrupt(self, server_id: str) -> None:
        """Send a running guest an NMI, at which it may dump its memory."""

    def save(self, server_id: str) -> None:
        """Write the guest's memory to disk and end its process."""

    def interfaces(self, server_id: str) -> dict[str, str]:
        """Return the interfaces of a running guest: MAC address by tap."""

    def plug(self, server_id: str, interface: InterfacePlan) -> None:
        """Give a running guest an interface."""

    def unplug(self, server_id: str, mac: str) -> None:
        """Ask a running guest to let an interface go: it is gone when `interfaces` does not have it any more."""

    def usage(self, server_id: str) -> GuestUsage | None:
        """Return what a running guest has used; None where none runs."""

    def volumes(self, server_id: str) -> dict[str, int]:
        """Return the volumes of a running guest: size in bytes, as the guest sees it, by serial."""

    def plug_volume(self, server_id: str, disk: DiskPlan) -> None:
        """Give a running guest a volume."""

    def unplug_volume(self, server_id: str, serial: str) -> None:
        """Ask a running guest to let a volume go: it is gone when `volumes` does not have it any more."""

    def resize_volume(self, server_id: str, serial: str, size_bytes: int) -> None:
        """Let a running guest see that a volume has another size."""

    def migrate(self, server_id: str, way: MigrationWay) -> None:
        """Move a guest, running or paused, to another hypervisor; returns when it is there and not here any more."""

    def has_arrived(self, server_id: str, control_path: Path) -> bool:
        """Say whether a guest goes on behind a socket that leads to another hypervisor."""

    def abort_migration(self, server_id: str) -> None:
        """Have a migration that is under way fail."""

    def undefine(self, server_id: str) -> None:
        """Forget a domain that does not run, its saved memory too."""
