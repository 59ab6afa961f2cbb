"""Joins this node's bridges with those of the same networks on other nodes.

What a network's ports are is remembered, so that a changed port costs one read and a few entries in one message
however many ports there are. A resync reads everything, the kernel's entries too, and mends what differs.
"""

import contextlib
import ipaddress
import logging
import threading
from collections.abc import Iterable, Mapping

from node.plugins.network.drivers import forwarding
from node.plugins.network.drivers.forwarding import Tunnel
from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.drivers.nft import NftTable
from node.plugins.network.link_plan import TunnelPlan
from node.plugins.network.names import is_ours, tunnel_link
from node.plugins.network.network_sync import Bridges
from node.plugins.network.overlay_plan import (
    FENCE_TABLE,
    NEIGHBOUR,
    TUNNEL_TABLE,
    Key,
    Station,
    entries,
    fence_fragment,
    is_overlay,
    station,
    tunnel_fragment,
    tunnel_plan,
)
from node.plugins.network.section import NetworkSection
from node.plugins.network.served import bridge_is_served, served_networks
from node.plugins.network.tables import DHCP, ROUTER_INTERFACE, Network, Port, Router
from node.sdk import Control, Done, NodeRow, Reader, Reconciler, Row

log = logging.getLogger("hedgerow.network")

_LINK = "link:"


class _Model:
    """What is remembered of one network."""

    def __init__(self) -> None:
        self.stations: dict[str, Station] = {}
        self.dhcp: dict[str, Port] = {}
        self.changed: set[str] = set()
        """Ports to read again."""
        self.read_all = True
        self.compare = True
        """Look at the kernel's entries."""
        self.plan: TunnelPlan | None = None
        self.tunnel: Tunnel | None = None
        self.installed: dict[Key, str] = {}


