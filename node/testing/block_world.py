"""Several nodes in one process: one store, and for each node the real runtime, engine, and storage daemons.

What is between the nodes is the test's: requests to replicas can be cut off, and so can the way to the majority.
Replicas are reached over TLS with certificates of one cluster, as in a real one.
"""

import datetime as dt
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from node.clock import SystemClock
from node.cluster.authority import load_key, pem
from node.cluster.trust import Trust
from node.config import Config, NodeSection
from node.control.placement import NodeRow
from node.control.runtime import NodeControl, Runtime
from node.errors import Unavailable
from node.hookspecs import hookimpl
from node.ids import RandomIds
from node.pluginhost import PluginHost
from node.plugins.block.drivers.replicated.driver import ReplicatedDriver
from node.plugins.block.drivers.replicated.peers import Answer, Request, answer
from node.plugins.block.drivers.replicated.placing import place_of
from node.plugins.block.drivers.replicated.replica_site import ReplicaSite
from node.plugins.block.replica_tables import ROW_TYPES, VolumeSet
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import Volume
from node.state.machine import Changes, Machine
from node.state.reader import Reader, Readers
from node.state.row import Row
from node.state.txn import (
    AnyOp,
    Applied,
    Define,
    Outcome,
    Txn,
    decode_outcome,
    decode_txn,
    encode_entry,
    encode_outcome,
    encode_txn,
    insert,
    patch,
)
from node.types import NodeId

GIB = 1 << 30
MIB = 1 << 20


class World:
    """The cloud. Close it."""

    def __init__(
        self,
        place: Path,
        count: int,
        *,
        replicas: int = 3,
        tls: bool = True,
        replace_after_s: int = 900,
    ) -> None:
        self.place = place
        self.clock = SystemClock()
        self.cut: set[frozenset[str]] = set()
        """Pairs of nodes that cannot ask each other."""
        self.minority: set[str] = set()
        """Nodes that cannot commit."""
        self._lock = threading.Lock()
        self._closed = False
        self.nodes: dict[str, Node] = {}
        self.machine = Machine(place / "state.db", self._changed)
        self.readers = Readers(place / "state.db")
        self.ids = RandomIds()
        types: list[type[Row]] = [NodeRow, *ROW_TYPES]
        for row_type in types:
            self.commit(Define(row_type.__table__))
        names = [f"n{number}" for number in range(count)]
        if tls:
            certify(place, names, self.clock)
        for name in names:
            row = NodeRow(id=name, name=name, address="127.0.0.1", disk_gib=100)
            self.commit(insert(row))
            section = BlockSection(replicas=replicas, replace_after_s=replace_after_s)
            self.nodes[name] = Node(self, name, section)
        for node in self.nodes.values():
            node.runtime.start()

    @property
    def db(self) -> Reader:
        """Return the calling thread's reader."""
        return self.readers.reader()

    def commit(self, *ops: AnyOp) -> Outcome:
        """Apply operations as one transaction."""
        return self.propose(Txn(request_id=self.ids.uuid(), ops=ops))

    def propose(self, txn: Txn) -> Outcome:
        """Apply a transaction."""
        with self._lock:
            index = self.machine.applied_index + 1
            return decode_outcome(self.machine.apply(index, encode_entry([encode_txn(txn)]))[0])

    def down(self, name: str, *, is_down: bool = True) -> None:
        """Have liveness say that a node is down."""
        done = self.commit(patch(NodeRow, name, state="down" if is_down else "up"))
        assert isinstance(done, Applied)

    def set_of(self, volume_id: str) -> VolumeSet:
        """Return the set of a volume."""
        return self.db.must(VolumeSet, volume_id)

    def volume(self, owner: str = "n0", size_gib: int = 1) -> Volume:
        """Make a volume."""
        row = Volume(id=self.ids.uuid(), node_id=owner, size_gib=size_gib, want="present")
        self.nodes[owner].driver.create(row)
        return row

    def wait(self, what: str, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: it does not.
        """
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, f"in vain: {what}"
            time.sleep(0.02)

    def close(self) -> None:
        """End all processes. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        for node in self.nodes.values():
            node.runtime.stop()
            node.driver.teardown()
        self.machine.close()

    def _changed(self, changes: Changes) -> None:
        for node in list(self.nodes.values()):
            node.runtime.changed(changes)


class Node:
    """One node: its control, driver and reconcilers; `begin` makes them anew, as a daemon does after kill -9."""

    def __init__(self, world: World, name: str, section: BlockSection) -> None:
        self.name = name
        self.world = world
        directory = world.place / name
        directory.mkdir(exist_ok=True)
        node = NodeSection(name=name, state_dir=str(directory))
        self.config = Config({"node": node, "block": section})
        self.begin()

    def begin(self) -> None:
        """Make the daemon's half of the node."""
        host = PluginHost()
        host.add(_Rows())
        self.control = NodeControl(
            node_id=NodeId(self.name),
            config=self.config,
            clock=self.world.clock,
            ids=self.world.ids,
            hook=host.hook,
            readers=self.world.readers,
            propose=self._propose,
        )
        self.driver = ReplicatedDriver(self.control, lambda *_: Peers(self.world, self))
        self.engine = self.driver.engine
        self.runtime = Runtime(self.control, self.driver.reconcilers())

    def restart(self) -> None:
        """End the daemon as kill -9 does, and start it again."""
        self.runtime.stop()
        self.begin()
        self.runtime.start()

    @property
    def site(self) -> ReplicaSite:
        """Return the replicas as the node's API process has them."""
        own = self.world.db.get(NodeRow, self.name)
        state = self.config.state_dir
        return ReplicaSite(state / "block", place_of(own, state))

    def _propose(self, txn: bytes, timeout_s: float) -> bytes:
        del timeout_s
        if self.name in self.world.minority:
            raise Unavailable("There is no majority")
        return encode_outcome(self.world.propose(decode_txn(txn)))


class _Rows:
    @hookimpl
    def row_types(self) -> list[type[Row]]:
        return [*ROW_TYPES]


class Peers:
    """Asks the sites of other nodes, unless the test cut them off."""

    def __init__(self, world: World, own: Node) -> None:
        self._world = world
        self._own = own

    def ask(self, node_id: str, verb: str, volume_id: str, request: Request) -> Answer:
        """Ask a node's site."""
        self._reach(node_id)
        site = self._world.nodes[node_id].site
        return answer(site, verb, volume_id, request, self._fetch)

    def address(self, node_id: str) -> str:
        """Return loopback."""
        del node_id
        return "127.0.0.1"

    def _reach(self, node_id: str) -> None:
        if frozenset((self._own.name, node_id)) in self._world.cut:
            raise Unavailable(f"Node {node_id} cannot be reached")

    def _fetch(self, node_id: str, layer: str, site: ReplicaSite) -> None:
        self._reach(node_id)
        source = self._world.nodes[node_id].site.layers.path(layer)
        target = site.layers.path(layer)
        aside = target.with_suffix(".fetch")
        subprocess.run(["cp", "--sparse=always", source, aside], check=True)
        aside.chmod(0o400)
        aside.rename(target)


def certify(place: Path, names: list[str], clock: SystemClock) -> None:
    """Give each node the certificate of one cluster."""
    trusts = {name: Trust(place / name / "tls", name, clock) for name in names}
    first, *others = names
    authority = trusts[first].found("cluster")
    trusts[first].keep(authority, [first])
    for name in others:
        key = load_key((place / name / "tls" / "node.key").read_bytes()).public_key()
        made = authority.issue_node(name, key, dt.datetime.now(dt.UTC))
        trusts[name].join(authority.certificate_pem, pem(made))
