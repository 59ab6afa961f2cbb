"""Object storage: Swift v1 and S3 over one store."""

from collections.abc import Mapping, Sequence

import click

from node.plugins.object.s3.section import S3Section
from node.plugins.object.s3.tables import ROW_TYPES as S3_ROW_TYPES
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.swift.section import SwiftSection
from node.plugins.object.tables import ROW_TYPES
from node.sdk import AnyOp, Control, Frozen, Reconciler, Row, Service, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of object storage."""
    return [*ROW_TYPES, *S3_ROW_TYPES]


@hookimpl
def services() -> Sequence[Service]:
    """Return the services that clients see, and what nodes serve each other; the core never loads them."""
    from node.plugins.object.peer_api import SERVICE as PEERS
    from node.plugins.object.s3.service import SERVICE as S3
    from node.plugins.object.swift.service import SERVICE as SWIFT

    return [SWIFT, S3, PEERS]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the sections of the configuration."""
    return {"object": ObjectSection, "s3": S3Section, "swift": SwiftSection}


@hookimpl
def seed_rows(now_us: int) -> Sequence[AnyOp]:
    """Return the storage policies."""
    from node.plugins.object.store_seeds import store_seeds

    return store_seeds(now_us)


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return what keeps this node's part of the store, and what S3 does by itself; API workers never load it."""
    from node.plugins.object.s3.lifecycle_sync import LifecycleSync
    from node.plugins.object.s3.notification_sync import NotificationSync
    from node.plugins.object.store.open import store_in
    from node.plugins.object.store_sync import StoreSync

    store = store_in(control)
    return [StoreSync(control), LifecycleSync(control, store), NotificationSync(control, store)]


@hookimpl
def health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Say how the store is, and how redundant objects are."""
    from node.plugins.object.store_status import store_health

    return store_health(control)


@hookimpl
def metrics(control: Control) -> Mapping[str, float]:
    """Return gauges of the store."""
    from node.plugins.object.store_status import store_metrics

    return store_metrics(control)


@hookimpl
def cli(group: click.Group) -> None:
    """Add `hedgerow object`."""
    from node.plugins.object.store_commands import object_group

    group.add_command(object_group)


@hookimpl
def teardown(control: Control) -> None:
    """End the store process."""
    from node.plugins.object.store_sync import stop_process

    stop_process(control)
