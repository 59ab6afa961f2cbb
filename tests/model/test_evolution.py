"""Tables grow: rows that are there get new columns and indexes, and code that is too old is stopped."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import Incompatible
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.row import Resource, Table
from node.state.txn import (
    AnyOp,
    Applied,
    Define,
    Outcome,
    Txn,
    decode_outcome,
    encode_entry,
    encode_txn,
    insert,
)
from tests.model.rows import directory


class Old(Resource):
    __table__ = Table(name="boxes")

    name: str = ""
    shelf: str = ""


class New(Resource):
    __table__ = Table(
        name="boxes", version=3, compat=2, indexes=(("shelf", "size"),), unique=(("name",),)
    )

    name: str = ""
    shelf: str = ""
    size: int = 1
    """What rows that were written before do not have."""


def apply(store: Machine, *ops: AnyOp) -> Outcome:
    index = store.applied_index + 1
    txn = Txn(request_id=str(index), ops=ops)
    return decode_outcome(store.apply(index, encode_entry([encode_txn(txn)]))[0])


@settings(deadline=None, max_examples=40)
@given(shelves=st.lists(st.sampled_from("abc"), max_size=12))
def test_rows_that_are_there_are_found_by_a_new_index(shelves: list[str]) -> None:
    with directory() as here:
        store = Machine(here / "s.db")
        apply(store, Define(Old.__table__))
        for number, shelf in enumerate(shelves):
            apply(store, insert(Old(id=str(number), name=f"n{number}", shelf=shelf)))
        assert isinstance(apply(store, Define(New.__table__)), Applied)
        apply(store, insert(New(id="new", name="new", shelf="a", size=2)))
        reader = Reader(store.path)
        for shelf in "abc":
            found = {row.id for row in reader.rows(New, shelf=shelf)}
            expected = {str(n) for n, s in enumerate(shelves) if s == shelf}
            assert found == expected | ({"new"} if shelf == "a" else set())
        plan = store.db.execute(
            "EXPLAIN QUERY PLAN SELECT 1 FROM boxes WHERE shelf='a' AND size=1"
        ).fetchall()
        assert "boxes__shelf__size" in str(plan)
        assert all(row.size == 1 for row in reader.rows(New, shelf="b"))
        reader.close()
        store.close()


def test_a_new_unique_group_holds_from_then_on(tmp_path: Path) -> None:
    store = Machine(tmp_path / "s.db")
    apply(store, Define(Old.__table__), insert(Old(id="1", name="same")))
    apply(store, Define(New.__table__))
    assert apply(store, insert(New(id="2", name="same"))).reason == "unique"  # type: ignore[union-attr]


def test_rows_that_break_a_new_unique_group_keep_the_old_table(tmp_path: Path) -> None:
    store = Machine(tmp_path / "s.db")
    apply(store, Define(Old.__table__), *(insert(Old(id=i, name="same")) for i in "12"))
    before = store.digest()
    assert apply(store, Define(New.__table__)).reason == "incompatible"  # type: ignore[union-attr]
    assert store.declared()["boxes"].version == 1
    assert [r for r in store.db.execute("PRAGMA table_xinfo(boxes)") if r[1] == "size"] == []
    assert store.digest() != before  # the answer is remembered, as every answer is


def test_an_older_declaration_changes_nothing(tmp_path: Path) -> None:
    store = Machine(tmp_path / "s.db")
    apply(store, Define(New.__table__))
    assert isinstance(apply(store, Define(Old.__table__)), Applied)
    assert store.declared()["boxes"] == New.__table__


def test_code_below_the_floor_is_stopped(tmp_path: Path) -> None:
    store = Machine(tmp_path / "s.db")
    apply(store, Define(New.__table__))
    store.check_floor([New.__table__, Table(name="boxes", version=2), Table(name="unknown")])
    with pytest.raises(Incompatible, match="boxes needs code of version 2 or later, this is 1"):
        store.check_floor([Old.__table__])
