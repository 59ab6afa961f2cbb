"""Raw HTTP over raw sockets: says exactly these bytes, reads exactly what comes."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
GADGETS = "/gadget/v1/gadgets"


class Reply:
    """One answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(15)
        self._received = b""

    def send(self, text: str | bytes) -> None:
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def ask(
        self, method: str, path: str, *headers: str, body: bytes = b"", token: str = "member"
    ) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: cloud:1"]
        if token:
            lines.append(f"X-Auth-Token: {token}")
        if body and not any(h.lower().startswith(("content-length", "transfer-")) for h in headers):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, *headers, "", ""]).encode() + body)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self._received)
            self._received += data
        found, _mark, self._received = self._received.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError(self._received)
            self._received += data
        found, self._received = self._received[:size], self._received[size:]
        return found

    def read(self, *, bodyless: bool = False) -> Reply:
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _colon, v in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        if bodyless or status in (100, 204):
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._until(b"\r\n"), 16):
                body += self._exactly(size)
                self._exactly(2)
            self._exactly(2)
            return Reply(status, headers, body)
        return Reply(status, headers, self._exactly(int(headers.get("content-length", "0"))))

    def is_closed(self) -> bool:
        """Wait for the server to close; what it still sends is an error."""
        try:
            return self._received == b"" and self.sock.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def is_silent(self, seconds: float = 0.3) -> bool:
        self.sock.settimeout(seconds)
        try:
            return self._received == b"" and self.sock.recv(1) == b"\x00"
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(15)

    def hang_up(self) -> None:
        """End at once, as a process that is killed does."""
        self.sock.close()


class Server:
    """The process under test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = {"tls": free_port(), "plain": free_port()}
        script = str(Path(__file__).with_name("wire_server.py"))
        ports = [str(port) for port in self.ports.values()]
        self.log = (directory / "server.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, script, str(directory), *ports],
            env={**os.environ, "PYTHONPATH": str(REPO)},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        deadline = time.monotonic() + 40
        while True:
            try:
                with self.connect("tls") as wire:
                    wire.ask("GET", "/gadget", token="")
                    assert wire.read().status == 200
                return
            except OSError:
                assert self.process.poll() is None, (directory / "server.log").read_text()
                assert time.monotonic() < deadline, (directory / "server.log").read_text()
                time.sleep(0.05)

    @contextlib.contextmanager
    def connect(self, kind: str) -> Iterator[Wire]:
        sock = socket.create_connection(("127.0.0.1", self.ports[kind]), timeout=15)
        try:
            if kind == "tls":
                context = ssl.create_default_context(cafile=str(self.directory / "tls" / "ca.pem"))
                sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
            yield Wire(sock)
        finally:
            sock.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def chunked(*parts: bytes, extension: bytes = b"") -> bytes:
    whole = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return whole + b"0\r\n\r\n"
