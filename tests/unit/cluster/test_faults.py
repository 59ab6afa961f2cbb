"""The faults of pysyncobj 0.3.17 that a node alone can meet; the letters are those of the decision record."""

import copy
import os
import pickle
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pysyncobj.pickle
import pysyncobj.syncobj as library
import pytest
from pysyncobj.node import Node

from node.cluster.journal import JournalFull, SqliteJournal
from node.cluster.library import ClusterFault, check_library
from node.cluster.raft import RaftNode
from node.cluster.settings import RaftSettings
from node.testing.ledger import LedgerMachine, ledger_txn

SETTINGS = RaftSettings(node_id="a", compaction_min_entries=20, tail_entries=0)


class Witness:
    """Notes what a RaftNode tells, with what was on the disk at that moment."""

    def __init__(self) -> None:
        self.answers: dict[int, list[bytes]] = {}
        self.failures: list[int] = []
        self.indexes: list[int] = []

    def delivered(self, number: int, answers: list[bytes]) -> None:
        self.answers[number] = answers

    def failed(self, number: int) -> None:
        self.failures.append(number)

    def applied(self, index: int) -> None:
        self.indexes.append(index)


class Alone:
    """One RaftNode, ticked by hand."""

    def __init__(
        self, place: Path, machine: LedgerMachine, settings: RaftSettings = SETTINGS
    ) -> None:
        self.place, self.machine = place, machine
        self.journal = SqliteJournal(
            place / "journal.db",
            node_id=settings.node_id,
            first_peers=settings.first_peers,
            tail_entries=settings.tail_entries,
        )
        self.witness = Witness()
        self.raft = RaftNode(machine, self.journal, settings, self.witness)
        self.number = 0

    def steps(self, count: int = 3) -> None:
        for _ in range(count):
            self.raft.step()

    def write(self, *ids: str) -> None:
        self.number += 1
        self.raft.propose(self.number, msgspec.msgpack.encode([ledger_txn(one) for one in ids]))

    def killed(self, to: Path) -> "Alone":
        """Return what starts from the files and the state as they are now."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        for file in self.place.glob("journal.db*"):
            shutil.copy(file, to / file.name)
        machine = copy.copy(self.machine)
        machine.order, machine.entries = list(machine.order), list(machine.entries)
        machine.on_apply = machine.on_checkpoint = machine.fail_with = None
        return Alone(to, machine)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    place = tmp_path / "a"
    place.mkdir()
    node = Alone(place, LedgerMachine())
    node.steps()
    yield node
    node.raft.destroy()


def test_alone_it_leads_at_once(alone: Alone) -> None:
    assert alone.raft.role == "leader"
    assert alone.raft.leader_id == "a"
    alone.write("x")
    alone.steps(1)
    assert alone.witness.answers == {1: [b"0"]}


def test_c_a_kill_between_checkpoint_and_trim_loses_nothing(alone: Alone, tmp_path: Path) -> None:
    left: list[Alone] = []
    alone.machine.on_checkpoint = lambda: left.append(alone.killed(tmp_path / f"left{len(left)}"))
    for number in range(100):
        alone.write(f"id{number}")
        alone.steps(1)
    assert alone.machine.checkpoints >= 3
    assert len(alone.journal) < 40
    for one in left:
        before, entries = list(one.machine.order), len(one.journal)
        one.steps(1)
        assert len(one.journal) == entries + 1  # nothing was cleared, the election adds one
        one.write("after")
        one.steps()
        assert one.machine.order == [*before, "after"]
        assert one.witness.answers == {1: [str(len(before)).encode()]}
        one.raft.destroy()


def test_d_a_kill_at_each_step_of_a_trim_loses_nothing(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.mkdir()
    settings = msgspec.structs.replace(SETTINGS, compaction_min_entries=1000)
    node = Alone(place, LedgerMachine(), settings)
    node.steps()
    for number in range(990):
        node.write(f"id{number}")
    node.steps()
    node.raft.forceLogCompaction()
    seen = 0
    for step in range(30):
        node.raft.step()
        if node.journal.needs_trim:
            seen += 1
            left = node.killed(tmp_path / f"left{step}")
            left.write("after")
            left.steps()
            assert left.machine.order == [*node.machine.order, "after"]
            left.raft.destroy()
    assert seen >= 3
    assert len(node.journal) == 2
    node.raft.destroy()


def test_e_nothing_is_applied_or_answered_before_it_is_on_the_disk(
    alone: Alone, tmp_path: Path
) -> None:
    on_disk: list[tuple[int, int]] = []

    def look(index: int) -> None:
        shutil.copytree(alone.place, tmp_path / "look")
        with sqlite3.connect(tmp_path / "look" / "journal.db") as db:
            (last,) = db.execute("SELECT max(idx) FROM log").fetchone()
        db.close()
        shutil.rmtree(tmp_path / "look")
        on_disk.append((index, last))
        assert not alone.witness.answers

    alone.machine.on_apply = look
    for name in ("x", "y"):
        alone.witness.answers.clear()
        alone.write(name)
        alone.steps(1)
        assert len(alone.witness.answers) == 1
    assert len(on_disk) == 2
    assert all(last >= index for index, last in on_disk)


def test_e_a_log_that_cannot_be_written_answers_nothing_and_goes_on_later(alone: Alone) -> None:
    write = alone.journal._write
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def refuse() -> None:
        raise full

    alone.journal._write = refuse  # type: ignore[method-assign]
    alone.write("x")
    for _ in range(3):
        with pytest.raises(JournalFull):
            alone.raft.step()
    assert alone.machine.order == []
    assert alone.witness.answers == {}
    alone.journal._write = write  # type: ignore[method-assign]
    alone.write("y")
    alone.steps()
    assert alone.machine.order == ["x", "y"]
    assert alone.witness.answers == {1: [b"0"], 2: [b"1"]}


def test_g_a_member_that_is_started_with_an_empty_peer_list_elects_nobody(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, first_peers=("b", "c"))
    Alone(tmp_path, LedgerMachine(), settings).raft.destroy()
    node = Alone(tmp_path, LedgerMachine(), SETTINGS)
    node.raft._SyncObj__raftElectionDeadline = 0.0
    node.steps(5)
    assert node.raft.role == "follower"
    assert {peer.id for peer in node.raft.otherNodes} == {"b", "c"}
    node.raft.destroy()


def test_g_old_membership_entries_are_not_replayed_onto_the_stored_peers(tmp_path: Path) -> None:
    node = Alone(tmp_path, LedgerMachine())
    node.steps()
    term = node.raft.raftCurrentTerm
    for verb in ("add", "rem", "add"):
        request = pysyncobj.pickle.dumps([verb, "b", Node("b")])
        node.journal.add(b"\x02" + request, node.journal.last_index + 1, term)
    node.journal.setRaftCommitIndex(node.journal.last_index - 1)  # up to the removal
    node.journal._meta_changed = True
    node.journal.sync()
    node.journal.close()
    again = Alone(tmp_path, node.machine)
    again.raft._SyncObj__raftElectionDeadline = 0.0
    again.steps(5)
    assert again.raft.raftLastApplied == again.journal.last_index - 1
    assert {peer.id for peer in again.raft.otherNodes} == {"b"}
    assert again.raft.role == "follower"
    again.raft.destroy()


def test_h_a_state_machine_that_fails_is_asked_again_and_the_asker_still_gets_his_answer(
    alone: Alone,
) -> None:
    alone.write("x")
    alone.machine.fail_with = OSError(5, "Input/output error")
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"):
            alone.raft.step()
    assert alone.witness.answers == {}
    alone.machine.fail_with = None
    alone.steps(1)
    assert alone.witness.answers == {1: [b"0"]}
    assert alone.machine.order == ["x"]


def test_k_a_code_version_entry_is_passed_over_and_nothing_is_applied_twice(alone: Alone) -> None:
    alone.write("x")
    alone.raft._applyCommand(pickle.dumps(99), None, library._COMMAND_TYPE.VERSION)
    alone.write("y")
    alone.steps()
    assert [ids for _, ids in alone.machine.entries] == [["x"], ["y"]]
    first, second = (index for index, _ in alone.machine.entries)
    assert second == first + 2
    assert alone.raft.raftLastApplied == alone.journal.last_index


def test_a_restart_replays_without_applying_again(alone: Alone, tmp_path: Path) -> None:
    for number in range(10):
        alone.write(f"id{number}")
    alone.steps()
    behind = alone.killed(tmp_path / "behind")
    behind.machine.order, behind.machine.entries = ["id0", "id1", "id2"], []
    behind.machine.applied_index = 5  # the state lost some in a power cut, the log did not
    behind.steps()
    assert behind.machine.order == [f"id{number}" for number in range(10)]
    assert behind.witness.indexes == [6, 7, 8, 9, 10, 11, 12]
    behind.raft.destroy()
    same = alone.killed(tmp_path / "same")
    same.steps()
    assert same.witness.indexes == []
    same.raft.destroy()


def test_a_state_older_than_the_trimmed_log_is_refused(alone: Alone, tmp_path: Path) -> None:
    for number in range(60):
        alone.write(f"id{number}")
        alone.steps(1)
    alone.steps()
    shutil.copytree(alone.place, tmp_path / "copy")
    with pytest.raises(ClusterFault, match="restore the state"):
        Alone(tmp_path / "copy", LedgerMachine())


def test_a_lost_log_is_refused(tmp_path: Path) -> None:
    machine = LedgerMachine()
    machine.applied_index = 10
    with pytest.raises(ClusterFault, match="the log was lost"):
        Alone(tmp_path, machine)


def test_an_entry_of_a_later_format_stops_the_node(alone: Alone) -> None:
    alone.raft._applyCommand(struct.pack(">BQQ", 2, 0, 0), None, 0)
    with pytest.raises(ClusterFault, match="install the newer version"):
        alone.raft.step()


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_pickles_in_the_log_run_no_code(alone: Alone, tmp_path: Path) -> None:
    evil = pickle.dumps(Evil(tmp_path / "owned"), 2)
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        alone.journal.add(b"\x02" + evil, alone.journal.last_index + 1, 1)
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        pysyncobj.pickle.loads(evil)
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        pysyncobj.pickle.loads(pickle.dumps(Evil(tmp_path / "owned"), 0))
    assert not (tmp_path / "owned").exists()
    node = pysyncobj.pickle.loads(pysyncobj.pickle.dumps(["add", "b", Node("b")]))
    assert node == ["add", "b", Node("b")]


def test_another_library_version_is_refused() -> None:
    check_library()
    with pytest.raises(ClusterFault, match=r"needs exactly 0\.3\.17"):
        check_library("0.3.18")


def test_a_changed_library_is_refused() -> None:
    class Changed(library.SyncObj):
        pass

    with pytest.raises(ClusterFault, match=r"lacks .*doApplyCommand"):
        check_library(sync_obj=type("SyncObj", (), {"__init__": Changed.__init__}))
