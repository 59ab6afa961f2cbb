"""How many tokens a second: by token, validated, by password; with the CPU that each costs the server.

    python benchmarks/tokens.py --url http://127.0.0.1:7480 --password-file STATE/secrets/admin-password --pid PID

The client is raw sockets with keep-alive, so that it takes little of a small machine.
"""

import argparse
import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit


class Connection:
    """One kept-alive connection."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{host}:{port}"

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: str = ""
    ) -> tuple[int, str, bytes]:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        raw, _, rest = data.partition(b"\r\n\r\n")
        text = raw.decode("latin-1")
        length = int(_header(text, "content-length") or 0)
        while len(rest) < length:
            rest += self._more()
        return int(text[9:12]), text, rest

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def _header(text: str, name: str) -> str:
    for line in text.split("\r\n"):
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from descendants(int(child))


def cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds that processes have taken."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(args: argparse.Namespace, name: str, concurrency: int, call: tuple[str, ...]) -> None:
    """Print one row: rate, percentiles, CPU."""
    address = urlsplit(args.url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    method, path, body, headers = call
    times: list[float] = []
    statuses: set[int] = set()
    end = time.monotonic() + args.seconds

    def loop() -> None:
        connection, mine = Connection(host, port), []
        while time.monotonic() < end:
            start = time.perf_counter()
            status, _text, _body = connection.ask(method, path, body.encode(), headers)
            mine.append(time.perf_counter() - start)
            statuses.add(status)
        times.extend(mine)

    pids = list(descendants(args.pid)) if args.pid else []
    before, start = cpu_s(pids), time.monotonic()
    threads = [threading.Thread(target=loop) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.monotonic() - start
    cpu_ms = (cpu_s(pids) - before) / len(times) * 1000
    p50 = statistics.median(times) * 1000
    p99 = statistics.quantiles(times, n=100)[98] * 1000
    print(
        f"{name:<28} c={concurrency}  {len(times) / passed:8.0f} /s  p50 {p50:6.2f} ms  p99 {p99:7.2f} ms  "
        f"CPU {cpu_ms:5.2f} ms  {sorted(statuses)}"
    )


def main() -> None:
    """Run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="plain HTTP base, without /identity")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--pid", type=int, default=0, help="the supervisor, for CPU figures")
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    password = args.password_file.read_text().strip()
    user = {"name": "admin", "domain": {"id": "default"}, "password": password}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    by_password = json.dumps(
        {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": scope,
            }
        }
    )
    address = urlsplit(args.url)
    connection = Connection(address.hostname or "127.0.0.1", address.port or 80)
    status, text, _ = connection.ask("POST", "/identity/v3/auth/tokens", by_password.encode())
    assert status == 201, text
    token = _header(text, "x-subject-token")
    identity = {"methods": ["token"], "token": {"id": token}}
    by_token = json.dumps({"auth": {"identity": identity, "scope": scope}})
    show = f"X-Auth-Token: {token}\r\nX-Subject-Token: {token}\r\n"
    mine = f"X-Auth-Token: {token}\r\n"
    path = "/identity/v3/auth/tokens"
    for concurrency in (1, 8):
        measure(args, "version document", concurrency, ("GET", "/identity/v3", "", ""))
        measure(args, "validate a token", concurrency, ("GET", path, "", show))
        measure(args, "token by token", concurrency, ("POST", path, by_token, ""))
        measure(args, "token by password", concurrency, ("POST", path, by_password, ""))
        measure(args, "list projects", concurrency, ("GET", "/identity/v3/projects", "", mine))


if __name__ == "__main__":
    main()
