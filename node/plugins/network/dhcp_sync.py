"""Serves DHCP, DNS and metadata to the networks that this node's servers are on."""

import contextlib
import logging
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from node.plugins.network.dhcp_plan import DhcpPlan, arguments, dhcp_plan, kept_leases, stale_leases
from node.plugins.network.drivers.dns_relay import DnsRelay
from node.plugins.network.drivers.dnsmasq import Dnsmasq, unprivileged_user
from node.plugins.network.drivers.metadata_server import MetadataServer
from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.names import dhcp_link, dhcp_namespace
from node.plugins.network.network_sync import Bridges
from node.plugins.network.section import NetworkSection
from node.plugins.network.served import has_server_port, server_networks
from node.plugins.network.tables import (
    COMPUTE_PREFIX,
    DHCP,
    METADATA_ADDRESS,
    METADATA_ADDRESS6,
    Network,
    Port,
    Subnet,
)
from node.sdk import Control, Done, Reconciler, Row, check, patch

log = logging.getLogger("hedgerow.network")

_LINK = "link:"


class Dhcp:
    """The DHCP services of this node."""

    def __init__(
        self,
        control: Control,
        bridges: Bridges,
        namespaces: Namespaces,
        metadata: MetadataServer,
        relay: DnsRelay,
        directory: Path,
    ) -> None:
        self._control = control
        self._bridges = bridges
        self._namespaces = namespaces
        self._metadata = metadata
        self._relay = relay
        self.directory = directory
        self._seen: dict[str, int] = {}
        """Up to which revision each network's service knows the rows."""
        self._network_of: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def ensure(self, network_id: str, rev: int = 0) -> DhcpPlan | None:
        """Serve a network as its rows say; return the plan, or None when it is not served.

        With `rev`, nothing is looked at when the service knows that revision already.

        Raises:
            DnsmasqError: dnsmasq did not start.
            OSError: the kernel refused something.
        """
        with self._lock_of(network_id):
            if rev and self._seen.get(network_id, 0) >= rev:
                return None
            db = self._control.db
            with db.snapshot():
                seen = db.generation(Network, Subnet, Port)
                plan = self._plan(network_id)
            if plan is None:
                self._remove(network_id)
            else:
                self._apply(plan)
                self._seen[network_id] = max(seen, rev)
            return plan

    def remove(self, network_id: str) -> None:
        """Remove a network's service."""
        with self._lock_of(network_id):
            self._remove(network_id)

    def network_of(self, port_id: str) -> str:
        """Return the network of a port that a service knows; empty when unknown."""
        return self._network_of.get(port_id, "")

    def served(self) -> set[str]:
        """Return the networks that have a service, or remains of one."""
        prefix = dhcp_namespace("")
        found = {
            name.removeprefix(prefix)
            for name in self._namespaces.names()
            if name.startswith(prefix)
        }
        if self.directory.is_dir():
            found |= {entry.name for entry in self.directory.iterdir()}
        return found

    def _lock_of(self, network_id: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(network_id, threading.Lock())

    def _plan(self, network_id: str) -> DhcpPlan | None:
        db = self._control.db
        network = db.get(Network, network_id)
        if network is None or not has_server_port(db, self._control.node_id, network_id):
            return None
        subnets = db.rows(Subnet, network_id=network_id)
        dhcp_port = db.one(Port, network_id=network_id, device_owner=DHCP)
        if dhcp_port is None or not any(subnet.enable_dhcp for subnet in subnets):
            return None
        ports = [
            port
            for port in db.rows(Port, network_id=network_id)
            if port.device_owner.startswith(COMPUTE_PREFIX) and port.fixed_ips
        ]
        return dhcp_plan(
            network,
            subnets,
            dhcp_port,
            ports,
            self._control.config.section(NetworkSection).dns_domain,
        )

    def _apply(self, plan: DhcpPlan) -> None:
        network = self._control.db.must(Network, plan.network_id)
        self._bridges.ensure(network)
        self._namespaces.ensure(plan.namespace)
        self._bridges.links.ensure_veth(plan.veth)
        dnsmasq = self._dnsmasq(plan.network_id)
        stale = stale_leases(dnsmasq.leases(), plan.owners)
        if stale or dnsmasq.pid() is None:
            dnsmasq.stop()
            if dnsmasq.leases():
                (dnsmasq.directory / "leases").write_text(
                    kept_leases(dnsmasq.leases(), plan.owners)
                )
        dnsmasq.ensure(
            arguments(plan, str(dnsmasq.directory), unprivileged_user()),
            {"hosts": plan.hosts, "names": plan.names, "options": plan.options},
        )
        self._relay.listen(plan.namespace)
        networks = (plan.network_id,)
        self._metadata.listen(plan.namespace, METADATA_ADDRESS, 80, networks)
        self._metadata.listen(plan.namespace, METADATA_ADDRESS6, 80, networks, link=plan.veth.inner)
        with self._lock:
            self._network_of.update(dict.fromkeys(plan.port_ids, plan.network_id))

    def _remove(self, network_id: str) -> None:
        namespace = dhcp_namespace(network_id)
        self._seen.pop(network_id, None)
        self._dnsmasq(network_id).remove()
        self._metadata.close(namespace)
        self._relay.close(namespace)
        self._bridges.links.remove(dhcp_link(network_id))
        if namespace in self._namespaces.names():
            self._namespaces.remove(namespace)
        with self._lock:
            for port_id in [key for key, value in self._network_of.items() if value == network_id]:
                del self._network_of[port_id]

    def _dnsmasq(self, network_id: str) -> Dnsmasq:
        return Dnsmasq(self.directory / network_id, dhcp_namespace(network_id), self._namespaces)

    def clear(self) -> None:
        """Remove all services and the directory."""
        for network_id in self.served():
            self.remove(network_id)
        shutil.rmtree(self.directory, ignore_errors=True)
        for parent in list(self.directory.parents)[
            :2
        ]:  # ours alone, and one that other nodes may share
            with contextlib.suppress(OSError):
                parent.rmdir()


class DhcpSync(Reconciler):
    """Keeps the DHCP services of this node as the rows say."""

    name = "network.dhcp"
    watches = (Network, Subnet, Port)
    resync_s = 60.0
    workers = 2

    def __init__(self, control: Control, dhcp: Dhcp) -> None:
        super().__init__(control)
        self._dhcp = dhcp

    def keys(self) -> Iterable[str]:
        """Return the networks that are or were served here."""
        return sorted(server_networks(self.control.db, self.control.node_id) | self._dhcp.served())

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the network of a changed row, where it is served here."""
        served = self._dhcp.served()
        if row_type is Network:
            return [id] if id in served else []
        if row_type is Subnet:
            subnet = self.control.db.get(Subnet, id)
            return [subnet.network_id] if subnet is not None else sorted(served)
        known = self._dhcp.network_of(id)
        if known:
            return [known]
        port = self.control.db.get(Port, id)
        if port is None or port.network_id not in served:
            return []
        wanted = port.device_owner == DHCP or port.device_owner.startswith(COMPUTE_PREFIX)
        return [port.network_id] if wanted else []

    def reconcile(self, key: str) -> Done:
        """Serve one network, or end its service; report its DHCP port."""
        plan = self._dhcp.ensure(key)
        port = self.control.db.get(Port, plan.port_id) if plan is not None else None
        if port is None or port.have == "active":
            return Done()
        now = self.control.clock.now_us()
        return Done(ops=[check(port), patch(Port, port.id, have="active", updated_at=now)])
