"""Addresses of this machine's interfaces, and telling the neighbours of one: rtnetlink and raw frames.

Source: rtnetlink(7), RFC 5227 (ARP announcements), RFC 4861 section 7.2.6 (unsolicited neighbour advertisements).
"""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

from node.errors import Unavailable
from node.types import Frozen

_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_REQUEST, _ACK, _REPLACE, _DUMP, _CREATE = 0x1, 0x4, 0x100, 0x300, 0x400
_ERROR, _DONE = 2, 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_NODAD = 0x02
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_TIMEOUT_S = 2.0

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Held(Frozen):
    """One address of one interface."""

    index: int
    address: str
    prefixlen: int


def addresses() -> list[Held]:
    """Return the addresses of all interfaces.

    Raises:
        Unavailable: the kernel does not answer.
    """
    found = []
    body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    for kind, data in _ask(_RTM_GETADDR, _REQUEST | _DUMP, body):
        if kind != _RTM_NEWADDR:
            continue
        _family, prefixlen, _flags, _scope, index = _ADDRESS.unpack_from(data)
        values = dict(_attributes(data[_ADDRESS.size :]))
        raw = values.get(_IFA_LOCAL, values.get(_IFA_ADDRESS, b""))
        with contextlib.suppress(ValueError):
            address = str(ipaddress.ip_address(raw))
            found.append(Held(index=index, address=address, prefixlen=prefixlen))
    return found


def hold(index: int, address: IPAddress, lifetime_s: int) -> None:
    """Give an interface an address, or one it has another lifetime: the kernel takes it away after that time.

    Raises:
        Unavailable: the kernel refuses.
    """
    preferred_s = (
        lifetime_s if address.version == 4 else 0
    )  # never the source of our own connections
    flags = struct.pack("=I", _NODAD if address.version == 6 else 0)
    times = struct.pack("=IIII", preferred_s, lifetime_s, 0, 0)
    body = _message(index, address) + _attribute(_IFA_CACHEINFO, times)
    body += _attribute(_IFA_FLAGS, flags)
    _ask(_RTM_NEWADDR, _REQUEST | _ACK | _CREATE | _REPLACE, body)


def release(index: int, address: IPAddress) -> None:
    """Take an address from an interface; one that it does not have is fine.

    Raises:
        Unavailable: the kernel refuses.
    """
    _ask(_RTM_DELADDR, _REQUEST | _ACK, _message(index, address), fine=(errno.EADDRNOTAVAIL,))


def announce(index: int, address: IPAddress) -> None:
    """Tell everyone on an interface's network that the address is here now.

    Raises:
        Unavailable: the frame cannot be sent.
    """
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((socket.if_indextoname(index), 0))
            mac = sock.getsockname()[4]
            for frame in (
                _arp(mac, address) if address.version == 4 else [_advertisement(mac, address)]
            ):
                sock.send(frame)
    except OSError as error:
        raise Unavailable(f"{address} cannot be announced: {error}") from error


def _arp(mac: bytes, address: IPAddress) -> list[bytes]:
    """Return an announcement as a request and as a reply: some listen to the one, some to the other."""
    everyone = b"\xff" * 6
    ethernet = everyone + mac + struct.pack("!H", 0x0806)
    return [
        ethernet
        + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        + mac
        + address.packed
        + (everyone if operation == 2 else b"\0" * 6)
        + address.packed
        for operation in (1, 2)
    ]


def _advertisement(mac: bytes, address: IPAddress) -> bytes:
    target = ipaddress.IPv6Address("ff02::1").packed
    option = struct.pack("!BB", 2, 1) + mac
    icmp = struct.pack("!BBHI", 136, 0, 0, 0x2000_0000) + address.packed + option
    pseudo = address.packed + target + struct.pack("!II", len(icmp), 58)
    icmp = icmp[:2] + struct.pack("!H", _checksum(pseudo + icmp)) + icmp[4:]
    ip = struct.pack("!IHBB", 0x6000_0000, len(icmp), 58, 255) + address.packed + target
    return b"\x33\x33\x00\x00\x00\x01" + mac + struct.pack("!H", 0x86DD) + ip + icmp


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _message(index: int, address: IPAddress) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    head = _ADDRESS.pack(family, address.max_prefixlen, 0, 0, index)
    return head + _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]


def _ask(kind: int, flags: int, body: bytes, fine: tuple[int, ...] = ()) -> list[tuple[int, bytes]]:
    """Send one message; return the answers, type and body."""
    found: list[tuple[int, bytes]] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.bind((0, 0))
            sock.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
            while True:
                data = sock.recv(1 << 16)
                while len(data) >= _HEADER.size:
                    length, answer, _flags, _seq, _pid = _HEADER.unpack_from(data)
                    content = data[_HEADER.size : length]
                    if answer == _ERROR:
                        _raise(-struct.unpack_from("=i", content)[0], fine)
                        return found
                    if answer == _DONE:
                        return found
                    found.append((answer, content))
                    data = data[length + -length % 4 :]
    except OSError as error:
        raise Unavailable(f"The kernel refuses an address: {error}") from error


def _raise(number: int, fine: tuple[int, ...]) -> None:
    if number and number not in fine:
        raise OSError(number, os.strerror(number))
