"""Identifiers are what OpenStack's clients take them for."""

import re
import uuid

from node.ids import RandomIds


def test_ids_are_random_uuids() -> None:
    ids = RandomIds()
    made = [ids.uuid() for _ in range(200)]
    assert len(set(made)) == 200
    for text in made:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)


def test_hex_and_request_ids() -> None:
    ids = RandomIds()
    assert re.fullmatch("[0-9a-f]{32}", ids.hex())
    assert uuid.UUID(ids.request_id().removeprefix("req-")).version == 4
    assert ids.request_id() != ids.request_id()
