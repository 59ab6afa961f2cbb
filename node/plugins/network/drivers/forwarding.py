"""Writes and reads what a tunnel knows: forwarding and neighbour entries, by netlink.

Bare messages: a network of a thousand ports has three thousand entries, and pyroute2 would send, and wait for, each of
them alone. Here hundreds go in one write, only the last of which asks for an answer; refusals come unasked.

Source: rtnetlink(7) (RTM_NEWNEIGH, struct ndmsg), bridge(8) (fdb), include/uapi/linux/neighbour.h
"""

import errno
import itertools
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from node.plugins.network.overlay_plan import BRIDGED, FLOOD, NEIGHBOUR, TUNNELLED, Key

_NEW, _DELETE, _GET = 28, 29, 30
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_REPLACE, _CREATE, _APPEND = 0x100, 0x400, 0x800
_AF_BRIDGE = 7
_SELF, _MASTER = 0x02, 0x04
_NOARP, _PERMANENT = 0x40, 0x80
_DST, _LLADDR, _IFINDEX, _MASTER_ATTRIBUTE = 1, 2, 8, 9
_HEADER = struct.Struct("=IHHII")
_NDMSG = struct.Struct("=BxHiHBB")
_IFINFOMSG = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
_BATCH = 200
_BUFFER_BYTES = 1 << 20
_NO_MAC = bytes(6)
_GONE = (errno.ENOENT, errno.ESRCH)


class Tunnel(NamedTuple):
    """The indexes of a tunnel and of the bridge that it is in."""

    link: int
    bridge: int


class Refusal(NamedTuple):
    """An entry that the kernel refused, and the error's number."""

    key: Key
    code: int


def write(
    tunnel: Tunnel, changes: Iterable[tuple[Key, str]], removals: Iterable[Key]
) -> list[Refusal]:
    """Set entries (key, value) and remove others; return what was refused. What is gone already is no refusal.

    The calling thread must be in the tunnel's namespace.
    """
    messages = [(key, _message(tunnel, key, value, new=True)) for key, value in changes]
    messages += [(key, _message(tunnel, key, "", new=False)) for key in removals]
    refused: list[Refusal] = []
    with _open() as netlink:
        for start in range(0, len(messages), _BATCH):
            refused += _send(netlink, messages[start : start + _BATCH])
    return refused


def read(tunnel: Tunnel) -> dict[Key, str]:
    """Return the entries that the kernel has, but for those that it learnt."""
    found: dict[Key, str] = {}
    with _open() as netlink:
        request = _IFINFOMSG.pack(_AF_BRIDGE, 0, tunnel.link, 0, 0)
        for body in _dump(netlink, request):
            _take_forwarding(tunnel, body, found)
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _NDMSG.pack(family, 0, 0, 0, 0, 0)
            request += _attribute(_IFINDEX, struct.pack("=I", tunnel.bridge))
            for body in _dump(netlink, request):
                _take_neighbour(tunnel, body, found)
    return found


def _open() -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    netlink.bind((0, 0))
    return netlink


def _message(tunnel: Tunnel, key: Key, value: str, *, new: bool) -> tuple[int, int, bytes]:
    """Return a message's type, flags and body."""
    kind, name = key
    if kind == NEIGHBOUR:
        family = socket.AF_INET6 if ":" in name else socket.AF_INET
        body = _NDMSG.pack(family, 0, tunnel.bridge, _PERMANENT, 0, 0)
        body += _attribute(_DST, socket.inet_pton(family, name))
        if new:
            body += _attribute(_LLADDR, _octets(value))
    elif kind == BRIDGED:
        body = _NDMSG.pack(_AF_BRIDGE, 0, tunnel.link, _NOARP, _MASTER, 0)
        body += _attribute(_LLADDR, _octets(name))
    else:
        mac, address = (_NO_MAC, name) if kind == FLOOD else (_octets(name), value)
        body = _NDMSG.pack(_AF_BRIDGE, 0, tunnel.link, _PERMANENT | _NOARP, _SELF, 0)
        if address:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            body += _attribute(_DST, socket.inet_pton(family, address))
        body += _attribute(_LLADDR, mac)
    if not new:
        return _DELETE, 0, body
    return _NEW, _CREATE | (_APPEND if kind == FLOOD else _REPLACE), body


