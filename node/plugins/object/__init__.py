"""Object storage: Swift v1 and S3 over one store."""

from collections.abc import Mapping, Sequence

import click

from node.plugins.object import peer_api
from node.plugins.object.s3 import service as s3
from node.plugins.object.s3.lifecycle_sync import LifecycleSync
from node.plugins.object.s3.notification_sync import NotificationSync
from node.plugins.object.s3.section import S3Section
from node.plugins.object.s3.tables import ROW_TYPES as S3_ROW_TYPES
from node.plugins.object.store.open import store_in
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
    return [*ROW_TYPES, *S3_ROW_TYPES]


@hookimpl
def services() -> Sequence[Service]:
    """Return S3, and what nodes serve each other."""
    return [s3.SERVICE, peer_api.SERVICE]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the sections `[object]` and `[s3]`."""
    return {"object": ObjectSection, "s3": S3Section}


@hookimpl
def seed_rows(now_us: int) -> Sequence[AnyOp]:
    """Return the storage policies."""
    return store_seeds(now_us)


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return what keeps this node's part of the store, and what S3 does by itself."""
    store = store_in(control)
    return [StoreSync(control), LifecycleSync(control, store), NotificationSync(control, store)]


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
