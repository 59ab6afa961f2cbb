"""The faults of pysyncobj 0.3.17 that need other nodes, each against our node and against the library as shipped.

The letters are those of docs/adr/0002. On the shipped library each scenario must fail: a new release that mends a fault
shows here.
"""

import inspect
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pysyncobj.journal
import pysyncobj.pickle
import pysyncobj.syncobj
import pytest
from pysyncobj.config import SERIALIZER_STATE

from node.testing.ledger import LedgerMachine
from tests.unit.cluster.either import Made, One, Ours, Stock, maker

BOTH = ("ours", pytest.param("stock", marks=pytest.mark.xfail(strict=True, raises=AssertionError)))


@pytest.fixture(params=BOTH)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    yield from maker(request.param, tmp_path)


def append(
    one: One, previous: tuple[int, int], *names: str, commit: int = 0, term: int = 1
) -> None:
    """Send entries of a term that follow (index, term)."""
    index = previous[0]
    entries = [(one.command(name), index + 1 + at, term) for at, name in enumerate(names)]
    one.put(
        "b",
        {
            "type": "append_entries",
            "term": term,
            "commit_index": commit,
            "prevLogIdx": previous[0],
            "prevLogTerm": previous[1],
            "entries": entries,
        },
    )


def test_a_a_snapshot_message_commits_nothing_of_ones_own(make: Made) -> None:
    leader = make()
    leader.lead()
    leader.step()
    answered = [leader.write(name) for name in ("x", "y")]
    leader.step()
    last = leader.last_index
    assert last >= 4
    message = {"type": "append_entries", "term": leader.term + 1, "commit_index": last + 100}
    leader.put("b", {**message, "serialized": None})
    leader.step()
    assert leader.order == []
    assert not any(done() for done in answered)


def test_b_a_late_append_removes_nothing(make: Made) -> None:
    follower = make()
    follower.connect("b")
    append(follower, (1, 0), "w")
    append(follower, (2, 1), "x", "y", "z", commit=5)
    follower.step()
    assert follower.order == ["w", "x", "y", "z"]
    append(follower, (1, 0), "w", commit=5)
    append(follower, (1, 0), commit=5)
    assert follower.last_index == 5


def test_b_an_append_commits_no_further_than_it_reaches(tmp_path: Path) -> None:
    follower = Ours(tmp_path, ("b", "c"), None)
    follower.connect("b")
    append(follower, (1, 0), "w", "perhaps not the leader's")
    follower.put(
        "c",
        {
            "type": "append_entries",
            "term": 2,
            "commit_index": 3,
            "prevLogIdx": 2,
            "prevLogTerm": 1,
            "entries": [],
        },
    )
    follower.step()
    assert follower.order == ["w"]
    assert follower.last_index == 3  # nor does it remove what may be the leader's
    follower.close()


def test_f_one_change_of_voters_at_a_time(make: Made) -> None:
    leader = make(("b",))
    leader.lead()
    leader.step()
    leader.put(
        "b",
        {
            "type": "next_node_idx",
            "next_node_idx": leader.last_index + 1,
            "reset": False,
            "success": True,
            "term": leader.term,
        },
    )
    leader.step()
    for node_id in ("c", "d", "e"):
        leader.change("add", node_id)
    leader.step()
    assert leader.others() == {"b", "c"}


def test_g_a_wrong_list_of_peers_at_a_restart_makes_no_leader(make: Made) -> None:
    first = make(("b",))
    first.lead()
    first.step()
    last = first.last_index
    close(first)
    again = make(())
    again.set_private("raftElectionDeadline", 0.0)
    for _ in range(5):
        again.step()
    assert again.last_index == last  # a leader begins with an entry
    assert again.others() == {"b"}


def test_h_a_failing_state_machine_costs_no_answer(make: Made) -> None:
    machine = LedgerMachine()
    leader = make(("b",), machine)
    leader.lead()
    leader.step()
    answered = leader.write("x")
    leader.step()
    machine.fail_with = OSError(5, "Input/output error")
    acknowledge(leader)
    with pytest.raises(OSError, match="Input/output"):
        leader.step()
    machine.fail_with = None
    leader.step()
    assert leader.order == ["x"]
    assert answered()


