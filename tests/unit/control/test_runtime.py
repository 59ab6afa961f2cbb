"""Reconcilers under the real runtime: retries, refusals, resync, pause, listing, a disk without room."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from node.clock import SystemClock
from node.config import load
from node.control.gauges import reconciler_gauges
from node.control.reconciler import Done, Reconciler
from node.control.runtime import NodeControl, Runtime
from node.errors import DiskFull, Unavailable
from node.ids import RandomIds
from node.state.machine import Changes, Machine
from node.state.reader import Reader, Readers
from node.state.row import Resource, Row, Table
from node.state.txn import (
    AnyOp,
    Applied,
    Define,
    Txn,
    check,
    decode_outcome,
    encode_entry,
    encode_txn,
    insert,
    patch,
)
from node.types import NodeId


class Lamp(Resource):
    __table__ = Table(name="lamps")

    looks: int = 0


class Lamps(Reconciler):
    """Does what the test says."""

    name = "lamps"
    watches = (Lamp,)
    resync_s = 600.0

    def __init__(self, control: NodeControl, act: Callable[[str], Done]) -> None:
        super().__init__(control)
        self.act = act
        self.seen: list[str] = []
        self.listed: Iterable[str] = ()
        self.opened = 0
        self.closed = 0

    def start(self) -> None:
        self.opened += 1

    def stop(self) -> None:
        self.closed += 1

    def keys(self) -> Iterable[str]:
        return self.listed

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        return [id]

    def reconcile(self, key: str) -> Done:
        self.seen.append(key)
        return self.act(key)


class House:
    """A store, a runtime and one reconciler."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine(directory / "state.db", self.changed)
        self.fail: Exception | None = None
        self._lock = threading.Lock()
        self.control = NodeControl(
            node_id=NodeId("n"),
            config=load(None),
            clock=SystemClock(),
            ids=RandomIds(),
            hook=None,
            readers=Readers(directory / "state.db"),
            propose=self.propose,
        )
        self.lamps = Lamps(self.control, lambda _key: Done())
        self.runtime = Runtime(self.control, [self.lamps])
        self.commit(Define(Lamp.__table__))
        self.reader = Reader(directory / "state.db")

    def changed(self, changes: Changes) -> None:
        self.runtime.changed(changes)

    def propose(self, txn: bytes, _timeout_s: float) -> bytes:
        if self.fail is not None:
            raise self.fail
        with self._lock:
            return self.machine.apply(self.machine.applied_index + 1, encode_entry([txn]))[0]

    def commit(self, *ops: AnyOp) -> None:
        txn = encode_txn(Txn(request_id=self.control.ids.uuid(), ops=ops))
        assert isinstance(decode_outcome(self.propose(txn, 1)), Applied)

    def row(self, id: str) -> Lamp:
        return self.reader.must(Lamp, id)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.runtime.stop()
    made.reader.close()
    made.machine.close()


def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what or "the condition never held"
        time.sleep(0.005)


def test_a_changed_row_is_looked_at_and_its_report_is_stored(house: House) -> None:
    house.lamps.act = lambda key: Done(
        ops=[patch(Lamp, key, have="on")] if house.control.db.must(Lamp, key).have != "on" else []
    )
    house.runtime.start()
    house.commit(insert(Lamp(id="a")))
    until(lambda: house.row("a").have == "on")
    # Its own report is a change too: one more look, then it is quiet.
    until(lambda: len(house.lamps.seen) == 2)
    time.sleep(0.1)
    assert len(house.lamps.seen) == 2


def test_everything_is_looked_at_when_it_starts(house: House) -> None:
    house.lamps.listed = ["x", "y"]
    house.runtime.start()
    until(lambda: sorted(house.lamps.seen) == ["x", "y"])
    assert house.lamps.opened == 1


def test_the_resync_comes_again(house: House) -> None:
    house.lamps.listed = ["x"]
    house.lamps.resync_s = 0.05  # type: ignore[misc]
    house.runtime.start()
    until(lambda: len(house.lamps.seen) >= 3)


def test_what_fails_is_listed_and_tried_again_with_growing_pauses(house: House) -> None:
    moments: list[float] = []

    def act(_key: str) -> Done:
        moments.append(time.monotonic())
        if len(moments) < 4:
            raise RuntimeError("no power")
        return Done()

    house.lamps.act = act
    house.lamps.listed = ["x"]
    house.runtime.start()
    until(lambda: house.runtime.state()[0].failures)
    failure = house.runtime.state()[0].failures[0]
    assert (failure.key, failure.error) == ("x", "RuntimeError: no power")
    until(lambda: len(moments) == 4)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert gaps[0] >= 0.09 and gaps[1] >= 0.19 and gaps[2] >= 0.39
    until(lambda: house.runtime.state()[0].failures == ())


def test_one_failing_key_holds_up_no_other(house: House) -> None:
    def act(key: str) -> Done:
        if key == "bad":
            raise RuntimeError
        return Done()

    house.lamps.act = act
    house.lamps.listed = ["bad", *map(str, range(50))]
    house.runtime.start()
    until(lambda: set(map(str, range(50))) <= set(house.lamps.seen))


