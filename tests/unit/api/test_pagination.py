"""Pages put together are the whole list, each item once."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.api.context import Context
from node.api.pagination import cut, limit_of, links, sort
from node.errors import BadRequest
from node.testing import Cloud
from tests.unit.api import gadget


def context(**params: list[str]) -> Context:
    made = Context.__new__(Context)
    made.params = params
    made.base_url, made.service_path, made.path = "https://c:1", "/gadget", "/v1/gadgets"
    return made


@given(count=st.integers(0, 30), limit=st.integers(1, 12))
def test_following_the_markers_gives_everything_once(count: int, limit: int) -> None:
    items, marker, seen = [f"i{n}" for n in range(count)], None, []
    for _page in range(count + 1):
        page, more = cut(items, marker=marker, limit=limit, ident=str)
        seen += page
        if not more:
            break
        assert len(page) == limit
        marker = page[-1]
    assert seen == items


def part(item: tuple[object, int], name: str) -> object:
    return item[name == "second"]


@given(
    items=st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 3), st.text(max_size=2)), st.integers(0, 9))
    ),
    down=st.booleans(),
)
def test_sorting_takes_any_values(items: list[tuple[object, int]], down: bool) -> None:
    ordered = sort(items, [("first", down), ("second", False)], part)
    assert sorted(map(repr, ordered)) == sorted(map(repr, items))
    keys = [("first", down), ("second", False)]
    assert [repr(i) for i in sort(items[::-1], keys, part)] == [repr(i) for i in ordered]
    nulls = [value is None for value, _ in ordered]
    assert nulls == sorted(nulls, reverse=not down)


FITTING = {None: 1000, "": 1000, "0": 0, "7": 7, "99999": 1000, "9" * 5000: 1000, "0007": 7}


@pytest.mark.parametrize(("text", "limit"), FITTING.items(), ids=range(len(FITTING)))
def test_limits(text: str | None, limit: int) -> None:
    assert limit_of(context(**({} if text is None else {"limit": [text]}))) == limit


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "\u0663", " 1", "0x1"])
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(BadRequest):
        limit_of(context(limit=[text]))


def test_a_marker_that_is_not_there() -> None:
    with pytest.raises(BadRequest, match="nowhere"):
        cut(["a"], marker="nowhere", limit=1, ident=str)


def test_the_link_keeps_the_query() -> None:
    ctx = context(limit=["2"], name=["a b", "c&d"], marker=["old"])
    (link,) = links(ctx, ["x", "é"], str, more=True)
    assert link["rel"] == "next"
    assert link["href"] == "https://c:1/gadget/v1/gadgets?limit=2&name=a+b&name=c%26d&marker=%C3%A9"
    assert links(ctx, ["x"], str, more=False) == []
    assert links(ctx, [], str, more=True) == []


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(limit=st.text(max_size=6))
def test_any_limit_over_http(tmp_path: Path, limit: str) -> None:
    from urllib.parse import quote

    cloud = Cloud(tmp_path, [gadget])
    answer = cloud.get(f"/gadget/v1/gadgets?limit={quote(limit)}", token=cloud.token())
    assert answer.status in (200, 400)
    cloud.machine.close()
