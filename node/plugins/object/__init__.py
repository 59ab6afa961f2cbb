"""Object storage: Swift v1 and S3 over one store."""

from collections.abc import Mapping, Sequence

import click

from node.plugins.object import peer_api
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.store_commands import object_group
from node.plugins.object.store_seeds import store_seeds
from node.plugins.object.store_status import store_health, store_metrics
from node.plugins.object.store_sync import StoreSync, stop_process
from node.plugins.object.tables import ROW_TYPES
from node.sdk import AnyOp, Control, Frozen, Reconciler, Row, Service, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of object storage."""
    return ROW_TYPES


@hookimpl
def services() -> Sequence[Service]:
    """Return what nodes serve each other."""
    return [peer_api.SERVICE]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the section `[object]`."""
    return {"object": ObjectSection}


@hookimpl
def seed_rows(now_us: int) -> Sequence[AnyOp]:
    """Return the storage policies."""
    return store_seeds(now_us)


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return what keeps this node's part of the store."""
    return [StoreSync(control)]


@hookimpl
def health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Say how the store is, and how redundant objects are."""
    return store_health(control)


@hookimpl
def metrics(control: Control) -> Mapping[str, float]:
    """Return gauges of the store."""
    return store_metrics(control)


@hookimpl
def cli(group: click.Group) -> None:
    """Add `hedgerow object`."""
    group.add_command(object_group)


@hookimpl
def teardown(control: Control) -> None:
    """End the store process."""
    stop_process(control)
