"""A cluster that begins anew on one node, over real files: what is kept, what is not replayed, what a kill leaves."""

import contextlib
import secrets
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pysyncobj.pickle
import pytest
from pysyncobj.node import Node

from node.cluster import recover
from node.cluster.consensus import Consensus
from node.cluster.lock import DirectoryInUse
from node.cluster.log_file import (
    Meta,
    open_file,
    read_entries,
    read_meta,
    write_entries,
    write_meta,
)
from node.cluster.recover import Later, epoch_of, generation, give_way, standpoint
from node.cluster.settings import RaftSettings
from node.control.placement import NodeRow
from node.errors import BadRequest, Conflict
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.row import Row, Table
from node.state.txn import AnyOp, Define, Txn, encode_entry, encode_txn, insert
from node.testing.clock import FakeClock


class Thing(Row):
    __table__ = Table(name="things")

    text: str = ""


CLOCK, IDS = FakeClock(), RandomIds()
A = NodeRow(id="a", name="host-a", fingerprint="ab")


def command(*ops: AnyOp) -> bytes:
    txn = encode_txn(Txn(request_id=IDS.uuid(), ops=ops))
    return struct.pack(">BBQQ", 0, 1, secrets.randbits(63), 1) + encode_entry([txn])


def change(verb: str, node_id: str) -> bytes:
    return b"\x02" + pysyncobj.pickle.dumps([verb, node_id, Node(node_id)])


def member(place: Path, *, applied: int, things: int = 3) -> Path:
    """Make the files of node a, a voter beside b and c, that applied only the beginning of its log."""
    (place / "log").mkdir(parents=True)
    rows = [insert(NodeRow(id=name, name=f"host-{name}", lease_epoch=4)) for name in "abc"]
    entries = [
        (b"\x01", 1, 0),
        (b"\x01", 2, 3),
        (command(Define(NodeRow.__table__), Define(Thing.__table__), *rows), 3, 3),
        (change("add", "c"), 4, 3),
        *((command(insert(Thing(id=f"t{n}"))), 5 + n, 3) for n in range(things)),
        (b"\x01", 5 + things, 7),
    ]
    with contextlib.closing(open_file(place / "log" / "journal.db")) as db:
        write_entries(db, entries)
        write_meta(db, Meta(node="a", term=8, vote="b", committed=4, voters=("a", "b", "c")))
    with contextlib.closing(Machine(place / "state.db")) as machine:
        for entry, index, _ in entries:
            if entry[0] == 0 and index <= applied:
                machine.apply(index, entry[18:])
    return place


@contextlib.contextmanager
def running(place: Path) -> Iterator[Consensus]:
    machine = Machine(place / "state.db")
    settings = RaftSettings(node_id="a", reserve_bytes=0, floor_bytes=0)
    consensus = Consensus(machine, place / "log", place / "s", settings)
    consensus.start()
    try:
        yield consensus
    finally:
        consensus.stop()
        machine.close()


def rows(place: Path, row_type: type[Row] = Thing) -> dict[str, Row]:
    reader = Reader(place / "state.db")
    with contextlib.closing(reader):
        return {row.id: row for row in reader.rows(row_type)}


def write(consensus: Consensus, thing: Thing) -> None:
    consensus.propose(encode_txn(Txn(request_id=IDS.uuid(), ops=(insert(thing),))), 20)


def log_of(place: Path) -> tuple[Meta, list[tuple[bytes, int, int]], int]:
    epoch = epoch_of(place)
    with contextlib.closing(open_file(place / "log" / "journal.db")) as db:
        meta = read_meta(db)
        assert meta is not None
        return meta, read_entries(db, place), epoch


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return member(tmp_path / "a", applied=5)


def test_a_survivor_says_how_far_it_is(place: Path) -> None:
    found = standpoint(place)
    assert (found.last_term, found.last_index, found.applied_index) == (7, 8, 5)
    assert set(found.voters) == {"a", "b", "c"}
    assert found.epoch == 0


def test_one_survivor_goes_on_with_all_that_its_log_holds(place: Path) -> None:
    made = recover.recover(place, CLOCK, IDS)
    assert made.voters == ("a",)
    assert generation(made.epoch) == 1
    assert made.last_term == 9
    with running(place) as consensus:
        assert consensus.status().role == "leader"
        write(consensus, Thing(id="after"))
    assert set(rows(place)) == {"t0", "t1", "t2", "after"}
    meta, _, epoch = log_of(place)
    assert set(meta.voters) == {"a"}
    assert meta.term > 9
    assert epoch == made.epoch


