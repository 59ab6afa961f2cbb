"""One node: everything that lives as long as its core process, built in one place and handed down."""

import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from node import __version__
from node.clock import Clock, SystemClock
from node.cluster.client import SOCKET_FILE
from node.cluster.consensus import Consensus
from node.cluster.founding import Certificates
from node.cluster.settings import RaftSettings
from node.cluster.tables import ROW_TYPES
from node.cluster.trust import TLS_DIRECTORY, Trust
from node.config import Config, NodeSection
from node.control.data_place import Members, data_port
from node.control.gauges import reconciler_gauges
from node.control.placement import NodeRow
from node.control.reconciler import Reconciler
from node.control.runtime import NodeControl, Runtime
from node.errors import Conflict, DiskFull, NodeError, Unavailable
from node.ids import Ids, RandomIds
from node.observe.admin import AdminServer, Command
from node.observe.metrics import exposition
from node.observe.notices import heard
from node.pluginhost import PluginHost, PluginReport
from node.state.machine import Changes, Machine
from node.state.reader import STATE_FILE, Readers
from node.state.row import Row, Table
from node.state.txn import (
    AnyOp,
    Define,
    Insert,
    Refused,
    Txn,
    decode_outcome,
    encode_txn,
    insert,
    patch,
)
from node.types import Frozen, NodeId

log = logging.getLogger("hedgerow.node")

CORE_ROW_TYPES: tuple[type[Row], ...] = (NodeRow, *ROW_TYPES)
"""What the core itself stores; all other tables are plugins'."""

_START_TIMEOUT_S = 30.0
_EXISTS = ("exists", "rev", "unique")
_STUCK_S = 5.0
_SWITCH_S = 0.0005
"""How long a thread may hold the interpreter while the log's thread waits: a commit is shorter than that."""


class Identity(Frozen):
    """Who this node is, made at its first start."""

    node_id: str


