"""Object storage: Swift v1 and S3 over one store."""

from collections.abc import Sequence

from node.plugins.object.tables import ROW_TYPES
from node.sdk import Row, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of object storage."""
    return ROW_TYPES
