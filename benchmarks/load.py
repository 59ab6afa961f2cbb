"""A light HTTP load generator: prebuilt requests over kept-alive loopback connections, one thread, epoll.

Client and server share the machine's cores, so each answer costs the client two system calls and a search for the end
of the header; nothing is parsed. What the client itself costs is measured and printed.
"""

import select
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class Load:
    """What a load did."""

    seconds: float = 0.0
    client_cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    body_bytes: int = 0

    @property
    def count(self) -> int:
        return len(self.latencies_s)

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def percentile_ms(self, part: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1e3

    def must_be(self, status: int) -> "Load":
        if set(self.statuses) != {status}:
            raise SystemExit(f"answers with the statuses {self.statuses} instead of only {status}")
        return self


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT"):
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class _Connection:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began_s = 0.0
        self._parts: list[bytes] = []
        self._left = -1

    def send(self, data: bytes) -> None:
        self.began_s = time.perf_counter()
        self._parts, self._left = [], -1
        self.sock.sendall(data)

    def take(self) -> bytes | None:
        """Read what is there; return the header once the whole answer has come."""
        data = self.sock.recv(1 << 20)
        if not data:
            raise SystemExit("the server closed the connection in the middle of an answer")
        if self._left < 0:
            self._parts.append(data)
            joined = b"".join(self._parts) if len(self._parts) > 1 else data
            end = joined.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._head = joined[:end]
            length = _length(self._head)
            self.body_bytes = length
            self._left = length - (len(joined) - end - 4)
        else:
            self._left -= len(data)
        return self._head if self._left == 0 else None


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    end = lower.find(b"\r\n", at + 2)
    return int(lower[at + 17 : end if end >= 0 else len(lower)])


def drive(port: int, requests: Iterable[bytes], *, concurrency: int, seconds: float = 0.0) -> Load:
    """Send requests over that many connections until they are used up, or the time is."""
    source: Iterator[bytes] = iter(requests)
    load = Load()
    connections = {}
    for _ in range(concurrency):
        connection = _Connection(port)
        connections[connection.sock.fileno()] = connection
    cpu = time.process_time()
    start = time.perf_counter()
    end = start + seconds if seconds else float("inf")
    poller = select.epoll()
    busy = 0
    for number, connection in connections.items():
        poller.register(number, select.EPOLLIN)
        if (data := next(source, None)) is not None:
            connection.send(data)
            busy += 1
    while busy:
        for number, _event in poller.poll():
            connection = connections[number]
            head = connection.take()
            if head is None:
                continue
            now = time.perf_counter()
            load.latencies_s.append(now - connection.began_s)
            status = int(head[9:12])
            load.statuses[status] = load.statuses.get(status, 0) + 1
            load.body_bytes += connection.body_bytes
            data = next(source, None) if now < end else None
            if data is None:
                busy -= 1
            else:
                connection.send(data)
    load.seconds = time.perf_counter() - start
    load.client_cpu_s = time.process_time() - cpu
    for connection in connections.values():
        connection.sock.close()
    poller.close()
    return load