class Overlay:
    """The tunnels of this node."""

    def __init__(self, control: Control, bridges: Bridges, namespaces: Namespaces) -> None:
        self._control = control
        self._bridges = bridges
        self._namespaces = namespaces
        self._fence = NftTable(FENCE_TABLE, namespaces)
        self._guard = NftTable(TUNNEL_TABLE, namespaces)
        self._models: dict[str, _Model] = {}
        self._network_of: dict[str, str] = {}
        """Of ports that a model knows: what is left to look at when a row is gone."""
        self._lock = threading.Lock()
        self._tables_lock = threading.RLock()

    def ensure(self, network: Network) -> bool:
        """Join a network with the nodes that have ports on it; say whether there are any."""
        db = self._control.db
        own = self._control.node_id
        with self._lock:
            model = self._models.setdefault(network.id, _Model())
            changed, model.changed = model.changed, set()
            read_all, model.read_all = model.read_all, False
        try:
            with db.snapshot():
                nodes = node_addresses(db)
                self._read(db, network.id, model, None if read_all else changed)
            wanted: dict[Key, str] = {}
            if own in nodes and is_overlay(network):
                broadcast = self._control.config.section(NetworkSection).overlay_broadcast
                wanted = entries(model.stations.values(), own, nodes, broadcast=broadcast)
            if wanted:
                self._join(network, model, nodes, wanted)
            else:
                self._part(network.id, model)
        except BaseException:
            with self._lock:
                model.read_all = model.compare = True
            raise
        return bool(wanted)

    def fence_wire(self, network: Network) -> None:
        """Keep what every node has for an external network off the wire on which they all are."""
        link = self._bridges.uplinks().get(network.id, "")
        ports = self._control.db.rows(Port, network_id=network.id, device_owner=DHCP)
        wanted = fence_fragment(network.id, ports, link) if link and ports else None
        with self._tables_lock:
            if wanted is not None or self._fence.fragment(network.id) is not None:
                self._fence.apply({network.id: wanted})

    def remove(self, network_id: str) -> None:
        """Forget a network and remove its tunnel."""
        with self._lock:
            model = self._models.pop(network_id, None)
            for port_id in [key for key, value in self._network_of.items() if value == network_id]:
                del self._network_of[port_id]
        self._part(network_id, model or _Model())

    def doubt(self, network_id: str) -> None:
        """Have everything of a network read again at the next look, the kernel's entries too."""
        with self._lock:
            model = self._models.get(network_id)
            if model is not None:
                model.read_all = model.compare = True

    def lost(self, name: str) -> list[str]:
        """Return the networks whose tunnel has that name; all of them is read again at the next look."""
        found = [network_id for network_id in self.known() if tunnel_link(network_id) == name]
        for network_id in found:
            self.doubt(network_id)
        return found

    def note(self, network_id: str, port_id: str) -> bool:
        """Have a port read again at the next look; say whether the network is one that is looked at."""
        with self._lock:
            model = self._models.get(network_id)
            if model is not None:
                model.changed.add(port_id)
            return model is not None

    def network_of(self, port_id: str) -> str:
        """Return the network of a port that a model knows; empty when unknown."""
        return self._network_of.get(port_id, "")

    def installed(self, network_id: str) -> set[Key]:
        """Return the entries that a network's tunnel and bridge have."""
        model = self._models.get(network_id)
        return set(model.installed) if model is not None else set()

    def known(self) -> set[str]:
        """Return the networks that are remembered."""
        return set(self._models)

    def remove_stray(self, name: str) -> None:
        """Remove a link."""
        self._bridges.links.remove(name)

    def tunnels(self) -> set[str]:
        """Return the names of the tunnels that exist."""
        return {
            name for name in self._bridges.links.names() if name.startswith("hv") and is_ours(name)
        }

    def tables(self) -> list[str]:
        """Return the tables that the kernel has."""
        return [table.spec.path for table in (self._fence, self._guard) if table.listing()]

    def verify(self) -> None:
        """Put back the tables that somebody removed."""
        with self._tables_lock:
            if self._fence.owners():
                self._fence.verify()
            if self._guard.owners():
                self._guard.verify()

    def remove_tables(self) -> None:
        """Remove the tables."""
        self._fence.remove()
        self._guard.remove()

    def _read(self, db: Reader, network_id: str, model: _Model, only: set[str] | None) -> None:
        if only is None:
            ports = db.rows(Port, network_id=network_id)
            stale = {*model.stations, *model.dhcp} - {port.id for port in ports}
        elif only:
            ports = [port for port in db.rows(Port, id=only) if port.network_id == network_id]
            stale = only - {port.id for port in ports}
        else:
            return
        for port_id in stale:
            model.stations.pop(port_id, None)
            model.dhcp.pop(port_id, None)
        routers = _router_nodes(db, ports)
        for port in ports:
            found = station(port, routers)
            if found is not None:
                model.stations[port.id] = found
            else:
                model.stations.pop(port.id, None)
            if port.device_owner == DHCP:
                model.dhcp[port.id] = port
        with self._lock:
            for port_id in stale:
                self._network_of.pop(port_id, None)
            self._network_of.update(dict.fromkeys((*model.stations, *model.dhcp), network_id))

    def _join(
        self, network: Network, model: _Model, nodes: Mapping[str, str], wanted: dict[Key, str]
    ) -> None:
        local = nodes[self._control.node_id]
        peers = [address for node_id, address in nodes.items() if node_id != self._control.node_id]
        with self._tables_lock:  # before the link: what every node has must not meet its likes
            self._guard.apply({"tunnels": tunnel_fragment(local, peers)})
            self._fence.apply({network.id: fence_fragment(network.id, model.dhcp.values())})
        loose = any(one.loose for one in model.stations.values())
        plan = tunnel_plan(network, local, loose=loose)
        indexes = (self._bridges.links.index(plan.name), self._bridges.links.index(plan.bridge))
        if model.compare or plan != model.plan or model.tunnel != indexes:
            self._bridges.ensure(network)
            model.tunnel = Tunnel(*self._bridges.links.ensure_tunnel(plan))
            model.installed = forwarding.read(model.tunnel)
            model.plan, model.compare = plan, False
        changes = [(k, v) for k, v in wanted.items() if model.installed.get(k) != v]
        removals = [key for key in model.installed if key not in wanted]
        refused = forwarding.write(model.tunnel, changes, removals) if changes or removals else []
        model.installed = wanted
        if refused:
            model.compare = True
            raise OSError(
                refused[0].code,
                f"The kernel refused {len(refused)} forwarding entries of {plan.name}, "
                f"the first for {' '.join(refused[0].key)}",
            )

    def _part(self, network_id: str, model: _Model) -> None:
        """Remove the tunnel, and what the bridge knew of guests behind it."""
        if model.tunnel is not None:
            neighbours = [key for key in model.installed if key[0] == NEIGHBOUR]
            forwarding.write(model.tunnel, [], neighbours)
        model.plan, model.tunnel, model.installed = None, None, {}
        self._bridges.links.remove(tunnel_link(network_id))
        with self._tables_lock:
            if self._fence.fragment(network_id) is not None:
                self._fence.apply({network_id: None})
            if not self._fence.owners() and self._fence.loaded:
                self.remove_tables()


