"""Tells when a link of the node's namespace was removed, so that healing need not wait for a resync.

A bare netlink socket: pyroute2's event sockets run an event loop of their own for what is forty bytes here.

Source: rtnetlink(7), netlink(7).
"""

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterable

log = logging.getLogger("hedgerow.network")

_GROUP_LINK = 1
_DELLINK = 17
_IFNAME = 3
_HEADER = struct.Struct("=IHHII")
_IFINFO_BYTES = 16
_ATTRIBUTE = struct.Struct("=HH")
_AF_BRIDGE = 7


class LinkWatch:
    """Calls back with the name of each link that is removed."""

    def __init__(self, gone: Callable[[str], None]) -> None:
        self._gone = gone
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch, in the calling thread's namespace. Harmless when repeated."""
        if self._thread is not None:
            return
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUP_LINK))
        self._socket.settimeout(1.0)
        self._thread = threading.Thread(target=self._watch, name="link-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        assert self._socket is not None, "start() made it"
        with self._socket as events:
            while not self._stopped.is_set():
                try:
                    data = events.recv(65536)
                except TimeoutError:
                    continue
                except OSError as error:  # ENOBUFS: events were lost, the resync makes up for it
                    log.debug("link events: %s", error)
                    continue
                for name in removed_links(data):
                    try:
                        self._gone(name)
                    except Exception:
                        log.exception("cannot tell what the removal of %s concerns", name)


def removed_links(data: bytes) -> Iterable[str]:
    """Yield the names of links that messages of the kernel say are removed.

    A link that only leaves its bridge is announced as removed too, in the bridge's own
    family: that is no removal.
    """
    while len(data) >= _HEADER.size:
        length, kind, _flags, _number, _port = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        body, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
        if kind != _DELLINK or body[:1] == bytes([_AF_BRIDGE]):
            continue
        rest = body[_IFINFO_BYTES:]
        while len(rest) >= _ATTRIBUTE.size:
            size, attribute = _ATTRIBUTE.unpack_from(rest)
            if size < _ATTRIBUTE.size:
                break
            if attribute == _IFNAME:
                yield rest[_ATTRIBUTE.size : size].rstrip(b"\0").decode(errors="replace")
            rest = rest[(size + 3) & ~3 :]
