"""The cloud under test: its addresses, a client for preparations, and the meters around a load."""

import hashlib
import http.client
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from load import Load, drive, request
from processes import Processes

TOKENS = "/identity/v3/auth/tokens"


@dataclass(frozen=True)
class Metered:
    """A load and what it cost."""

    load: Load
    server_cpu_s: float

    @property
    def server_ms(self) -> float:
        return self.server_cpu_s / self.load.count * 1e3

    @property
    def client_ms(self) -> float:
        return self.load.client_cpu_s / self.load.count * 1e3


class Cloud:
    """A lab that runs."""

    def __init__(self, directory: Path) -> None:
        self.facts: dict[str, Any] = json.loads((directory / "lab.json").read_text())
        node = self.facts["nodes"][0]
        self.state = Path(node["state_dir"])
        self.port = int(urlsplit(self.facts["auth_url_http"]).port or 0)
        digest = hashlib.sha256(str(self.state).encode()).hexdigest()[:16]  # as network/planes.py
        run_directory = Path("/run/hedgerow") / digest
        self.processes = Processes(node["pid"], directory.absolute(), run_directory)
        answer = self._send("POST", TOKENS, password_login(self.facts["admin_password"]), {})
        self.token = answer.headers["x-subject-token"]
        token = json.loads(answer.read())["token"]
        self.project_id = token["project"]["id"]
        self.user_id = token["user"]["id"]

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        self._connection.request(
            method, path, body, {"Content-Type": "application/json", **headers}
        )
        answer = self._connection.getresponse()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.read()[:400]!r}")
        return answer

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one request as the administrator and return the decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        text = self._send(method, path, data, {"X-Auth-Token": self.token}).read()
        return json.loads(text) if text else None

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> bytes:
        """Return the bytes of a request of the administrator."""
        data = b"" if body is None else json.dumps(body).encode()
        return request(method, path, {"X-Auth-Token": self.token, **(headers or {})}, data)

    def drive(
        self, requests: Iterable[bytes], status: int, *, concurrency: int, seconds: float = 0.0
    ) -> Metered:
        """Put a load on the cloud and measure what it costs all its processes."""
        before = self.processes.cpu_s()
        load = drive(self.port, requests, concurrency=concurrency, seconds=seconds)
        after = self.processes.cpu_s()
        return Metered(load.must_be(status), after - before)

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until the cloud does next to nothing, so that one measurement does not pay for another."""
        deadline = time.monotonic() + seconds
        used = self.processes.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(1.0)
            now = self.processes.cpu_s()
            if now - used < 0.05:
                return
            used = now


def password_login(password: str) -> bytes:
    """Return the body of the administrator's login."""
    user = {"name": "admin", "domain": {"id": "default"}, "password": password}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    identity = {"methods": ["password"], "password": {"user": user}}
    return json.dumps({"auth": {"identity": identity, "scope": scope}}).encode()


def load_average() -> float:
    """Return the load of the last minute."""
    return os.getloadavg()[0]
