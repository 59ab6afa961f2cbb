"""Bridges: which networks this node has a bridge for, and what it looks like."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from node.plugins.network.link_plan import BridgePlan
from node.plugins.network.names import bridge_mac, bridge_name
from node.plugins.network.nft_plan import Fragment, TableSpec
from node.plugins.network.tables import Network, Subnet

MIN_MTU_BYTES = 68

NAT_TABLE = TableSpec(
    family="ip",
    name="hedgerow_nat",
    skeleton="""
  set external { type ipv4_addr ; flags interval ; }
  chain out {
    type nat hook postrouting priority 100; policy accept;
    oifname "hb*" return
    ip saddr @external masquerade
  }
""",
)


def on_wire(networks: Iterable[Network]) -> str:
    """Return which external network a node's public interface belongs to; empty: none.

    It is the one that names a physical network, else the oldest.
    """
    external = [network for network in networks if network.external]
    order = lambda n: (not n.physical_network, n.created_at, n.id)  # noqa: E731
    return min(external, key=order).id if external else ""


def bridge_plan(
    network: Network, subnets: Iterable[Subnet], node_id: str, uplink: str = ""
) -> BridgePlan:
    """Return a network's bridge. The node is the gateway of external networks that are not on a physical one.

    `uplink` is the interface that joins the bridge with the network's wire.
    """
    addresses: list[str] = []
    if network.external and not network.physical_network and not uplink:
        for subnet in subnets:
            if subnet.gateway_ip:
                length = ipaddress.ip_network(subnet.cidr).prefixlen
                addresses.append(f"{subnet.gateway_ip}/{length}")
    return BridgePlan(
        name=bridge_name(network.id),
        mac=bridge_mac(node_id, network.id),
        mtu_bytes=max(MIN_MTU_BYTES, network.mtu_bytes),
        addresses=tuple(sorted(addresses)),
        uplink=uplink,
    )


def nat_fragment(subnets: Iterable[Subnet]) -> Fragment:
    """Return the IPv4 ranges of external networks that are hidden behind the node's own address."""
    nets = {ipaddress.IPv4Network(subnet.cidr) for subnet in subnets if subnet.ip_version == 4}
    return Fragment(
        elements={"external": {str(net): "" for net in ipaddress.collapse_addresses(nets)}}
    )


def dropping_chains(chains: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the forward chains that drop by default (`ip filter FORWARD`): they come before or after ours, and win."""
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward"
        and chain.get("policy") == "drop"
        and chain["family"] in ("ip", "ip6", "inet", "bridge")
    ]
