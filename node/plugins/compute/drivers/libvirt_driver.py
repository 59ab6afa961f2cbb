"""Domains by libvirt, over a connection that mends itself.

The connection is opened by whoever needs it first and dropped when a call times out or libvirt says that it broke;
the next call opens another, starting the daemon if it is gone and killing it if it hangs. Guests are not concerned:
they belong to no daemon. Domains are looked up anew for each verb: objects of a lost connection are useless.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from node.plugins.compute.domain_xml import DiskPlan, DomainPlan, InterfacePlan, domain_xml
from node.plugins.compute.drivers import libvirt_devices, libvirt_migration
from node.plugins.compute.drivers.hypervisor import (
    DomainState,
    GuestStuck,
    HypervisorGone,
    HypervisorRefused,
    MigrationWay,
)
from node.plugins.compute.drivers.libvirt_loop import call_within, event_loop
from node.plugins.compute.guest_usage import GuestUsage
from node.plugins.compute.host import architecture
from node.plugins.compute.libvirt_daemon import LibvirtDaemon
from node.plugins.compute.names import instance_name

T = TypeVar("T")
log = logging.getLogger("hedgerow.compute")

_CALL_S = 20.0
_START_S = 120.0
_SAVE_S = 600.0
_USAGE_S = 8.0
_MIGRATE_S = 24 * 3600.0
_KEEPALIVE_S, _KEEPALIVE_COUNT = 5, 3
_BROKEN = {
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
}
_BROKEN_FROM = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}
_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "running",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
}
_SHUTOFF = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "failed",
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "daemon",
}
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class LibvirtHypervisor:
    """A Hypervisor on the libvirtd of this node."""

    def __init__(self, daemon: LibvirtDaemon) -> None:
        self._daemon = daemon
        self._lock = threading.Lock()
        self._connection: Any = None
        self._on_event: Callable[[str], None] = _nobody
        self._closed = False

    def open(self, on_event: Callable[[str], None]) -> None:
        """Connect."""
        self._on_event = on_event
        self._closed = False
        connection = self._connected()
        threading.Thread(target=_warm_up, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._closed = True
            self._drop()

    def server_ids(self) -> list[str]:
        """Return the servers of which there is a domain."""
        return self._call("list", lambda c: [d.UUIDString() for d in c.listAllDomains()])

    def state(self, server_id: str) -> DomainState | None:
        """Return what a domain does."""
        return self._domain("state", server_id, _state)

    def define(self, plan: DomainPlan) -> None:
        """Store a domain that is not running."""
        xml = domain_xml(plan, reconnects=libvirt_devices.RECONNECTS)
        self._call("define", lambda c: c.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE))

    def start(self, server_id: str) -> None:
        """Start a defined domain."""

        def create(domain: Any) -> bool:
            if not domain.isActive():
                # A libvirtd that was killed in the middle of a start may have left a process that no one knows.
                self._daemon.end_guests(instance_name(server_id))
                domain.create()
            return True

        if self._domain("start", server_id, create, _START_S) is None:
            raise HypervisorRefused(f"there is no domain of server {server_id} to start")

    def press_power(self, server_id: str) -> None:
        """Press the guest's power button; a guest that is just going does not mind."""
        flags = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        with contextlib.suppress(HypervisorRefused):
            self._domain("shutdown", server_id, _when_active(lambda d: d.shutdownFlags(flags)))

    def destroy(self, server_id: str) -> None:
        """End the guest's process at once."""
        try:
            self._domain("destroy", server_id, _when_active(lambda d: d.destroy()), 60.0)
        except HypervisorRefused as error:
            if isinstance(error, GuestStuck):
                self._daemon.disown(instance_name(server_id))
            # Else a process that does not die yet, or libvirt at work on its death. Look again.
            raise HypervisorGone(f"the guest does not end: {error.message}") from error

    def pause(self, server_id: str) -> None:
        """Freeze a running guest."""
        self._domain("pause", server_id, _when_active(_suspend))

    def unpause(self, server_id: str) -> None:
        """Thaw a paused guest."""
        self._domain("unpause", server_id, _when_active(_resume))

    def interrupt(self, server_id: str) -> None:
        """Send a running guest an NMI."""
        self._domain("interrupt", server_id, _when_active(lambda d: d.injectNMI(0)))

    def save(self, server_id: str) -> None:
        """Write the guest's memory to disk and end its process."""
        self._domain("save", server_id, _when_active(lambda d: d.managedSave(0)), _SAVE_S)

    def interfaces(self, server_id: str) -> dict[str, str]:
        """Return the interfaces of a guest: MAC address by tap."""
        return self._domain("interfaces", server_id, libvirt_devices.interfaces) or {}

    def plug(self, server_id: str, interface: InterfacePlan) -> None:
        """Give a running guest an interface."""
        verb = _when_active(lambda domain: libvirt_devices.plug(domain, interface))
        self._domain("plug", server_id, verb)

    def unplug(self, server_id: str, mac: str) -> None:
        """Ask a running guest to let an interface go."""
        verb = _when_active(lambda domain: libvirt_devices.unplug(domain, mac))
        self._domain("unplug", server_id, verb)

    def usage(self, server_id: str) -> GuestUsage | None:
        """Return what a running guest has used; asked by a client that does not wait long."""
        return self._domain("usage", server_id, libvirt_devices.usage, _USAGE_S)

    def volumes(self, server_id: str) -> dict[str, int]:
        """Return the volumes of a guest: size in bytes by serial."""
        return self._domain("volumes", server_id, libvirt_devices.volumes) or {}

    def plug_volume(self, server_id: str, disk: DiskPlan) -> None:
        """Give a running guest a volume."""
        verb = _when_active(lambda domain: libvirt_devices.plug_volume(domain, disk))
        self._domain("plug volume", server_id, verb)

    def unplug_volume(self, server_id: str, serial: str) -> None:
        """Ask a running guest to let a volume go."""
        verb = _when_active(lambda domain: libvirt_devices.unplug_volume(domain, serial))
        self._domain("unplug volume", server_id, verb)

    def resize_volume(self, server_id: str, serial: str, size_bytes: int) -> None:
        """Let a running guest see a volume's new size."""
        verb = _when_active(lambda domain: libvirt_devices.resize_volume(domain, serial, size_bytes))
        self._domain("resize volume", server_id, verb)

    def migrate(self, server_id: str, way: MigrationWay) -> None:
        """Move a guest to another libvirtd."""

        def move(domain: Any) -> bool:
            libvirt_migration.move(domain, way)
            return True

        if self._domain("migrate", server_id, move, _MIGRATE_S) is None:
            raise HypervisorRefused(f"there is no domain of server {server_id} to migrate")

    def has_arrived(self, server_id: str, control_path: Path) -> bool:
        """Say whether a guest goes on behind a socket that leads to another libvirtd."""
        look = call_within(
            _CALL_S, "look", lambda: libvirt_migration.goes_on(server_id, control_path)
        )
        if look is None:
            raise HypervisorGone("The other node's libvirtd does not answer")
        return look

    def abort_migration(self, server_id: str) -> None:
        """Have a migration that is under way fail."""
        with contextlib.suppress(HypervisorRefused):
            self._domain("abort", server_id, lambda domain: domain.abortJob() or True)

    def undefine(self, server_id: str) -> None:
        """Forget a domain that does not run."""
        self._domain("undefine", server_id, lambda domain: domain.undefineFlags(_UNDEFINE) or True)
        self._daemon.forget_log(instance_name(server_id))

    def _domain(
        self, what: str, server_id: str, verb: Callable[[Any], T], timeout_s: float = _CALL_S
    ) -> T | None:
        """Do something with a domain; None when there is none."""

        def run(connection: Any) -> T | None:
            try:
                return verb(connection.lookupByUUIDString(server_id))
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return None
                raise

        return self._call(what, run, timeout_s)

    def _call(self, what: str, verb: Callable[[Any], T], timeout_s: float = _CALL_S) -> T:
        connection = self._connected()
        try:
            return call_within(timeout_s, what, lambda: verb(connection))
        except HypervisorGone:
            self._check_hang(connection)
            raise
        except libvirt.libvirtError as error:
            if _is_broken(error):
                self._forget(connection)
                raise HypervisorGone(f"The connection to libvirtd broke ({what})") from error
            is_stuck = error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT
            kind = GuestStuck if is_stuck else HypervisorRefused
            raise kind(error.get_error_message() or str(error)) from error

    def _connected(self) -> Any:
        with self._lock:
            if self._closed:
                raise HypervisorGone("The hypervisor's connection is closed: the node goes down")
            if self._connection is None:
                self._connection = self._connect()
            return self._connection

    def _connect(self) -> Any:
        event_loop()
        self._daemon.ensure()
        try:
            connection = call_within(30.0, "open", lambda: libvirt.open(self._daemon.uri))
        except HypervisorGone:
            log.warning("libvirtd hangs and is killed; its guests go on")
            self._daemon.kill()
            raise
        except libvirt.libvirtError as error:
            raise HypervisorGone(f"Cannot connect to libvirtd: {error}") from error
        connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_COUNT)
        connection.registerCloseCallback(self._on_close, None)
        connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None
        )
        return connection

    def _check_hang(self, connection: Any) -> None:
        """Tell a daemon that hangs from a guest that does: kill the daemon, leave the guest."""
        try:
            call_within(5.0, "alive", connection.getLibVersion)
        except (HypervisorGone, libvirt.libvirtError):
            log.warning("libvirtd hangs and is killed; its guests go on")
            self._forget(connection)
            self._daemon.kill()

    def _forget(self, connection: Any) -> None:
        with self._lock:
            if self._connection is connection:
                self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                connection.unregisterCloseCallback()
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()

    def _on_close(self, connection: Any, reason: int, _opaque: object) -> None:
        log.warning("the connection to libvirtd closed", extra={"reason": reason})
        # Not in the event loop's thread: it would wait for itself.
        threading.Thread(target=self._lost, args=(connection,), daemon=True).start()

    def _lost(self, connection: Any) -> None:
        with self._lock:
            if self._connection is not None and self._connection is connection:
                self._connection = None
        self._on_event("")

    def _on_lifecycle(
        self, _c: Any, domain: Any, _event: int, _detail: int, _opaque: object
    ) -> None:
        self._on_event(domain.UUIDString())


