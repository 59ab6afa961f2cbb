"""Names of kernel objects, as pure functions of ids: short, deterministic, and known to belong to us.

Interface names have at most 15 characters. A tap's name is `tables.tap_name`.
"""

import hashlib
import re

_OURS = re.compile(r"(hb|hv|hd|hr|hg|tap)[0-9a-f]{8}-[0-9a-f]{2}")


def bridge_name(network_id: str) -> str:
    """Return the name of a network's bridge."""
    return f"hb{network_id[:11]}"


def tunnel_link(network_id: str) -> str:
    """Return the name of a network's VXLAN link."""
    return f"hv{network_id[:11]}"


def dhcp_link(network_id: str) -> str:
    """Return the name of the bridge end of a DHCP namespace's link."""
    return f"hd{network_id[:11]}"


def interface_link(port_id: str) -> str:
    """Return the name of the bridge end of a router interface."""
    return f"hr{port_id[:11]}"


def gateway_link(port_id: str) -> str:
    """Return the name of the bridge end of a router's gateway."""
    return f"hg{port_id[:11]}"


def interface_inner(port_id: str) -> str:
    """Return the name of a router interface inside the router's namespace."""
    return f"qr-{port_id[:11]}"


def gateway_inner(port_id: str) -> str:
    """Return the name of a router's gateway inside the router's namespace."""
    return f"qg-{port_id[:11]}"


DHCP_INNER = "dhcp0"


def dhcp_namespace(network_id: str) -> str:
    """Return the name of the namespace that serves DHCP, DNS and metadata to a network."""
    return f"hdhcp-{network_id}"


def router_namespace(router_id: str) -> str:
    """Return the name of a router's namespace."""
    return f"hrouter-{router_id}"


def is_ours(link: str) -> bool:
    """Return whether a link in the node's namespace carries our naming."""
    return _OURS.fullmatch(link) is not None


def bridge_mac(node_id: str, network_id: str) -> str:
    """Return a bridge's fixed, locally administered address; each node has its own."""
    digest = hashlib.sha256(f"{node_id}/{network_id}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def tap_mac(port_mac: str) -> str:
    """Return the address of the host's end of a port: never the guest's own."""
    return f"fe:{port_mac[3:]}"
