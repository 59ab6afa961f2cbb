"""Object storage: Swift v1 and S3 over one store."""

from collections.abc import Mapping, Sequence

from node.plugins.object.swift.section import SwiftSection
from node.plugins.object.swift.service import SERVICE as SWIFT
from node.plugins.object.tables import ROW_TYPES
from node.sdk import Frozen, Row, Service, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of object storage."""
    return ROW_TYPES


@hookimpl
def services() -> Sequence[Service]:
    """Return the services that clients see."""
    return [SWIFT]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the sections of the configuration."""
    return {"swift": SwiftSection}
