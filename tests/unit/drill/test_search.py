"""The search for an order: names that are taken or free, and counts."""

import pytest

from node.drill.history import Operation
from node.drill.search import TooLong, count_step, holder_step, is_linearizable


def op(action: str, outcome: str, begin: float, end: float, version: int = 0) -> Operation:
    return Operation(
        thing="name/x", action=action, node="n1", client=1, invoked_s=begin, returned_s=end,
        outcome=outcome, version=version,
    )  # fmt: skip


def taken(*operations: Operation) -> bool:
    return is_linearizable(operations, False, holder_step)


def test_one_after_the_other() -> None:
    assert taken(
        op("create", "ok", 0, 1), op("create", "refused", 2, 3), op("read", "ok", 3, 4, 1),
        op("delete", "ok", 5, 6), op("delete", "refused", 7, 8), op("read", "ok", 9, 10, 0),
    )  # fmt: skip


def test_two_cannot_both_take_a_name() -> None:
    assert not taken(op("create", "ok", 0, 10), op("create", "ok", 0, 10))
    assert taken(op("create", "ok", 0, 10), op("create", "ok", 0, 10), op("delete", "ok", 0, 10))


def test_a_refusal_from_the_past_is_found() -> None:
    assert not taken(
        op("create", "ok", 0, 1), op("delete", "ok", 2, 3), op("create", "refused", 4, 5)
    )


def test_a_read_from_the_past_is_found() -> None:
    assert not taken(op("create", "ok", 0, 1), op("read", "ok", 2, 3, 0))
    assert taken(op("create", "ok", 0, 2.5), op("read", "ok", 2, 3, 0))


def test_an_unknown_one_may_happen_late_or_never() -> None:
    late = op("create", "unknown", 0, 1)
    assert taken(late, op("read", "ok", 2, 3, 0), op("read", "ok", 4, 5, 1))
    assert taken(late, op("read", "ok", 2, 3, 0))
    assert not taken(late, op("read", "ok", 2, 3, 1), op("read", "ok", 4, 5, 0))
    assert not taken(op("read", "ok", 2, 3, 1), op("create", "unknown", 4, 5))


def test_counts() -> None:
    def counted(*operations: Operation) -> bool:
        return is_linearizable(operations, 0, count_step)

    assert counted(
        op("create", "ok", 0, 1), op("create", "unknown", 0, 1), op("read", "ok", 2, 3, 2)
    )
    assert not counted(op("create", "ok", 0, 1), op("read", "ok", 2, 3, 2))  # applied twice
    assert not counted(op("create", "ok", 0, 1), op("delete", "ok", 2, 3), op("delete", "ok", 4, 5))
    assert counted(
        op("create", "ok", 0, 1), op("delete", "ok", 2, 3), op("delete", "refused", 4, 5)
    )


def test_a_long_history_with_few_overlaps_is_quick() -> None:
    ops = []
    for number in range(200):
        at = float(number)
        ops.append(op("delete" if number % 2 else "create", "ok", at, at + 1.4))
    assert taken(*ops)
    assert not taken(*ops, op("create", "ok", 250, 251), op("create", "ok", 252, 253))


def test_what_overlaps_too_much_is_not_judged() -> None:
    creates = [op("create", "unknown", number, number + 1) for number in range(12)]
    reads = [op("read", "ok", 300, 301, 5), op("read", "ok", 302, 303, 4)]
    assert not is_linearizable([*creates, *reads], 0, count_step)
    with pytest.raises(TooLong, match="name/x"):
        is_linearizable([*creates, *reads], 0, count_step, most_tried=500)
