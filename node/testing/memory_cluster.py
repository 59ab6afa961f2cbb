"""Clusters without a network: one whose messages a test delivers by hand, and links that are socket pairs."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import msgspec

from node.cluster.journal import SqliteJournal
from node.cluster.links import Receiver
from node.cluster.messages import Message, decode, encode
from node.cluster.peers import Handler, Link
from node.cluster.prevote import PreVotes
from node.cluster.raft import RaftNode
from node.cluster.settings import RaftSettings
from node.cluster.wire import LENGTH
from node.cluster.witness_file import PromiseFile
from node.cluster.witness_vote import Witness
from node.errors import Unavailable
from node.testing.ledger import LedgerMachine, ledger_txn


class MemoryNetwork:
    """The links of all nodes of one test, as socket pairs. Each node gets a door of its own by `door`."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._cut: set[frozenset[str]] = set()
        self._pairs: list[tuple[str, str, socket.socket, socket.socket]] = []
        self._lock = threading.Lock()

    def door(self, node_id: str) -> "MemoryDoor":
        """Return what a node uses in the place of its PeerNetwork."""
        return MemoryDoor(self, node_id)

    def serve(self, node_id: str, protocol: str, handler: Handler) -> None:
        """Note who takes a protocol's links at a node."""
        self._handlers[node_id, protocol] = handler

    def dial(self, source: str, target: str, protocol: str) -> Link:
        """Connect two nodes.

        Raises:
            Unavailable: they are cut off from each other, or the target is gone.
        """
        handler = self._handlers.get((target, protocol))
        if handler is None or frozenset((source, target)) in self._cut:
            raise Unavailable(f"{target} cannot be reached from {source}")
        here, there = socket.socketpair()
        with self._lock:
            self._pairs.append((source, target, here, there))
        if handler(_link(there, source)) is not True:
            there.close()
            here.close()
            raise Unavailable(f"{target} takes no links")
        return _link(here, target)

    def cut(self, one: str, *others: str) -> None:
        """Cut a node off from others; links that exist break."""
        for other in others:
            self._cut.add(frozenset((one, other)))
        self._break(lambda pair: frozenset(pair) in self._cut)

    def heal(self) -> None:
        """Let everybody reach everybody."""
        self._cut.clear()

    def gone(self, node_id: str) -> None:
        """Break all links of a node and let nobody dial it, as when its process was killed."""
        for key in [key for key in self._handlers if key[0] == node_id]:
            del self._handlers[key]
        self._break(lambda pair: node_id in pair)

    def _break(self, chosen: Callable[[tuple[str, str]], bool]) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for source, target, here, there in pairs:
            if not chosen((source, target)):
                self._pairs.append((source, target, here, there))
                continue
            for end in (here, there):
                with contextlib.suppress(OSError):  # closed already
                    end.shutdown(socket.SHUT_RDWR)


class MemoryDoor:
    """One node's side of a MemoryNetwork."""

    def __init__(self, network: MemoryNetwork, node_id: str) -> None:
        self._network = network
        self._node_id = node_id

    def serve(self, protocol: str, handler: Handler, *, witnesses: bool = False) -> None:  # noqa: ARG002
        """Have a handler called for each link of a protocol."""
        self._network.serve(self._node_id, protocol, handler)

    def dial(self, node_id: str, protocol: str, timeout_s: float = 1.0) -> Link:  # noqa: ARG002
        """Connect to a member."""
        return self._network.dial(self._node_id, node_id, protocol)


def _link(sock: socket.socket, node_id: str) -> Link:
    return Link(socket=cast("Any", sock), node_id=node_id, certificate=b"", address=("memory", 0))


