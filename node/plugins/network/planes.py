"""The data plane of this node, put together: reconcilers, listing, and taking all of it down."""

import hashlib
import socket
from collections.abc import Sequence
from pathlib import Path

from node.plugins.network.dhcp_sync import Dhcp, DhcpSync
from node.plugins.network.drivers.dns_relay import DnsRelay, resolvers
from node.plugins.network.drivers.link_watch import LinkWatch
from node.plugins.network.drivers.links import Links
from node.plugins.network.drivers.metadata_server import MetadataServer
from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.drivers.nft import listed_chains
from node.plugins.network.drivers.router_advert import RouterAdvert
from node.plugins.network.gateway_sync import Fence, GatewaySync
from node.plugins.network.metadata_plan import answer, find_port
from node.plugins.network.names import bridge_name, dhcp_link, is_ours
from node.plugins.network.network_plan import dropping_chains
from node.plugins.network.network_sync import Bridges, NetworkSync
from node.plugins.network.overlay_sync import Overlay, OverlaySync, node_addresses
from node.plugins.network.port_sync import PortSync
from node.plugins.network.router_sync import Routers, RouterSync
from node.plugins.network.section import NetworkSection
from node.plugins.network.security_sync import Security, SecuritySync, local_ports
from node.plugins.network.tables import Network, Router, tap_name
from node.sdk import Control, NodeRow, Reconciler, ServerMetadata


class Planes:
    """Everything that the network plugin holds of this node's world, shared by its reconcilers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        directory = control.config.state_dir / "network"
        section = control.config.section(NetworkSection)
        listed = [server.strip() for server in section.dns_servers.split(",") if server.strip()]
        self.namespaces = Namespaces(directory / "namespaces")
        self.links = Links(self.namespaces)
        self.metadata = MetadataServer(self.namespaces, self._metadata, self._posted)
        self.relay = DnsRelay(self.namespaces, lambda: listed or resolvers())
        self.adverts = RouterAdvert(self.namespaces)
        self.bridges = Bridges(control, self.links, self.namespaces)
        self.security = Security(control, self.namespaces)
        self.dhcp = Dhcp(
            control,
            self.bridges,
            self.namespaces,
            self.metadata,
            self.relay,
            run_directory(control),
        )
        self.watch = LinkWatch(self._link_gone)
        self.overlay = Overlay(control, self.bridges, self.namespaces)
        self.fence = Fence(control)
        self.routers = Routers(self.bridges, self.namespaces, self.metadata, self.adverts)

    def reconcilers(self) -> list[Reconciler]:
        """Return the reconcilers; the last one closes what they share."""
        control = self.control
        return [
            SecuritySync(control, self.security),
            NetworkSync(control, self.bridges, self.watch.start, self.inventory),
            PortSync(control, self.bridges, self.security, self.dhcp),
            OverlaySync(control, self.overlay),
            DhcpSync(control, self.dhcp),
            GatewaySync(control, self.links, self.fence),
            RouterSync(control, self.routers, self.fence, self.stop),
        ]

    def stop(self) -> None:
        """Stop serving; namespaces, links, rules and dnsmasq stay."""
        self.watch.stop()
        self.metadata.stop()
        self.relay.stop()
        self.adverts.stop()

    def inventory(self) -> dict[str, list[str]]:
        """Return what exists here under our naming, by kind: what leak tests count."""
        links = sorted(name for name in self.links.names() if is_ours(name))
        return {
            "bridges": [name for name in links if name.startswith("hb")],
            "taps": [name for name in links if name.startswith("tap")],
            "veths": [name for name in links if name.startswith(("hd", "hr", "hg"))],
            "tunnels": [name for name in links if name.startswith("hv")],
            "namespaces": sorted(self.namespaces.names()),
            "dhcp": sorted(self.dhcp.served()),
            "tables": [
                *self.security.tables(),
                *self.bridges.tables(),
                *self.overlay.tables(),
            ],
        }

    def teardown(self) -> None:
        """Remove all of it: processes, namespaces, links, tables, files."""
        self.dhcp.clear()
        for router_id in self.routers.ids():
            self.routers.remove(router_id)
        for name in self.links.names():
            if is_ours(name):
                self.links.remove(name)
        self.security.remove()
        self.overlay.remove_tables()
        self.bridges.remove_uplink()
        self.stop()

    def _link_gone(self, name: str) -> None:
        """Have looked at what a removed link was part of; most often we removed it ourselves."""
        if not is_ours(name):
            return
        db, wake = self.control.db, self.control.wake
        if name.startswith(("hr", "hg")):
            for router_id in self.routers.ids():
                wake("network.routers", router_id)
            return
        for network_id in self.overlay.lost(name):
            wake("network.overlay", network_id)
        for port in local_ports(db, self.control.node_id):
            if name in (tap_name(port.id), bridge_name(port.network_id)):
                wake("network.ports", port.id)
            if name in (dhcp_link(port.network_id), bridge_name(port.network_id)):
                wake("network.dhcp", port.network_id)
        if name.startswith("hb"):
            for network in db.rows(Network):
                if bridge_name(network.id) == name:
                    wake("network.bridges", network.id)
                    wake("network.overlay", network.id)
            for router_id in self.routers.ids():
                wake("network.routers", router_id)

    def _metadata(self, networks: tuple[str, ...], source: str, path: str) -> bytes | None:
        """Return what a guest reads at a path.

        Raises:
            KeyError: no server is at that address.
        """
        return answer(self._metadata_of(networks, source).files, path)

    def _posted(self, networks: tuple[str, ...], source: str, path: str, body: bytes) -> int:
        """Take what a guest posts; return the HTTP status.

        Raises:
            KeyError: no server is at that address.
        """
        accept = self._metadata_of(networks, source).accept
        if accept is None:
            return 405
        status, ops = accept(path, body)
        return 409 if ops and not self.control.commit(ops) else status

    def _metadata_of(self, networks: tuple[str, ...], source: str) -> ServerMetadata:
        port = find_port(self.control.db, networks, source)
        if port is None or not port.device_id:
            raise KeyError(source)
        found = self.control.hook.metadata_of(
            db=self.control.db, hook=self.control.hook, server_id=port.device_id
        )
        if not isinstance(found, ServerMetadata):
            raise KeyError(port.device_id)
        return found


def run_directory(control: Control) -> Path:
    """Return where the files of dnsmasq are: it is not root, and the state directory is root's alone."""
    digest = hashlib.sha256(str(control.config.state_dir.absolute()).encode()).hexdigest()
    return Path("/run/hedgerow") / digest[:16] / "dhcp"


