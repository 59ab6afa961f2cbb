"""Answers 169.254.169.254 and fe80::a9fe:a9fe in every namespace, from one small threaded HTTP server in the core.

Listening sockets are made inside the namespaces and accepted here, by one thread; a few workers answer. The asker
is known by (the namespace's networks, its source address), which anti-spoofing makes trustworthy. Guests are
strangers: requests are short, timed, and few at a time for one address.
"""

import logging
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from node.plugins.network.drivers.namespaces import Namespaces

log = logging.getLogger("hedgerow.network")

Lookup = Callable[[tuple[str, ...], str, str], bytes | None]
Post = Callable[[tuple[str, ...], str, str, bytes], int]
"""Takes (networks, source, path, body) and returns the HTTP status."""
"""(networks, source address, path) to content; None: there is no such path, KeyError: no such instance."""

_WORKERS = 8
_PER_SOURCE = 4
_TIMEOUT_S = 5.0
_MAX_REQUEST_BYTES = 8192
_BACKLOG = 64
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    500: "Internal Server Error",
}


_Place = tuple[str, str]
"""A namespace and an address in it."""


class _Listener(NamedTuple):
    socket: socket.socket
    port: int
    networks: tuple[str, ...]
    inode: int
    """Of the namespace: one that was made anew under the same name needs a new socket."""


class MetadataServer:
    """One HTTP server for all namespaces."""

    def __init__(self, namespaces: Namespaces, lookup: Lookup, post: Post) -> None:
        self._namespaces = namespaces
        self._lookup = lookup
        self._post = post
        self._listeners: dict[_Place, _Listener] = {}
        self._busy: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="metadata")
        self._thread: threading.Thread | None = None
        self._bell, self._ring = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ, ("", ""))
        self._stopped = False

    def listen(
        self, namespace: str, address: str, port: int, networks: tuple[str, ...], *, link: str = ""
    ) -> None:
        """Serve a namespace's networks at an address, from now on these networks; `link` has a link-local one.

        Raises:
            OSError: the address is not there or taken.
        """
        inode = self._namespaces.inode(namespace)
        with self._lock:
            place = (namespace, address)
            known = self._listeners.get(place)
            if known is not None and (known.port, known.inode) == (port, inode):
                self._listeners[place] = known._replace(networks=networks)
                return
            self._close(place)
        listener = self._namespaces.run(namespace, lambda: _listener(address, port, link))
        with self._lock:
            self._listeners[place] = _Listener(listener, port, networks, inode)
            self._selector.register(listener, selectors.EVENT_READ, place)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="metadata-accept", daemon=True
                )
                self._thread.start()
        self._ring.send(b"!")

    def close(self, namespace: str) -> None:
        """Stop serving a namespace."""
        with self._lock:
            for place in [one for one in self._listeners if one[0] == namespace]:
                self._close(place)

    def _close(self, place: _Place) -> None:
        known = self._listeners.pop(place, None)
        if known is not None:
            self._selector.unregister(known.socket)
            known.socket.close()

    def stop(self) -> None:
        """Stop serving."""
        self._stopped = True
        for namespace, _address in list(self._listeners):
            self.close(namespace)
        self._ring.send(b"!")
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _serve(self) -> None:
        while not self._stopped:
            for key, _events in self._selector.select():
                if key.fileobj is self._bell:
                    self._bell.recv(64)
                else:
                    self._accept(key.data)

    def _accept(self, place: _Place) -> None:
        with self._lock:
            known = self._listeners.get(place)
        if known is None:
            return
        try:
            client, peer = known.socket.accept()
        except OSError:
            return
        asker = (place[0], str(peer[0]).partition("%")[0])
        with self._lock:
            if self._busy[asker] >= _PER_SOURCE:
                client.close()
                return
            self._busy[asker] += 1
        self._pool.submit(self._answer, client, asker, known.networks)

    def _answer(
        self, client: socket.socket, asker: tuple[str, str], networks: tuple[str, ...]
    ) -> None:
        try:
            with client:
                client.settimeout(_TIMEOUT_S)
                while self._one(client, asker[1], networks) and not self._stopped:
                    pass
        except OSError:
            log.debug("a guest hung up", extra={"source": asker[1]})
        except Exception:
            log.exception("metadata for %s failed", asker[1])
        finally:
            with self._lock:
                self._busy[asker] -= 1
                if not self._busy[asker]:
                    del self._busy[asker]

    def _one(self, client: socket.socket, source: str, networks: tuple[str, ...]) -> bool:
        """Answer one request; say whether the connection stays open."""
        head, rest = _read_head(client)
        if not head:
            return False
        lines = head.split("\r\n")
        parts = lines[0].split(" ")
        headers = {
            k.strip().lower(): v.strip()
            for k, _colon, v in (line.partition(":") for line in lines[1:])
        }
        if len(parts) != 3 or not parts[1].startswith("/"):
            _send(client, 400, b"", keep=False)
            return False
        method, target, version = parts
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if method == "POST":
            self._take_post(client, (networks, source, target), headers, rest)
            return False
        if method not in ("GET", "HEAD"):
            _send(client, 405, b"", keep=False)
            return False
        try:
            body = self._lookup(networks, source, target.partition("?")[0])
        except KeyError:
            body = None
        except Exception:
            log.exception("metadata lookup for %s failed", source)
            _send(client, 500, b"", keep=False)
            return False
        if body is None:
            _send(client, 404, b"404 Not Found\n", keep=keep, head=method == "HEAD")
        else:
            _send(client, 200, body, keep=keep, head=method == "HEAD", path=target)
        return keep

    def _take_post(
        self,
        client: socket.socket,
        asked: tuple[tuple[str, ...], str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        """Read the rest of a posted body and answer."""
        text = headers.get("content-length", "")
        length = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
        if not 0 <= length <= _MAX_REQUEST_BYTES:
            _send(client, 400, b"", keep=False)
            return
        while len(body) < length:
            chunk = client.recv(length - len(body))
            if not chunk:
                return
            body += chunk
        try:
            status = self._post(*asked, body[:length])
        except KeyError:
            status = 404
        except Exception:
            log.exception("what %s posted could not be taken", asked[1])
            status = 500
        _send(client, status, b"", keep=False)


def _read_head(client: socket.socket) -> tuple[str, bytes]:
    """Return the head of a request, and what came behind it already."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(4096)
        if not chunk or len(data) > _MAX_REQUEST_BYTES:
            return "", b""
        data += chunk
    head, _gap, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _send(
    client: socket.socket,
    status: int,
    body: bytes,
    *,
    keep: bool,
    head: bool = False,
    path: str = "",
) -> None:
    kind = "application/json" if path.endswith(".json") else "text/plain; charset=UTF-8"
    text = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    client.sendall(text.encode() + (b"" if head else body))


def _listener(address: str, port: int, link: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        where = (address, port, 0, socket.if_nametoindex(link)) if link else (address, port)
        listener.bind(where)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
