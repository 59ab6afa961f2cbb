"""Block storage: Cinder's API v3 over rows, and the drivers that keep the data of volumes."""

from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.block import replica_tables
from node.plugins.block.attached_volumes import StoredVolumes
from node.plugins.block.driver_choice import chosen, driver_named
from node.plugins.block.node_sync import AttachmentSync, BlockServiceSync
from node.plugins.block.section import BlockSection
from node.plugins.block.seeds import seeds
from node.plugins.block.service import SERVICE
from node.plugins.block.snapshot_sync import BackupSync, SnapshotSync
from node.plugins.block.tables import ROW_TYPES
from node.plugins.block.volume_sync import VolumeSync
from node.sdk import (
    AnyOp,
    Control,
    Frozen,
    Reader,
    Reconciler,
    Row,
    Service,
    Volumes,
    hookimpl,
)


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the row types of block storage."""
    return [*ROW_TYPES, *replica_tables.ROW_TYPES]


@hookimpl
def services() -> Sequence[Service]:
    """Return the block storage service."""
    return (SERVICE,)


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the section `[block]`."""
    return {"block": BlockSection}


@hookimpl
def seed_rows(db: Reader, now_us: int) -> Sequence[AnyOp]:
    """Return the default volume type."""
    return seeds(db, now_us)


@hookimpl
def volumes() -> Volumes:
    """Return the volumes of this cloud."""
    return StoredVolumes()


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the reconcilers of this node's volumes, and those of its driver."""
    driver: Any = driver_named(control, chosen(control))
    own: Sequence[Reconciler] = driver.reconcilers() if hasattr(driver, "reconcilers") else ()
    return [
        VolumeSync(control),
        SnapshotSync(control),
        BackupSync(control),
        BlockServiceSync(control),
        AttachmentSync(control),
        *own,
    ]


@hookimpl
def teardown(control: Control) -> None:
    """End the processes that serve volumes."""
    driver_named(control, chosen(control)).teardown()
