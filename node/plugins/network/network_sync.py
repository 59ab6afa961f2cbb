"""Makes the bridges of this node, and the way out of external networks."""

import contextlib
import logging
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from node.plugins.network.drivers.links import Links
from node.plugins.network.drivers.namespaces import Namespaces, write_sysctls
from node.plugins.network.drivers.nft import NftTable
from node.plugins.network.names import bridge_name
from node.plugins.network.network_plan import NAT_TABLE, bridge_plan, nat_fragment
from node.plugins.network.section import NetworkSection
from node.plugins.network.served import bridge_is_served
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

    def ensure(self, network: Network) -> str:
        """Make a network's bridge and return its name."""
        subnets = self._control.db.rows(Subnet, network_id=network.id) if network.external else []
        plan = bridge_plan(network, subnets, self._control.node_id)
        self.links.ensure_bridge(plan)
        return plan.name

    def ensure_uplink(self) -> None:
        """Forward and hide the external networks that this node is the gateway of."""
        networks = self._control.db.rows(Network, external=True)
        own = [network.id for network in networks if not network.physical_network]
        subnets = self._control.db.rows(Subnet, network_id=own) if own else []
        hidden = subnets if self._control.config.section(NetworkSection).external_nat else []
        if subnets:
            write_sysctls({"net/ipv4/ip_forward": "1"})
        if any(
            subnet.ip_version == 6 for subnet in subnets
        ):  # it ends router discovery on the uplink
            write_sysctls({"net/ipv6/conf/all/forwarding": "1"})
        if hidden:
            self._nat.apply({"external": nat_fragment(hidden)})
            self._nat.verify()
        else:
            self._nat.remove()

    def tables(self) -> list[str]:
        """Return the tables that the kernel has."""
        return [NAT_TABLE.path] if self._nat.listing() else []

    def remove(self, name: str) -> None:
        """Remove a bridge."""
        self.links.remove(name)

    def remove_uplink(self) -> None:
        """Remove the address translation."""
        self._nat.remove()


class NetworkSync(Reconciler):
    """Makes a bridge for each network that needs one here, and removes the others."""

    name = "network.bridges"
    watches = (Network, Subnet)
    resync_s = 60.0

    def __init__(self, control: Control, bridges: Bridges, watch: Callable[[], None]) -> None:
        super().__init__(control)
        self._bridges = bridges
        self._watch = watch

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
        """Return the networks, the bridges that no network justifies, and the way out."""
        networks = {
            bridge_name(network.id): network.id for network in self.control.db.rows(Network)
        }
        bridges = {name for name in self._bridges.links.names() if name.startswith(bridge_name(""))}
        strays = [f"{_LINK}{name}" for name in sorted(bridges - networks.keys()) if len(name) == 13]
        return [*networks.values(), *strays, _UPLINK]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the network of a changed row, and the way out."""
        if row_type is Network:
            return [id, _UPLINK]
        subnet = self.control.db.get(Subnet, id)
        return [subnet.network_id, _UPLINK] if subnet is not None else [_UPLINK]

    def reconcile(self, key: str) -> Done:
        """Make or remove one bridge."""
        if key == _UPLINK:
            self._bridges.ensure_uplink()
        elif key.startswith(_LINK):
            self._bridges.remove(key.removeprefix(_LINK))
        else:
            network = self.control.db.get(Network, key)
            if network is not None and bridge_is_served(
                self.control.db, self.control.node_id, network
            ):
                self._bridges.ensure(network)
            else:
                self._bridges.remove(bridge_name(key))
        return Done()
