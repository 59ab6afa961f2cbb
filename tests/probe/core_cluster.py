"""Core processes of several nodes on loopback, without plugins and API: the real daemon's core, as fast as it gets."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.cluster.token import make
from node.control.placement import NodeRow
from node.errors import NodeError
from node.ids import RandomIds
from node.observe.admin import ask
from node.state.reader import STATE_FILE, Reader
from node.state.row import Row, Table
from node.state.txn import AnyOp, Applied, Define, Txn, decode_outcome, encode_txn, insert
from tests.probe.daemon import ROOT, free_port

PLUGINS = "identity, image, network, compute"


class Thing(Row):
    __table__ = Table(name="things")

    text: str = ""


class CoreNode:
    """One node's core process, kept running as its supervisor would."""

    def __init__(self, site: "CoreSite", name: str) -> None:
        self.name = name
        self.place = site.place / name
        self.state = self.place / "state"
        self.place.mkdir()
        self.port = free_port()
        self.host = "127.0.0.1"
        self.shown_name = name
        self.config = self.place / "hedgerow.ini"
        self.process: subprocess.Popen[bytes] | None = None
        self.is_wanted = False
        self.code = ROOT
        """Where the package is that it runs."""
        self._site = site

    def configure(self) -> None:
        """Write the configuration: the port may have changed."""
        seeds = ", ".join(f"{one.host}:{one.port}" for one in self._site.nodes.values())
        self.config.write_text(
            f"[node]\nname = {self.shown_name}\nstate_dir = {self.state}\nblock_plugins = {PLUGINS}\n"
            f"[cluster]\nport = {self.port}\nlisten = {self.host}\naddress = {self.host}\n"
            f"token_file = {self._site.token}\ndiscovery = false\nseeds = {seeds}\n"
            f"{self._site.more}[log]\nformat = text\n"
        )

    def start(self) -> None:
        self.is_wanted = True
        self.configure()
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "node.daemon", "core", str(self.config)],
                stdout=log,
                stderr=log,
                cwd=self.code,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.is_wanted = False
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def keep(self) -> None:
        """Start it again when it ended by itself."""
        if self.is_wanted and self.process is not None and self.process.poll() is not None:
            self.start()

    def health(self) -> dict[str, tuple[bool, str]]:
        """Return what its status says, nothing while it does not answer."""
        with contextlib.suppress(NodeError):
            found = ask(self.state, "status")
            return {one["name"]: (one["ok"], one["detail"]) for one in found["health"]}
        return {}

    def ask(self, command: str, **arguments: object) -> Any:
        return ask(self.state, command, **arguments)

    def cli(self, *argv: str) -> str:
        """Run a command of the administrator and return what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "node.cli", *argv],
            env={**os.environ, "HEDGEROW_CONFIG": str(self.config)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write(self, *ops: AnyOp, timeout_s: float = 30.0) -> None:
        """Have the log take operations through this node."""
        client = ProposalClient(self.state / SOCKET_FILE)
        txn = encode_txn(Txn(request_id=RandomIds().uuid(), ops=ops))
        try:
            outcome = decode_outcome(client.propose(txn, timeout_s))
        finally:
            client.close()
        assert isinstance(outcome, Applied), outcome

    def put(self, *ids: str) -> None:
        self.write(*(insert(Thing(id=one)) for one in ids))

    def rows(self, row_type: type[Row] = Thing) -> dict[str, Any]:
        if not (self.state / STATE_FILE).exists():
            return {}
        with contextlib.closing(Reader(self.state / STATE_FILE)) as reader:
            return {row.id: row for row in reader.rows(row_type)}

    def applied(self) -> int:
        """Return the entry that its rows are at."""
        if not (self.state / STATE_FILE).exists():
            return 0
        try:
            with contextlib.closing(Reader(self.state / STATE_FILE)) as reader:
                return reader.applied_index()
        except (sqlite3.OperationalError, TypeError):  # it is just being made
            return 0

    @property
    def node_id(self) -> str:
        own = next((row for row in self.rows(NodeRow).values() if row.name == self.shown_name), None)
        return own.id if own is not None else ""

    def roles(self) -> dict[str, str]:
        """Return who votes, by name, as this node's rows say."""
        return {row.name: row.role for row in self.rows(NodeRow).values()}


class WitnessNode:
    """A witness of a site, as a process of its own."""

    def __init__(self, site: "CoreSite", name: str, *, listens: bool = False) -> None:
        self.name = name
        self.place = site.place / name
        self.place.mkdir()
        self.state = self.place / "state"
        self.port = free_port() if listens else 0
        self._site = site
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        seeds = ", ".join(f"127.0.0.1:{one.port}" for one in self._site.nodes.values())
        config = self.place / "hedgerow.ini"
        config.write_text(
            f"[node]\nname = {self.name}\nstate_dir = {self.state}\n"
            f"[cluster]\nport = {self.port}\nlisten = 127.0.0.1\naddress = 127.0.0.1\n"
            f"token_file = {self._site.token}\ndiscovery = false\nseeds = {seeds}\n"
            "[log]\nformat = text\n"
        )
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "node.cli", "witness", "--config", str(config)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)

    def says(self) -> str:
        """Return what its status says, nothing while it does not answer."""
        with contextlib.suppress(NodeError):
            return str(ask(self.state, "status")["health"][0]["detail"])
        return ""


class CoreSite:
    """Some nodes with one token."""

    def __init__(self, place: Path, names: Iterable[str], *, founders: int, more: str = "") -> None:
        self.place = place
        self.more = more
        self.token = place / "token"
        self.token.write_text(make(RandomIds(), founders=founders).text)
        self.nodes: dict[str, CoreNode] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> CoreNode:
        self.nodes[name] = CoreNode(self, name)
        return self.nodes[name]

    def start(self, *names: str) -> None:
        for name in names or self.nodes:
            self.nodes[name].start()

    def end(self, *names: str, number: signal.Signals = signal.SIGTERM) -> None:
        for name in names or self.nodes:
            self.nodes[name].end(number)

    def close(self) -> None:
        for node in self.nodes.values():
            node.end(signal.SIGKILL)

    def until(self, what: str, holds: Callable[[], object], timeout_s: float = 120.0) -> None:
        """Wait for a condition, and start again what ended by itself."""
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end, f"{what}: not in time\n{self.told()}"
            for node in self.nodes.values():
                node.keep()
            time.sleep(0.1)

    def told(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(
            f"== {node.name}\n" + (node.place / "log").read_text(errors="replace")[-3000:]
            for node in self.nodes.values()
            if (node.place / "log").exists()
        )

    def until_voters(self, *names: str) -> None:
        """Wait until exactly these nodes vote, by the rows of all of them."""

        def agreed() -> bool:
            return all(
                {name for name, role in self.nodes[one].roles().items() if role == "voter"}
                == set(names)
                for one in names
            )

        self.until(f"{', '.join(names)} vote", agreed)

    def until_all_hold(self, ids: set[str], *names: str) -> None:
        """Wait until these nodes, or all, hold exactly these things."""
        some = names or tuple(self.nodes)
        self.until(
            f"all hold {sorted(ids)}",
            lambda: all(set(self.nodes[name].rows()) == ids for name in some),
        )

    def define(self, name: str) -> None:
        self.nodes[name].write(Define(Thing.__table__))
