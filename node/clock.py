"""The only source of time: passed down so that tests and simulation can replace it.

Linux has one wall clock for all namespaces, so machines of one lab cannot have wrong ones. For them there is a seam:
where the environment names a file, its eight bytes are added to the wall clock, and may change at any time.
"""

import mmap
import os
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards."""


SHIFT_VARIABLE = "HEDGEROW_CLOCK_SHIFT"
"""Names a file of eight bytes: signed microseconds, little-endian, by which the wall clock of this process is wrong."""


class SystemClock:
    """The machine's own clock."""

    def __init__(self) -> None:
        path = os.environ.get(SHIFT_VARIABLE, "")
        self._shift = _mapped(path) if path else None

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        now_us = time.time_ns() // 1000
        if self._shift is None:
            return now_us
        return now_us + int.from_bytes(self._shift[:8], "little", signed=True)

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def boottime_s(self) -> float:
        """Return monotonic seconds that go on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def _mapped(path: str) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return mmap.mmap(descriptor, 8, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)


def iso_utc(at_us: int, *, suffix: str = "Z", micros: bool = False) -> str:
    """Format a row time as ISO 8601 in UTC, as OpenStack's views print it."""
    moment = datetime.fromtimestamp(at_us / 1_000_000, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at_us % 1_000_000:06d}{suffix}" if micros else text + suffix


def parse_iso(text: str) -> int:
    """Parse an ISO 8601 time (naive means UTC) to row time.

    Raises:
        ValueError: the text is not a time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)
