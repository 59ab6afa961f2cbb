"""Typed rows out of the store: filters, order, snapshots, generations."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import NotFound
from node.state.machine import Machine
from node.state.reader import Reader, Readers
from node.state.row import Resource, Table
from node.state.txn import (
    AnyOp,
    Applied,
    Check,
    Count,
    Define,
    Outcome,
    Txn,
    check,
    decode_outcome,
    delete,
    encode_entry,
    encode_txn,
    insert,
    patch,
    put,
)


class Port(Resource):
    __table__ = Table(
        name="ports", indexes=(("network_id",),), unique=(("network_id", "mac_address"),)
    )

    network_id: str = ""
    mac_address: str | None = None
    is_up: bool = True
    mtu_bytes: int = 1500
    tags: tuple[str, ...] = ()


class Unwritten(Resource):
    __table__ = Table(name="unwritten")


class Store:
    def __init__(self, path: Path) -> None:
        self.machine = Machine(path)
        self.reader = Reader(path)
        self.commit(Define(Port.__table__))

    def commit(self, *ops: AnyOp) -> Outcome:
        index = self.machine.applied_index + 1
        txn = Txn(request_id=str(index), ops=ops)
        return decode_outcome(self.machine.apply(index, encode_entry([encode_txn(txn)]))[0])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state.db")
    for number in range(6):
        row = Port(
            id=f"p{number}",
            network_id="even" if number % 2 == 0 else "odd",
            mac_address=f"m{number}" if number else None,
            is_up=number < 3,
            mtu_bytes=1000 + number,
            created_at=100 - number,
        )
        made.commit(insert(row))
    yield made
    made.reader.close()
    made.machine.close()


def ids(rows: list[Port]) -> list[str]:
    return [row.id for row in rows]


def test_a_row_comes_back_as_it_was_stored(store: Store) -> None:
    row = Port(id="x", network_id="n", mac_address="é", tags=("a", "b"), have="active")
    outcome = store.commit(insert(row))
    assert isinstance(outcome, Applied)
    found = store.reader.must(Port, "x")
    assert found.rev == outcome.seq
    assert found.tags == ("a", "b") and found.mac_address == "é" and found.have == "active"


def test_the_revision_moves_with_each_write_and_never_back(store: Store) -> None:
    first = store.reader.must(Port, "p1")
    store.commit(patch(Port, "p1", is_up=False))
    second = store.reader.must(Port, "p1")
    assert second.rev > first.rev
    store.commit(delete(Port, "p1"))
    store.commit(insert(first))
    third = store.reader.must(Port, "p1")
    assert third.rev > second.rev  # the same content is not the same revision
    assert store.commit(check(first)).reason == "rev"  # type: ignore[union-attr]
    assert isinstance(store.commit(check(third), Check("ports", "none", 0)), Applied)


def test_filters(store: Store) -> None:
    read = store.reader
    assert ids(read.rows(Port, network_id="even")) == ["p4", "p2", "p0"]  # in order of creation
    assert ids(read.rows(Port, mac_address=None)) == ["p0"]
    assert ids(read.rows(Port, is_up=True, network_id="odd")) == ["p1"]
    assert ids(read.rows(Port, id=["p1", "p2"])) == ["p2", "p1"]
    assert ids(read.rows(Port, id=frozenset())) == []
    assert ids(read.rows(Port, where=[("mtu_bytes", ">=", 1004)])) == ["p5", "p4"]
    assert ids(read.rows(Port, order_by=[("mtu_bytes", "desc")], limit=2)) == ["p5", "p4"]
    assert ids(read.rows(Port, limit=0)) == []
    assert read.count(Port, network_id="odd") == 3
    assert read.count(Port, where=[("mac_address", "GLOB", "m[12]")]) == 2
    one = read.one(Port, network_id="even")
    assert one is not None and one.id == "p4"
    assert read.one(Port, network_id="none") is None


def test_a_value_is_never_sql(store: Store) -> None:
    evil = "' OR 1=1; --\x00"
    assert store.reader.rows(Port, network_id=evil, id=[evil]) == []
    assert store.reader.get(Port, evil) is None
    with pytest.raises(AttributeError):
        store.reader.rows(Port, **{"network_id) OR (1": "x"})
    with pytest.raises(AttributeError):
        store.reader.rows(Port, order_by=[("id; --", "asc")])
    with pytest.raises(ValueError, match="comparison"):
        store.reader.rows(Port, where=[("id", "= 1 OR", 1)])


@pytest.mark.parametrize(
    "number", [1 << 63, -(1 << 63) - 1, 10**400], ids=["over", "under", "huge"]
)
def test_a_number_that_no_row_can_hold_finds_nothing(store: Store, number: int) -> None:
    assert store.reader.rows(Port, mtu_bytes=number) == []
    assert store.reader.count(Port, mtu_bytes=[number, 1001]) == 1
    assert store.reader.rows(Port, where=[("mtu_bytes", "=", number)]) == []


def test_missing_rows_and_tables(store: Store) -> None:
    assert store.reader.rows(Unwritten) == []
    assert store.reader.count(Unwritten) == 0
    assert store.reader.get(Unwritten, "x") is None
    with pytest.raises(NotFound, match="Port nowhere could not be found"):
        store.reader.must(Port, "nowhere")
    with pytest.raises(NotFound, match="gone"):
        store.reader.must(Port, "nowhere", "gone")


def test_a_snapshot_sees_one_moment(store: Store) -> None:
    with store.reader.snapshot(), store.reader.snapshot():
        before = store.reader.count(Port)
        store.commit(insert(Port(id="new")))
        assert store.reader.count(Port) == before
    assert store.reader.count(Port) == before + 1


def test_a_snapshot_ends_when_its_reader_fails(store: Store) -> None:
    with pytest.raises(KeyError), store.reader.snapshot():
        raise KeyError
    store.commit(insert(Port(id="new")))
    assert store.reader.get(Port, "new") is not None


def test_generations_move_with_their_table_only(store: Store) -> None:
    before = store.reader.generation(Port)
    moved = store.reader.data_version()
    store.commit(Count("c", 1))
    assert store.reader.generation(Port) == before
    assert store.reader.data_version() != moved
    store.commit(delete(Port, "nowhere"))
    assert store.reader.generation(Port) == before
    store.commit(delete(Port, "p1"))
    assert store.reader.generation(Port, Unwritten) > before
    assert store.reader.generation(Unwritten) == 0


def test_counters_by_prefix(store: Store) -> None:
    store.commit(Count("quota:p1:ports", 2), Count("quota:p2:ports", 3), Count("other", 1))
    assert store.reader.counters("quota:p1:") == {"quota:p1:ports": 2}
    assert store.reader.counters("quota:") == {"quota:p1:ports": 2, "quota:p2:ports": 3}
    store.commit(Count("quota:p1:ports", -5))
    assert store.reader.counter("quota:p1:ports") == 0
    assert store.reader.counters("quota:p1:") == {}


def test_changes_are_told_by_table_and_id(tmp_path: Path) -> None:
    told: list[dict[str, set[str]]] = []
    machine = Machine(tmp_path / "s.db", told.append)
    txns = [
        Txn(request_id="1", ops=(Define(Port.__table__),)),
        Txn(request_id="2", ops=(insert(Port(id="a")), put(Port(id="b", mac_address="x")))),
        Txn(request_id="3", ops=(delete(Port, "b"), check(Port(id="b", rev=9)))),
        Txn(request_id="4", ops=(delete(Port, "never"),)),
    ]
    machine.apply(1, encode_entry([encode_txn(txn) for txn in txns]))
    assert told == [{"ports": {"a", "b"}}]
    machine.apply(1, encode_entry([encode_txn(txn) for txn in txns]))  # a replay tells nothing
    assert len(told) == 1
    machine.close()


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"readonly|query_only"):
        store.reader._run("DELETE FROM ports", ())


def test_threads_share_a_reader_and_few_connections(store: Store) -> None:
    readers = Readers(store.machine.path)
    mine, others = readers.reader(), []
    together = threading.Barrier(12)

    def look() -> None:
        reader = readers.reader()
        with reader.snapshot():
            together.wait(30)
            others.append((reader, reader.count(Port)))

    threads = [threading.Thread(target=look) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert others == [(mine, 6)] * 12
    assert len(mine._idle) == 4


def test_a_snapshot_is_its_threads_alone(store: Store) -> None:
    with store.reader.snapshot():
        moment = store.reader.data_version()
        assert store.reader.in_snapshot
        seen: list[tuple[bool, int, int]] = []

        def other() -> None:
            store.commit(insert(Port(id="new")))
            reader = store.reader
            seen.append((reader.in_snapshot, reader.count(Port), reader.data_version()))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert store.reader.count(Port) == 6
        assert store.reader.data_version() == moment
    assert seen == [(False, 7, store.reader.data_version())]
    assert store.reader.data_version() != moment


def test_a_version_means_the_same_to_every_connection(store: Store) -> None:
    outside = store.reader.data_version()
    with store.reader.snapshot():
        assert store.reader.data_version() == outside
    assert Reader(store.machine.path).data_version() == outside


def test_patch_refuses_fields_that_the_row_has_not(store: Store) -> None:
    for field in ("rev", "colour"):
        with pytest.raises(AttributeError):
            patch(Port, "p1", **{field: 1})
