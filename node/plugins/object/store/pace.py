"""How fast healing may go: so many bytes in a second, and not at all while it is paused or the store ends."""

import threading

from node.sdk import Clock


class Stopped(Exception):
    """The work is paused, or the store ends: go on later."""


class Pace:
    """Shared by all that healing does on one node."""

    def __init__(self, clock: Clock, mib_per_s: int) -> None:
        self._clock = clock
        self._rate = max(1, mib_per_s) * 2**20
        self._free_at_s = 0.0
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.paused: set[str] = set()

    def check(self, task: str) -> None:
        """Raise where a task should not go on now.

        Raises:
            Stopped: it is paused, or the store ends.
        """
        if self.stopping.is_set() or task in self.paused:
            raise Stopped

    def spend(self, task: str, size_bytes: int) -> None:
        """Wait until so much may be read or written.

        Raises:
            Stopped: it is paused, or the store ends.
        """
        self.check(task)
        with self._lock:
            now = self._clock.monotonic_s()
            start = max(now, self._free_at_s)
            self._free_at_s = start + size_bytes / self._rate
        if start > now:
            self.stopping.wait(start - now)
        self.check(task)
