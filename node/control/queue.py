"""The work queue of one reconciler: which keys want a look, when, and which are being looked at.

A key is in one state: idle, waiting (ready now), delayed (at a time) or running; a wake while it runs makes it
wait again as soon as it ends. So a key never runs twice at once, and no wake is lost.
"""

import heapq
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable

from node.clock import Clock
from node.types import Frozen


class QueueState(Frozen):
    """What a queue holds, for listings."""

    ready: int
    delayed: int
    running: tuple[str, ...]


class KeyQueue:
    """Thread-safe; times are monotonic seconds of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._ready: OrderedDict[str, None] = OrderedDict()
        self._running: set[str] = set()
        self._again: set[str] = set()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._closed = False
        self.paused = False

    def add(self, keys: Iterable[str]) -> None:
        """Ask for a look at keys now."""
        with self._condition:
            for key in keys:
                if key in self._running:
                    self._again.add(key)
                else:
                    self._due.pop(key, None)
                    self._ready[key] = None
            self._condition.notify_all()

    def add_later(self, key: str, delay_s: float) -> None:
        """Ask for a look at a key after a time, unless one is due sooner."""
        with self._condition:
            at = self._clock.monotonic_s() + delay_s
            if key in self._ready or self._due.get(key, at + 1) <= at:
                return
            self._due[key] = at
            heapq.heappush(self._heap, (at, next(self._order), key))
            self._condition.notify_all()

    def take(self, timeout_s: float) -> str | None:
        """Return a key that is now the caller's to look at, or None after the time."""
        deadline = self._clock.monotonic_s() + timeout_s
        with self._condition:
            while not self._closed:
                now = self._clock.monotonic_s()
                next_due = self._promote(now)
                if self._ready and not self.paused:
                    key, _none = self._ready.popitem(last=False)
                    self._running.add(key)
                    self._due.pop(key, None)  # this look decides anew when the next one is due
                    return key
                if now >= deadline:
                    return None
                until = deadline if next_due is None else min(deadline, next_due)
                self._condition.wait(max(0.001, until - now))
            return None

    def _promote(self, now: float) -> float | None:
        """Move what is due to the ready keys; return when the next one is due."""
        while self._heap:
            at, _order, key = self._heap[0]
            if self._due.get(key) != at:  # asked for sooner meanwhile
                heapq.heappop(self._heap)
                continue
            if at > now:
                return at
            heapq.heappop(self._heap)
            del self._due[key]
            if key in self._running:
                self._again.add(key)
            else:
                self._ready[key] = None
        return None

    def done(self, key: str) -> None:
        """Give a key back; it is ready again at once when it was woken meanwhile."""
        with self._condition:
            self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._ready[key] = None
            self._condition.notify_all()

    def pause(self, *, paused: bool) -> None:
        """Stop or go on giving out keys."""
        with self._condition:
            self.paused = paused
            self._condition.notify_all()

    def close(self) -> None:
        """Give out nothing any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def state(self) -> QueueState:
        """Return what the queue holds."""
        with self._condition:
            return QueueState(
                ready=len(self._ready), delayed=len(self._due), running=tuple(sorted(self._running))
            )
