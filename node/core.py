"""One node: everything that lives as long as its core process, built in one place and handed down."""

import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from node import __version__
from node.clock import Clock, SystemClock
from node.cluster.admin_commands import ClusterCommands
from node.cluster.client import SOCKET_FILE
from node.cluster.consensus import Consensus
from node.cluster.features import check_level, raise_ops
from node.cluster.founding import Certificates
from node.cluster.recover import LOG_DIRECTORY, epoch_of, give_way
from node.cluster.server_files import TLS_DIRECTORY
from node.cluster.settings import RaftSettings
from node.cluster.status import Status
from node.cluster.tables import CLUSTER, ClusterRow
from node.cluster.trust import Trust
from node.config import ClusterSection, Config
from node.control.data_place import Members, data_port
from node.control.gauges import reconciler_gauges
from node.control.placement import NodeRow
from node.control.reconciler import Reconciler
from node.control.runtime import NodeControl, Runtime
from node.core_status import core_status, log_gauges
from node.enrolment import Enrolment
from node.errors import Conflict, DiskFull, Incompatible, NodeError, Unavailable
from node.ids import Ids, RandomIds
from node.observe.admin import AdminServer, Command
from node.observe.metrics import exposition
from node.observe.notices import heard
from node.pluginhost import PluginHost, PluginReport
from node.state.machine import Changes, Machine
from node.state.reader import STATE_FILE, Readers
from node.state.txn import AnyOp, Outcome, Txn, decode_outcome, encode_txn
from node.types import Frozen, NodeId

if TYPE_CHECKING:
    from node.cluster.assembly import Assembly
    from node.cluster.formation import Membership

log = logging.getLogger("hedgerow.node")

