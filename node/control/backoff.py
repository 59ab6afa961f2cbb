"""Waiting times of what failed: exponential, with jitter, bounded."""

import random
from collections.abc import Callable

FIRST_S = 0.2
LONGEST_S = 60.0


def delay_s(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Return how long to wait after that many failures in a row (1 is the first): half of it is chance."""
    full = min(LONGEST_S, FIRST_S * float(1 << min(attempt - 1, 16)))
    return full * (0.5 + 0.5 * chance())
