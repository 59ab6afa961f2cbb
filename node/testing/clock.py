"""A clock that moves only when told."""


class FakeClock:
    """Starts at a fixed moment; `advance` moves both times."""

    def __init__(self, start_us: int = 1_800_000_000_000_000) -> None:
        self._now_us = start_us
        self._monotonic_s = 0.0

    def now_us(self) -> int:
        """Return the wall time; each call is one microsecond later, so that rows made in turn sort in turn."""
        self._now_us += 1
        return self._now_us

    def monotonic_s(self) -> float:
        """Return the monotonic time."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._now_us += round(seconds * 1_000_000)
        self._monotonic_s += seconds