_START_TIMEOUT_S = 30.0
_PATIENCE_S = 0.5
_CONFIRM_S = 5.0
_FEWEST_ENTRIES, _USUAL_TAIL = 50, 256
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
        give_way(self.directory)
        entries = max(_FEWEST_ENTRIES, config.section(ClusterSection).log_entries)
        self._settings = RaftSettings(
            node_id=self.node_id,
            epoch=epoch_of(self.directory),
            compaction_min_entries=entries,
            tail_entries=min(_USUAL_TAIL, entries // 8),
        )
        self.machine = Machine(self.directory / STATE_FILE, self._changed)
        self.readers = Readers(self.directory / STATE_FILE)
        self.certificates = Certificates(
            Trust(self.directory / TLS_DIRECTORY, self.node_id, self.clock),
            config,
            self.clock,
            self.readers.reader,
        )
        self.consensus: Consensus | None = None
        self.control = NodeControl(
            node_id=self.node_id,
            config=config,
            clock=self.clock,
            ids=self.ids,
            hook=host.hook,
            readers=self.readers,
            propose=self._propose_bytes,
            data_port=data_port(config, Members(self.readers)),
        )
        self.enrolment = Enrolment(
            host=host,
            config=config,
            control=self.control,
            certificates=self.certificates,
            propose=self._propose,
            clock=self.clock,
        )
        self.runtime = Runtime(self.control, self._reconcilers())
        self.others = self._assembled()
        if self.others is not None:
            self.control.streams = self.others.streams
        self.admin = AdminServer(self.directory, self._commands())
        self.failure = ""
        """Why the process must end; empty while all is well."""
        self._stopping = threading.Event()
        self._beginning = threading.Thread(target=self._begin_among_others, name="begin")

    def _assembled(self) -> "Assembly | None":
        if not self.config.section(ClusterSection).port:
            return None
        from node.cluster.assembly import Assembly

        return Assembly(
            config=self.config,
            node_id=self.node_id,
            directory=self.directory,
            certificates=self.certificates,
            readers=self.readers,
            ids=self.ids,
        )

    # -- the start

    def start(self) -> None:
        """Open the log, declare tables, seed rows, report this node, start the reconcilers.

        Among others all that happens in a thread, for it may take as long as others do; see `failure`.
        """
        self.machine.check_floor(list(self.enrolment.tables()))
        check_level(self.readers.reader())
        if self.others is not None:
            self.others.open()
            self.admin.start()
            self._beginning.start()
            return
        if not self.certificates.trust.is_member:
            self.certificates.found(self.ids)
        self.certificates.keep()
        self.consensus = self._log(self._settings)
        self.consensus.start(_START_TIMEOUT_S)
        self.enrolment.settle(
            self.enrolment.tables(), self.machine.declared(), self.certificates.first_rows(self.ids)
        )
        self._raise_level_alone()
        self.runtime.start()
        self.admin.start()

    def _raise_level_alone(self) -> None:
        """Use all that this version knows: there is nobody else who would have to know it."""
        db = self.readers.reader()
        ops = raise_ops(db.get(ClusterRow, CLUSTER), db.rows(NodeRow), self.clock.now_us())
        if ops:
            self._propose(*ops)
            self.enrolment.declare(self.enrolment.tables(), self.machine.declared())

    def _log(self, settings: RaftSettings) -> Consensus:
        peers = self.others.peers if self.others is not None else None
        return Consensus(
            self.machine,
            self.directory / LOG_DIRECTORY,
            self.directory / SOCKET_FILE,
            settings,
            peers=peers,
        )

    def _begin_among_others(self) -> None:
        try:
            self._among_others()
        except NodeError as error:
            self.failure = error.message
        except Exception as error:
            log.exception("the node cannot begin")
            self.failure = f"{type(error).__name__}: {error}"

    def _among_others(self) -> None:
        assert self.others is not None
        self.control.lease = lambda: (
            False
        )  # until the leader grants one: others may do this node's work
        membership: Membership | None = None
        settings = self._settings
        if not Consensus.exists(self.directory / LOG_DIRECTORY):
            membership = self.others.form(self._stopping)
            if membership is None:
                return
            if not membership.is_founder:
                voters = tuple(
                    member.node_id
                    for member in membership.members
                    if member.is_voter and member.node_id != self.node_id
                )
                settings = msgspec.structs.replace(settings, first_peers=voters, first_voter=False)
        self.certificates.keep()
        self.consensus = self._log(settings)
        self.others.attach(self.consensus, self.machine, self.runtime.look_at_all)
        self.consensus.start(_START_TIMEOUT_S)
        self.others.watch()
        is_known = self.readers.reader().get(NodeRow, self.node_id) is not None
        if is_known:  # what its rows say goes on, whether or not anyone leads
            self.runtime.start()
        if not self._settled(self.others):
            return
        if not is_known:
            self.runtime.start()
        self.others.admit(self._propose)
        row_types = [one for _, some in self.host.gather("row_types") for one in some]
        self.control.lease = self.others.take_part(
            self.consensus, self.runtime.lease_changed, row_types
        )
        log.info("this node is a member of its cluster")

    def _settled(self, others: "Assembly") -> bool:
        """Enrol as soon as the log takes it; False when the node is to stop before."""
        tables = self.enrolment.tables()
        assert self.consensus is not None
        while not self._stopping.is_set():
            try:
                # What is decided from rows must be decided from those that the cluster has.
                if self.consensus.confirm(_CONFIRM_S):
                    self.enrolment.settle(tables, self.machine.declared(), others.first_rows())
                    self.certificates.keep()
                    return True
            except (Unavailable, DiskFull) as error:
                log.info("this node waits for its cluster: %s", error.message)
            self._stopping.wait(_PATIENCE_S)
        return False

    def stop(self) -> None:
        """Stop in the opposite order; VMs and networks stay."""
        self._stopping.set()
        if self._beginning.is_alive():
            self._beginning.join()
        self.admin.stop()
        if self.others is not None:
            self.others.withdraw()
        self.runtime.stop()
        if self.consensus is not None:
            self.consensus.stop()
        if self.others is not None:
            self.others.stop()
        self.machine.close()

    def report(self) -> None:
        """Renew certificates and write this node's row, where they changed. Once a minute."""
        if self.consensus is None or self._beginning.is_alive():
            return
        renewed = self.certificates.keep()
        if self.others is not None:
            self.others.remember()
            if renewed:
                self.others.peers.reload()
        self.enrolment.report()
        self._level_changed()

    # -- what others are handed

    def _reconcilers(self) -> list[Reconciler]:
        kept: dict[str, Reconciler] = {}
        for plugin, some in self.host.gather("reconcilers", control=self.control):
            for reconciler in some:
                if kept.setdefault(reconciler.name, reconciler) is not reconciler:
                    taken = Conflict(f"the name {reconciler.name} is taken")
                    self.host.report(plugin, "hook reconcilers", taken)
        return list(kept.values())

    def _propose_bytes(self, txn: bytes, timeout_s: float) -> bytes:
        if self.consensus is None:
            raise Unavailable("This node is in no cluster yet")
        return self.consensus.propose(txn, timeout_s)

    def _propose(self, *ops: AnyOp) -> Outcome:
        txn = Txn(request_id=self.ids.uuid(), ops=ops)
        return decode_outcome(self._propose_bytes(encode_txn(txn), _START_TIMEOUT_S))

    def _changed(self, changes: Changes) -> None:
        self.runtime.changed(changes)
        if ClusterRow.__table__.name in changes and self.others is not None:
            # Not in the log's thread, which applies what this proposes.
            threading.Thread(target=self._level_changed, name="features", daemon=True).start()

    def _level_changed(self) -> None:
        """Use what all members know now; end where this version does not."""
        try:
            check_level(self.readers.reader())
            if self.control.lease_valid():  # else it declares them when it enrols
                self.enrolment.declare(self.enrolment.tables(), self.machine.declared())
        except Incompatible as error:
            self.failure = error.message
        except (Unavailable, DiskFull) as error:
            log.info("the new tables are declared later: %s", error.message)

    def _commands(self) -> Mapping[str, Command]:
        of_members = self.others.commands(self._propose_bytes) if self.others is not None else {}
        rows = ClusterCommands(
            db=self.readers.reader, propose=self._propose, clock=self.clock, ids=self.ids
        )
        return {
            **rows.commands(),
            **of_members,
            "status": self.status,
            "reconcilers": self.runtime.state,
            "metrics": self.metrics,
            "world": self.runtime.world,
            "tell": self.runtime.tell,
            "pause": lambda name: self._pause(name, paused=True),
            "resume": lambda name: self._pause(name, paused=False),
        }

    def metrics(self) -> str:
        """Return this node's gauges in Prometheus' text format."""
        found = self._log_status()
        own = {
            **(log_gauges(found) if found is not None else {}),
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

    def _log_status(self) -> Status | None:
        found = self.consensus
        return found.status() if found is not None and found.is_open else None

    def status(self) -> dict[str, object]:
        """Return what `hedgerow status` prints."""
        checks = core_status(self._log_status(), self.runtime.state())
        if self.others is not None:
            checks += self.others.health()
        for _name, some in self.host.gather("health", control=self.control):
            checks += some
        return {
            "version": __version__,
            "node_id": self.node_id,
            "pid": os.getpid(),
            "health": [{"name": name, "ok": ok, "detail": text} for name, ok, text in checks],
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
