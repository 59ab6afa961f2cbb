"""What a node tells its cluster when it starts: its plugins' tables, the first rows, and its own row."""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence

from node import __version__
from node.clock import Clock
from node.cluster.address import own_address
from node.cluster.features import FEATURE_LEVEL, level_of
from node.cluster.founding import Certificates
from node.cluster.lease import LeaseClaim
from node.cluster.tables import ROW_TYPES
from node.config import ApiSection, ClusterSection, Config, NodeSection
from node.control.placement import NodeRow
from node.control.reconciler import Control
from node.errors import Conflict, DiskFull, Unavailable
from node.pluginhost import PluginHost
from node.state.row import Row, Table
from node.state.txn import AnyOp, Define, Insert, Outcome, Refused, insert, patch

log = logging.getLogger("hedgerow.node")

CORE_ROW_TYPES: tuple[type[Row], ...] = (NodeRow, LeaseClaim, *ROW_TYPES)
"""What the core itself stores; all other tables are plugins'."""

_EXISTS = ("exists", "rev", "unique")

Propose = Callable[..., Outcome]
"""Proposes operations as one transaction and returns its outcome. Raises Unavailable or DiskFull."""


class Enrolment:
    """One node's part of the rows that describe the cluster itself."""

    def __init__(
        self,
        *,
        host: PluginHost,
        config: Config,
        control: Control,
        certificates: Certificates,
        propose: Propose,
        clock: Clock,
    ) -> None:
        self._host = host
        self._config = config
        self._control = control
        self._certificates = certificates
        self._propose = propose
        self._clock = clock
        self._levels: dict[str, int] = {}
        self._cluster = config.section(ClusterSection)

    def tables(self) -> dict[Table, str]:
        """Return the tables of all plugins, with the plugin; the first to name a table has it."""
        kept: dict[str, tuple[Table, str]] = {
            row_type.__table__.name: (row_type.__table__, "core") for row_type in CORE_ROW_TYPES
        }
        self._levels = {one.__table__.name: one.since_level for one in CORE_ROW_TYPES}
        for plugin, row_types in self._host.gather("row_types"):
            for row_type in row_types:
                table = row_type.__table__
                self._levels.setdefault(table.name, row_type.since_level)
                if kept.setdefault(table.name, (table, plugin))[0] is not table:
                    taken = Conflict(f"the table name {table.name} is taken")
                    self._host.report(plugin, "hook row_types", taken)
        return dict(kept.values())

    def settle(
        self,
        tables: Mapping[Table, str],
        held: Mapping[str, Table],
        first_rows: Sequence[AnyOp],
    ) -> None:
        """Have the cluster hold this node's tables, the first rows and this node's own; harmless when repeated.

        `held` are the tables that the store has. Raises:
            Unavailable: 503, nobody leads the log.
            DiskFull: 507.
        """
        self.declare(tables, held)
        if first_rows:
            self._propose(*first_rows)
        self._seed()
        self.report()

    def declare(self, tables: Mapping[Table, str], held: Mapping[str, Table]) -> None:
        """Have the cluster hold those tables that all its members know.

        Raises:
            Unavailable: 503, nobody leads the log.
        """
        level = level_of(self._control.db)
        for table, plugin in tables.items():
            is_new = table.name not in held or held[table.name].version < table.version
            if is_new and self._levels.get(table.name, 1) <= level:
                outcome = self._propose(Define(table))
                if isinstance(outcome, Refused):
                    self._refused(plugin, "row_types", f"table {table.name}", outcome)

    def _seed(self) -> None:
        """Propose the rows that a new cluster begins with; those that exist are not proposed at all."""
        db = self._control.db
        for plugin, ops in self._host.gather(
            "seed_rows", db=db, now_us=self._clock.now_us(), config=self._config
        ):
            for op in ops:
                if isinstance(op, Insert) and db.has(op.table, op.id):
                    continue
                outcome = self._propose(op)
                if isinstance(outcome, Refused) and outcome.reason not in _EXISTS:
                    self._refused(plugin, "seed_rows", f"{outcome.table} {outcome.id}", outcome)

    def _refused(self, plugin: str, hook: str, what: str, outcome: Refused) -> None:
        error = Conflict(f"{what} was refused: {outcome.reason}")
        log.error("plugin %s: %s", plugin, error.message)
        self._host.report(plugin, f"hook {hook}", error)

    def report(self) -> None:
        """Write what this node has and can into its row, when that changed; what cannot be written now waits."""
        try:
            self._report()
        except (DiskFull, Unavailable) as error:
            log.warning("this node's row cannot be written now: %s", error.message)

    def _report(self) -> None:
        fields = self._fields()
        row = self._control.db.get(NodeRow, self._control.node_id)
        now = self._clock.now_us()
        if row is not None:
            if any(getattr(row, key) != value for key, value in fields.items()):
                self._propose(patch(NodeRow, row.id, updated_at=now, **fields))
        elif self._is_first():
            fresh = NodeRow(id=self._control.node_id, created_at=now, updated_at=now, boot_at=now, **fields)  # type: ignore[arg-type]
            self._propose(insert(fresh))
        else:
            log.error("this node is no member of its cluster any more: it was removed")

    def _is_first(self) -> bool:
        """Return whether nobody admits nodes here, or nobody could have admitted this one."""
        return not self._cluster.port or not self._control.db.count(NodeRow)

    def _fields(self) -> dict[str, object]:
        facts: dict[str, str] = {}
        for _name, some in self._host.gather("node_facts", control=self._control):
            facts.update(some)
        fields: dict[str, object] = {
            name: int(facts.pop(name))
            for name in ("vcpus", "memory_mib", "disk_gib")
            if facts.get(name, "").isdigit()
        }
        fields |= {
            "name": self._config.section(NodeSection).name or socket.gethostname(),
            "facts": {**facts, "version": __version__},
            "fingerprint": self._certificates.trust.fingerprint,
            "api_port": self._config.section(ApiSection).port,
            "feature_level": FEATURE_LEVEL,
        }
        if self._cluster.port:
            return fields | {
                "address": own_address(self._config),
                "cluster_port": self._cluster.port,
                "data_port": self._cluster.data_port,
                "failure_domain": self._cluster.failure_domain,
            }
        return fields | {"state": "up"}
