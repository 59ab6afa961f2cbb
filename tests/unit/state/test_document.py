"""Documents that nodes could read differently are refused before SQLite sees them."""

import json
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.state.document import MAX_DEPTH, has_nul, is_deep, is_sound

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)


@settings(max_examples=50, deadline=None)
@given(value=st.dictionaries(st.text(), JSON, max_size=4))
def test_sound_is_what_every_reader_calls_sound(value: object) -> None:
    text = json.dumps(value)
    assert has_nul(text) == any("\x00" in part for part in texts(value))
    assert is_sound(text) == (not has_nul(text))
    found = sqlite3.connect(":memory:").execute("SELECT json_valid(?)", (text,)).fetchone()
    assert found == (1,)


@pytest.mark.parametrize(
    ("text", "nul"),
    [
        ('"\\u0000"', True),
        ('"a\\\\\\u0000"', True),
        ('"\\\\u0000"', False),
        ('"\\\\\\\\u0000"', False),
        ('"u0000"', False),
    ],
)
def test_an_escaped_nul_is_told_from_an_escaped_backslash(text: str, nul: bool) -> None:
    assert has_nul(text) == nul == ("\x00" in json.loads(text))


@given(depth=st.integers(1, 3 * MAX_DEPTH), objects=st.booleans())
def test_depth(depth: int, objects: bool) -> None:
    text = '{"a":' * depth + "1" + "}" * depth if objects else "[" * depth + "]" * depth
    assert is_deep(text, MAX_DEPTH) == (depth > MAX_DEPTH)


def test_brackets_in_texts_are_no_depth() -> None:
    assert not is_deep(json.dumps({"a": "[" * 1000, 'x"{': "\\"}), MAX_DEPTH)
    assert not is_deep(json.dumps([[]] * 1000), MAX_DEPTH)
