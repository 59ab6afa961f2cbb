"""Compute: Nova's API v2.1 over rows, and the libvirt side that makes this node match them."""

from collections.abc import Sequence

from node.plugins.compute.tables import ROW_TYPES
from node.sdk import Row, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the row types of compute."""
    return ROW_TYPES
