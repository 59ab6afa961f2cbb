"""The address that other nodes are told."""

import contextlib
import fcntl
import socket
import struct

from node.config import ClusterSection, Config

_SIOCGIFADDR = 0x8915
"""Source: netdevice(7)."""
_NOWHERE = ("192.0.2.1", 9)
"""An address of documentation (RFC 5737): asking for the way there sends nothing."""


def own_address(config: Config) -> str:
    """Return the configured address, or the one of the interface with the default route; empty when there is none."""
    section = config.section(ClusterSection)
    if section.address:
        return section.address
    if section.listen and section.listen not in ("0.0.0.0", "::"):  # noqa: S104
        return section.listen
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(_NOWHERE)
        return str(sock.getsockname()[0])
    return _first_address()


def _first_address() -> str:
    """Return the IPv4 address of the first interface that has one and is not loopback."""
    for _index, name in socket.if_nameindex():
        if name == "lo":
            continue
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            request = struct.pack("256s", name.encode()[:15])
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
            return socket.inet_ntoa(answer[20:24])
    return ""
