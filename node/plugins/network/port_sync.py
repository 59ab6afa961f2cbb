"""Plugs the ports of this node's servers: rules first, then the tap, then DHCP, then `have = "active"`.

A server may start only after that, so nothing a guest sends ever meets an unguarded port.
"""

import logging
from collections.abc import Iterable

from node.plugins.network.dhcp_sync import Dhcp
from node.plugins.network.link_plan import TapPlan
from node.plugins.network.names import bridge_name, is_ours, tap_mac
from node.plugins.network.network_plan import MIN_MTU_BYTES
from node.plugins.network.network_sync import Bridges
from node.plugins.network.security_sync import Security, local_ports
from node.plugins.network.served import routers_of
from node.plugins.network.tables import COMPUTE_PREFIX, Network, Port, tap_name
from node.sdk import Control, Done, Reconciler, Row, check, patch

log = logging.getLogger("hedgerow.network")

_HELD_S = 2.0
"""How soon a tap is looked at again that a guest still holds."""
_LINK = "link:"


def tap_plan(port: Port, network: Network) -> TapPlan:
    """Return a port's tap."""
    return TapPlan(
        name=tap_name(port.id),
        bridge=bridge_name(network.id),
        mac=tap_mac(port.mac_address),
        mtu_bytes=max(MIN_MTU_BYTES, network.mtu_bytes),
        up=port.admin_up and network.admin_up,
    )


class PortSync(Reconciler):
    """Plugs and unplugs the ports of this node's servers."""

    name = "network.ports"
    watches = (Port, Network)
    resync_s = 60.0
    workers = 4

    def __init__(self, control: Control, bridges: Bridges, security: Security, dhcp: Dhcp) -> None:
        super().__init__(control)
        self._bridges = bridges
        self._security = security
        self._dhcp = dhcp
        self._network_of: dict[str, str] = {}
        """Of plugged ports: what is left to look at when a row is gone."""

    def start(self) -> None:
        """Take back what rows say of taps that are gone, as after a reboot: servers must wait for them."""
        links = self._bridges.links.names()
        ports = local_ports(self.control.db, self.control.node_id)
        lost = [port for port in ports if port.have and tap_name(port.id) not in links]
        if lost:
            now = self.control.clock.now_us()
            self.control.commit([patch(Port, port.id, have="", updated_at=now) for port in lost])

    def keys(self) -> Iterable[str]:
        """Return the ports of this node and the taps that no port justifies."""
        ports = {
            tap_name(port.id): port.id
            for port in local_ports(self.control.db, self.control.node_id)
        }
        taps = {
            name for name in self._bridges.links.names() if name.startswith("tap") and is_ours(name)
        }
        known = {tap_name(port_id) for port_id in self._network_of}
        strays = [f"{_LINK}{name}" for name in sorted(taps - ports.keys() - known)]
        gone = (self._security.guarded() | self._network_of.keys()) - set(ports.values())
        return [*ports.values(), *sorted(gone), *strays]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return a changed port that is or was here, or the ports here of a changed network."""
        if row_type is Network:
            return [
                port_id
                for port_id, network_id in list(self._network_of.items())
                if network_id == id
            ]
        if id in self._network_of:
            return [id]
        port = self.control.db.get(Port, id)
        return [id] if port is not None and self._is_here(port) else []

    def reconcile(self, key: str) -> Done:
        """Plug or unplug one port."""
        if key.startswith(_LINK):
            return self._remove_stray(key.removeprefix(_LINK))
        port = self.control.db.get(Port, key)
        network = self.control.db.get(Network, port.network_id) if port is not None else None
        if port is None or network is None or not self._is_here(port):
            self._unplug(key)
            return Done()
        return self._plug(port, network)

    def _is_here(self, port: Port) -> bool:
        return port.node_id == self.control.node_id and port.device_owner.startswith(COMPUTE_PREFIX)

    def _plug(self, port: Port, network: Network) -> Done:
        first = port.id not in self._network_of
        self._network_of[port.id] = network.id
        self._bridges.ensure(network)
        self._security.guard(port)
        self._bridges.links.ensure_tap(tap_plan(port, network))
        self._dhcp.ensure(network.id, port.rev)
        if first:
            self.control.wake("network.overlay", network.id)
            for router_id in routers_of(self.control.db, network.id):
                self.control.wake("network.routers", router_id)
        have = "active" if port.admin_up and network.admin_up else "down"
        if port.have == have and not port.fault:
            return Done()
        now = self.control.clock.now_us()
        return Done(ops=[check(port), patch(Port, port.id, have=have, fault="", updated_at=now)])

    def _unplug(self, port_id: str) -> None:
        if not self._bridges.links.let_go(tap_name(port_id)):
            self.control.wake(self.name, f"{_LINK}{tap_name(port_id)}")
        self._security.release(port_id)
        network_id = self._network_of.pop(port_id, "")
        if network_id:
            self.control.wake("network.dhcp", network_id)
            self.control.wake("network.overlay", network_id)
            self.control.wake("network.bridges", network_id)
            for router_id in routers_of(self.control.db, network_id):
                self.control.wake("network.routers", router_id)

    def _remove_stray(self, name: str) -> Done:
        """Remove a tap that no port justifies, as soon as no guest holds it any more."""
        ports = local_ports(self.control.db, self.control.node_id)
        if name in {tap_name(port.id) for port in ports} or self._bridges.links.let_go(name):
            return Done()
        return Done(again_s=_HELD_S)
