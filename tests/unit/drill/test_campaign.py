"""What a drill reads of a node, and what it makes of it: also of one that has lost its power."""

import sqlite3
from pathlib import Path

import pytest

from node.drill.campaign import judge, judge_api
from node.drill.history import Operation
from node.drill.rows_work import DrillItem, Held, RowSeat
from node.drill.site import Seat
from node.errors import Unavailable
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import STATE_FILE
from node.state.txn import Define, Txn, encode_entry, encode_txn, insert


def store(directory: Path, *ids: str) -> None:
    machine = Machine(directory / STATE_FILE)
    ops = (Define(DrillItem.__table__), *(insert(DrillItem(id=one, thing="t")) for one in ids))
    machine.apply(1, encode_entry([encode_txn(Txn(request_id="1", ops=ops))]))
    machine.close()


def test_a_seat_is_named_by_its_life_and_shows_nothing_between_two(tmp_path: Path) -> None:
    lives = [0]
    seat = RowSeat(Seat(name="n1", state_dir=tmp_path), RandomIds(), lambda _name: lives[0])
    with pytest.raises(Unavailable):
        seat.elements("t")
    store(tmp_path, "a", "b")
    assert (seat.label, seat.elements("t")) == ("n1", ("a", "b"))
    lives[0] = 1
    with pytest.raises(Unavailable, match="no power"):
        seat.elements("t")
    lives[0] = 2
    assert (seat.label, seat.elements("t")) == ("n1.2", ("a", "b"))


def test_a_store_that_is_spoilt_is_no_excuse_unless_the_power_was_lost_meanwhile(tmp_path: Path) -> None:  # fmt: skip
    lives = iter([0, 0, 0, 2])
    seat = RowSeat(Seat(name="n1", state_dir=tmp_path), RandomIds(), lambda _name: next(lives))
    (tmp_path / STATE_FILE).write_bytes(b"x" * 8192)
    with pytest.raises(sqlite3.DatabaseError):
        seat.elements("t")
    with pytest.raises(Unavailable):
        seat.elements("t")


def held(**changes: object) -> Held:
    fields = {"applied_index": 9, "digest": "d", "lists": {"list/a": ["x"]}, "registers": {}, "counters": {"list/a": 1}}
    return Held(**{**fields, **changes})  # type: ignore[arg-type]


def appended(value: str, begin_s: float, outcome: str = "ok") -> Operation:
    return Operation(
        thing="list/a", action="append", node="n1", client=1, invoked_s=begin_s, returned_s=begin_s + 1,
        outcome=outcome, value=value,
    )  # type: ignore[arg-type]  # fmt: skip


def test_stores_must_be_equal_and_count_each_write_once() -> None:
    ops = [appended("x", 0.0)]
    assert judge(ops, {"n1": held(), "n2": held()}) == []
    differ = judge(ops, {"n1": held(), "n2": held(digest="e")})
    assert ["the stores differ" in one.what for one in differ] == [True]
    twice = judge(ops, {"n1": held(counters={"list/a": 2})})
    assert ["applied twice" in one.what for one in twice] == [True]
    lost = judge([*ops, appended("y", 2.0)], {"n1": held()})
    assert ["is lost" in one.what for one in lost] == [True]


def named(action: str, begin_s: float, outcome: str, lasts_s: float = 1.0) -> Operation:
    return Operation(
        thing="name/a", action=action, node="n1", client=1, invoked_s=begin_s, returned_s=begin_s + lasts_s,
        outcome=outcome,
    )  # type: ignore[arg-type]  # fmt: skip


def test_a_name_that_is_taken_twice_is_found_and_what_cannot_be_judged_is_counted() -> None:
    good = [named("create", 0, "ok"), named("create", 2, "refused"), named("delete", 4, "ok")]
    assert judge_api(good, {}) == ([], 0)
    found, undecided = judge_api([named("create", 0, "ok"), named("create", 2, "ok")], {})
    assert (len(found), undecided) == (1, 0)
    # Forty that overlap, of which one too many cannot be: to prove that takes too long.
    many = [named("create", n / 100, "ok", 99.0) for n in range(21)]
    many += [named("delete", n / 100, "ok", 99.0) for n in range(19)]
    found, undecided = judge_api(many, {}, most_tried=2000)
    assert (found, undecided) == ([], 1)