class OverlaySync(Reconciler):
    """Keeps the tunnels of this node as the rows say."""

    name = "network.overlay"
    watches = (Port, Network, Router, NodeRow)
    resync_s = 60.0
    workers = 2

    def __init__(self, control: Control, overlay: Overlay) -> None:
        super().__init__(control)
        self._overlay = overlay
        self._addresses: dict[str, str] | None = None

    def keys(self) -> Iterable[str]:
        """Return the networks that are or were served here and could span nodes, and stray tunnels."""
        db = self.control.db
        known = self._overlay.known()
        wanted = known | (
            served_networks(db, self.control.node_id) if len(node_addresses(db)) > 1 else set()
        )
        strays = self._overlay.tunnels() - {tunnel_link(one) for one in wanted}
        for network_id in known:
            self._overlay.doubt(network_id)
        self._overlay.verify()
        return [*sorted(wanted), *(f"{_LINK}{name}" for name in sorted(strays))]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the networks that a changed row concerns, of those that are served here."""
        db = self.control.db
        if row_type is Network:
            return [id] if id in self._overlay.known() else []
        if row_type is NodeRow:
            addresses = node_addresses(db)
            moved = addresses != self._addresses
            self._addresses = addresses
            return list(self.keys()) if moved else []
        if row_type is Router:
            interfaces = db.rows(Port, device_id=id, device_owner=ROUTER_INTERFACE)
            return [p.network_id for p in interfaces if self._overlay.note(p.network_id, p.id)]
        port = db.get(Port, id)
        networks = {self._overlay.network_of(id), port.network_id if port is not None else ""}
        if port is not None and port.device_owner == DHCP:
            return sorted(networks - {""})
        return [one for one in sorted(networks - {""}) if self._overlay.note(one, id)]

    def reconcile(self, key: str) -> Done:
        """Make or remove one network's tunnel."""
        if key.startswith(_LINK):
            name = key.removeprefix(_LINK)
            if name not in {tunnel_link(one) for one in self._overlay.known()}:
                self._overlay.remove_stray(name)
            return Done()
        db, node_id = self.control.db, self.control.node_id
        network = db.get(Network, key)
        nodes = node_addresses(db)
        alone = len(nodes) < 2 or node_id not in nodes
        if network is None or alone or not bridge_is_served(db, node_id, network):
            self._overlay.remove(key)
        elif is_overlay(network):
            self._overlay.ensure(network)
        elif network.external:
            self._overlay.fence_wire(network)
        return Done()


def node_addresses(db: Reader) -> dict[str, str]:
    """Return the address of each node that has one."""
    found = {}
    for row in db.rows(NodeRow, order_by=()):
        with contextlib.suppress(ValueError):
            found[row.id] = str(ipaddress.ip_address(row.address))
    return found


def _router_nodes(db: Reader, ports: Iterable[Port]) -> dict[str, str]:
    """Return the node of each router that has one of the ports."""
    ids = {port.device_id for port in ports if port.device_owner == ROUTER_INTERFACE}
    routers = db.rows(Router, id=ids, order_by=()) if ids else []
    return {router.id: router.node_id for router in routers if router.admin_up}
