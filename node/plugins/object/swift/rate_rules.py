"""Rates: a request that comes too early waits for its turn, and is refused when that would take too long.

Each API process counts for itself.

Source: https://docs.openstack.org/swift/latest/ratelimit.html
"""

import threading
import time

from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal

_KEPT = "swift.rates"
_MOST = 10_000


class Rates:
    """When the next request of each kind has its turn. Thread-safe."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def delay(self, key: str, per_s: float, longest_s: float, now: float) -> float | None:
        """Take a turn and return the seconds until then, or None if that is too long."""
        with self._lock:
            if len(self._next) > _MOST:
                self._next = {k: at for k, at in self._next.items() if at > now}
            turn = max(self._next.get(key, 0.0), now)
            if turn - now > longest_s:
                return None
            self._next[key] = turn + 1.0 / per_s
            return turn - now


def _limit(call: Call) -> tuple[str, float]:
    """Return what is counted, and how much of it there may be in a second (0: any number)."""
    section = call.section
    if call.object_name:
        if call.method in ("PUT", "DELETE", "COPY", "POST"):
            key = f"object {call.project_id}/{call.container_name}"
            return key, section.container_writes_per_s
        return "", 0.0
    if call.container_name:
        if call.method in ("PUT", "DELETE"):
            return f"account {call.project_id}", section.account_writes_per_s
        if call.method == "GET":
            key = f"listing {call.project_id}/{call.container_name}"
            return key, section.container_listings_per_s
    return "", 0.0


def wait(call: Call) -> None:
    """Wait for the request's turn.

    Raises:
        Refusal: 498, it would take too long.
    """
    key, per_s = _limit(call)
    if per_s <= 0:
        return
    rates: Rates = call.ctx.kept.get(_KEPT, Rates)
    delay = rates.delay(key, per_s, call.section.rate_wait_s, time.monotonic())
    if delay is None:
        raise Refusal(498, "Slow down")
    if delay:
        time.sleep(delay)
