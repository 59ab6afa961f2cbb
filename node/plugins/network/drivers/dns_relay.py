"""Carries DNS questions from the networks' dnsmasq processes to the node's name servers.

A DHCP namespace has no way out, and the node's resolver may listen on the node's loopback only. So each namespace has
a UDP socket on its own loopback, held by the core, which asks on its behalf. When the daemon is down, names of guests
are still answered by dnsmasq; others wait.
"""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from node.plugins.network.dhcp_plan import RELAY_PORT
from node.plugins.network.drivers.namespaces import Namespaces

log = logging.getLogger("hedgerow.network")

_DNS_PORT = 53
_WAIT_S = 5.0
_MAX_WAITING = 512
_MAX_BYTES = 65535
_HEADER_BYTES = 12


def resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """Return the node's name servers."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    return [
        fields[1]
        for line in lines
        if len(fields := line.split()) >= 2 and fields[0] == "nameserver"
    ]


class _Waiting(NamedTuple):
    listener: socket.socket
    asker: tuple[str, int]
    until_s: float


class DnsRelay:
    """One relay for all namespaces."""

    def __init__(self, namespaces: Namespaces, servers: Callable[[], list[str]]) -> None:
        self._namespaces = namespaces
        self.servers = servers
        self.port = _DNS_PORT
        self._listeners: dict[str, tuple[socket.socket, int]] = {}
        self._waiting: dict[socket.socket, _Waiting] = {}
        self._selector = selectors.DefaultSelector()
        self._lock = threading.RLock()
        self._bell, self._ring = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None
        self._stopped = False

    def listen(self, namespace: str) -> None:
        """Take questions in a namespace.

        Raises:
            OSError: the port is taken there.
        """
        inode = self._namespaces.inode(namespace)
        with self._lock:
            known = self._listeners.get(namespace)
            if known is not None and known[1] == inode:
                return
        self.close(namespace)
        listener = self._namespaces.run(namespace, _listener)
        with self._lock:
            self._listeners[namespace] = (listener, inode)
            self._selector.register(listener, selectors.EVENT_READ)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="dns-relay", daemon=True)
                self._thread.start()
        self._ring.send(b"!")

    def close(self, namespace: str) -> None:
        """Take no more questions in a namespace."""
        with self._lock:
            known = self._listeners.pop(namespace, None)
            if known is not None:
                self._selector.unregister(known[0])
                known[0].close()

    def stop(self) -> None:
        """Stop relaying."""
        self._stopped = True
        for namespace in list(self._listeners):
            self.close(namespace)
        self._ring.send(b"!")

    def _serve(self) -> None:
        while not self._stopped:
            events = self._selector.select(timeout=_WAIT_S if self._waiting else None)
            for key, _mask in events:
                found = key.fileobj
                if found is self._bell:
                    self._bell.recv(64)
                elif isinstance(found, socket.socket):
                    with self._lock:
                        self._take(found)
            self._expire()

    def _take(self, found: socket.socket) -> None:
        try:
            if found in self._waiting:
                data = found.recv(_MAX_BYTES)
                waiting = self._forget(found)
                waiting.listener.sendto(data, waiting.asker)
            else:
                data, asker = found.recvfrom(_MAX_BYTES)
                self._ask(found, data, asker)
        except OSError as error:
            log.debug("DNS relay: %s", error)
            if found in self._waiting:
                self._forget(found)

    def _ask(self, listener: socket.socket, data: bytes, asker: tuple[str, int]) -> None:
        servers = self.servers()
        if len(data) < _HEADER_BYTES or len(self._waiting) >= _MAX_WAITING:
            return
        if not servers:
            listener.sendto(_refusal(data), asker)
            return
        family = socket.AF_INET6 if ":" in servers[0] else socket.AF_INET
        question = socket.socket(family, socket.SOCK_DGRAM)
        try:
            question.setblocking(False)
            question.connect((servers[0], self.port))
            question.send(data)
        except OSError:
            question.close()
            raise
        self._waiting[question] = _Waiting(listener, asker, time.monotonic() + _WAIT_S)
        self._selector.register(question, selectors.EVENT_READ)

    def _forget(self, question: socket.socket) -> _Waiting:
        self._selector.unregister(question)
        question.close()
        return self._waiting.pop(question)

    def _expire(self) -> None:
        now = time.monotonic()
        with self._lock:
            for question in [
                key for key, waiting in self._waiting.items() if waiting.until_s < now
            ]:
                self._forget(question)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        listener.bind(("127.0.0.1", RELAY_PORT))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(question: bytes) -> bytes:
    """Return the answer SERVFAIL to a question."""
    flags = bytes([question[2] | 0x80, 0x82])
    return question[:2] + flags + question[4:]