def test_i_an_acknowledgement_of_an_earlier_term_counts_nothing(make: Made) -> None:
    leader = make()
    leader.lead()
    leader.step()
    old_term = leader.term
    higher = {"type": "request_vote", "term": old_term + 1, "last_log_index": 0, "last_log_term": 0}
    leader.put("c", higher)
    leader.disconnect("b", "c")
    leader.lead()
    assert leader.term > old_term + 1
    answered = leader.write("x")
    leader.step()
    acknowledge(leader, term=old_term)
    leader.step()
    leader.step()
    assert leader.order == []
    assert not answered()


def test_j_a_lost_answer_is_asked_for_again(make: Made) -> None:
    follower = make()
    follower.connect("b")
    append(follower, (1, 0), "w", commit=2)
    follower.step()
    answered = follower.write("x")
    follower.step()
    assert len(follower.sent("b", "apply_command")) == 1
    follower.disconnect("b")
    follower.connect("b")
    append(follower, (2, 1), commit=2)
    follower.step()
    assert answered()  # here: failed, so it is proposed again with the same request id


def test_k_an_unknown_code_version_shifts_no_entry(make: Made) -> None:
    follower = make()
    follower.connect("b")
    version = b"\x03" + pickle.dumps(99, 2)
    entries = [(version, 2, 1), (follower.command("x"), 3, 1), (follower.command("y"), 4, 1)]
    follower.put(
        "b",
        {
            "type": "append_entries",
            "term": 1,
            "commit_index": 4,
            "prevLogIdx": 1,
            "prevLogTerm": 0,
            "entries": entries,
        },
    )
    for _ in range(3):
        follower.step()
    assert follower.order == ["x", "y"]


def test_e_the_library_never_asks_the_disk_to_sync() -> None:
    """Why the log is SQLite's; see the tests of the journal for ours."""
    for module in (pysyncobj.journal, pysyncobj.syncobj):
        assert "fsync" not in inspect.getsource(module)


def acknowledge(leader: One, *, term: int | None = None) -> None:
    """Acknowledge all of a leader's log as node b."""
    leader.put(
        "b",
        {
            "type": "next_node_idx",
            "next_node_idx": leader.last_index + 1,
            "reset": False,
            "success": True,
            "term": leader.term if term is None else term,
        },
    )


def close(one: One) -> None:
    ending: Callable[[], None] = one.close  # type: ignore[attr-defined]
    ending()


def test_c_the_shipped_library_clears_a_log_that_its_dump_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why a start must find nothing to clear; `test_faults` has the same kill for ours."""
    monkeypatch.setattr(pysyncobj.pickle, "load", pickle.load)  # ours refuses what dumps hold
    place, left = tmp_path / "place", tmp_path / "left"
    place.mkdir()

    def started(at: Path) -> Stock:
        files = {"journalFile": str(at / "journal"), "fullDumpFile": str(at / "dump")}
        one = Stock(at, (), None, **files)
        one.set_private("raftElectionDeadline", 0.0)
        one.step()
        return one

    one = started(place)
    for number in range(50):
        one.write(f"id{number}")
    one.step()
    one.step()
    one.log.forceLogCompaction()
    one.step()  # the dump is in its place, the log not trimmed yet
    for number in range(50):
        one.write(f"later{number}")
    one.private("serializer").checkSerializing = lambda: (SERIALIZER_STATE.SERIALIZING, None)
    one.step()
    one.step()
    assert one.order[-1] == "later49"
    shutil.copytree(place, left)
    again = started(left)
    again.step()
    assert again.last_index <= 60  # of more than 100 that were applied
    one.close()
    again.close()


def test_d_the_shipped_library_trims_by_writing_anew(tmp_path: Path) -> None:
    """Why the log is rows; `test_faults` kills ours at each step of a trim."""
    path = str(tmp_path / "journal")
    journal = pysyncobj.journal.createJournal(path)
    for index in range(1, 101):
        journal.add(b"x", index, 1)
    add, added = journal.add, []

    def add_ten(*entry: object) -> None:
        if len(added) == 10:
            raise KeyboardInterrupt
        added.append(entry)
        add(*entry)

    journal.add = add_ten
    with pytest.raises(KeyboardInterrupt):
        journal.deleteEntriesTo(10)
    journal.flush()
    assert len(pysyncobj.journal.createJournal(path)) == 10  # of 90 that should be left