def _send(
    netlink: socket.socket, messages: Sequence[tuple[Key, tuple[int, int, bytes]]]
) -> list[Refusal]:
    """Send one batch; return what was refused. Sequence numbers are places in the batch."""
    parts = []
    last = len(messages) - 1
    for number, (_key, (kind, flags, body)) in enumerate(messages):
        asked = flags | _REQUEST | (_ACK if number == last else 0)
        parts.append(_HEADER.pack(_HEADER.size + len(body), kind, asked, number, 0) + body)
    netlink.send(b"".join(parts))
    refused = []
    for kind, number, body in _answers(netlink):
        if kind != _ERROR:
            continue
        code = -struct.unpack_from("=i", body)[0]
        key, (asked, _flags, _body) = messages[number]
        if code and not (asked == _DELETE and code in _GONE):
            refused.append(Refusal(key, code))
        if number == last:
            break
    return refused


def _dump(netlink: socket.socket, request: bytes) -> Iterable[bytes]:
    length = _HEADER.size + len(request)
    netlink.send(_HEADER.pack(length, _GET, _REQUEST | _DUMP, 0, 0) + request)
    for kind, _number, body in _answers(netlink):
        if kind == _DONE:
            return
        if kind == _ERROR:
            code = -struct.unpack_from("=i", body)[0]
            raise OSError(code, "the kernel does not list forwarding entries")
        if kind == _NEW:
            yield body


def _answers(netlink: socket.socket) -> Iterable[tuple[int, int, bytes]]:
    """Yield type, sequence number and body of what comes, without end."""
    for _turn in itertools.count():
        data = netlink.recv(_BUFFER_BYTES)
        while len(data) >= _HEADER.size:
            length, kind, _flags, number, _port = _HEADER.unpack_from(data)
            yield kind, number, data[_HEADER.size : length]
            data = data[(length + 3) & ~3 :]


def _take_forwarding(tunnel: Tunnel, body: bytes, found: dict[Key, str]) -> None:
    _family, _pad, index, state, flags, _type = _NDMSG.unpack_from(body)
    attributes = _attributes(body[_NDMSG.size :])
    octets = attributes.get(_LLADDR, b"")
    if index != tunnel.link or len(octets) != 6:
        return
    mac = ":".join(f"{octet:02x}" for octet in octets)
    if flags & _SELF and state & _PERMANENT:
        address = _address(attributes.get(_DST, b""))
        if octets == _NO_MAC:
            found[FLOOD, address] = ""
        else:
            found[TUNNELLED, mac] = address
    elif _MASTER_ATTRIBUTE in attributes and state & _NOARP and not state & _PERMANENT:
        found[BRIDGED, mac] = ""  # a permanent one is the tunnel's own address


def _take_neighbour(tunnel: Tunnel, body: bytes, found: dict[Key, str]) -> None:
    _family, _pad, index, state, _flags, _type = _NDMSG.unpack_from(body)
    attributes = _attributes(body[_NDMSG.size :])
    octets = attributes.get(_LLADDR, b"")
    if index == tunnel.bridge and state & _PERMANENT and len(octets) == 6:
        mac = ":".join(f"{octet:02x}" for octet in octets)
        found[NEIGHBOUR, _address(attributes.get(_DST, b""))] = mac


def _attributes(data: bytes) -> Mapping[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            break
        found[kind] = data[_ATTRIBUTE.size : size]
        data = data[(size + 3) & ~3 :]
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size & 3)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _address(value: bytes) -> str:
    if not value:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)
