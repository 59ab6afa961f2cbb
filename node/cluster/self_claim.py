"""What this node says of itself when it joins, and whom it asks, from its configuration."""

import ipaddress
import socket

from node import __version__
from node.cluster.address import own_address
from node.cluster.features import FEATURE_LEVEL
from node.cluster.peers import Address
from node.cluster.proof import Claim
from node.cluster.trust import Trust
from node.config import ApiSection, ClusterSection, Config, NodeSection
from node.errors import BadRequest


def name_of(config: Config) -> str:
    """Return what this node is called."""
    return config.section(NodeSection).name or socket.gethostname()


def claim_of(config: Config, node_id: str, trust: Trust) -> Claim:
    """Return this node's claim, with its address as it is now."""
    section = config.section(ClusterSection)
    return Claim(
        node_id=node_id,
        name=name_of(config),
        public_key=trust.public_key,
        address=own_address(config),
        cluster_port=section.port,
        data_port=section.data_port,
        api_port=config.section(ApiSection).port,
        failure_domain=section.failure_domain,
        version=__version__,
        feature_level=FEATURE_LEVEL,
    )


def seeds_of(section: ClusterSection) -> tuple[Address, ...]:
    """Return the configured seeds; one without a port has this node's.

    Raises:
        BadRequest: 400, one of them is no host with a port.
    """
    found = []
    for text in section.seeds.replace(",", " ").split():
        host, colon, port = text.rpartition(":")
        if not colon or (":" in host and not host.startswith("[")):
            host, port = text, str(section.port)
        host = host.removeprefix("[").removesuffix("]")
        is_host = host and (":" not in host or _is_address(host))
        if not (is_host and port.isdigit() and 0 < int(port) < 65536):
            raise BadRequest(f"[cluster] seeds: {text!r} is not host:port")
        found.append((host, int(port)))
    return tuple(found)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
