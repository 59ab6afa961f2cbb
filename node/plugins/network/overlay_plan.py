"""What joins a network's bridges on several nodes: pure functions of rows.

Every guest of another node is known from its port's row, so nothing is learnt and nothing is asked over the wire: the
tunnel has a forwarding entry for each MAC, and the bridge a neighbour entry for each address, from which it answers
ARP and neighbour solicitations itself. Entries are a dictionary, key to value, so that a change is a difference.

A network on which guests may use addresses that no row tells (a port without port security, or with allowed address
pairs: a virtual address that moves between guests is announced by gratuitous ARP, which suppression would swallow)
is *loose*: its questions and its frames to strange MACs go to all nodes that have guests on it.
"""

import ipaddress
from collections.abc import Iterable, Mapping

from node.plugins.network.link_plan import TunnelPlan
from node.plugins.network.names import bridge_name, tunnel_link
from node.plugins.network.network_plan import MIN_MTU_BYTES
from node.plugins.network.nft_plan import Fragment, TableSpec
from node.plugins.network.security_plan import link_local
from node.plugins.network.tables import (
    COMPUTE_PREFIX,
    DHCP,
    METADATA_ADDRESS,
    METADATA_ADDRESS6,
    ROUTER_INTERFACE,
    Network,
    Port,
)
from node.sdk import Frozen

VXLAN_PORT = 4789

FLOOD = "flood"
"""Key (FLOOD, node's address): broadcasts, multicasts and, on a loose network, frames to strange MACs go there."""
TUNNELLED = "tunnelled"
"""Key (TUNNELLED, MAC), value the address of the node where it is."""
BRIDGED = "bridged"
"""Key (BRIDGED, MAC): behind the tunnel."""
NEIGHBOUR = "neighbour"
"""Key (NEIGHBOUR, address), value its MAC."""
Key = tuple[str, str]

_METADATA6 = f"0x{int(ipaddress.IPv6Address(METADATA_ADDRESS6)):032x}"
FENCE_TABLE = TableSpec(
    family="bridge",
    name="hedgerow_overlay",
    skeleton=f"""
  set everywhere {{ type ifname . ether_addr; }}
  set answered {{ type ifname . ipv4_addr; }}
  set served {{ type ifname; }}
  chain through {{
    type filter hook forward priority 0; policy accept;
    iifname . ether saddr @everywhere drop
    oifname . ether saddr @everywhere drop
    oifname . ether daddr @everywhere drop
    oifname . arp daddr ip @answered drop
    oifname "hv*" arp daddr ip {METADATA_ADDRESS} drop
    oifname "hv*" icmpv6 type nd-neighbor-solicit @th,64,128 {_METADATA6} drop
    oifname @served udp dport {{ 67, 547 }} drop
  }}
""",
)
"""What is on every node alike, the DHCP server above all, is never looked for on another one."""

TUNNEL_TABLE = TableSpec(
    family="inet",
    name="hedgerow_tunnel",
    skeleton=f"""
  set own4 {{ type ipv4_addr; }}
  set own6 {{ type ipv6_addr; }}
  set peers4 {{ type ipv4_addr; }}
  set peers6 {{ type ipv6_addr; }}
  chain before {{
    type filter hook prerouting priority -300; policy accept;
    ip daddr @own4 udp dport {VXLAN_PORT} ip saddr != @peers4 drop
    ip6 daddr @own6 udp dport {VXLAN_PORT} ip6 saddr != @peers6 drop
    ip daddr @own4 udp dport {VXLAN_PORT} notrack
    ip6 daddr @own6 udp dport {VXLAN_PORT} notrack
  }}
  chain out {{
    type filter hook output priority -300; policy accept;
    ip saddr @own4 udp dport {VXLAN_PORT} notrack
    ip6 saddr @own6 udp dport {VXLAN_PORT} notrack
  }}
""",
)
"""Only nodes of the cluster may send into tenants' networks; the tunnels' own packets are not tracked."""


class Station(Frozen):
    """Who is on a network, and where."""

    node_id: str
    mac: str
    addresses: tuple[str, ...] = ()
    loose: bool = False


def is_overlay(network: Network) -> bool:
    """Return whether a network may span nodes."""
    return network.network_type == "vxlan" and network.segmentation_id > 0 and not network.external


def station(port: Port, router_nodes: Mapping[str, str]) -> Station | None:
    """Return what a port puts on its network, or None; `router_nodes` is the node of each router that is served."""
    if port.device_owner == ROUTER_INTERFACE:
        node_id = router_nodes.get(port.device_id, "") if port.admin_up else ""
    elif port.device_owner.startswith(COMPUTE_PREFIX):
        node_id = port.node_id
    else:
        return None
    if not node_id:
        return None
    addresses = [fixed.ip_address for fixed in port.fixed_ips]
    if any(":" in address for address in addresses):
        addresses.append(str(link_local(port.mac_address)))
    guest = port.device_owner != ROUTER_INTERFACE
    return Station(
        node_id=node_id,
        mac=port.mac_address,
        addresses=tuple(addresses),
        loose=guest and (not port.port_security or bool(port.address_pairs)),
    )


def entries(
    stations: Iterable[Station],
    own_node_id: str,
    nodes: Mapping[str, str],
    *,
    broadcast: bool = True,
) -> dict[Key, str]:
    """Return the entries that reach the stations on other nodes; `nodes` is the address of each node that has one.

    Nodes whose addresses are of another family than this node's are out of reach.
    """
    version = _version(nodes[own_node_id])
    reached = {
        node_id: address
        for node_id, address in nodes.items()
        if node_id != own_node_id and _version(address) == version
    }
    found: dict[Key, str] = {}
    for one in stations:
        address = reached.get(one.node_id, "")
        if not address:
            continue
        found[TUNNELLED, one.mac] = address
        found[BRIDGED, one.mac] = ""
        for ip in one.addresses:
            found[NEIGHBOUR, ip] = one.mac
        if broadcast:
            found[FLOOD, address] = ""
    return found


def tunnel_plan(network: Network, local: str, *, loose: bool) -> TunnelPlan:
    """Return a network's VXLAN link."""
    return TunnelPlan(
        name=tunnel_link(network.id),
        bridge=bridge_name(network.id),
        vni=network.segmentation_id,
        local=local,
        mtu_bytes=max(MIN_MTU_BYTES, network.mtu_bytes),
        loose=loose,
        port=VXLAN_PORT,
    )


def fence_fragment(network_id: str, ports: Iterable[Port], link: str = "") -> Fragment:
    """Return what must not pass a network's tunnel: the DHCP server's port among `ports`, which every node has.

    `link` is the physical interface of a network that has one in place of a tunnel.
    """
    tunnel = f'"{link or tunnel_link(network_id)}"'
    local = [port for port in ports if port.device_owner == DHCP]
    four = {
        fixed.ip_address
        for port in local
        for fixed in port.fixed_ips
        if ":" not in fixed.ip_address
    }
    return Fragment(
        elements={
            "everywhere": {f"{tunnel} . {port.mac_address}": "" for port in local},
            "answered": {f"{tunnel} . {address}": "" for address in four},
            "served": {tunnel: ""} if local else {},
        }
    )


def tunnel_fragment(own: str, peers: Iterable[str]) -> Fragment:
    """Return the addresses between which tunnels run."""
    version = _version(own)
    known = {address for address in peers if _version(address) == version}
    return Fragment(
        elements={
            f"own{version}": {own: ""},
            f"peers{version}": dict.fromkeys(sorted(known), ""),
        }
    )


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
