"""Named primitive types and the base of all plain data."""

from typing import Any, NewType, dataclass_transform

import msgspec

NodeId = NewType("NodeId", str)
Micros = NewType("Micros", int)
"""Integer microseconds since the epoch, UTC: every time that is stored in a row."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class FrozenMeta(msgspec.StructMeta):
    """Makes every subclass frozen and keyword-only without saying so again."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        """Create the class."""
        return super().__new__(mcs, name, bases, namespace, **{"frozen": True, "kw_only": True, **options})


class Frozen(msgspec.Struct, metaclass=FrozenMeta):
    """Immutable keyword-only Struct: the base of plain data in the whole product."""
