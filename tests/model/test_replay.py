"""One log gives one store: on every node, and however often a node dies while it replays."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from node.state.machine import Machine
from tests.model.rows import directory, logs


def replay(path: Path, log: list[bytes]) -> Machine:
    store = Machine(path)
    for index, entry in enumerate(log, start=1):
        store.apply(index, entry)
    return store


@settings(deadline=None, max_examples=80)
@given(log=logs())
def test_two_nodes_hold_the_same_bytes(log: list[bytes]) -> None:
    with directory() as here:
        one, two = (replay(here / name, log) for name in ("one.db", "two.db"))
        assert one.digest() == two.digest()
        for store in (one, two):
            store.snapshot_to(store.path.with_suffix(".copy"))
            store.close()
        assert (here / "one.copy").read_bytes() == (here / "two.copy").read_bytes()


@settings(deadline=None, max_examples=80)
@given(log=logs(), data=st.data())
def test_a_crash_and_a_replay_change_nothing(log: list[bytes], data: st.DataObject) -> None:
    with directory() as here:
        straight = Machine(here / "straight.db")
        answers = [straight.apply(index, entry) for index, entry in enumerate(log, start=1)]
        died = Machine(here / "died.db")
        position, furthest = 1, 0
        for _crash in range(data.draw(st.integers(1, 4))):
            stop = data.draw(st.integers(position, len(log)))
            for index in range(position, stop + 1):
                assert died.apply(index, log[index - 1]) == answers[index - 1]
            # A process that dies loses its connection, not what it committed; the log comes again from before.
            died.close()
            died = Machine(here / "died.db")
            furthest = max(furthest, stop)
            assert died.applied_index == furthest
            position = data.draw(st.integers(1, min(stop + 1, len(log))))
        for index in range(position, len(log) + 1):
            assert died.apply(index, log[index - 1]) == answers[index - 1]
        assert died.digest() == straight.digest()
        died.close()
        straight.close()
