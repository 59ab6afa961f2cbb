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
