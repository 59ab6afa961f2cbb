"""Named primitive types and the few Structs that every layer speaks."""

from typing import NewType

import msgspec

NodeId = NewType("NodeId", str)
Micros = NewType("Micros", int)
"""Integer microseconds since the epoch, UTC: every time that is stored in a row."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable keyword-only Struct: the base of plain data in the whole product."""
