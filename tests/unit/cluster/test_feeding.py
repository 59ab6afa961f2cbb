"""A hundred learners: the leader sends its log to a handful, and the loss of any of these is mended."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.cluster.changes import VoterChanges
from node.cluster.settings import RaftSettings
from node.testing.ledger import LedgerMachine
from node.testing.memory_cluster import HandCluster

VOTERS = ("a", "b", "c")
FEW = 3


def settings(direct: int) -> RaftSettings:
    return RaftSettings(
        node_id="",
        compaction_min_entries=1000,
        tail_entries=0,
        direct_learners=direct,
        feed_period_s=1e-6,
        election_min_s=600.0,  # whoever is fed loses its leader never by the clock alone
        election_max_s=1200.0,
        leader_fallback_s=600.0,
    )


class Crowd:
    """Three voters and learners, and what the leader sent to whom."""

    def __init__(self, place: Path, learners: int, direct: int) -> None:
        self.cluster = HandCluster(place, settings(direct))
        self.learners = [f"l{number:03}" for number in range(learners)]
        for name in (*VOTERS, *self.learners):
            self.cluster.add(name, VOTERS)
        self.link()
        self.cluster.elect("a")

    def link(self) -> None:
        """Link every voter with everyone, and learners with each other where one asks to be fed."""
        for voter in VOTERS:
            for other in self.cluster.nodes:
                if voter in self.cluster.nodes and voter != other:
                    self.cluster.link(voter, other)

    def run(self, rounds: int = 6) -> None:
        for _ in range(rounds):
            for node in self.cluster.nodes.values():
                feeder = node.raft.links.feeding._feeder
                if feeder in self.cluster.nodes:
                    self.cluster.link(node.node_id, feeder)
            self.cluster.run(1)

    def until(self, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end_s, self.orders()
            self.run(2)

    def orders(self) -> Counter[tuple[str, ...]]:
        return Counter(tuple(node.machine.order) for node in self.cluster.nodes.values())

    def agree(self, *ids: str) -> bool:
        return set(self.orders()) == {ids}

    @property
    def leader(self) -> str:
        return next(name for name in VOTERS if name in self.cluster.nodes and self.cluster.nodes[name].raft.leads)

    def direct(self) -> set[str]:
        return set(self.cluster.nodes[self.leader].raft.links.shown)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Callable[..., Crowd]]:
    made: list[Crowd] = []

    def make(learners: int, direct: int = FEW) -> Crowd:
        made.append(Crowd(tmp_path, learners, direct))
        return made[0]

    yield make
    for one in made:
        one.cluster.close()


def test_a_hundred_learners_follow_and_the_leader_feeds_twenty(crowd: Callable[..., Crowd]) -> None:
    hundred = crowd(100, 20)
    hundred.until(lambda: hundred.cluster.nodes["l099"].raft.leader_id == "a")
    sent: Counter[str] = Counter()
    for node in hundred.cluster.nodes.values():
        watch(node.node_id, node.wire, sent)
    number = hundred.cluster.nodes["l099"].write("from the last one")
    for text in ("x", "y"):
        hundred.cluster.nodes["a"].write(text)
    hundred.until(lambda: len(hundred.orders()) == 1 and len(next(iter(hundred.orders()))) == 3)
    assert number in hundred.cluster.nodes["l099"].told.answers
    assert len(hundred.direct()) == 20
    to = {name for key in sent if (name := key.partition(">")[2]) and key.startswith("a>")}
    assert len(to - set(VOTERS)) <= 20
    fed = Counter(node.raft.links.feeding._feeder for node in hundred.cluster.nodes.values())
    assert set(fed) - {""} <= hundred.direct()
    assert max(count for name, count in fed.items() if name) <= 8  # eighty on twenty, spread


def watch(own: str, wire: object, sent: Counter[str]) -> None:
    """Count the appends that carry entries."""
    send = wire.send  # type: ignore[attr-defined]

    def look(node_id: str, message: dict[str, object]) -> bool:
        if message["type"] == "append_entries" and message.get("entries"):
            sent[f"{own}>{node_id}"] += 1
        return bool(send(node_id, message))

    wire.send = look  # type: ignore[attr-defined]


def test_the_loss_of_those_that_feed_is_mended(crowd: Callable[..., Crowd]) -> None:
    some = crowd(12)
    leader = some.cluster.nodes["a"]
    leader.write("1")
    some.until(lambda: some.agree("1"))
    for name in sorted(some.direct()):
        some.cluster.stop(name)
        leader.write(f"without {name}")
    some.until(lambda: len(some.orders()) == 1 and len(next(iter(some.orders()))) == 1 + FEW)
    assert len(some.direct()) == FEW


def test_one_that_feeds_and_hangs_is_left_for_another(
    crowd: Callable[..., Crowd], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = crowd(8)
    some.until(lambda: some.agree() and all(n.raft.leader_id == "a" for n in some.cluster.nodes.values()))
    hung = min(some.direct())
    feeding = some.cluster.nodes[hung].raft.links.feeding
    monkeypatch.setattr(feeding, "_feed", lambda _now_s: None)
    some.cluster.nodes["a"].write("x")
    some.until(lambda: some.agree("x"))
    assert hung not in {n.raft.links.feeding._feeder for n in some.cluster.nodes.values()}


def test_a_new_leader_feeds_a_handful_of_its_own(crowd: Callable[..., Crowd]) -> None:
    some = crowd(10)
    some.cluster.nodes["a"].write("1")
    some.until(lambda: some.agree("1"))
    some.cluster.stop("a")
    some.cluster.elect("b")
    some.cluster.nodes["b"].write("2")
    some.until(lambda: some.agree("1", "2"))
    assert len(some.direct()) == FEW
    assert {n.raft.leader_id for n in some.cluster.nodes.values()} == {"b"}


def test_a_tail_of_a_lost_leader_reaches_no_one_that_is_fed(crowd: Callable[..., Crowd]) -> None:
    some = crowd(8)
    some.cluster.nodes["a"].write("1")
    some.until(lambda: some.agree("1"))
    direct = some.direct()
    some.cluster.unlink("a", "b", "c")
    some.cluster.nodes["a"].write("lost")
    some.run(4)
    last = some.cluster.nodes["a"].journal.last_index
    held = {n.node_id for n in some.cluster.nodes.values() if n.journal.last_index == last}
    assert held == {"a", *direct}
    some.cluster.stop("a")
    some.cluster.elect("b")
    some.cluster.nodes["b"].write("2")
    some.until(lambda: some.agree("1", "2"))


def test_one_that_is_fed_may_get_a_vote(crowd: Callable[..., Crowd]) -> None:
    some = crowd(8)
    some.cluster.nodes["a"].write("1")
    some.until(lambda: some.agree("1"))
    fed = min(set(some.learners) - some.direct())
    leader = some.cluster.nodes["a"].raft
    some.until(lambda: leader.match_index(fed) == some.cluster.nodes["a"].journal.last_index)
    answers: list[str] = []
    VoterChanges(leader).change("add", fed, answers.append)
    some.run(8)
    assert answers == [""]
    assert some.cluster.nodes[fed].raft.is_voter
    some.cluster.nodes["a"].write("2")
    some.until(lambda: some.agree("1", "2"))


def test_one_that_no_learners_log_helps_is_served_by_the_leader(
    crowd: Callable[..., Crowd], tmp_path: Path
) -> None:
    some = crowd(6)
    for number in range(20):
        some.cluster.nodes["a"].write(f"{number}")
        some.run(1)
    some.until(lambda: len(some.orders()) == 1)
    for node in some.cluster.nodes.values():
        node.raft.forceLogCompaction()
        node.raft.step()
        node.raft.step()
    some.cluster.add("late", VOTERS, LedgerMachine())
    some.link()
    leader = some.cluster.nodes["a"].raft.links
    assert "late" not in leader.shown
    some.until(lambda: "late" in leader.shown)  # it asks in vain, says so, and is offered a copy
    assert len(leader.shown) == FEW + 1
    start = some.cluster.nodes["a"].journal.log_start(some.cluster.nodes["a"].machine.applied_index)
    assert start is not None
    some.cluster.nodes["a"].machine.snapshot_to(tmp_path / "copy")
    some.cluster.nodes["late"].machine.restore_from(tmp_path / "copy")
    some.cluster.nodes["late"].raft.begin_anew(start)
    some.cluster.nodes["a"].write("after")
    some.until(lambda: len(some.orders()) == 1 and len(leader.shown) == FEW)
    some.cluster.nodes["a"].write("and after that")
    some.until(lambda: len(some.orders()) == 1)
