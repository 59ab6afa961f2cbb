"""The log of several nodes over real TLS on loopback, each node with its own loop thread."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from node.cluster.client import ProposalClient
from node.cluster.consensus import Consensus
from node.cluster.peers import Address, PeerNetwork
from node.cluster.settings import RaftSettings
from node.testing.certificates import TestAuthority
from node.testing.ledger import LedgerMachine, ledger_txn

pytestmark = pytest.mark.timeout(180)
PATIENCE_S = 90.0
T = TypeVar("T")


class Member:
    """One node of a Cluster."""

    def __init__(self, cluster: "Cluster", name: str, voters: tuple[str, ...]) -> None:
        self.name = name
        self.machine = cluster.machines.setdefault(name, LedgerMachine())
        files = cluster.authority.node(name)
        self.network = PeerNetwork(
            node_id=name,
            credentials=lambda: files,
            addresses=cluster.book.get,
            listen=("127.0.0.1", 0),
        )
        settings = RaftSettings(
            node_id=name,
            first_peers=tuple(voter for voter in voters if voter != name),
            first_voter=name in voters,
            compaction_min_entries=100_000,
            compaction_max_bytes=1 << 30,
            hand_over_s=PATIENCE_S,
            read_patience_s=2.0,
            reserve_bytes=0,
            floor_bytes=0,
        )
        place = cluster.place
        self.socket = place / f"{name}.s"
        self.consensus = Consensus(
            self.machine, place / name, self.socket, settings, peers=self.network
        )
        self.network.start()
        cluster.book[name] = ("127.0.0.1", self.network.port)
        self.consensus.start()

    def kill(self) -> None:
        """End it as a kill does, as far as the others see."""
        self.network.stop()
        wire = self.consensus._raft.links.wire
        self.consensus._calls.ask(wire.close)
        self.consensus.stop()


class Cluster:
    """Nodes with a CA of their own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.authority = TestAuthority(place / "ca")
        self.book: dict[str, Address] = {}
        self.machines: dict[str, LedgerMachine] = {}
        self.members: dict[str, Member] = {}

    def start(self, name: str, *voters: str) -> Member:
        member = self.members[name] = Member(self, name, voters)
        return member

    def leader(self) -> Member:
        def look() -> Member | None:
            for member in self.members.values():
                status = member.consensus.status()
                if status.role == "leader" and status.has_quorum:
                    return member
            return None

        return until(look)

    def close(self) -> None:
        for member in self.members.values():
            member.network.stop()
            member.consensus.stop()


def until(look: Callable[[], T | None]) -> T:
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


@pytest.fixture
def three(cluster: Cluster) -> Cluster:
    for name in "abc":
        cluster.start(name, *"abc")
    cluster.leader()
    return cluster


def test_a_killed_leader_takes_nothing_that_was_acknowledged_with_it(three: Cluster) -> None:
    acked: list[str] = []
    end = threading.Event()

    def work(name: str) -> None:
        client, number = ProposalClient(three.members[name].socket), 0
        while not end.is_set():
            one = f"{name}{number}"
            client.propose(ledger_txn(one), 60)
            acked.append(one)
            number += 1
        client.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    until(lambda: len(acked) > 100)
    killed = three.leader()
    del three.members[killed.name]
    killed.kill()
    before = len(acked)
    assert three.leader().name != killed.name
    until(lambda: len(acked) > before + 100)
    back = three.start(killed.name)
    end.set()
    for thread in threads:
        thread.join(60)
    last = three.leader().consensus.propose(ledger_txn("last"), 60)
    orders = {name: member.machine for name, member in three.members.items()}
    until(lambda: all("last" in machine.order for machine in orders.values()))
    assert orders["a"].order == orders["b"].order == orders["c"].order
    assert set(acked) <= set(back.machine.order)
    assert int(last) == len(back.machine.order) - 1
    assert not any(thread.is_alive() for thread in threads)


def test_a_cluster_grows_from_one_node_and_moves_its_leadership(cluster: Cluster) -> None:
    first = cluster.start("a", "a")
    first.consensus.propose(ledger_txn("alone"), 30)
    for name in "bc":
        joiner = cluster.start(name, "a")
        until(lambda joiner=joiner: joiner.machine.order == first.machine.order)
        assert not joiner.consensus.status().is_voter

        def changed(name: str = name) -> str | None:
            answers: list[str] = []
            done = threading.Event()
            first.consensus.change_voter("add", name, lambda e: (answers.append(e), done.set()))
            assert done.wait(60)
            return "yes" if answers in ([""], ["denied"]) else None

        until(changed)
        until(lambda joiner=joiner: joiner.consensus.status().is_voter or None)
    assert [peer.node_id for peer in first.consensus.status().voters] == ["b", "c"]
    moved = threading.Event()
    first.consensus.transfer_leadership("b", lambda _: moved.set())
    assert moved.wait(60)
    cluster.leader().consensus.propose(ledger_txn("x"), 60)
    for member in cluster.members.values():
        assert member.consensus.confirm(60)
        assert member.machine.order == ["alone", "x"]


def test_a_planned_stop_of_the_leader_lets_nobody_wait_for_an_election(three: Cluster) -> None:
    leader = three.leader()
    del three.members[leader.name]
    other = next(iter(three.members.values()))
    leader.consensus.stop()
    leader.network.stop()
    assert leader.consensus._raft.role == "follower"
    other.consensus.propose(ledger_txn("x"), 60)


def test_without_a_quorum_reads_and_writes_say_so_and_nothing_is_lost(cluster: Cluster) -> None:
    member = cluster.start("a", "a", "b", "c")
    begin_s = time.monotonic()
    assert not member.consensus.confirm(60)
    assert 1.5 < time.monotonic() - begin_s < 45
    assert not member.consensus.status().has_quorum
    answers: list[object] = []
    member.consensus.submit(ledger_txn("x"), answers.append)
    cluster.start("b", "a", "b", "c")
    until(lambda: answers or None)
    assert cluster.leader().consensus.confirm(60)
