"""The only source of time: passed down so that tests and simulation can replace it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards."""


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def boottime_s(self) -> float:
        """Return monotonic seconds that go on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


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
