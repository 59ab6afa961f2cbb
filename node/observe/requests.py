"""How many requests were answered, by service, method and status class, and how long that took: over all API processes.

Hard part: the processes are forked, killed and forked again, and no count may get lost or be locked by a dead one.
They share memory in which each has a slot of its own; a slot is held by a lock that ends with its process, and who
takes it over counts on from what is there.

Source: https://prometheus.io/docs/concepts/metric_types/#histogram
"""

import fcntl
import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence

_NAME = "hedgerow_api_request_seconds"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other")
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_CELLS = len(_EDGES_S) + 2
"""Of one series: a count for each edge, one for what took longer, and the sum in microseconds."""
_SLOTS = 64
_WORD_BYTES = 8


class RequestCounts:
    """Made before the API processes are forked; used by all of them, from any thread."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = {name: number for number, name in enumerate(services)}
        self._series = len(services) * len(_METHODS) * len(_CLASSES)
        self._words = 1 + self._series * _CELLS
        """Of one slot: whether it was ever used, then the series."""
        memory = os.memfd_create("hedgerow-requests", os.MFD_CLOEXEC)
        self._file = os.fdopen(memory, "r+b", buffering=0)
        self._file.truncate(_SLOTS * self._words * _WORD_BYTES)
        self._cells = memoryview(mmap.mmap(memory, _SLOTS * self._words * _WORD_BYTES)).cast("Q")
        self._lock = threading.Lock()
        self._owner = 0
        self._start = 0

    def note(self, service: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        number = self._services.get(service)
        if number is None:
            return
        verb = _METHODS.index(method) if method in _METHODS else len(_METHODS) - 1
        kind = min(max(status // 100, 1), len(_CLASSES)) - 1
        cell = ((number * len(_METHODS) + verb) * len(_CLASSES) + kind) * _CELLS
        with self._lock:
            if self._owner != os.getpid():
                self._take_slot()
            cell += self._start + 1
            self._cells[cell + bisect_left(_EDGES_S, seconds)] += 1
            self._cells[cell + _CELLS - 1] += round(seconds * 1_000_000)

    def _take_slot(self) -> None:
        """Take the first slot that no living process holds; the last one is shared in need, and may then lose some."""
        slot = 0
        for slot in range(_SLOTS):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError:
                continue
            break
        self._start = slot * self._words
        self._cells[self._start] = 1
        self._owner = os.getpid()

    @property
    def slots_used(self) -> int:
        """Return how many slots were ever taken."""
        return sum(self._cells[slot * self._words] for slot in range(_SLOTS))

    def exposition(self) -> str:
        """Return the histogram of every series that was seen, in Prometheus' text format."""
        lines = [
            f"# HELP {_NAME} How long requests took until their answer began.",
            f"# TYPE {_NAME} histogram",
        ]
        sums = self._sums()
        for service in self._services:
            for method in _METHODS:
                for kind in _CLASSES:
                    labels = f'service="{service}",method="{method}",status="{kind}"'
                    lines += _series(labels, next(sums))
        return "\n".join(lines) + "\n"

    def _sums(self) -> Iterator[list[int]]:
        starts = [slot * self._words for slot in range(_SLOTS) if self._cells[slot * self._words]]
        for number in range(self._series):
            at = 1 + number * _CELLS
            yield [
                sum(self._cells[start + at + cell] for start in starts) for cell in range(_CELLS)
            ]


def _series(labels: str, cells: Sequence[int]) -> Iterator[str]:
    *counts, sum_us = cells
    if not any(counts):
        return
    so_far = 0
    for edge, count in zip((*(f"{edge:g}" for edge in _EDGES_S), "+Inf"), counts, strict=True):
        so_far += count
        yield f'{_NAME}_bucket{{{labels},le="{edge}"}} {so_far}'
    yield f"{_NAME}_sum{{{labels}}} {sum_us / 1_000_000!r}"
    yield f"{_NAME}_count{{{labels}}} {so_far}"
