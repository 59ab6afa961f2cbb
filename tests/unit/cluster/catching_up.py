"""Whole nodes in one process: real rows, real logs, real snapshots; the links are socket pairs."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from node.cluster.consensus import Consensus
from node.cluster.fetch import Exchange, Fetcher
from node.cluster.settings import RaftSettings
from node.cluster.snapshot import Copies, CopyLimits
from node.errors import NotFound, Unavailable
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.row import Row, Table
from node.state.txn import Applied, Define, Txn, decode_outcome, encode_txn, put
from node.testing.memory_cluster import MemoryNetwork


class Thing(Row):
    __table__ = Table(name="things")

    text: str = ""


def until(holds: Callable[[], object], deadline_s: float = 120.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)


class Ranges:
    """Reads other nodes' copies where they lie."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster

    @contextlib.contextmanager
    def open(self, node_id: str, name: str, offset: int) -> Iterator[BinaryIO]:
        path = self._cluster.place / node_id / "snapshots" / name
        if node_id not in self._cluster.nodes or not path.exists():
            raise NotFound(name)
        with path.open("rb") as file:
            file.seek(offset)
            yield file


class Whole:
    """One node."""

    def __init__(self, cluster: "Cluster", name: str, settings: RaftSettings) -> None:
        self.name = name
        self.place = cluster.place / name
        self.place.mkdir(exist_ok=True)
        self.faults: list[str] = []
        self.machine = Machine(self.place / "state.db")
        self.consensus = Consensus(
            self.machine,
            self.place / "log",
            cluster.place / f"{name}.sock",
            settings,
            on_fault=self.faults.append,
            peers=cluster.network.door(name),
        )
        self.restored = threading.Event()
        self.copies = Copies(
            self.machine, self.consensus, self.place / "snapshots", CopyLimits(idle_s=1.0)
        )
        self.fetcher = Fetcher(
            self.machine,
            self.consensus,
            Ranges(cluster),
            self.place / "snapshots",
            on_restored=self.restored.set,
            **cluster.fetching,
        )
        self.consensus.snapshots = Exchange(self.copies.offer, self.fetcher)
        cluster.prepare(self)
        self.consensus.start()

    def write(self, *things: Thing, timeout_s: float = 20.0) -> None:
        txn = Txn(request_id=RandomIds().uuid(), ops=tuple(map(put, things)))
        outcome = decode_outcome(self.consensus.propose(encode_txn(txn), timeout_s))
        assert isinstance(outcome, Applied), outcome

    @property
    def leads(self) -> bool:
        return self.consensus.status().role == "leader"

    def ids(self) -> set[str]:
        reader = Reader(self.machine.path)
        with contextlib.closing(reader):
            return {row.id for row in reader.rows(Thing)}

    def stop(self) -> None:
        self.fetcher.stop()
        self.copies.stop()
        self.consensus.stop()
        self.machine.close()


class Cluster:
    """Some nodes; the first is the first voter."""

    def __init__(self, place: Path, **settings: Any) -> None:
        self.place = place
        self.network = MemoryNetwork()
        self.nodes: dict[str, Whole] = {}
        self.fetching: dict[str, Any] = {}
        self.prepare: Callable[[Whole], object] = lambda _node: None
        """Called with each node before its log starts."""
        usual = {
            "reserve_bytes": 0,
            "floor_bytes": 0,
            "compaction_min_entries": 20,
            "compaction_min_time_s": 1e9,
            "tail_entries": 4,
        }
        self.settings = {**usual, **settings}

    def start(self, name: str, voters: tuple[str, ...] = ("a",)) -> Whole:
        settings = RaftSettings(
            node_id=name,
            first_peers=tuple(one for one in voters if one != name),
            first_voter=name in voters,
            **self.settings,
        )
        self.nodes[name] = Whole(self, name, settings)
        return self.nodes[name]

    def stop(self, name: str) -> None:
        node = self.nodes.pop(name)
        node.stop()
        self.network.gone(name)
        assert node.faults == []

    def close(self) -> None:
        for name in list(self.nodes):
            self.stop(name)

    def leader(self) -> Whole:
        until(lambda: any(node.leads for node in self.nodes.values()))
        return next(node for node in self.nodes.values() if node.leads)

    def agree(self) -> None:
        """Wait until all nodes are at one entry, and see that they hold the same."""
        until(
            lambda: (
                len(
                    {
                        (node.machine.applied_index, node.consensus.status().last_index)
                        for node in self.nodes.values()
                    }
                )
                == 1
            )
        )
        assert len({node.machine.digest() for node in self.nodes.values()}) == 1

    def change(self, verb: Any, name: str) -> None:
        """Change the voters, as soon as the leader can."""

        def changed() -> bool:
            done, errors = threading.Event(), []

            def take(error: str) -> None:
                errors.append(error)
                done.set()

            self.leader().consensus.change_voter(verb, name, take)
            return done.wait(20) and errors == [""]

        until(changed)


def define(node: Whole) -> None:
    txn = Txn(request_id=RandomIds().uuid(), ops=(Define(Thing.__table__),))
    with contextlib.suppress(Unavailable):
        node.consensus.propose(encode_txn(txn), 20)