class Node:
    """The core of one node: store, log, reconcilers, and the administrator's door."""

    def __init__(self, config: Config, host: PluginHost) -> None:
        sys.setswitchinterval(_SWITCH_S)
        self.config = config
        self.host = host
        self.clock: Clock = SystemClock()
        self.ids: Ids = RandomIds()
        self.directory = config.state_dir
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.node_id = NodeId(identity(self.directory, self.ids).node_id)
        self.machine = Machine(self.directory / STATE_FILE, self._changed)
        self.readers = Readers(self.directory / STATE_FILE)
        self.certificates = Certificates(
            Trust(self.directory / TLS_DIRECTORY, self.node_id, self.clock),
            config,
            self.clock,
            self.readers.reader,
        )
        settings = RaftSettings(node_id=self.node_id)
        self.consensus = Consensus(
            self.machine, self.directory / "log", self.directory / SOCKET_FILE, settings
        )
        self.control = NodeControl(
            node_id=self.node_id,
            config=config,
            clock=self.clock,
            ids=self.ids,
            hook=host.hook,
            readers=self.readers,
            propose=self.consensus.propose,
            data_port=data_port(config, Members(self.readers)),
        )
        self.runtime = Runtime(self.control, self._reconcilers())
        self.admin = AdminServer(self.directory, self._commands())

    def start(self) -> None:
        """Open the log, declare tables, seed rows, report this node, start the reconcilers."""
        tables = self._tables()
        self.machine.check_floor(list(tables))
        if not self.certificates.trust.is_member:
            self.certificates.found(self.ids)
        self.certificates.keep()
        self.consensus.start(_START_TIMEOUT_S)
        self.host.services()  # the API process serves them; here they are looked at for `hedgerow status`
        self._settle(tables)
        self.runtime.start()
        self.admin.start()

    def _settle(self, tables: Mapping[Table, str]) -> None:
        """Have the cluster hold this node's tables, the first rows and this node's own; harmless when repeated.

        Raises:
            Unavailable: 503, nobody leads the log.
        """
        held = self.machine.declared()
        for table, plugin in tables.items():
            if table.name not in held or held[table.name].version < table.version:
                outcome = self._propose(Define(table))
                if isinstance(outcome, Refused):
                    self._refused(plugin, "row_types", f"table {table.name}", outcome)
        self._propose_all(self.certificates.first_rows(self.ids))
        self._seed()
        self.report()

    def _seed(self) -> None:
        """Propose the rows that a new cluster begins with; those that exist are not proposed at all."""
        db = self.readers.reader()
        for plugin, ops in self.host.gather(
            "seed_rows", db=db, now_us=self.clock.now_us(), config=self.config
        ):
            for op in ops:
                if isinstance(op, Insert) and db.has(op.table, op.id):
                    continue
                outcome = self._propose(op)
                if isinstance(outcome, Refused) and outcome.reason not in _EXISTS:
                    self._refused(plugin, "seed_rows", f"{outcome.table} {outcome.id}", outcome)

    def _propose_all(self, ops: Sequence[AnyOp]) -> None:
        if ops:
            self._propose(*ops)

    def _refused(self, plugin: str, hook: str, what: str, outcome: Refused) -> None:
        error = Conflict(f"{what} was refused: {outcome.reason}")
        log.error("plugin %s: %s", plugin, error.message)
        self.host.report(plugin, f"hook {hook}", error)

    def _reconcilers(self) -> list[Reconciler]:
        kept: dict[str, Reconciler] = {}
        for plugin, some in self.host.gather("reconcilers", control=self.control):
            for reconciler in some:
                if kept.setdefault(reconciler.name, reconciler) is not reconciler:
                    taken = Conflict(f"the name {reconciler.name} is taken")
                    self.host.report(plugin, "hook reconcilers", taken)
        return list(kept.values())

    def stop(self) -> None:
        """Stop in the opposite order; VMs and networks stay."""
        self.admin.stop()
        self.runtime.stop()
        self.consensus.stop()
        self.machine.close()

    def report(self) -> None:
        """Write what this node has and can into its row, when that changed; what cannot be written now waits."""
        self.certificates.keep()
        try:
            self._report()
        except (DiskFull, Unavailable) as error:
            log.warning("this node's row cannot be written now: %s", error.message)

    def _report(self) -> None:
        facts: dict[str, str] = {}
        for _name, some in self.host.gather("node_facts", control=self.control):
            facts.update(some)
        numbers = {
            name: int(facts.pop(name))
            for name in ("vcpus", "memory_mib", "disk_gib")
            if facts.get(name, "").isdigit()
        }
        name = self.config.section(NodeSection).name or socket.gethostname()
        fields: dict[str, object] = {
            "name": name,
            "state": "up",
            "facts": {**facts, "version": __version__},
            "fingerprint": self.certificates.trust.fingerprint,
            **numbers,
        }
        row = self.readers.reader().get(NodeRow, self.node_id)
        now = self.clock.now_us()
        if row is None:
            fresh = NodeRow(id=self.node_id, created_at=now, updated_at=now, boot_at=now, **fields)  # type: ignore[arg-type]
            self._propose(insert(fresh))
        elif any(getattr(row, key) != value for key, value in fields.items()):
            self._propose(patch(NodeRow, self.node_id, updated_at=now, **fields))

    def _tables(self) -> dict[Table, str]:
        """Return the tables of all plugins, with the plugin; the first to name a table has it."""
        kept: dict[str, tuple[Table, str]] = {
            row_type.__table__.name: (row_type.__table__, "core") for row_type in CORE_ROW_TYPES
        }
        for plugin, row_types in self.host.gather("row_types"):
            for row_type in row_types:
                table = row_type.__table__
                if kept.setdefault(table.name, (table, plugin))[0] is not table:
                    taken = Conflict(f"the table name {table.name} is taken")
                    self.host.report(plugin, "hook row_types", taken)
        return dict(kept.values())

    def _propose(self, *ops: object) -> object:
        txn = Txn(request_id=self.ids.uuid(), ops=ops)  # type: ignore[arg-type]
        return decode_outcome(self.consensus.propose(encode_txn(txn), _START_TIMEOUT_S))

    def _changed(self, changes: Changes) -> None:
        self.runtime.changed(changes)

    def _commands(self) -> Mapping[str, Command]:
        return {
            "status": self.status,
            "reconcilers": self.runtime.state,
            "metrics": self.metrics,
            "world": self.runtime.world,
            "pause": lambda name: self._pause(name, paused=True),
            "resume": lambda name: self._pause(name, paused=False),
        }

    def metrics(self) -> str:
        """Return this node's gauges in Prometheus' text format."""
        log_status = self.consensus.status()
        own = {
            "log_entry": log_status.applied_index,
            "log_entries_held": log_status.journal_entries,
            "log_bytes": log_status.journal_bytes,
            "log_waiting": log_status.waiting,
            "log_tick_age_seconds": log_status.last_tick_age_s,
            "disk_full": log_status.disk_full,
            "store_bytes": (self.directory / STATE_FILE).stat().st_size,
            **reconciler_gauges(self.runtime.state()),
        }
        return exposition([("core", own), *self.host.gather("metrics", control=self.control)])

    def _pause(self, name: str, *, paused: bool) -> dict[str, object]:
        if not self.runtime.pause(name, paused=paused):
            raise NodeError(
                f"There is no reconciler {name}: `hedgerow debug reconcilers` lists them"
            )
        return {"name": name, "paused": paused}

    def status(self) -> dict[str, object]:
        """Return what `hedgerow status` prints."""
        log_status = self.consensus.status()
        failing = [s for s in self.runtime.state() if s.failures or not s.started]
        health = [
            {
                "name": "log",
                "ok": not log_status.fault,
                "detail": log_status.fault
                or f"{log_status.role}, entry {log_status.applied_index}",
            },
            {
                "name": "log thread",
                "ok": log_status.last_tick_age_s < _STUCK_S,
                "detail": f"last turn {log_status.last_tick_age_s:.1f} s ago",
            },
            {
                "name": "disk",
                "ok": not log_status.disk_full,
                "detail": "full: only deletes are taken until there is room"
                if log_status.disk_full
                else "has room",
            },
        ]
        for state in failing:
            detail = (
                "is still starting"
                if not state.started
                else "; ".join(
                    f"{f.key} failed {f.attempts} times ({f.error}), again in {f.next_s} s"
                    for f in state.failures[:3]
                )
            )
            health.append({"name": f"reconciler {state.name}", "ok": False, "detail": detail})
        for _name, checks in self.host.gather("health", control=self.control):
            health.extend({"name": n, "ok": ok, "detail": text} for n, ok, text in checks)
        return {
            "version": __version__,
            "node_id": self.node_id,
            "pid": os.getpid(),
            "health": health,
            "plugins": [
                msgspec.to_builtins(report)
                for report in self.host.with_heard(heard(self.directory, PluginReport))
            ],
        }


def identity(directory: Path, ids: Ids) -> Identity:
    """Return this node's identity, made at its first start."""
    path = directory / "identity.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    made = Identity(node_id=ids.uuid())
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        file.write(msgspec.json.encode(made))
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    return made
