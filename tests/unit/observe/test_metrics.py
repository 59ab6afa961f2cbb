"""Gauges come out as Prometheus reads them, and a bad one harms none of the others."""

import pytest

from node.observe.metrics import exposition


def test_gauges_are_sorted_and_prefixed() -> None:
    text = exposition([("b", {"servers": 2}), ("a", {"hedgerow_entries": 7.5})])
    assert text == (
        "# TYPE hedgerow_entries gauge\nhedgerow_entries 7.5\n"
        "# TYPE hedgerow_servers gauge\nhedgerow_servers 2.0\n"
    )


def test_labels_are_part_of_a_name_and_the_type_is_said_once() -> None:
    text = exposition(
        [("a", {'jobs{kind="b"}': 1, 'jobs{kind="a",node="x"}': 2}), ("b", {"jobs": 3, "job": 4})]
    )
    assert text.splitlines() == [
        "# TYPE hedgerow_job gauge",
        "hedgerow_job 4.0",
        "# TYPE hedgerow_jobs gauge",
        "hedgerow_jobs 3.0",
        'hedgerow_jobs{kind="a",node="x"} 2.0',
        'hedgerow_jobs{kind="b"} 1.0',
    ]


@pytest.mark.parametrize("name", ["a{", "a{}b", 'a{b="c}', 'a{b="c\nd"}', "a{b=c}"])
def test_labels_that_are_none_are_left_out(name: str) -> None:
    assert exposition([("a", {name: 1})]) == ""


def test_a_bad_name_or_a_second_one_is_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = exposition([("a", {"x": 1, "no good": 2}), ("b", {"x": 3, "y": float("inf")})])
    assert text.splitlines()[1::2] == ["hedgerow_x 1.0", "hedgerow_y inf"]
    assert [record.args for record in caplog.records] == [("a", "no good"), ("b", "x")]


def test_nothing_is_an_empty_page() -> None:
    assert exposition([]) == ""
