"""Two nodes and a witness: whichever one dies, the others go on, and nothing that was acknowledged is lost."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from node.cluster.changes import VoterChanges
from node.cluster.marks import Marks
from node.cluster.prevote import PreVotes
from node.cluster.settings import RaftSettings
from node.cluster.witness_file import PROMISE_FILE, PromiseFile
from node.cluster.witness_vote import Promise, Witness, is_witness
from node.errors import Conflict
from node.testing.memory_cluster import HandCluster

W = "witness-w"
ALL = ("a", "b", W)
IMPATIENT = RaftSettings(
    node_id="", compaction_min_entries=1000, tail_entries=0, witness_patience_s=0.0, heartbeat_s=1e-6
)
PATIENT = msgspec.structs.replace(IMPATIENT, witness_patience_s=1e6)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[HandCluster]:
    cluster = begun(tmp_path, PATIENT)
    yield cluster
    cluster.close()


def begun(place: Path, settings: RaftSettings) -> HandCluster:
    """Return two nodes and a witness of which a leads."""
    place.mkdir(exist_ok=True)
    cluster = HandCluster(place, settings)
    for name in "ab":
        cluster.add(name, ALL)
    cluster.add_witness(W)
    cluster.link(*ALL)
    assert cluster.elect("a").raft.leads_surely
    return cluster


def written(cluster: HandCluster, node: str, name: str) -> bool:
    """Return whether a write through a node is acknowledged."""
    number = cluster.nodes[node].write(name)
    cluster.run(8)
    return number in cluster.nodes[node].told.answers


def restarted(cluster: HandCluster, name: str) -> None:
    """Kill one and start it again with what its disk holds."""
    if is_witness(name):
        cluster.stop_witness(name)
        cluster.add_witness(name)
    else:
        machine = cluster.stop(name).machine
        cluster.add(name, ALL, machine)


def test_the_loss_of_any_one_stops_nothing(tmp_path: Path) -> None:
    for number, gone in enumerate(ALL):
        cluster = begun(tmp_path / str(number), PATIENT)
        assert written(cluster, "a", "before")
        rest = [name for name in ALL if name != gone]
        cluster.unlink(gone, *rest)
        leader = cluster.elect("b" if gone == "a" else "a")
        assert leader.raft.leads_surely, gone
        assert written(cluster, leader.node_id, "after"), gone
        assert leader.machine.order == ["before", "after"]
        cluster.close()


def test_a_witness_hears_of_an_entry_only_when_both_nodes_hold_it(pair: HandCluster) -> None:
    mark = pair.witnesses[W].vote.promise.mark_index
    late = pair.nodes["a"]
    late.write("x")
    late.raft.step()
    pair.take("a", "b")  # b never hears of it
    for _ in range(5):
        pair.nodes["a"].raft.step()
        pair.deliver(to=(W, "a"))
    assert pair.witnesses[W].vote.promise.mark_index == mark
    assert "x" not in late.machine.order
    pair.stop("a")  # the only one that holds it
    assert pair.elect("b").raft.leads_surely
    assert written(pair, "b", "y")


def test_without_a_node_entries_rest_on_the_witness_and_bind_it(pair: HandCluster) -> None:
    pair.unlink("b", "a", W)
    assert written(pair, "a", "x")
    promise = pair.witnesses[W].vote.promise
    assert promise.mark_index == pair.nodes["a"].journal.last_index
    pair.stop("a")
    pair.link("b", W)
    assert not pair.elect("b").raft.leads  # it does not hold x
    pair.add("a", ALL)
    pair.link(*ALL)
    assert pair.elect("a").raft.leads_surely
    pair.run(8)
    assert pair.nodes["b"].machine.order == ["x"]
    assert written(pair, "b", "y")


def test_a_node_that_hangs_is_waited_for_a_while_only(tmp_path: Path) -> None:
    cluster = begun(tmp_path, IMPATIENT)
    number = cluster.nodes["a"].write("x")
    for _ in range(8):
        cluster.nodes["a"].raft.step()
        cluster.deliver(to=("a", W))  # b is linked, and takes nothing
    assert number in cluster.nodes["a"].told.answers
    cluster.run(8)
    assert cluster.nodes["b"].machine.order == ["x"]
    cluster.close()


def test_a_leader_marks_nothing_that_its_own_disk_does_not_hold(pair: HandCluster) -> None:
    pair.unlink("b", "a", W)
    leader = pair.nodes["a"]
    leader.write("x")
    sync, leader.journal.sync = leader.journal.sync, lambda: None  # type: ignore[method-assign]
    leader.raft.step()
    leader.raft.step()
    last = leader.journal.last_index
    assert all(mark["index"] < last for mark in pair.waiting("a", W, "mark"))
    leader.journal.sync = sync  # type: ignore[method-assign]
    pair.run()
    assert leader.machine.order == ["x"]


def test_a_witness_gets_no_rows_leads_nothing_and_proposes_nothing(pair: HandCluster) -> None:
    seen: list[str] = []
    send = pair.nodes["a"].wire.send

    def look(node_id: str, message: dict[str, object]) -> bool:
        if node_id == W:
            seen.append(str(message["type"]))
        return send(node_id, message)

    pair.nodes["a"].wire.send = look  # type: ignore[method-assign]
    assert written(pair, "a", "x")
    pair.unlink("b", "a")
    assert written(pair, "a", "y")
    assert set(seen) <= {"mark", "leader_check"}
    answers: list[str] = []
    changes = VoterChanges(pair.nodes["a"].raft)
    changes.transfer(W, answers.append)
    changes.transfer(None, answers.append)
    assert answers == ["denied", "unreachable"]
    last = pair.nodes["a"].journal.last_index
    pair.put(W, "a", {"type": "apply_command", "command": b"\x00x", "request_id": 1})
    pair.nodes["a"].raft.step()
    assert pair.nodes["a"].journal.last_index == last


def test_a_witness_learns_first_then_votes_then_goes(tmp_path: Path) -> None:
    cluster = HandCluster(tmp_path, PATIENT)
    cluster.add("a", "a").raft.step()
    cluster.add("b", "a")
    cluster.add_witness(W)
    cluster.link("a", "b", W)
    leader = cluster.nodes["a"].raft
    cluster.run(6)
    assert leader.match_index(W) == cluster.nodes["a"].journal.last_index
    answers: list[str] = []
    changes = VoterChanges(leader)
    for verb, node_id in (("add", "b"), ("add", W), ("rem", W), ("rem", "b")):
        changes.change(verb, node_id, answers.append)  # type: ignore[arg-type]
        cluster.run(8)
        assert answers.pop() == "", (verb, node_id)
    cluster.close()


def test_reads_are_confirmed_by_a_witness(pair: HandCluster) -> None:
    pair.unlink("b", "a", W)
    seen: list[bool] = []
    pair.nodes["a"].raft.reads.add(seen.append, 1e12)
    pair.run(4)
    assert seen == [True]


def test_a_damaged_promise_is_refused_and_a_torn_write_is_not(tmp_path: Path) -> None:
    file = PromiseFile(tmp_path)
    for term in (1, 2, 3):
        file.keep(Promise(term=term, vote="a"))
    file.close()
    path = tmp_path / PROMISE_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 20 + whole[4116:])  # the last write, cut short
    again = PromiseFile(tmp_path)
    assert again.promise == Promise(term=2, vote="a")
    again.close()
    path.write_bytes(bytes(8192))
    with pytest.raises(Conflict, match="empty the state directory"):
        PromiseFile(tmp_path)


# -- worlds by seed


class World:
    """Random deliveries, losses, cuts and kills; what was acknowledged must be there in the end."""

    def __init__(self, place: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.cluster = begun(place, IMPATIENT if seed % 2 else PATIENT)
        self.acknowledged: list[str] = []
        self._asked: list[tuple[str, int, str]] = []
        self._number = 0
        assert written(self.cluster, "a", "first")
        self.acknowledged.append("first")

    def write(self) -> None:
        name = self.dice.choice("ab")
        self._number += 1
        text = f"w{self._number}"
        self._asked.append((name, self.cluster.nodes[name].write(text), text))

    def collect(self) -> None:
        """Note what was acknowledged so far."""
        for name, number, text in list(self._asked):
            if number in self.cluster.nodes[name].told.answers:
                self.acknowledged.append(text)
                self._asked.remove((name, number, text))

    def step(self) -> None:
        cluster, dice = self.cluster, self.dice
        match dice.choices(range(7), (30, 40, 8, 3, 6, 2, 4))[0]:
            case 0:
                cluster.nodes[dice.choice("ab")].raft.step()
            case 1:
                for _ in range(min(len(cluster.sent), dice.randint(1, 4))):
                    source, target, _ = cluster.sent[0]
                    self._deliver_one(source, target)
            case 2:
                self.write()
            case 3:
                one, other = dice.sample(ALL, 2)
                cluster.unlink(one, other)
            case 4:
                cluster.link(*dice.sample(ALL, 2))
            case 5:
                self._kill(dice.choice(ALL))
            case 6:
                self._stand(dice.choice("ab"))
        self.collect()

    def _deliver_one(self, source: str, target: str) -> None:
        first, *rest = self.cluster.take(source, target)
        self.cluster.sent.extend((source, target, data) for data in rest)
        self.cluster.put(source, target, first)

    def _kill(self, name: str) -> None:
        self._asked = [asked for asked in self._asked if asked[0] != name]
        restarted(self.cluster, name)

    def _stand(self, name: str) -> None:
        for node in self.cluster.nodes.values():
            node.raft.forget_leader()
        for witness in self.cluster.witnesses.values():
            witness.vote.forget_leader()
        self.cluster.nodes[name].set_private("raftElectionDeadline", 0.0)

    def heal(self) -> bool:
        """Link all, and return whether one leads and both hold the same."""
        cluster = self.cluster
        cluster.link(*ALL)
        for _ in range(12):
            for name in self.dice.sample("ab", 2):
                if not any(node.raft.leads_surely for node in cluster.nodes.values()):
                    cluster.elect(name)
            cluster.run(6)
            self.collect()
            orders = [node.machine.order for node in cluster.nodes.values()]
            leads = [node.raft.leads_surely for node in cluster.nodes.values()]
            if any(leads) and orders[0] == orders[1]:
                return True
        return False


def lost(place: Path, seed: int, steps: int = 250) -> list[str]:
    """Return what was acknowledged in a world and is not there in the end."""
    world = World(place, seed)
    try:
        for _ in range(steps):
            world.step()
        assert world.heal(), f"seed {seed}: the two never agree"
        order = world.cluster.nodes["a"].machine.order
        return [text for text in world.acknowledged if text not in order]
    finally:
        world.cluster.close()


@pytest.mark.parametrize("seed", range(16))
def test_nothing_acknowledged_is_lost_in_any_world(tmp_path: Path, seed: int) -> None:
    assert lost(tmp_path, seed) == []


# -- what the rules are for: without each of them the same story ends badly


def survivor_without_rows_leads(pair: HandCluster) -> bool:
    """Have a write rest on one node and the witness; say whether the other node leads without it."""
    pair.unlink("b", "a", W)
    assert written(pair, "a", "x")
    restarted(pair, W)
    pair.stop("a")
    pair.link("b", W)
    return pair.elect("b").raft.leads


def test_a_witness_keeps_out_who_lacks_what_was_acknowledged(pair: HandCluster) -> None:
    assert not survivor_without_rows_leads(pair)


def test_a_witness_that_votes_for_anyone_would_lose_it(
    pair: HandCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.cluster.witness_vote.is_up_to_date", lambda *_: True)
    monkeypatch.setattr("node.cluster.prevote.is_up_to_date", lambda *_: True)
    assert survivor_without_rows_leads(pair)


def test_a_witness_that_forgets_would_lose_it(
    pair: HandCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Witness, "_store", lambda _: None)
    assert survivor_without_rows_leads(pair)


def test_a_leader_that_marks_too_early_would_make_one_death_the_end(
    pair: HandCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Marks, "_keeps_up", lambda *_: False)
    pair.nodes["a"].write("x")
    pair.nodes["a"].raft.step()
    pair.take("a", "b")
    pair.deliver(to=(W, "a"))
    pair.stop("a")
    assert not pair.elect("b").raft.leads  # one death, and nobody can lead


def test_a_second_leader_of_a_term_is_not_believed(tmp_path: Path) -> None:
    sent: list[tuple[str, dict[str, object]]] = []

    def send(node_id: str, message: dict[str, object]) -> bool:
        sent.append((node_id, message))
        return True

    vote = Witness(Promise(), lambda _: None, send, PreVotes((0.8, 1.4)))
    for name in "ab":
        vote.received(name, {"type": "mark", "term": 3, "index": 5, "log_term": 3})
        vote.drained()
    assert [node_id for node_id, _ in sent] == ["a"]


def test_nothing_rests_on_a_witness_that_does_not_know_all_voters() -> None:
    sent: list[dict[str, object]] = []
    known = {"a"}

    def send(_node_id: str, message: dict[str, object]) -> bool:
        sent.append(message)
        return True

    vote = Witness(
        Promise(), lambda _: None, send, PreVotes((0.8, 1.4)), lambda voters: not known.issuperset(voters)
    )
    mark = {"type": "mark", "term": 3, "index": 5, "log_term": 3, "voters": ["a", "b"]}
    for _ in range(2):
        vote.received("a", mark)
        vote.drained()
        known.add("b")
    assert [message["success"] for message in sent] == [False, True]
    assert vote.follows  # it hears its leader all the same
