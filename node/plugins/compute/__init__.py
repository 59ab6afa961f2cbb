"""Compute: Nova's API v2.1 over rows, and the libvirt side that makes this node match them."""

from collections.abc import Mapping, Sequence

from node.plugins.compute.placement_rules import PlacementSection
from node.plugins.compute.service import SERVICE
from node.plugins.compute.tables import ROW_TYPES
from node.sdk import Frozen, Row, Service, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the row types of compute."""
    return ROW_TYPES


@hookimpl
def services() -> Sequence[Service]:
    """Return the compute service."""
    return (SERVICE,)


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the sections of compute."""
    return {"placement": PlacementSection}