def test_the_rows_say_that_the_others_are_away(place: Path) -> None:
    recover.recover(place, CLOCK, IDS)
    with running(place):
        pass
    found = rows(place, NodeRow)
    assert {
        (row.id, row.state, row.role, row.lease_epoch)
        for row in found.values()
        if isinstance(row, NodeRow)
    } == {("a", "up", "voter", 4), ("b", "down", "learner", 5), ("c", "down", "learner", 5)}


def test_no_revision_is_given_twice(place: Path) -> None:
    with contextlib.closing(Machine(place / "state.db")) as machine:
        before = machine.db.execute("SELECT value FROM meta WHERE key='seq'").fetchone()[0]
    recover.recover(place, CLOCK, IDS)
    with running(place) as consensus:
        write(consensus, Thing(id="after"))
    assert rows(place)["after"].rev > before + 1_000_000


def test_the_log_begins_so_late_that_an_empty_node_needs_the_rows(place: Path) -> None:
    recover.recover(place, CLOCK, IDS)
    _, entries, _ = log_of(place)
    assert entries[0][1] > 2
    assert {term for _, _, term in entries} == {9}
    assert entries[1][0] == b"\x01"


def test_two_survivors_do_not_come_to_the_same_epoch(tmp_path: Path) -> None:
    epochs = {
        recover.recover(member(tmp_path / f"a{n}", applied=5), CLOCK, IDS).epoch for n in range(4)
    }
    assert len(epochs) > 1
    assert {generation(epoch) for epoch in epochs} == {1}


def test_it_may_be_repeated(place: Path) -> None:
    first = recover.recover(place, CLOCK, IDS)
    second = recover.recover(place, CLOCK, IDS)
    assert generation(second.epoch) == 2
    with running(place) as consensus:
        write(consensus, Thing(id="after"))
    assert set(rows(place)) == {"t0", "t1", "t2", "after"}
    assert second.last_term > first.last_term


class Killed(BaseException):
    """Stands for a kill at some point."""


@pytest.mark.parametrize("victim", ["_apply", "_marks", "_replace", "write_meta", "write_entries"])
def test_a_kill_amid_a_recovery_leaves_what_was_or_what_will_be(
    place: Path, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recover, victim, die)
        with pytest.raises(Killed):
            recover.recover(place, CLOCK, IDS)
    meta, entries, epoch = log_of(place)
    assert set(meta.voters) == {"a", "b", "c"}
    assert (meta.term, meta.vote, epoch, len(entries)) == (8, "b", 0, 8)
    recover.recover(place, CLOCK, IDS)
    with running(place) as consensus:
        write(consensus, Thing(id="after"))
    assert set(rows(place)) == {"t0", "t1", "t2", "after"}


def test_a_running_node_and_no_node_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="state_dir"):
        recover.recover(tmp_path / "nothing", CLOCK, IDS)
    recover.recover(place, CLOCK, IDS)
    with running(place), pytest.raises(DirectoryInUse):
        recover.recover(place, CLOCK, IDS)


def test_a_node_without_rows_is_refused(place: Path) -> None:
    (place / "state.db").unlink()
    with contextlib.closing(sqlite3.connect(place / "log" / "journal.db")) as db:
        db.execute("UPDATE meta SET applied_floor=5")
        db.commit()
    with pytest.raises(Conflict, match="another one"):
        recover.recover(place, CLOCK, IDS)


# -- export and restore


def test_an_exported_state_is_restored_on_a_new_machine(place: Path, tmp_path: Path) -> None:
    recover.recover(place, CLOCK, IDS)
    file = tmp_path / "all.hedgerow"
    with running(place) as consensus:
        write(consensus, Thing(id="before"))
        index = recover.export(place, file)
        write(consensus, Thing(id="later"))
    assert index > 8
    assert file.stat().st_mode & 0o777 == 0o600
    fresh = tmp_path / "fresh"
    made = recover.restore(fresh, file, A, CLOCK, IDS)
    assert made.voters == ("a",)
    with running(fresh) as consensus:
        write(consensus, Thing(id="after"))
    assert set(rows(fresh)) == {"t0", "t1", "t2", "before", "after"}