def test_a_refused_report_is_looked_at_again(house: House) -> None:
    house.commit(insert(Lamp(id="a")))
    stale = house.row("a")

    def act(key: str) -> Done:
        row = house.control.db.must(Lamp, key)
        if row.have == "on":
            return Done()
        if len(house.lamps.seen) == 1:
            return Done(ops=[check(stale), patch(Lamp, key, have="stale")])
        return Done(ops=[check(row), patch(Lamp, key, have="on")])

    house.commit(patch(Lamp, "a", looks=1))
    house.lamps.act = act
    house.lamps.listed = ["a"]
    house.runtime.start()
    until(lambda: house.row("a").have == "on")


def test_a_report_that_is_always_refused_does_not_keep_a_core_busy(house: House) -> None:
    house.lamps.act = lambda _key: Done(ops=[patch(Lamp, "nowhere", have="on")])
    house.lamps.listed = ["a"]
    house.runtime.start()
    until(lambda: house.runtime.state()[0].failures)
    time.sleep(0.5)
    assert len(house.lamps.seen) < 8
    assert "refused" in house.runtime.state()[0].failures[0].error


@pytest.mark.parametrize("error", [DiskFull("full"), Unavailable("no quorum")])
def test_a_log_that_takes_nothing_is_tried_again(house: House, error: Exception) -> None:
    house.commit(insert(Lamp(id="a")))
    house.lamps.act = lambda key: Done(ops=[patch(Lamp, key, have="on")])
    house.lamps.listed = ["a"]
    house.fail = error
    house.runtime.start()
    until(lambda: house.runtime.state()[0].failures)
    assert house.row("a").have == ""
    house.fail = None
    until(lambda: house.row("a").have == "on")


def test_again_asks_for_another_look(house: House) -> None:
    house.lamps.act = lambda _key: Done(again_s=0.05)
    house.lamps.listed = ["a"]
    house.runtime.start()
    until(lambda: len(house.lamps.seen) >= 3)


def test_a_paused_reconciler_acts_on_nothing_and_forgets_nothing(house: House) -> None:
    assert house.runtime.pause("lamps", paused=True)
    assert not house.runtime.pause("nobody", paused=True)
    house.runtime.start()
    house.commit(insert(Lamp(id="a")))
    until(lambda: house.runtime.state()[0].ready == 1)
    assert house.runtime.state()[0].paused
    assert house.lamps.seen == []
    house.runtime.pause("lamps", paused=False)
    until(lambda: house.lamps.seen == ["a"])


def test_a_reconciler_that_cannot_start_is_started_later(house: House) -> None:
    tries: list[int] = []

    def start() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("no libvirt")

    house.lamps.start = start  # type: ignore[method-assign]
    house.lamps.listed = ["x"]
    house.runtime.start()
    assert house.runtime.state()[0].started is False
    until(lambda: house.lamps.seen == ["x"])
    assert len(tries) == 3
    assert house.runtime.state()[0].started


def test_keys_that_cannot_be_listed_are_asked_for_again_soon(house: House) -> None:
    tries: list[int] = []

    def keys() -> Iterable[str]:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return ["x"]

    house.lamps.keys = keys  # type: ignore[method-assign]
    house.runtime.start()
    until(lambda: house.lamps.seen == ["x"])


def test_a_wake_from_the_world_is_heard(house: House) -> None:
    house.runtime.start()
    house.control.wake("lamps", "w")
    house.control.wake("nobody", "w")
    until(lambda: house.lamps.seen == ["w"])


def test_a_lease_that_changes_is_heard_by_whom_it_matters_to(house: House) -> None:
    house.lamps.listed = ["x"]
    house.runtime.start()
    until(lambda: house.lamps.seen == ["x"])
    house.runtime.lease_changed()
    house.control.wake("lamps", "other")
    until(lambda: "other" in house.lamps.seen)
    assert house.lamps.seen == ["x", "other"]
    house.lamps.watches_lease = True  # type: ignore[misc]
    house.runtime.lease_changed()
    until(lambda: house.lamps.seen == ["x", "other", "x"])
    assert house.control.lease_valid()
    house.control.lease = lambda: False
    assert not house.control.lease_valid()


def test_what_was_made_is_listed_and_one_that_cannot_tell_is_named(house: House) -> None:
    def world() -> dict[str, list[str]]:
        return {"lamps": ["b", "a"]}

    assert house.runtime.world() == {}, "what has not started has made nothing yet"
    house.lamps.world = world  # type: ignore[method-assign]
    house.lamps.listed = ["x"]
    house.runtime.start()
    until(lambda: house.lamps.seen == ["x"])
    assert house.runtime.world() == {"lamps": ["a", "b"]}

    def broken() -> dict[str, list[str]]:
        raise OSError("dark")

    house.lamps.world = broken  # type: ignore[method-assign]
    assert house.runtime.world() == {"unknown": ["lamps: OSError: dark"]}
    gauges = reconciler_gauges(house.runtime.state())
    assert gauges['reconciler_looks{reconciler="lamps"}'] == 1
    assert gauges['reconciler_failures{reconciler="lamps"}'] == 0


def test_stop_waits_for_what_runs(house: House) -> None:
    entered, leave = threading.Event(), threading.Event()

    def act(_key: str) -> Done:
        entered.set()
        leave.wait(10)
        return Done()

    house.lamps.act = act
    house.lamps.listed = ["x"]
    house.runtime.start()
    assert entered.wait(10)
    threading.Timer(0.1, leave.set).start()
    house.runtime.stop()
    assert leave.is_set()
    assert house.control.stopping()
    assert house.lamps.closed == 1
