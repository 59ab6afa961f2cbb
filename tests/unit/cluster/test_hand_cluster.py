"""Elections, learners, voters, reads and snapshots among nodes whose messages the test delivers."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from node.cluster.catchup import LogStart
from node.cluster.changes import VoterChanges
from node.cluster.compaction import finish_install
from node.cluster.journal import JournalFull
from node.cluster.library import Diverged
from node.cluster.messages import decode
from node.cluster.wire import LENGTH
from node.testing.ledger import LedgerMachine
from node.testing.memory_cluster import HandCluster, HandNode


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[HandCluster]:
    made = HandCluster(tmp_path)
    yield made
    made.close()


@pytest.fixture
def three(cluster: HandCluster) -> HandCluster:
    for name in "abc":
        cluster.add(name, "abc")
    cluster.link("a", "b", "c")
    assert cluster.elect("a").raft.leads_surely
    return cluster


def orders(cluster: HandCluster) -> list[list[str]]:
    return [node.machine.order for node in cluster.nodes.values()]


def pass_deadline(node: HandNode) -> None:
    node.set_private("raftElectionDeadline", 0.0)
    node.raft.step()


def test_a_write_reaches_all_and_is_answered_wherever_it_was_made(three: HandCluster) -> None:
    numbers = {name: three.nodes[name].write(f"from {name}") for name in "abc"}
    three.run()
    assert len({tuple(order) for order in orders(three)}) == 1
    assert set(three.nodes["a"].machine.order) == {"from a", "from b", "from c"}
    for name, number in numbers.items():
        assert number in three.nodes[name].told.answers


def test_nothing_is_acknowledged_before_it_is_on_the_disk(three: HandCluster) -> None:
    three.nodes["a"].write("x")
    three.nodes["a"].raft.step()
    follower = three.nodes["b"]
    durable: list[tuple[int, int]] = []
    send = follower.wire.send

    def look(node_id: str, message: dict[str, object]) -> bool:
        if message["type"] == "next_node_idx":
            durable.append((int(str(message["next_node_idx"])), follower.journal.durable_index))
        return send(node_id, message)

    follower.wire.send = look  # type: ignore[method-assign]
    three.deliver(to="b")
    assert durable
    assert all(index <= on_disk + 1 for index, on_disk in durable)


def test_a_node_that_comes_back_does_not_depose_the_leader(three: HandCluster) -> None:
    term = three.nodes["a"].raft.term
    three.unlink("c", "a", "b")
    for _ in range(5):
        pass_deadline(three.nodes["c"])
    three.nodes["a"].write("x")
    three.run()
    three.link("a", "b", "c")
    pass_deadline(three.nodes["c"])
    assert three.waiting("c", "a", "pre_vote")
    three.run()
    three.heartbeat("a")
    three.run()
    assert three.nodes["a"].raft.leads
    assert {node.raft.term for node in three.nodes.values()} == {term}
    assert orders(three) == [["x"]] * 3


def test_whoever_hears_its_leader_helps_nobody_to_depose_it(three: HandCluster) -> None:
    three.unlink("a", "c")
    for _ in range(3):
        pass_deadline(three.nodes["c"])
        three.run()
    assert three.nodes["a"].raft.leads
    assert three.nodes["c"].raft.role == "follower"


def test_a_broken_link_to_the_leader_makes_the_others_stand_soon(three: HandCluster) -> None:
    follower = three.nodes["b"]
    before_s = follower.private("raftElectionDeadline")
    three.unlink("a", "b", "c")
    assert follower.private("raftElectionDeadline") < before_s
    for _ in range(4):
        pass_deadline(follower)
        three.run()
    assert follower.raft.leads
    assert follower.raft.term > three.nodes["a"].raft.term


def test_a_node_of_a_later_term_tells_the_leader_and_all_go_on(three: HandCluster) -> None:
    three.nodes["c"].raft.adopt_term(7)
    three.heartbeat("a")
    three.deliver()
    assert not three.nodes["a"].raft.leads
    assert three.nodes["a"].raft.term == 7
    three.elect("b")
    three.nodes["b"].write("x")
    three.run()
    assert orders(three) == [["x"]] * 3


def test_a_cut_off_leader_acknowledges_nothing_and_loses_its_tail(three: HandCluster) -> None:
    old = three.nodes["a"]
    three.unlink("a", "b", "c")
    lost = old.write("lost")
    old.raft.step()
    three.elect("b")
    kept = three.nodes["b"].write("kept")
    three.run()
    three.link("a", "b", "c")
    three.heartbeat("b")
    three.run(6)
    assert lost not in old.told.answers
    assert kept in three.nodes["b"].told.answers
    assert orders(three) == [["kept"]] * 3
    assert lost in old.told.failures  # to be proposed again, with its request id


def test_a_long_divergent_tail_is_found_at_once(three: HandCluster) -> None:
    old = three.nodes["a"]
    three.unlink("a", "b", "c")
    for number in range(50):
        old.write(f"lost{number}")
        old.raft.step()
    three.elect("b")
    for number in range(100):
        three.nodes["b"].write(f"kept{number}")
    three.run()
    three.link("a", "b", "c")
    three.heartbeat("b")
    for _ in range(4):
        three.run(1)
    assert old.machine.order == [f"kept{number}" for number in range(100)]


def test_an_entry_that_was_committed_is_never_replaced(three: HandCluster) -> None:
    three.nodes["a"].write("x")
    three.run()
    follower = three.nodes["c"]
    last = follower.journal.last_index
    wrong = {"type": "append_entries", "term": 9, "commit_index": 0, "prevLogIdx": last - 1}
    wrong |= {"prevLogTerm": follower.journal.term_at(last - 1), "entries": [(b"\x01", last, 9)]}
    with pytest.raises(Exception, match="let it join anew"):
        three.put("b", "c", wrong)
    assert follower.journal.term_at(last) == 1


def test_a_new_node_follows_as_a_learner_then_votes_on_the_same_log(three: HandCluster) -> None:
    three.nodes["a"].write("before")
    three.run()
    learner = three.add("d", "abc").raft
    assert not learner.is_voter
    three.link("a", "b", "c", "d")
    three.heartbeat("a")
    three.run(6)
    assert three.nodes["d"].machine.order == ["before"]
    pass_deadline(three.nodes["d"])
    assert not three.waiting("d", "a", "pre_vote")
    answers: list[str] = []
    changes = VoterChanges(three.nodes["a"].raft)
    changes.change("add", "d", answers.append)
    changes.change("add", "e", answers.append)
    assert answers == ["busy"]
    three.run()
    assert answers == ["busy", ""]
    assert learner.is_voter
    for node in three.nodes.values():
        assert {*node.raft.voters, node.node_id} == {"a", "b", "c", "d"}
        assert set(node.journal.peers) == node.raft.voters
    changes.change("rem", "d", answers.append)
    three.run()
    three.heartbeat("a")
    three.run()
    assert answers[2:] == [""]
    assert not learner.is_voter
    number = three.nodes["d"].write("from a learner")
    three.run()
    assert number in three.nodes["d"].told.answers
    assert orders(three) == [["before", "from a learner"]] * 4


def test_a_change_that_is_not_committed_comes_back_out(three: HandCluster) -> None:
    three.add("d", "abc")
    three.link("a", "d")
    three.unlink("a", "b", "c")
    answers: list[str] = []
    VoterChanges(three.nodes["a"].raft).change("add", "d", answers.append)
    three.nodes["a"].raft.step()
    assert three.nodes["a"].raft.voters == {"b", "c", "d"}
    three.unlink("a", "d")
    three.elect("b")
    three.link("a", "b", "c")
    three.heartbeat("b")
    three.run(6)
    assert three.nodes["a"].raft.voters == {"b", "c"}
    assert set(three.nodes["a"].journal.peers) == {"b", "c"}
    assert answers in ([], ["timeout"])


def test_what_cannot_be_changed_is_refused_with_its_reason(three: HandCluster) -> None:
    answers: list[str] = []
    changes = VoterChanges(three.nodes["a"].raft)
    changes.change("add", "nobody", answers.append)
    changes.change("add", "b", answers.append)
    changes.change("rem", "a", answers.append)
    changes.change("rem", "nobody", answers.append)
    VoterChanges(three.nodes["b"].raft).change("rem", "c", answers.append)
    VoterChanges(three.nodes["b"].raft).transfer(None, answers.append)
    changes.transfer("nobody", answers.append)
    assert answers == [
        "unreachable", "denied", "denied", "denied", "not_leader", "not_leader", "denied",
    ]  # fmt: skip


def test_the_leadership_moves_at_once_and_no_write_is_lost(three: HandCluster) -> None:
    answers: list[str] = []
    changes = VoterChanges(three.nodes["a"].raft)
    number = three.nodes["b"].write("x")
    three.nodes["b"].raft.step()
    changes.transfer("c", answers.append)
    for _ in range(8):
        changes.tick()
        three.run(1)
    assert answers == [""]
    assert three.nodes["c"].raft.leads
    assert number in [*three.nodes["b"].told.answers, *three.nodes["b"].told.failures]


def test_commands_of_the_library_are_refused_on_the_wire(three: HandCluster) -> None:
    leader = three.nodes["a"]
    last = leader.journal.last_index
    for command in (b"\x02membership", b"\x03version", b""):
        three.put("b", "a", {"type": "apply_command", "command": command, "request_id": 1})
    leader.raft.step()
    assert leader.journal.last_index == last
    for frame in (b"\x93\xa3add", b"\x81\xa4type\xa3add", b"\x80", b""):
        with pytest.raises(Exception, match="no message"):
            decode(frame)


def test_a_read_waits_for_what_was_acknowledged_elsewhere(three: HandCluster) -> None:
    three.nodes["a"].write("x")
    three.nodes["a"].raft.step()
    three.deliver(to="ab")  # c has the entry on its way only
    three.nodes["a"].raft.step()
    assert three.nodes["a"].machine.order == ["x"]
    late = three.take("a", "c")
    seen: list[tuple[bool, list[str]]] = []
    reader = three.nodes["c"]
    reader.raft.reads.add(lambda ok: seen.append((ok, list(reader.machine.order))), 1e12)
    for _ in range(3):
        three.run(1)
        reader.raft.step()
    assert seen in ([], [(True, ["x"])])
    for data in late:
        three.put("a", "c", data)
    three.heartbeat("a")
    three.run()
    assert seen == [(True, ["x"])]


def test_a_leader_that_lost_its_majority_confirms_no_read(three: HandCluster) -> None:
    three.unlink("a", "b", "c")
    seen: list[bool] = []
    old = three.nodes["a"]
    old.raft.reads.add(seen.append, 1e12)
    for _ in range(3):
        old.raft.step()
    assert seen == []
    assert old.raft.leads  # it does not know yet
    three.elect("b")
    three.nodes["b"].write("x")
    three.run()
    three.link("a", "b", "c")
    three.heartbeat("b")
    for _ in range(4):
        three.run()
        old.raft.reads._again_s = 0.0
    assert seen == [True]
    assert old.machine.order == ["x"]


def test_a_read_that_takes_too_long_says_so(three: HandCluster) -> None:
    three.unlink("c", "a", "b")
    seen: list[bool] = []
    three.nodes["c"].raft.reads.add(seen.append, 0.0)
    three.nodes["c"].raft.step()
    assert seen == [False]


def test_reads_share_a_round(three: HandCluster) -> None:
    seen: list[bool] = []
    for _ in range(100):
        three.nodes["b"].raft.reads.add(seen.append, 1e12)
    three.nodes["b"].raft.step()
    assert len(three.waiting("b", "a", "read_index")) == 1
    three.run()
    assert seen == [True] * 100


class Offers:
    """Offers and takes snapshots by noting so."""

    def __init__(self, start: LogStart | None = None) -> None:
        self._start = start
        self.offered: list[str] = []
        self.taken: list[tuple[str, dict[str, object]]] = []

    def offer(self, node_id: str) -> dict[str, object] | None:
        self.offered.append(node_id)
        return {"start": msgspec.to_builtins(self._start, builtin_types=(bytes,))}

    def take(self, leader_id: str, offer: dict[str, object]) -> None:
        self.taken.append((leader_id, offer))


def compacted(three: HandCluster) -> tuple[HandNode, HandNode]:
    """Return a leader whose log begins after what a follower has, and the follower."""
    three.unlink("c", "a", "b")
    leader = three.nodes["a"]
    for number in range(20):
        leader.write(f"id{number}")
        three.run(1)
    three.run()
    leader.raft.forceLogCompaction()
    leader.raft.step()
    leader.raft.step()
    assert leader.journal.first_index > three.nodes["c"].journal.last_index + 1
    return leader, three.nodes["c"]


def test_a_follower_that_is_too_far_behind_is_offered_a_snapshot_and_harms_nobody(
    three: HandCluster,
) -> None:
    leader, follower = compacted(three)
    start = leader.journal.log_start(leader.machine.applied_index)
    leader.raft.links.snapshots = given = Offers(start)
    follower.raft.links.snapshots = taken = Offers()
    three.link("a", "b", "c")
    three.heartbeat("a")
    three.run(4)
    assert given.offered
    assert taken.taken[0][0] == "a"
    assert msgspec.convert(taken.taken[0][1]["start"], LogStart) == start
    assert follower.machine.order == []
    assert len(three.sent) == 0
    leader.write("x")
    three.run()
    assert leader.machine.order[-1] == "x"
    assert leader.raft.leads


def test_a_state_that_was_taken_over_is_followed_by_the_log(
    three: HandCluster, tmp_path: Path
) -> None:
    leader, follower = compacted(three)
    start = leader.journal.log_start(leader.machine.applied_index)
    assert start is not None
    assert set(start.voters) == {"a", "b", "c"}
    leader.machine.snapshot_to(tmp_path / "copy")
    follower.machine.restore_from(tmp_path / "copy")
    follower.raft.begin_anew(start)
    three.link("a", "b", "c")
    leader.write("x")
    three.heartbeat("a")
    three.run(6)
    assert follower.machine.order == leader.machine.order
    assert follower.machine.order[-1] == "x"
    assert follower.journal.durable_index == leader.journal.last_index


@pytest.mark.parametrize("replaced", [False, True])
def test_a_kill_while_the_state_is_taken_over_leaves_a_node_that_starts(
    three: HandCluster, tmp_path: Path, replaced: bool
) -> None:
    leader, follower = compacted(three)
    start = leader.journal.log_start(leader.machine.applied_index)
    assert start is not None
    follower.journal.expect(start)
    machine = follower.machine
    if replaced:
        leader.machine.snapshot_to(tmp_path / "copy")
        machine = LedgerMachine()
        machine.restore_from(tmp_path / "copy")
    before = follower.journal.last_index
    three.stop("c")
    again = three.add("c", (), machine)
    assert again.journal.last_index == (start.index if replaced else before)
    assert again.journal.coming is None
    assert again.raft.voters == {"a", "b"}
    finish_install(machine, again.journal)  # nothing is left to do


def test_a_restart_keeps_voters_term_and_log(three: HandCluster) -> None:
    three.nodes["a"].write("x")
    three.run()
    stopped = three.stop("c")
    again = three.add("c", ("c",), stopped.machine)
    assert again.raft.voters == {"a", "b"}
    assert again.raft.term == three.nodes["a"].raft.term
    three.link("a", "b", "c")
    three.nodes["a"].write("y")
    three.run()
    assert orders(three) == [["x", "y"]] * 3


def test_a_slow_disk_leaves_the_leadership_to_others(three: HandCluster) -> None:
    leader = three.nodes["a"]
    leader.raft._mind_slowness(-10.0)  # the step began long ago
    three.run()
    assert not leader.raft.leads
    assert leader.raft._prevotes.holds_back(leader.raft._prevotes._heard_leader_s + 1)


def test_of_two_founders_that_meet_the_lesser_one_stops_for_good(cluster: HandCluster) -> None:
    for name in "ab":
        cluster.add(name, name).raft.step()
    for number in range(5):
        cluster.nodes["b"].write(f"id{number}")
        cluster.nodes["b"].raft.step()
    assert all(node.raft.leads for node in cluster.nodes.values())
    cluster.link("a", "b")
    for source, target in (("a", "b"), ("b", "a")):
        cluster.heartbeat(source)
        cluster.sent, sent = type(cluster.sent)(), cluster.take(source, target)
        if target == "a":
            with pytest.raises(Diverged, match="let this node join anew"):
                cluster.put(source, target, sent[-1])
        else:
            cluster.put(source, target, sent[-1])
    assert cluster.nodes["b"].raft.leads
    assert len(cluster.nodes["b"].machine.order) == 5


def test_a_founder_follows_nobody(cluster: HandCluster) -> None:
    founder = cluster.add("a", "a")
    founder.raft.step()
    cluster.add("b", "ab")
    cluster.link("a", "b")
    asked = {"term": 9, "last_log_index": 99, "last_log_term": 9}
    cluster.put("b", "a", {"type": "request_vote", **asked})
    cluster.put("b", "a", {"type": "pre_vote", "round": 1, **asked})
    founder.raft.step()
    assert founder.raft.leads
    assert founder.raft.term == 1
    assert not any(m["granted"] for m in cluster.waiting("a", "b", "pre_vote_reply"))
    assert not cluster.waiting("a", "b", "response_vote")
    cluster.put("b", "a", {"type": "stale_term", "term": 9})
    founder.raft.step()
    assert founder.raft.leads  # in a term that b follows
    assert founder.raft.term == 10


def test_without_a_leader_all_members_are_asked(three: HandCluster) -> None:
    wanted: list[set[str]] = []
    node = three.nodes["c"]
    node.wire.want = wanted.append  # type: ignore[method-assign]
    node.raft.links.members = lambda: ["d", "e"]
    node.raft.links.tick(1e12, eager=False)
    three.unlink("c", "a", "b")
    pass_deadline(node)
    node.raft.links.tick(2e12, eager=False)
    assert wanted == [{"a", "b"}, {"a", "b", "d", "e"}]


def test_messages_are_whole_frames(three: HandCluster) -> None:
    three.heartbeat("a")
    source, target, data = three.sent[0]
    assert source == "a"
    assert target in {"b", "c"}
    assert LENGTH.unpack_from(data) == (len(data) - LENGTH.size,)


def test_a_log_start_is_known_for_what_the_log_holds_only(three: HandCluster) -> None:
    journal = three.nodes["a"].journal
    assert journal.log_start(journal.last_index + 1) is None
    assert journal.log_start(journal.first_index) is None
    found = journal.log_start(journal.last_index)
    assert isinstance(found, LogStart)
    assert (found.index, found.term) == (journal.last_index, 1)


def test_a_full_disk_stops_no_node_and_promises_nothing(three: HandCluster) -> None:
    """The term moves on while one node cannot write it down: it lives, votes for nobody, and follows."""
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    leader, other = three.nodes["a"], three.nodes["b"]
    write, term = leader.journal._write, leader.raft.term

    def refuse() -> None:
        raise full

    leader.journal._write = refuse  # type: ignore[method-assign]
    three.sent.clear()
    vote = {"type": "request_vote", "term": term + 1, "last_log_term": term, "last_log_index": 99}
    assert leader.wire.receiver is not None
    leader.wire.receiver.received("b", vote)
    assert (leader.raft.role, leader.raft.term) == ("follower", term + 1)
    assert [decode(data)["type"] for source, _, data in three.sent if source == "a"] == []
    leader.wire.receiver.received("b", {**vote, "last_log_index": 0, "last_log_term": 0})
    with pytest.raises(JournalFull):
        leader.raft.step()
    leader.journal._write = write  # type: ignore[method-assign]
    assert three.elect("b").raft.leads_surely
    other.write("x")
    three.run()
    assert orders(three) == [["x"]] * 3
    assert three.stop("a").journal.getCurrentTerm() == other.raft.term
