"""The `[network]` section of the configuration."""

from node.sdk import Frozen


class NetworkSection(Frozen):
    """`[network]`: how this node's guests reach the world."""

    external_nat: bool = True
    """Hide external networks that have no physical one behind this node's own address."""
    dns_servers: str = ""
    """Name servers that guests' questions go on to, separated by commas; empty: those of /etc/resolv.conf."""
    dns_domain: str = "openstacklocal"
    """Domain of guests' names."""
    public_interface: str = ""
    """Network interface of this node, without addresses, on the wire of the first external network; empty: none."""
    underlay_mtu_bytes: int = 0
    """MTU between the nodes; 0: that of the interface with this node's address."""
    overlay_broadcast: bool = True
    """Carry a tenant network's broadcasts and multicasts to the other nodes that have guests on it."""
