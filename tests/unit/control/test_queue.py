"""A key never runs twice at once, and no wake is lost."""

import threading
import time
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.clock import SystemClock
from node.control.queue import KeyQueue
from node.testing import FakeClock

KEYS = st.sampled_from("abc")


class QueueModel(RuleBasedStateMachine):
    """What is owed: a key that was woken must be given out once after the wake, unless it is being waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue = KeyQueue(self.clock)
        self.owed: set[str] = set()
        self.due: dict[str, float] = {}
        self.running: set[str] = set()

    @rule(keys=st.lists(KEYS, max_size=3))
    def add(self, keys: list[str]) -> None:
        self.queue.add(keys)
        self.owed |= set(keys)

    @rule(key=KEYS, delay_s=st.floats(0.5, 5))
    def add_later(self, key: str, delay_s: float) -> None:
        self.queue.add_later(key, delay_s)
        self.due[key] = min(self.due.get(key, 1e9), self.clock.monotonic_s() + delay_s)

    @rule(seconds=st.floats(0.1, 4))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def take(self) -> None:
        now = self.clock.monotonic_s()
        ripe = {key for key, at in self.due.items() if at <= now}
        key = self.queue.take(timeout_s=0)
        expected = (self.owed | ripe) - self.running
        if key is None:
            assert expected == set() or self.queue.paused
            return
        assert key not in self.running
        assert not self.queue.paused
        assert key in expected
        self.running.add(key)
        self.owed.discard(key)
        if key in ripe:
            del self.due[key]
        elif self.due.get(key) is not None:
            del self.due[key]  # a look now replaces one that was asked for later

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(key)
        self.running.discard(key)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.queue.pause(paused=paused)

    @invariant()
    def lists_what_runs(self) -> None:
        assert self.queue.state().running == tuple(sorted(self.running))


TestQueueModel = QueueModel.TestCase
TestQueueModel.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)


def test_threads_look_at_each_wake_and_never_together() -> None:
    queue = KeyQueue(SystemClock())
    keys = [f"k{n}" for n in range(5)]
    wanted: Counter[str] = Counter()
    seen: dict[str, int] = dict.fromkeys(keys, 0)
    busy: set[str] = set()
    lock, together = threading.Lock(), []

    def work() -> None:
        while (key := queue.take(timeout_s=2.0)) is not None:
            with lock:
                if key in busy:
                    together.append(key)
                busy.add(key)
                level = wanted[key]
            time.sleep(0.0005)
            with lock:
                busy.discard(key)
                seen[key] = max(seen[key], level)
            queue.done(key)

    def wake(key: str) -> None:
        for _ in range(200):
            with lock:
                wanted[key] += 1
            queue.add([key])

    workers = [threading.Thread(target=work) for _ in range(4)]
    wakers = [threading.Thread(target=wake, args=(key,)) for key in keys]
    for thread in (*workers, *wakers):
        thread.start()
    for thread in wakers:
        thread.join()
    deadline = time.monotonic() + 20
    while seen != dict(wanted) and time.monotonic() < deadline:
        time.sleep(0.01)
    queue.close()
    for thread in workers:
        thread.join()
    assert together == []
    assert seen == dict(wanted) == dict.fromkeys(keys, 200)


def test_a_key_that_is_due_comes_at_its_time() -> None:
    queue = KeyQueue(SystemClock())
    begin = time.monotonic()
    queue.add_later("late", 30)
    queue.add_later("soon", 0.15)
    assert queue.take(timeout_s=5) == "soon"
    assert 0.14 < time.monotonic() - begin < 3
    assert queue.state().delayed == 1


def test_close_ends_those_who_wait() -> None:
    queue = KeyQueue(SystemClock())
    got: list[str | None] = []
    waiter = threading.Thread(target=lambda: got.append(queue.take(timeout_s=60)))
    waiter.start()
    queue.close()
    waiter.join(10)
    assert got == [None]


@pytest.mark.parametrize("asked", [("later", "now"), ("now", "later")])
def test_the_sooner_look_wins(asked: tuple[str, str]) -> None:
    clock = FakeClock()
    queue = KeyQueue(clock)
    for when in asked:
        if when == "now":
            queue.add(["k"])
        else:
            queue.add_later("k", 10)
    assert queue.take(timeout_s=0) == "k"
    queue.done("k")
    clock.advance(20)
    assert queue.take(timeout_s=0) is None