def _warm_up(connection: Any) -> None:
    """Let libvirt find out what QEMU can do, which takes seconds and would delay the first server."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.getDomainCapabilities(None, architecture(), None, "qemu")


def _state(domain: Any) -> DomainState:
    number, reason = domain.state()
    power = _POWER.get(number, "shutoff")
    if power == "paused" and reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
        return DomainState(power="starting")
    if power == "paused" and reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR:
        return DomainState(power=power, reason="io_error")
    if power != "shutoff":
        return DomainState(power=power)
    # The daemon forgets its reasons when it restarts, but not the file.
    saved = domain.hasManagedSaveImage()
    return DomainState(power=power, reason="saved" if saved else _SHUTOFF.get(reason, "unknown"))


def _suspend(domain: Any) -> None:
    if _state(domain).power == "running":
        domain.suspend()


def _resume(domain: Any) -> None:
    if _state(domain).power == "paused":
        domain.resume()


def _when_active(verb: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def run(domain: Any) -> bool:
        try:
            if domain.isActive():
                verb(domain)
        except libvirt.libvirtError as error:
            # It ended meanwhile: then there is nothing to do to it.
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or domain.isActive():
                raise
        return True

    return run


def _is_broken(error: libvirt.libvirtError) -> bool:
    return error.get_error_domain() in _BROKEN_FROM or error.get_error_code() in _BROKEN - {
        libvirt.VIR_ERR_SYSTEM_ERROR
    }


def _nobody(_server_id: str) -> None:
    """Take events that nobody waits for."""
