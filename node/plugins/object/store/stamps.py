"""Hybrid logical clock: stamps that grow, follow the wall clock, and never meet another one's.

A stamp is microseconds and, below them, a few bits of chance. Whoever is told of a greater one goes on from there, so
a clock that jumps costs nothing but a try.
"""

import random
import threading

from node.sdk import Clock

_CHANCE_BITS = 11


class Stamps:
    """Makes stamps. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """Return a stamp that is greater than every one before, here, and every one that was seen."""
        wall = self._clock.now_us() << _CHANCE_BITS
        with self._lock:
            if wall <= self._last:
                wall = ((self._last >> _CHANCE_BITS) + 1) << _CHANCE_BITS
            self._last = wall | random.getrandbits(_CHANCE_BITS)
            return self._last

    def seen(self, stamp: int) -> None:
        """Go on behind a stamp of somebody else."""
        with self._lock:
            self._last = max(self._last, stamp)
