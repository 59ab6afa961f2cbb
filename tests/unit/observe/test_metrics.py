"""Gauges come out as Prometheus reads them, and a bad one harms none of the others."""

import pytest

from node.observe.metrics import exposition


def test_gauges_are_sorted_and_prefixed() -> None:
    text = exposition([("b", {"servers": 2}), ("a", {"hedgerow_entries": 7.5})])
    assert text == (
        "# TYPE hedgerow_entries gauge\nhedgerow_entries 7.5\n"
        "# TYPE hedgerow_servers gauge\nhedgerow_servers 2.0\n"
    )


def test_a_bad_name_or_a_second_one_is_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = exposition([("a", {"x": 1, "no good": 2}), ("b", {"x": 3, "y": float("inf")})])
    assert text.splitlines()[1::2] == ["hedgerow_x 1.0", "hedgerow_y inf"]
    assert [record.args for record in caplog.records] == [("a", "no good"), ("b", "x")]


def test_nothing_is_an_empty_page() -> None:
    assert exposition([]) == ""