def test_a_machine_that_the_rows_do_not_know_becomes_their_member(
    place: Path, tmp_path: Path
) -> None:
    file = tmp_path / "all.hedgerow"
    recover.export(place, file)
    fresh = tmp_path / "fresh"
    member = NodeRow(id="z", name="new-host", fingerprint="cd")
    assert recover.restore(fresh, file, member, CLOCK, IDS).voters == ("z",)
    machine = Machine(fresh / "state.db")
    settings = RaftSettings(node_id="z", reserve_bytes=0, floor_bytes=0)
    consensus = Consensus(machine, fresh / "log", fresh / "s", settings)
    consensus.start()
    consensus.stop()
    machine.close()
    found = rows(fresh, NodeRow)
    assert {(row.id, row.state) for row in found.values() if isinstance(row, NodeRow)} == {
        ("a", "down"),
        ("b", "down"),
        ("c", "down"),
        ("z", "up"),
    }


def test_a_restore_replaces_what_a_node_held(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.hedgerow"
    assert recover.export(place, file) == 5
    recover.recover(place, CLOCK, IDS)
    with running(place) as consensus:
        for number in range(20):
            write(consensus, Thing(id=f"new{number}"))
    made = recover.restore(place, file, A, CLOCK, IDS)
    assert generation(made.epoch) == 2
    with running(place) as consensus:
        write(consensus, Thing(id="after"))
    assert set(rows(place)) == {"t0", "after"}


def test_a_restore_that_was_cut_off_must_be_repeated(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "all.hedgerow"
    recover.export(place, file)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recover, "_replace", die)
        with pytest.raises(Killed):
            recover.restore(place, file, A, CLOCK, IDS)
    with pytest.raises(Conflict, match="repeat it"):
        give_way(place)
    with pytest.raises(Conflict, match="restore again"):
        recover.recover(place, CLOCK, IDS)
    recover.restore(place, file, A, CLOCK, IDS)
    assert give_way(place) is None
    with running(place) as consensus:
        write(consensus, Thing(id="after"))
    assert set(rows(place)) == {"t0", "after"}


def test_what_is_no_export_is_refused(place: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"no state")
    with pytest.raises(BadRequest, match="no exported state"):
        recover.restore(place, wrong, A, CLOCK, IDS)
    assert set(rows(place)) == {"t0"}
    with pytest.raises(BadRequest, match="exists already"):
        recover.export(place, wrong)
    with pytest.raises(BadRequest, match="no state"):
        recover.export(tmp_path, tmp_path / "other")


# -- giving way


def test_a_node_of_an_earlier_epoch_gives_up_its_log_and_waits_for_rows(place: Path) -> None:
    assert give_way(place) is None
    epoch = recover.next_epoch(0)
    recover.write_later(place, Later(epoch=epoch, voters=("b", "a")))
    (place / "log" / "diverged").write_text("why")
    assert give_way(place) == Later(epoch=epoch, voters=("b", "a"))
    assert give_way(place) is None
    meta, entries, stored = log_of(place)
    assert entries == []
    assert stored == epoch
    assert not (place / "log" / "diverged").exists()
    assert meta == Meta(node="a", term=0, voters=("b",))
    assert set(rows(place)) == {"t0"}  # readable until the others come
    with contextlib.closing(Machine(place / "state.db")) as machine:
        assert machine.applied_index == 0


def test_a_kill_while_giving_way_is_made_good(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Later(epoch=recover.next_epoch(0), voters=("b",))

    def die(*_: object) -> None:
        raise Killed

    for victim in ("_replace", "write_meta", "_forget_later"):
        here = tmp_path / victim
        shutil.copytree(place, here)
        recover.write_later(here, later)
        with monkeypatch.context() as patch:
            patch.setattr(recover, victim, die)
            with pytest.raises(Killed):
                give_way(here)
        assert give_way(here) == later
        assert give_way(here) is None
        meta, entries, epoch = log_of(here)
        assert (meta.voters, entries, epoch) == (("b",), [], later.epoch)


def test_to_ask_for_the_epoch_writes_nothing(tmp_path: Path) -> None:
    """A node asks at each start, on a full disk too."""
    log = tmp_path / "log"
    log.mkdir()
    open_file(log / "journal.db").close()
    before = (log / "journal.db").read_bytes()
    assert epoch_of(tmp_path) == 0
    assert (log / "journal.db").read_bytes() == before
