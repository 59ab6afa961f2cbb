"""Sends IPv6 router advertisements for subnets that ask for them, from the routers' namespaces.

One thread in the core answers solicitations and repeats the advertisements; their lifetime outlasts a restart of the
daemon by far.

Source: RFC 4861 (sections 4.2 and 6.2), RFC 4862, RFC 8106 (name servers), RFC 8415 (M and O flags).
"""

import ipaddress
import logging
import selectors
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.tables import Subnet

log = logging.getLogger("hedgerow.network")

_SOLICITATION = 133
_ADVERTISEMENT = 134
_ALL_NODES = "ff02::1"
_ALL_ROUTERS = "ff02::2"
_ICMP6_FILTER = 1
_ROUTER_LIFETIME_S = 9000
_PREFIX_LIFETIME_S = 86400
_REPEAT_S = 30.0
_FIRST_REPEATS_S = (0.0, 1.0, 3.0)


def advertisement(subnets: Sequence[Subnet], mac: str, mtu_bytes: int) -> bytes:
    """Return the ICMPv6 message for the subnets of one link."""
    managed = any(subnet.ipv6_ra_mode == "dhcpv6-stateful" for subnet in subnets)
    other = managed or any(subnet.ipv6_ra_mode == "dhcpv6-stateless" for subnet in subnets)
    flags = (0x80 if managed else 0) | (0x40 if other else 0)
    message = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, flags, _ROUTER_LIFETIME_S, 0, 0)
    message += struct.pack("!BB", 1, 1) + bytes.fromhex(mac.replace(":", ""))
    message += struct.pack("!BBHI", 5, 1, 0, mtu_bytes)
    for subnet in subnets:
        network = ipaddress.IPv6Network(subnet.cidr)
        autonomous = 0x40 if subnet.ipv6_ra_mode in ("slaac", "dhcpv6-stateless") else 0
        lifetimes = (_PREFIX_LIFETIME_S, _PREFIX_LIFETIME_S, 0)
        message += struct.pack("!BBBBIII", 3, 4, network.prefixlen, 0x80 | autonomous, *lifetimes)
        message += network.network_address.packed
        servers = [
            ipaddress.IPv6Address(server) for server in subnet.dns_nameservers if ":" in server
        ]
        if servers:
            message += struct.pack("!BBHI", 25, 1 + 2 * len(servers), 0, _ROUTER_LIFETIME_S)
            message += b"".join(server.packed for server in servers)
    return message


class _Speaker(NamedTuple):
    socket: socket.socket
    link_index: int
    message: bytes
    inode: int


class RouterAdvert:
    """One sender for all routers."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._speakers: dict[tuple[str, str], _Speaker] = {}
        self._due_s: dict[tuple[str, str], list[float]] = {}
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None
        self._stopped = False

    def advertise(self, namespace: str, wanted: Sequence[tuple[str, Subnet]]) -> None:
        """Advertise (link, subnet) pairs in a namespace from now on, and nothing else there."""
        by_link: dict[str, list[Subnet]] = {}
        for link, subnet in wanted:
            by_link.setdefault(link, []).append(subnet)
        for key in [key for key in self._speakers if key[0] == namespace and key[1] not in by_link]:
            self._close(key)
        if not by_link:
            return
        inode = self._namespaces.inode(namespace)
        for link, subnets in by_link.items():
            key = (namespace, link)
            found, index, mac, mtu = self._namespaces.run(namespace, lambda link=link: _open(link))  # type: ignore[misc]
            message = advertisement(subnets, mac, mtu)
            known = self._speakers.get(key)
            if known is not None and known[1:] == (index, message, inode):
                found.close()
                continue
            self._close(key)
            with self._lock:
                self._speakers[key] = _Speaker(found, index, message, inode)
                now = time.monotonic()
                self._due_s[key] = [now + wait_s for wait_s in _FIRST_REPEATS_S]
                self._selector.register(found, selectors.EVENT_READ, key)
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._serve, name="router-advert", daemon=True
                    )
                    self._thread.start()
            self._ring.send(b"!")

    def stop(self) -> None:
        """Stop sending; hosts keep what they heard."""
        self._stopped = True
        self._ring.send(b"!")
        for key in list(self._speakers):
            self._close(key)

    def _close(self, key: tuple[str, str]) -> None:
        with self._lock:
            speaker = self._speakers.pop(key, None)
            self._due_s.pop(key, None)
            if speaker is not None:
                self._selector.unregister(speaker.socket)
                speaker.socket.close()

    def _serve(self) -> None:
        while not self._stopped:
            with self._lock:
                first = min((due[0] for due in self._due_s.values() if due), default=None)
            wait_s = None if first is None else max(0.0, first - time.monotonic())
            for key, _events in self._selector.select(wait_s):
                if key.fileobj is self._bell:
                    self._bell.recv(64)
                else:
                    self._solicited(key.data)
            self._repeat()

    def _solicited(self, key: tuple[str, str]) -> None:
        with self._lock:
            speaker = self._speakers.get(key)
            if speaker is None:
                return
            try:
                data = speaker.socket.recv(2048)
            except OSError:
                return
            if data[:1] == bytes([_SOLICITATION]):
                self._due_s[key].insert(0, time.monotonic())

    def _repeat(self) -> None:
        now = time.monotonic()
        with self._lock:
            for key, due in self._due_s.items():
                if not due or due[0] > now:
                    continue
                due[:] = [at_s for at_s in due if at_s > now] or [now + _REPEAT_S]
                speaker = self._speakers[key]
                try:
                    speaker.socket.sendto(speaker.message, (_ALL_NODES, 0, 0, speaker.link_index))
                except OSError as error:
                    log.debug("advertisement on %s: %s", key, error)


def _open(link: str) -> tuple[socket.socket, int, str, int]:
    """Return a socket that hears solicitations on a link, and the link's index, MAC and MTU."""
    index = socket.if_nametoindex(link)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((link, 0))
        mac = ":".join(f"{byte:02x}" for byte in raw.getsockname()[4])
    with open(f"/proc/sys/net/ipv6/conf/{link}/mtu") as file:
        mtu = int(file.read())
    found = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode() + b"\0")
        mask = bytearray(b"\xff" * 32)  # a set bit blocks a type
        word = _SOLICITATION >> 5
        bits = 0xFFFFFFFF & ~(1 << (_SOLICITATION & 31))
        mask[word * 4 : word * 4 + 4] = struct.pack("=I", bits)
        found.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(mask))
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        group = socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS) + struct.pack("=I", index)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found, index, mac, mtu
