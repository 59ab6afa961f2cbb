"""The checker: good histories pass, and each way of being wrong is found."""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from node.drill.checker import Finals, check_lists, check_registers
from node.drill.history import FOREVER_S, History, Operation, read_history

NODES = ("n1", "n2", "n3")
Ops = list[Operation]


def same(final: dict[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    return {node: {thing: list(some) for thing, some in final.items()} for node in NODES}


def good(seed: int, count: int = 80) -> tuple[Ops, dict[str, dict[str, list[str]]]]:
    """Return a history of a list and a register that one machine served, each operation at a moment in its time."""
    chance = random.Random(seed)
    plan = []
    for number in range(count):
        invoked = chance.uniform(0, 40)
        length = chance.uniform(0.01, 2)
        plan.append((invoked + chance.uniform(0, length), invoked, invoked + length, number))
    elements: list[str] = []
    version, value = 0, ""
    ops: Ops = []
    for _moment, invoked, returned, number in sorted(plan):
        common = {
            "node": chance.choice(NODES), "client": number, "invoked_s": invoked, "returned_s": returned,
        }  # fmt: skip
        unsure = chance.random() < 0.15
        match chance.randrange(4):
            case 0:
                happens = not unsure or chance.random() < 0.5
                elements += [f"e{number}"] * happens
                ops.append(Operation(thing="list/0", action="append", value=f"e{number}",
                                     outcome="unknown" if unsure else "ok", **common))  # fmt: skip
            case 1:
                ops.append(
                    Operation(
                        thing="list/0", action="read", outcome="ok", seen=tuple(elements), **common
                    )
                )
            case 2:
                expected = version if chance.random() < 0.7 else max(0, version - 1)
                wins = expected == version and (not unsure or chance.random() < 0.5)
                told = "unknown" if unsure else ("ok" if wins else "refused")
                ops.append(Operation(thing="register/0", action="write", value=f"v{number}", version=expected,
                                     outcome=told, **common))  # fmt: skip
                if wins:
                    version, value = version + 1, f"v{number}"
            case _:
                ops.append(Operation(thing="register/0", action="read", outcome="ok", version=version,
                                     seen=(value,) if value else (), **common))  # fmt: skip
    final = {"list/0": elements}
    if version:
        final["register/0"] = [str(version), value]
    return ops, same(final)


def faults(ops: Ops, finals: Finals) -> list[str]:
    def of(kind: str) -> tuple[Ops, Finals]:
        return (
            [one for one in ops if one.thing.startswith(kind)],
            {
                n: {t: s for t, s in held.items() if t.startswith(kind)}
                for n, held in finals.items()
            },
        )

    found = check_lists(*of("list")) + check_registers(*of("register"))
    return [one.what for one in found]


@pytest.mark.parametrize("seed", range(30))
def test_good_histories_pass(seed: int) -> None:
    assert faults(*good(seed)) == []


def test_unknown_writes_are_among_the_good_ones() -> None:
    ops, finals = good(3, 300)
    unknown = {one.value for one in ops if one.outcome == "unknown" and one.action == "append"}
    held = set(finals["n1"]["list/0"])
    assert unknown & held and unknown - held


def acked(ops: Ops) -> list[Operation]:
    return [one for one in ops if one.action == "append" and one.outcome == "ok"]


def lose_one(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    gone = acked(ops)[len(acked(ops)) // 2].value
    for held in finals.values():
        held["list/0"].remove(gone)


def apply_twice(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    for held in finals.values():
        held["list/0"].append(held["list/0"][3])


def differ(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    finals["n2"]["list/0"].pop()


def invent(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    for held in finals.values():
        held["list/0"].append("nobody's")


def refused_but_there(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    one = acked(ops)[0]
    ops[ops.index(one)] = msgspec.structs.replace(one, outcome="refused")


def reorder(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    for held in finals.values():
        held["list/0"].reverse()
    ops[:] = [one for one in ops if one.action != "read"]


def stale_read(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    late = FOREVER_S
    ops.append(Operation(thing="list/0", action="read", node="n3", client=9, outcome="ok",
                         invoked_s=100.0, returned_s=late, seen=tuple(finals["n1"]["list/0"][:-1])))  # fmt: skip
    ops.append(Operation(thing="list/0", action="append", node="n3", client=9, outcome="ok",
                         invoked_s=90.0, returned_s=91.0, value="last"))  # fmt: skip
    for held in finals.values():
        held["list/0"].append("last")


def read_of_what_never_was(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    seen = list(finals["n1"]["list/0"])
    seen[1], seen[2] = seen[2], seen[1]
    ops.append(Operation(thing="list/0", action="read", node="n3", client=9, outcome="ok", is_local=True,
                         invoked_s=50.0, returned_s=51.0, seen=tuple(seen)))  # fmt: skip


def two_winners(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    won = next(one for one in ops if one.action == "write" and one.outcome == "ok")
    ops.append(msgspec.structs.replace(won, value="also", client=9))


def lost_version(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    for held in finals.values():
        last, value = held["register/0"]
        held["register/0"] = [str(int(last) + 1), value]


def forgotten_write(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    last = int(finals["n1"]["register/0"][0])
    ops.append(Operation(thing="register/0", action="write", node="n1", client=9, outcome="ok", version=last,
                         invoked_s=60.0, returned_s=61.0, value="forgotten"))  # fmt: skip


def register_read_of_the_past(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    early = next(
        one for one in ops if one.action == "read" and one.seen and one.thing == "register/0"
    )
    ops.append(msgspec.structs.replace(early, invoked_s=200.0, returned_s=201.0))


def local_reads_that_go_back(ops: Ops, finals: dict[str, dict[str, list[str]]]) -> None:
    for number, length in enumerate((5, 3)):
        ops.append(Operation(thing="list/0", action="read", node="n3", client=9, outcome="ok", is_local=True,
                             invoked_s=50.0 + number, returned_s=50.5 + number,
                             seen=tuple(finals["n1"]["list/0"][:length])))  # fmt: skip


WRONG: dict[Callable[[Ops, dict[str, dict[str, list[str]]]], None], str] = {
    lose_one: "is lost",
    apply_twice: "2 times",
    differ: "nodes differ",
    invent: "never written",
    refused_but_there: "was refused",
    reorder: "comes after",
    stale_read: "comes after",
    read_of_what_never_was: "saw what never was",
    two_winners: "has 2 values",
    lost_version: "as version",
    forgotten_write: "is lost: the last is",
    register_read_of_the_past: "comes after",
    local_reads_that_go_back: "went back",
}


@pytest.mark.parametrize("seed", [7, 8, 9])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_each_way_of_being_wrong_is_found(
    wrong: Callable[[Ops, dict[str, dict[str, list[str]]]], None], seed: int
) -> None:
    ops, finals = good(seed, 120)
    assert faults(ops, finals) == []
    wrong(ops, finals)
    assert any(WRONG[wrong] in what for what in faults(ops, finals)), faults(ops, finals)


def test_local_reads_may_be_behind() -> None:
    ops, finals = good(1)
    ops.append(Operation(thing="list/0", action="read", node="n3", client=9, outcome="ok", is_local=True,
                         invoked_s=100.0, returned_s=101.0, seen=tuple(finals["n1"]["list/0"][:2])))  # fmt: skip
    assert faults(ops, finals) == []


def test_a_history_is_recorded_and_read_again(tmp_path: Path) -> None:
    now = [1.0]
    history = History(lambda: now[0])
    with history.operation("list/0", "append", "n1", 3, value="e") as pending:
        now[0] = 2.5
        pending.came_to("ok")
    with (
        pytest.raises(OSError, match="gone"),
        history.operation("list/0", "read", "n2", 4, is_local=True),
    ):
        raise OSError("gone")
    with history.operation("list/0", "append", "n1", 3, value="f") as pending:
        pending.never_sent()
    first, second = history.operations()
    assert (first.outcome, first.invoked_s, first.ended_s) == ("ok", 1.0, 2.5)
    assert (second.outcome, second.ended_s, second.is_local) == ("unknown", FOREVER_S, True)
    history.write(tmp_path / "h")
    assert read_history(tmp_path / "h") == [first, second]
