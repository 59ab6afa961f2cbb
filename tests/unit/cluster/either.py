"""The same small vocabulary over our node and over the library as shipped, so that one scenario tries both."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pysyncobj.pickle as library_pickle
from pysyncobj import SyncObj, SyncObjConf, replicated
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from node.testing.ledger import LedgerMachine, ledger_txn
from node.testing.memory_cluster import HandCluster, HandNode

Message = dict[str, Any]


class One(Protocol):
    """A node of either kind, with no links; what it sends is lost unless `sent` is looked at."""

    machine: LedgerMachine

    def step(self) -> None: ...
    def put(self, source: str, message: Message) -> None: ...
    def sent(self, target: str, kind: str) -> list[Message]: ...
    def connect(self, *others: str) -> None: ...
    def disconnect(self, *others: str) -> None: ...
    def lead(self) -> None: ...
    def write(self, name: str) -> Callable[[], bool]: ...
    def command(self, name: str) -> bytes: ...
    def change(self, verb: str, node_id: str) -> None: ...
    def private(self, name: str) -> Any: ...
    def set_private(self, name: str, value: object) -> None: ...
    def others(self) -> set[str]: ...
    @property
    def order(self) -> list[str]: ...
    @property
    def term(self) -> int: ...
    @property
    def last_index(self) -> int: ...


class Ours:
    """Our node, in a cluster of which nobody else is there."""

    def __init__(self, place: Path, peers: tuple[str, ...], machine: LedgerMachine | None) -> None:
        place.mkdir(exist_ok=True)
        self.cluster = HandCluster(place)
        self.node: HandNode = self.cluster.add("a", ("a", *peers), machine)
        self.machine = self.node.machine
        self.private, self.set_private = self.node.private, self.node.set_private

    def step(self) -> None:
        self.node.raft.step()

    def put(self, source: str, message: Message) -> None:
        self.cluster.put(source, "a", message)

    def sent(self, target: str, kind: str) -> list[Message]:
        return self.cluster.waiting("a", target, kind)

    def connect(self, *others: str) -> None:
        for other in others:
            self.cluster.linked.add(frozenset(("a", other)))
            self.node.raft.links.link_up(other)

    def disconnect(self, *others: str) -> None:
        for other in others:
            self.cluster.unlink("a", other)

    def lead(self) -> None:
        voters = sorted(self.node.raft.voters)
        self.connect(*voters)
        self.set_private("raftElectionDeadline", 0.0)
        self.step()
        (question,) = self.sent(voters[0], "pre_vote")[-1:]
        for voter in voters:
            reply = {"type": "pre_vote_reply", "round": question["round"], "granted": True}
            self.put(voter, {**reply, "term": 0})
        self.step()
        for voter in voters:
            self.put(voter, {"type": "response_vote", "term": self.term})
        assert self.node.raft.leads

    def write(self, name: str) -> Callable[[], bool]:
        number = self.node.write(name)
        told = self.node.told
        return lambda: number in told.answers or number in told.failures

    def command(self, name: str) -> bytes:
        header = b"\x00\x01" + bytes(8) + bytes(7) + b"\x01"
        return header + msgspec.msgpack.encode([ledger_txn(name)])

    def change(self, verb: str, node_id: str) -> None:
        self.node.raft.change_voter(verb, node_id, lambda _: None)  # type: ignore[arg-type]

    def others(self) -> set[str]:
        return self.node.raft.voters

    @property
    def order(self) -> list[str]:
        return self.machine.order

    @property
    def term(self) -> int:
        return self.node.raft.term

    @property
    def last_index(self) -> int:
        return self.node.journal.last_index

    def close(self) -> None:
        self.cluster.close()


class _HandTransport(Transport):
    def __init__(self) -> None:
        super().__init__(None, None, [])
        self.out: list[tuple[str, Message]] = []

    def send(self, node: Node, message: Message) -> bool:
        self.out.append((node.id, message))
        return True


class _Log(SyncObj):
    def __init__(self, peers: tuple[str, ...], conf: SyncObjConf, machine: LedgerMachine) -> None:
        self.hand = _HandTransport()
        self.ledger = [machine]
        super().__init__(Node("a"), [Node(peer) for peer in peers], conf, transport=self.hand)

    @replicated
    def append(self, name: str) -> None:
        (machine,) = self.ledger
        if machine.fail_with is not None:
            raise machine.fail_with
        machine.order.append(name)


class Stock:
    """The library as it is shipped, ticked by hand."""

    def __init__(
        self, place: Path, peers: tuple[str, ...], machine: LedgerMachine | None, **options: Any
    ) -> None:
        self.machine = machine or LedgerMachine()
        conf = SyncObjConf(
            autoTick=False,
            dynamicMembershipChange=True,
            appendEntriesUseBatch=False,
            logCompactionMinTime=1000,
            commandsWaitLeader=False,
            useFork=False,
            **options,
        )
        self.log = _Log(peers, conf, self.machine)
        self.log._SyncObj__raftElectionDeadline += 1000.0

    def step(self) -> None:
        self.log.doTick(0.0)

    def put(self, source: str, message: Message) -> None:
        self.log.hand._onMessageReceived(Node(source), message)

    def sent(self, target: str, kind: str) -> list[Message]:
        return [m for to, m in self.log.hand.out if to == target and m["type"] == kind]

    def connect(self, *others: str) -> None:
        for other in others:
            self.log.hand._onNodeConnected(Node(other))

    def disconnect(self, *others: str) -> None:
        for other in others:
            self.log.hand._onNodeDisconnected(Node(other))

    def lead(self) -> None:
        voters = sorted(self.others())
        self.connect(*voters)
        self.set_private("raftElectionDeadline", 0.0)
        self.step()
        for voter in voters:
            self.put(voter, {"type": "response_vote", "term": self.term})
        assert self.log._isLeader()

    def write(self, name: str) -> Callable[[], bool]:
        answers: list[object] = []
        self.log.append(name, callback=lambda *answer: answers.append(answer))
        return lambda: bool(answers)

    def command(self, name: str) -> bytes:
        function = self.log._methodToID[self.log._getFuncName("append")]
        return b"\x00" + library_pickle.dumps((function, (name,)))

    def change(self, verb: str, node_id: str) -> None:
        assert verb == "add"
        self.log.addNodeToCluster(Node(node_id))

    def private(self, name: str) -> Any:
        return getattr(self.log, f"_SyncObj__{name}")

    def set_private(self, name: str, value: object) -> None:
        setattr(self.log, f"_SyncObj__{name}", value)

    def others(self) -> set[str]:
        return {node.id for node in self.log.otherNodes}

    @property
    def order(self) -> list[str]:
        return self.machine.order

    @property
    def term(self) -> int:
        return int(self.log.raftCurrentTerm)

    @property
    def last_index(self) -> int:
        return int(self.private("raftLog")[-1][1])

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.log.destroy()


Made = Callable[..., One]


def maker(kind: str, place: Path) -> Iterator[Made]:
    """Return what makes nodes of a kind, and end them afterwards."""
    made: list[Ours | Stock] = []

    def make(peers: tuple[str, ...] = ("b", "c"), machine: LedgerMachine | None = None) -> One:
        if kind == "ours":
            made.append(Ours(place / "ours", peers, machine))
        else:
            made.append(Stock(place, peers, machine, journalFile=str(place / "journal")))
        return made[-1]

    yield make
    for one in made:
        one.close()
