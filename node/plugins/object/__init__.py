"""Object storage: Swift v1 and S3 over one store."""

from collections.abc import Mapping, Sequence

from node.plugins.object.s3 import service as s3
from node.plugins.object.s3.section import S3Section
from node.plugins.object.s3.tables import ROW_TYPES as S3_ROW_TYPES
from node.plugins.object.tables import ROW_TYPES
from node.sdk import Frozen, Row, Service, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of object storage."""
    return [*ROW_TYPES, *S3_ROW_TYPES]


@hookimpl
def services() -> Sequence[Service]:
    """Return the S3 service."""
    return [s3.SERVICE]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return `[s3]`."""
    return {"s3": S3Section}