class HandWire:
    """One node's wire in a HandCluster."""

    def __init__(self, cluster: "HandCluster", node_id: str) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.receiver: Receiver | None = None

    def start(self, receiver: Receiver) -> None:
        """Take links from now on."""
        self.receiver = receiver

    def want(self, node_ids: set[str]) -> None:
        """Do nothing: the test makes the links."""

    def is_up(self, node_id: str) -> bool:
        """Say whether there is a link to a node."""
        return frozenset((self.node_id, node_id)) in self.cluster.linked

    def tick(self, now_s: float, *, eager: bool) -> None:
        """Do nothing."""

    def refresh(self, now_s: float) -> None:
        """Do nothing."""

    def drop(self, node_id: str) -> None:
        """Do nothing."""

    def send(self, node_id: str, message: Message) -> bool:
        """Put a message where the test finds it, as bytes."""
        if not self.is_up(node_id):
            return False
        self.cluster.sent.append((self.node_id, node_id, encode(message)))
        return True

    def close(self) -> None:
        """Do nothing."""


class Told:
    """A watcher that notes what it is told."""

    def __init__(self) -> None:
        self.answers: dict[int, list[bytes]] = {}
        self.failures: list[int] = []

    def delivered(self, number: int, answers: list[bytes]) -> None:
        """Note answers."""
        self.answers[number] = answers

    def failed(self, number: int) -> None:
        """Note a failure."""
        self.failures.append(number)

    def applied(self, index: int) -> None:
        """Do nothing."""


class HandNode:
    """One node of a HandCluster."""

    def __init__(
        self, cluster: "HandCluster", node_id: str, machine: LedgerMachine, settings: RaftSettings
    ) -> None:
        self.node_id = node_id
        self.place = cluster.place / node_id
        self.place.mkdir(exist_ok=True)
        self.machine = machine
        self.journal = SqliteJournal(
            self.place / "journal.db",
            node_id=node_id,
            first_peers=settings.first_peers,
            first_voter=settings.first_voter,
            tail_entries=settings.tail_entries,
        )
        self.told = Told()
        self.wire = HandWire(cluster, node_id)
        self.raft = RaftNode(machine, self.journal, settings, self.told, self.wire)
        self._number = 0

    def write(self, *ids: str) -> int:
        """Propose an entry; its number is the key of its answers."""
        self._number += 1
        entry = msgspec.msgpack.encode([ledger_txn(one) for one in ids])
        self.raft.propose(self._number, entry)
        return self._number

    def private(self, name: str) -> Any:
        """Return a field that the library keeps to itself."""
        return getattr(self.raft, f"_SyncObj__{name}")

    def set_private(self, name: str, value: object) -> None:
        """Set a field that the library keeps to itself."""
        setattr(self.raft, f"_SyncObj__{name}", value)


class HandWitness:
    """One witness of a HandCluster."""

    def __init__(self, cluster: "HandCluster", node_id: str, settings: RaftSettings) -> None:
        self.node_id = node_id
        place = cluster.place / node_id
        place.mkdir(exist_ok=True)
        self.file = PromiseFile(place)
        self.wire = HandWire(cluster, node_id)
        self.vote = Witness(
            self.file.promise,
            self.file.keep,
            self.wire.send,
            PreVotes((settings.election_min_s, settings.election_max_s)),
        )
        self.wire.start(self.vote)


