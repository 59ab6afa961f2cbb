"""What this node tells of its wires: facts of its row."""

import socket

from node.plugins.network.drivers.netlink import open_socket
from node.plugins.network.gateway_rules import PUBLIC_FACT
from node.plugins.network.section import NetworkSection
from node.sdk import Control, NodeRow

MTU_FACT = "underlay_mtu_bytes"


def facts(control: Control) -> dict[str, str]:
    """Return the MTU towards other nodes, and the interface on the external wire, where there are such."""
    section = control.config.section(NetworkSection)
    row = control.db.get(NodeRow, control.node_id)
    found = {}
    mtu = section.underlay_mtu_bytes or (link_mtu(row.address) if row and row.address else 0)
    if mtu:
        found[MTU_FACT] = str(mtu)
    if section.public_interface in {name for _index, name in socket.if_nameindex()}:
        found[PUBLIC_FACT] = section.public_interface
    return found


def link_mtu(address: str) -> int:
    """Return the MTU of the link that has an address; 0 where none has it."""
    with open_socket() as netlink:
        for held in netlink.get_addr():
            if (held.get_attr("IFA_LOCAL") or held.get_attr("IFA_ADDRESS")) == address:
                link = next(iter(netlink.get_links(held["index"])))
                return int(link.get_attr("IFLA_MTU"))
    return 0