def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the network plugin's reconcilers for this node."""
    return Planes(control).reconcilers()


def inventory(control: Control) -> dict[str, list[str]]:
    """Return what exists on this node under our naming, by kind."""
    planes = Planes(control)
    try:
        return planes.inventory()
    finally:
        planes.stop()


def teardown(control: Control) -> None:
    """Remove everything of the network plugin from this node; the daemon must not be running."""
    Planes(control).teardown()


def health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Return whether connections are tracked on bridges and this node's ports are plugged."""
    found = []
    if not Path("/proc/sys/net/bridge").exists():
        sentence = "The kernel shows bridged packets to no table: load br_netfilter, or answers to guests are dropped."
        found.append(("network.connections", False, sentence))
    for chain in dropping_chains(listed_chains()):
        mend = "`iptables -I FORWARD -i hb+ -j ACCEPT` and the same with `-o hb+`"
        sentence = f"The host's own chain {chain} drops what it does not know, guests' traffic too: {mend}."
        found.append(("network.host_firewall", False, sentence))
    ports = local_ports(control.db, control.node_id)
    waiting = sum(port.have == "" for port in ports)
    sentence = f"{len(ports) - waiting} of {len(ports)} ports of servers are plugged"
    if waiting:
        sentence += "; the others are tried again, see `hedgerow debug reconcilers`"
    found.append(("network.ports", not waiting, f"{sentence}."))
    return [*found, *_overlay_health(control)]


def _overlay_health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Return whether this node's networks can span nodes; nothing is said where there is one node only."""
    nodes = control.db.rows(NodeRow, order_by=())
    if len(nodes) < 2:
        return []
    reached = node_addresses(control.db)
    lost = sorted(node.name or node.id for node in nodes if node.id not in reached)
    if lost:
        sentence = (
            f"{', '.join(lost)} told no address: networks do not reach there. It tells one when its daemon runs "
            "and has a route, or set [cluster] address"
        )
    else:
        spanning = sum(name.startswith("hv") for _index, name in socket.if_nameindex())
        sentence = f"{spanning} networks of this node span others"
        routers = control.db.count(Router, node_id=control.node_id)
        sentence += f", {routers} routers are placed here"
    return [("network.overlay", not lost, f"{sentence}.")]


def metrics(control: Control) -> dict[str, float]:
    """Return how many ports of servers this node has, and how many of them are not plugged yet."""
    ports = local_ports(control.db, control.node_id)
    return {
        "hedgerow_network_ports": float(len(ports)),
        "hedgerow_network_ports_waiting": float(sum(port.have == "" for port in ports)),
    }
