"""The log on disk. A copy of its files is what a kill at that moment would leave."""

import shutil
import sqlite3
from pathlib import Path

import pysyncobj.pickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysyncobj.journal import MemoryJournal
from pysyncobj.node import Node

from node.cluster.journal import JournalFault, SqliteJournal


def opened(path: Path, **more: object) -> SqliteJournal:
    return SqliteJournal(path / "journal.db", node_id="a", **more)


def left_by_a_kill(path: Path, to: Path) -> SqliteJournal:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for file in path.glob("journal.db*"):
        shutil.copy(file, to / file.name)
    return opened(to)


def fill(journal: SqliteJournal, first: int, last: int, term: int = 1) -> None:
    for idx in range(first, last + 1):
        journal.add(b"\0" + b"%d" % idx, idx, term)


def change(kind: str, node_id: str) -> bytes:
    return b"\x02" + pysyncobj.pickle.dumps([kind, node_id, Node(node_id)])


def test_what_was_synced_survives_and_nothing_else(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 5)
    journal.sync()
    fill(journal, 6, 7)
    assert journal.needs_sync
    assert journal.durable_index == 5
    left = left_by_a_kill(tmp_path, tmp_path / "left")
    assert [entry[1] for entry in left[:]] == [1, 2, 3, 4, 5]
    assert left.durable_index == left.last_index == 5
    journal.sync()
    assert [entry[1] for entry in left_by_a_kill(tmp_path, tmp_path / "left")[:]] == list(
        range(1, 8)
    )


def test_the_disk_is_asked_to_sync_each_commit(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_one_sync_is_one_commit(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    statements: list[str] = []
    journal._db.set_trace_callback(statements.append)
    fill(journal, 1, 100)
    journal.sync()
    assert [one for one in statements if one == "COMMIT"] == ["COMMIT"]
    statements.clear()
    journal.sync()
    assert statements == []


def test_term_and_vote_are_durable_at_once(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.setCurrentTerm(7, "b")
    left = left_by_a_kill(tmp_path, tmp_path / "left")
    assert (left.getCurrentTerm(), left.getVotedForNodeId()) == (7, "b")


def test_a_replaced_end_is_replaced_on_disk(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 6, term=1)
    journal.sync()
    journal.deleteEntriesFrom(3)
    journal.add(b"\0new", 4, 2)
    journal.sync()
    left = left_by_a_kill(tmp_path, tmp_path / "left")
    assert left[:] == journal[:]
    assert left[-1] == (b"\0new", 4, 2)


def test_a_trim_goes_in_small_steps_and_any_kill_leaves_a_whole_log(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 1000)
    journal.sync()
    journal.deleteEntriesTo(990)
    assert len(journal) == 10
    rows = []
    while journal.needs_trim:
        assert not journal.needs_sync
        journal.sync()
        left = left_by_a_kill(tmp_path, tmp_path / "left")
        assert [entry[1] for entry in left[-10:]] == list(range(991, 1001))
        assert left[-10:] == journal[:]
        rows.append(len(left))
    assert rows == [744, 488, 232, 10]


def test_new_entries_and_a_trim_share_a_sync(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 20)
    journal.sync()
    journal.deleteEntriesTo(15)
    fill(journal, 21, 22)
    journal.sync()
    assert [e[1] for e in left_by_a_kill(tmp_path, tmp_path / "left")[:]] == list(range(16, 23))


def test_a_trim_keeps_a_tail_for_followers(tmp_path: Path) -> None:
    journal = opened(tmp_path, tail_entries=4)
    fill(journal, 1, 20)
    journal.deleteEntriesTo(10)
    assert journal[0][1] == 7
    journal.deleteEntriesTo(3)
    assert journal[0][1] == 7


def test_clearing_and_starting_elsewhere(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 20)
    journal.sync()
    journal.clear()
    fill(journal, 500, 501, term=3)
    journal.sync()
    left = left_by_a_kill(tmp_path, tmp_path / "left")
    assert left[:] == journal[:]
    assert left.size_bytes == journal.size_bytes == 8
    assert left.getRaftCommitIndex() == 501


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 3)
    journal.sync()
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE log SET cmd = x'0041' WHERE idx = 2")
    db.close()
    with pytest.raises(JournalFault, match=r"Entry 2 of the log .* is damaged"):
        opened(tmp_path)


def test_a_gap_is_named(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 3)
    journal.sync()
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("DELETE FROM log WHERE idx = 2")
    db.close()
    with pytest.raises(JournalFault, match="gap before 3"):
        opened(tmp_path)


def test_a_page_of_zeros_is_no_surprise(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 1, 500)
    journal.sync()
    journal.close()
    with (tmp_path / "journal.db").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(bytes(4096))
    with pytest.raises(JournalFault):
        opened(tmp_path)


def test_a_log_belongs_to_one_node(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(JournalFault, match="belongs to node a, this is b"):
        SqliteJournal(tmp_path / "journal.db", node_id="b")


def test_peers_change_with_the_entry_that_changes_them(tmp_path: Path) -> None:
    journal = opened(tmp_path, first_peers=("b",))
    assert journal.peers == ("b",)
    fill(journal, 1, 1)
    journal.add(change("add", "c"), 2, 1)
    journal.sync()
    assert left_by_a_kill(tmp_path, tmp_path / "left").peers == ("b", "c")
    journal.add(change("rem", "b"), 3, 1)
    assert left_by_a_kill(tmp_path, tmp_path / "left").peers == ("b", "c")
    journal.sync()
    assert left_by_a_kill(tmp_path, tmp_path / "left").peers == ("c",)
    journal.deleteEntriesFrom(1)
    journal.sync()
    assert set(left_by_a_kill(tmp_path, tmp_path / "left").peers) == {"b"}


def test_peers_come_from_the_log_and_not_from_settings(tmp_path: Path) -> None:
    opened(tmp_path, first_peers=("b", "c")).close()
    assert opened(tmp_path, first_peers=()).peers == ("b", "c")


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "from", "to", "sync", "reopen"]), st.integers(0, 12)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_it_does_what_a_log_in_memory_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    place = tmp_path_factory.mktemp("model")
    journal, model = opened(place), MemoryJournal()
    for log in (journal, model):
        log.add(b"\0first", 1, 0)
    for number, (verb, count) in enumerate(steps):
        if verb == "add":
            for _ in range(count):
                entry = (b"\0%d" % number, model[-1][1] + 1, number)
                journal.add(*entry)
                model.add(*entry)
        elif verb == "from" and count > 0:
            journal.deleteEntriesFrom(count)
            model.deleteEntriesFrom(count)
        elif verb == "to" and count < len(model):
            journal.sync()  # only applied entries are trimmed, and those are durable
            journal.deleteEntriesTo(count)
            model.deleteEntriesTo(count)
        elif verb == "sync":
            journal.sync()
        elif verb == "reopen":
            while journal.needs_sync or journal.needs_trim:
                journal.sync()
            journal.close()
            journal = opened(place)
        assert journal[:] == model[:]
        assert journal.size_bytes == sum(len(entry[0]) for entry in model[:])
    journal.close()


def test_a_joiner_that_is_told_of_itself_has_no_vote(tmp_path: Path) -> None:
    journal = opened(tmp_path, first_peers=("b", "a"), first_voter=False)
    assert not journal.is_voter
    assert journal.peers == ("b",)
    journal.close()
    assert not opened(tmp_path).is_voter
