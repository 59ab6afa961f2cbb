"""Sentences about mistakes in bodies."""

from typing import Annotated

import msgspec
import pytest

from node.plugins.identity.bodies import parse
from node.plugins.identity.faults import sentence
from node.sdk import BadRequest, Frozen


class Thing(Frozen):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    size: int = 0
    password: str = ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Object missing required field `name`", "'name' is a required property"),
        (
            "Object missing required field `name` - at `$.user`",
            "Invalid input for field 'user': 'name' is a required property",
        ),
        (
            "Object contains unknown field `x`",
            "Additional properties are not allowed ('x' was unexpected)",
        ),
        (
            "Expected `str`, got `int` - at `$.user.name`",
            "Invalid input for field 'user/name': Expected `str`, got `int`",
        ),
    ],
)
def test_sentences(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_known_and_extra_attributes_are_parted() -> None:
    thing, extra = parse("thing", {"name": "a", "size": 1, "color": "red", "id": "x"}, Thing)
    assert (thing.name, thing.size) == ("a", 1)
    assert extra == {"color": "red"}


def test_the_value_is_named_unless_it_is_a_secret() -> None:
    with pytest.raises(BadRequest, match="'many'"):
        parse("thing", {"name": "a", "size": "many"}, Thing)
    with pytest.raises(BadRequest) as caught:
        parse("thing", {"name": "a", "password": 12345}, Thing)
    assert "12345" not in caught.value.message
