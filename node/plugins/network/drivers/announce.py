"""Tells neighbours where an address lives now: gratuitous ARP.

Source: RFC 5227, section 3 (ARP announcements).
"""

import ipaddress
import logging
import socket
import struct
from collections.abc import Sequence

from node.plugins.network.drivers.namespaces import Namespaces

log = logging.getLogger("hedgerow.network")

_ETH_ARP = 0x0806
_BROADCAST = b"\xff" * 6


def announcement(mac: str, address: str) -> bytes:
    """Return the Ethernet frame that announces an address."""
    sender = bytes.fromhex(mac.replace(":", ""))
    ip = ipaddress.IPv4Address(address).packed
    ethernet = _BROADCAST + sender + struct.pack("!H", _ETH_ARP)
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + sender + ip + bytes(6) + ip


def announce(
    namespaces: Namespaces, namespace: str, link: str, mac: str, addresses: Sequence[str]
) -> None:
    """Announce IPv4 addresses on a link of a namespace; a failure is only logged, neighbours ask in the end."""

    def call() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ARP)) as raw:
            raw.bind((link, 0))
            for address in addresses:
                raw.send(announcement(mac, address))

    if addresses:
        try:
            namespaces.run(namespace, call)
        except OSError as error:
            log.warning("addresses on %s in %s could not be announced: %s", link, namespace, error)
