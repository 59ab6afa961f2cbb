"""Block storage: Cinder's API v3 over rows, and the drivers that keep the data of volumes."""

from collections.abc import Mapping, Sequence

from node.plugins.block import replica_tables
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import ROW_TYPES
from node.sdk import Frozen, Row, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the row types of block storage."""
    return [*ROW_TYPES, *replica_tables.ROW_TYPES]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the section `[block]`."""
    return {"block": BlockSection}
