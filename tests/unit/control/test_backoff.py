"""Waiting times grow, are bounded, and are never alike."""

from hypothesis import given
from hypothesis import strategies as st

from node.control.backoff import FIRST_S, LONGEST_S, delay_s


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_a_wait_is_between_half_and_all_of_its_step(attempt: int, chance: float) -> None:
    full = min(LONGEST_S, FIRST_S * 2 ** min(attempt - 1, 16))
    assert full / 2 <= delay_s(attempt, lambda: chance) <= full


def test_the_steps_double() -> None:
    assert [delay_s(n, lambda: 1.0) for n in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert delay_s(50, lambda: 1.0) == LONGEST_S


def test_chance_spreads_them() -> None:
    assert len({delay_s(5) for _ in range(20)}) > 10
