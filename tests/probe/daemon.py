"""A whole `hedgerow run` under test, with plugins of the test's own and none that touches this machine."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.errors import NodeError
from node.observe.admin import ask

ROOT = Path(__file__).resolve().parents[2]

BOOK = '''
"""A guest book: one row type, one service, one reconciler, tokens that everybody knows."""
from node.sdk import *


class Entry(Resource):
    __table__ = Table(name="entries", unique=(("name",),))
    name: str = ""


class EntryBody(Frozen, forbid_unknown_fields=True):
    name: str


class BookSection(Frozen):
    greeting: str = "hello"


def create(ctx):
    row = Entry(id=ctx.ids.uuid(), name=ctx.body.name, want="signed", created_at=ctx.now())
    ctx.transact(lambda: ([insert(row)], None), refused=lambda r: Conflict("taken") if r.reason == "unique" else None)
    return {"id": row.id}


def listing(ctx):
    rows = ctx.db.rows(Entry)
    greeting = ctx.config.section(BookSection).greeting
    return {"entries": [{"name": row.name, "have": row.have} for row in rows], "greeting": greeting}


def fault(ctx, error):
    return Reply(status=error.status, body={"error": error.message})


ROUTES = (
    Route(method="POST", path="/v1/entries", handler=create, policy="book:sign", body=EntryBody, status=201),
    Route(method="GET", path="/v1/entries", handler=listing, policy="any"),
)
BOOK = Service(
    name="book", type="book", path="/book", endpoint="/book", fault=fault, routes=ROUTES,
    policies={"book:sign": "role:member"},
)


class Signer(Reconciler):
    name = "book"
    watches = (Entry,)

    def keys(self):
        return [row.id for row in self.control.db.rows(Entry, have="")]

    def affected(self, row_type, id):
        return [id]

    def reconcile(self, key):
        row = self.control.db.get(Entry, key)
        if row is None or row.have == row.want:
            return Done()
        return Done(ops=[check(row), patch(Entry, key, have=row.want)])


@hookimpl
def row_types():
    return [Entry]


@hookimpl
def services():
    return [BOOK]


@hookimpl
def reconcilers(control):
    return [Signer(control)]


@hookimpl
def config_sections():
    return {"book": BookSection}


@hookimpl
def token_verify(token):
    if token == "guest":
        who = {"user_id": "u", "user_name": "u", "user_domain_id": "d", "user_domain_name": "d"}
        return Token(**who, project_id="p", roles=("member",))
'''


class Daemon:
    """A node in a directory."""

    def __init__(
        self, directory: Path, *, plugins: dict[str, str] | None = None, more: str = ""
    ) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.port, self.plain_port = free_port(), free_port()
        place = directory / "plugins"
        place.mkdir(exist_ok=True)
        for name, text in {"book": BOOK, **(plugins or {})}.items():
            (place / f"{name}.py").write_text(text)
        self.config = directory / "hedgerow.ini"
        self.config.write_text(
            f"[node]\nname = probe\nstate_dir = {self.state}\nplugin_dir = {place}\n"
            "block_plugins = identity, image, network, compute\n"
            f"[api]\nport = {self.port}\nplain_port = {self.plain_port}\n[log]\nformat = text\n{more}"
        )
        self.log = directory / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.path = os.environ.get("PYTHONPATH", "")

    def start(self, *, ready: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "node.cli", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{self.path}"},
            )
        if ready:
            self.until(lambda: self.ask("GET")[0] == 200, "the API never answered")
            self.until(lambda: len(self.everybody()) == 5, "the workers never came")
            self.until(self.is_up, "the core never answered")

    def ask(self, method: str, name: str = "", path: str = "/book/v1/entries") -> tuple[int, Any]:
        """Return status and body; (0, None) when nobody answers, or nobody answers whole."""
        body = json.dumps({"name": name}) if name else None
        connection = http.client.HTTPConnection("127.0.0.1", self.plain_port, timeout=20)
        try:
            connection.request(method, path, body, {"X-Auth-Token": "guest"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        return ask(self.state, "status")

    def is_up(self) -> bool:
        with contextlib.suppress(NodeError):
            return bool(self.status())
        return False

    def pids(self) -> dict[str, list[int]]:
        """Return the processes by part: supervisor, core, arbiter, workers."""
        assert self.process is not None
        found: dict[str, list[int]] = {
            "supervisor": [self.process.pid],
            "core": [],
            "arbiter": [],
            "worker": [],
        }
        for child in children(self.process.pid):
            words = cmdline(child)
            if b"core" in words:
                found["core"].append(child)
            elif b"api" in words or b"hedgerow-api" in b" ".join(words):
                found["arbiter"].append(child)
                found["worker"] += children(child)
        return found

    def everybody(self) -> list[int]:
        return [pid for some in self.pids().values() for pid in some]

    def kill(self, part: str) -> None:
        """Kill one process of a part, as soon as there is one."""
        self.until(lambda: self.pids()[part], f"there is no {part}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pids()[part][0], signal.SIGKILL)
        if part == "supervisor":
            assert self.process is not None
            self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(45)
        except subprocess.TimeoutExpired:
            for pid in self.everybody():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{what}\n{self.log.read_text()[-6000:]}"
            time.sleep(0.05)


def children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cmdline(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
