"""Schema errors in Nova's words."""

import msgspec
import pytest

from node.plugins.compute.faults import schema_message
from node.plugins.compute.flavor_api import CreateBody


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"flavor": {"ram": 1, "vcpus": 1, "disk": 1}}', "'name' is a required property"),
        (
            b'{"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 1, "apples": 2}}',
            "Additional properties are not allowed ('apples' was unexpected)",
        ),
        (
            b'{"flavor": {"name": "", "ram": 1}}',
            "Invalid input for field/attribute name. Value: . Expected",
        ),
        (b'{"flavor": {"name": 5}}', "Invalid input for field/attribute name. Value: 5. Expected"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_words(body: bytes, message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=CreateBody)
    assert message in schema_message(str(caught.value), body)