class HandCluster:
    """Nodes that are stepped, and whose messages are delivered, by the test."""

    def __init__(self, place: Path, settings: RaftSettings | None = None) -> None:
        self.place = place
        self._settings = settings or RaftSettings(
            node_id="", compaction_min_entries=1000, tail_entries=0
        )
        self.nodes: dict[str, HandNode] = {}
        self.witnesses: dict[str, HandWitness] = {}
        self.linked: set[frozenset[str]] = set()
        self.sent: deque[tuple[str, str, bytes]] = deque()

    def add(
        self, node_id: str, voters: Iterable[str], machine: LedgerMachine | None = None
    ) -> HandNode:
        """Start a node; `voters` counts for one that has no log yet."""
        names = tuple(voters)
        settings = msgspec.structs.replace(
            self._settings,
            node_id=node_id,
            first_peers=tuple(name for name in names if name != node_id),
            first_voter=node_id in names,
        )
        node = HandNode(self, node_id, machine or LedgerMachine(), settings)
        self.nodes[node_id] = node
        return node

    def add_witness(self, node_id: str) -> HandWitness:
        """Start a witness."""
        self.witnesses[node_id] = HandWitness(self, node_id, self._settings)
        return self.witnesses[node_id]

    @property
    def names(self) -> set[str]:
        """Return the ids of all that run."""
        return {*self.nodes, *self.witnesses}

    def link(self, *node_ids: str) -> None:
        """Link all of these with each other."""
        for one in node_ids:
            for other in node_ids:
                pair = frozenset((one, other))
                if one < other and pair not in self.linked:
                    self.linked.add(pair)
                    self._receiver(one).link_up(other)
                    self._receiver(other).link_up(one)

    def unlink(self, one: str, *others: str) -> None:
        """Break links; what was under way on them is lost."""
        for other in others:
            pair = frozenset((one, other))
            if pair in self.linked:
                self.linked.discard(pair)
                self.sent = deque(item for item in self.sent if frozenset(item[:2]) != pair)
                for here, there in ((one, other), (other, one)):
                    if here in self.names:
                        self._receiver(here).link_down(there, broken=True)

    def _receiver(self, node_id: str) -> Receiver:
        one = self.witnesses.get(node_id) or self.nodes[node_id]
        receiver = one.wire.receiver
        assert receiver is not None
        return receiver

    def stop(self, node_id: str) -> HandNode:
        """End a node as a kill does; its files stay."""
        node = self.nodes[node_id]
        self.unlink(node_id, *[other for other in self.names if other != node_id])
        del self.nodes[node_id]
        node.journal.close()
        return node

    def stop_witness(self, node_id: str) -> None:
        """End a witness as a kill does; its file stays."""
        self.unlink(node_id, *[other for other in self.names if other != node_id])
        self.witnesses.pop(node_id).file.close()

    def close(self) -> None:
        """End all nodes."""
        for node_id in list(self.nodes):
            node = self.nodes.pop(node_id)
            node.raft.destroy()
        for witness in self.witnesses.values():
            witness.file.close()

    # -- messages

    def waiting(self, source: str, target: str, kind: str = "") -> list[Message]:
        """Return what is under way from one node to another."""
        found = [
            decode(data[LENGTH.size :]) for s, t, data in self.sent if (s, t) == (source, target)
        ]
        return [message for message in found if kind in {"", message["type"]}]

    def take(self, source: str, target: str) -> list[bytes]:
        """Take what is under way off the line, to `put` it back later, or never."""
        taken = [data for s, t, data in self.sent if (s, t) == (source, target)]
        self.sent = deque(item for item in self.sent if item[:2] != (source, target))
        return taken

    def put(self, source: str, target: str, data: bytes | Message) -> None:
        """Deliver a message at once."""
        body = data if isinstance(data, bytes) else encode(data)
        receiver = self._receiver(target)
        receiver.received(source, decode(body[LENGTH.size :]))
        receiver.drained()

    def deliver(self, *, to: Iterable[str] | None = None, most: int = 10_000) -> None:
        """Deliver all that is under way, and what that brings about, without steps."""
        for _ in range(most):
            item = next((i for i in self.sent if to is None or i[1] in to), None)
            if item is None:
                return
            self.sent.remove(item)
            if item[1] in self.names:
                self.put(*item)

    def run(self, rounds: int = 6) -> None:
        """Step all nodes and deliver everything, some times."""
        for _ in range(rounds):
            for node in list(self.nodes.values()):
                node.raft.step()
            self.deliver()

    def elect(self, node_id: str, rounds: int = 6) -> HandNode:
        """Have a node stand, as after a long silence of the leader, and let everything happen."""
        for other in self.nodes.values():
            other.raft.forget_leader()
        for witness in self.witnesses.values():
            witness.vote.forget_leader()
        node = self.nodes[node_id]
        for _ in range(rounds):
            if node.raft.leads:
                break
            node.set_private("raftElectionDeadline", 0.0)
            node.raft.step()
            self.deliver()
            node.raft.step()
            self.deliver()
        self.run(2)
        return node

    def heartbeat(self, node_id: str) -> None:
        """Have a leader send its heartbeats now."""
        self.nodes[node_id].set_private("newAppendEntriesTime", 0.0)
        self.nodes[node_id].raft.step()
