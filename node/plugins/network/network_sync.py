"""Makes the bridges of this node, and the way out of external networks."""

import contextlib
import logging
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from node.plugins.network.drivers.links import Links
from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.drivers.nft import NftTable
from node.plugins.network.drivers.parameters import Parameters
from node.plugins.network.names import bridge_name, is_ours
from node.plugins.network.network_plan import NAT_TABLE, bridge_plan, nat_fragment, on_wire
from node.plugins.network.section import NetworkSection
from node.plugins.network.served import bridge_is_served, served_networks
from node.plugins.network.tables import Network, Subnet
from node.sdk import Control, Done, Reconciler, Row

log = logging.getLogger("hedgerow.network")

_UPLINK = "uplink"
_LINK = "link:"


class Bridges:
    """The bridges of this node."""

    def __init__(self, control: Control, links: Links, namespaces: Namespaces) -> None:
        self._control = control
        self.links = links
        self._nat = NftTable(NAT_TABLE, namespaces)
        self._parameters = Parameters(control.config.state_dir / "network" / "parameters.json")
        self._nat_is_gone = False
        self.external_ids: set[str] = set()
        """External networks and their subnets as last seen: what is left to look at when a row is gone."""

    def ensure(self, network: Network) -> str:
        """Make a network's bridge and return its name."""
        subnets, uplink = [], ""
        if network.external:
            subnets = self._control.db.rows(Subnet, network_id=network.id)
            uplink = self.uplinks().get(network.id, "")
        plan = bridge_plan(network, subnets, self._control.node_id, uplink)
        self.links.ensure_bridge(plan)
        if plan.uplink:
            self.links.enslave(plan.uplink, plan.name)
        return plan.name

    def uplinks(self) -> dict[str, str]:
        """Return the physical interface of the external network that has one."""
        name = self._control.config.section(NetworkSection).public_interface
        found = on_wire(self._control.db.rows(Network, external=True)) if name else ""
        return {found: name} if found else {}

    def ensure_uplink(self) -> None:
        """Forward and hide the external networks that this node is the gateway of."""
        networks = self._control.db.rows(Network, external=True)
        wired = self.uplinks()
        own = [n.id for n in networks if not n.physical_network and n.id not in wired]
        subnets = self._control.db.rows(Subnet, network_id=own) if own else []
        self.external_ids = {*own, *(subnet.id for subnet in subnets)}
        hidden = subnets if self._control.config.section(NetworkSection).external_nat else []
        if subnets:
            self._parameters.set("net/ipv4/ip_forward", "1")
        if any(
            subnet.ip_version == 6 for subnet in subnets
        ):  # it ends router discovery on the uplink
            self._parameters.set("net/ipv6/conf/all/forwarding", "1")
        if hidden:
            self._nat.apply({"external": nat_fragment(hidden)})
            self._nat.verify()
            self._nat_is_gone = False
        elif not self._nat_is_gone:
            self._nat.remove()
            self._nat_is_gone = True

    def tables(self) -> list[str]:
        """Return the tables that the kernel has."""
        return [NAT_TABLE.path] if self._nat.listing() else []

    def remove(self, name: str) -> None:
        """Remove a bridge."""
        self.links.remove(name)

    def remove_uplink(self) -> None:
        """Remove the address translation, and let the machine forward or not as it did before."""
        self._nat.remove()
        self._parameters.give_back()


class NetworkSync(Reconciler):
    """Makes a bridge for each network that needs one here, and removes the others."""

    name = "network.bridges"
    watches = (Network, Subnet)
    resync_s = 60.0

    def __init__(
        self,
        control: Control,
        bridges: Bridges,
        watch: Callable[[], None],
        inventory: Callable[[], Mapping[str, Sequence[str]]],
    ) -> None:
        super().__init__(control)
        self._bridges = bridges
        self._watch = watch
        self._inventory = inventory

    def world(self) -> Mapping[str, Sequence[str]]:
        """Return everything of the network plugin on this machine, not the bridges alone."""
        return self._inventory()

    def start(self) -> None:
        """Watch links, and have bridged packets shown to the inet tables: needs br_netfilter."""
        self._watch()
        if not Path("/proc/sys/net/bridge").exists():
            with contextlib.suppress(OSError):
                subprocess.run(
                    ["modprobe", "br_netfilter"], capture_output=True, timeout=30, check=False
                )
        if not Path("/proc/sys/net/bridge").exists():
            log.error(
                "The kernel has no br_netfilter: security groups cannot know connections; load that module"
            )

    def keys(self) -> Iterable[str]:
        """Return the networks that need a bridge here or have one, stray bridges, and the way out."""
        db = self.control.db
        wanted = {bridge_name(one): one for one in served_networks(db, self.control.node_id)}
        extra = {
            name for name in self._bridges.links.names() if name.startswith("hb") and is_ours(name)
        }
        strays = [f"{_LINK}{name}" for name in sorted(extra - wanted.keys())]
        return [*wanted.values(), *strays, _UPLINK]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the network of a changed row, and the way out when it is or was an external one."""
        db = self.control.db
        subnet = db.get(Subnet, id) if row_type is Subnet else None
        network_id = id if row_type is Network else subnet.network_id if subnet is not None else ""
        network = db.get(Network, network_id) if network_id else None
        outside = id in self._bridges.external_ids or (network is not None and network.external)
        return [key for key in (network_id, _UPLINK if outside else "") if key]

    def reconcile(self, key: str) -> Done:
        """Make or remove one bridge."""
        if key == _UPLINK:
            self._bridges.ensure_uplink()
        elif key.startswith(_LINK):
            name = key.removeprefix(_LINK)
            if name not in {
                bridge_name(one) for one in served_networks(self.control.db, self.control.node_id)
            }:
                self._bridges.remove(name)
        else:
            network = self.control.db.get(Network, key)
            if network is not None and bridge_is_served(
                self.control.db, self.control.node_id, network
            ):
                self._bridges.ensure(network)
            else:
                self._bridges.remove(bridge_name(key))
        return Done()
