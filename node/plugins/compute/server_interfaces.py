"""Keeps a running guest plugged into the ports that its server has.

Ports come and go by the API of servers, and by that of the network. Which ones the guest has is in the server's
record: as long as they are the same, nobody asks the hypervisor.
"""

import logging

import msgspec

from node.plugins.compute.drivers.hypervisor import Hypervisor, HypervisorRefused
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_plan import interface_plan
from node.plugins.compute.tables import Server

log = logging.getLogger("hedgerow.compute")

_PORT_POLL_S = 0.25
_ASK_AGAIN_S = 3.0


class ServerInterfaces:
    """Plugs and unplugs guests of this node."""

    def __init__(self, hypervisor: Hypervisor, builder: ServerBuilder, files: ServerFiles) -> None:
        self._hypervisor = hypervisor
        self._builder = builder
        self._files = files

    def keep(self, server: Server) -> float | None:
        """Take the next step for a running guest; return when to look again, None when all is as it should be."""
        ports = self._builder.ports(server)
        record = self._files.record(server.id)
        wanted = tuple(sorted(port.id for port in ports))
        if record.ports == wanted:
            return None
        held = self._hypervisor.interfaces(server.id)
        again_s = self._unplug(server, held, {port.tap for port in ports})
        properties = self._builder.properties(server)
        for port in ports:
            if port.tap in held:
                continue
            if not port.plugged:
                again_s = _PORT_POLL_S
                continue
            try:
                self._hypervisor.plug(server.id, interface_plan(port, properties))
            except HypervisorRefused as error:
                log.warning("port %s cannot be plugged: %s", port.id, error.message)
                again_s = again_s or _ASK_AGAIN_S
        if again_s is None:
            self._files.remember(server.id, msgspec.structs.replace(record, ports=wanted))
        return again_s

    def _unplug(self, server: Server, held: dict[str, str], wanted: set[str]) -> float | None:
        """Ask for the interfaces that are not wanted; a guest that is still booting does not hear it."""
        unwanted = {tap: mac for tap, mac in held.items() if tap not in wanted}
        for mac in unwanted.values():
            self._hypervisor.unplug(server.id, mac)
        left = set(self._hypervisor.interfaces(server.id)) - wanted if unwanted else set()
        return _ASK_AGAIN_S if left else None
