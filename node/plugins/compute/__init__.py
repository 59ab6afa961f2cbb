"""Compute: Nova's API v2.1 over rows, and the libvirt side that makes this node match them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from node.plugins.compute import guest_password
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.metadata_facts import facts_of
from node.plugins.compute.metadata_render import service_files
from node.plugins.compute.placement_rules import PlacementSection
from node.plugins.compute.section import HistorySection
from node.plugins.compute.tables import ROW_TYPES, ServerExtra
from node.sdk import Control, Frozen, Reader, Reconciler, Row, ServerMetadata, Service, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the row types of compute."""
    return ROW_TYPES


@hookimpl
def services() -> Sequence[Service]:
    """Return the compute service; the core never loads it."""
    from node.plugins.compute.service import SERVICE

    return (SERVICE,)


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the sections of compute."""
    return {
        "placement": PlacementSection,
        "hypervisor": HypervisorSection,
        "history": HistorySection,
    }


@hookimpl
def metadata_of(db: Reader, hook: Any, server_id: str) -> ServerMetadata | None:
    """Return what the metadata service serves to a server."""
    facts = facts_of(db, hook, server_id)
    if facts is None:
        return None
    extra = db.get(ServerExtra, server_id)
    files = service_files(facts)
    files["openstack/latest/password"] = extra.guest_password.encode() if extra else b""
    return ServerMetadata(files=files, accept=partial(guest_password.accept, db, server_id))


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the reconcilers of this node's servers and of their history; API workers never load them."""
    from node.plugins.compute import planes
    from node.plugins.compute.history_sync import HistorySync

    return [*planes.reconcilers(control), HistorySync(control)]


@hookimpl
def node_facts(control: Control) -> Mapping[str, str]:
    """Return this node's resources and how guests run on it."""
    from node.plugins.compute import planes

    return planes.node_facts(control)


@hookimpl
def health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Say whether libvirtd answers and how guests run."""
    from node.plugins.compute import planes

    return planes.health(control)


@hookimpl
def teardown(control: Control) -> None:
    """End every guest of this node and its libvirtd."""
    from node.plugins.compute import planes

    planes.teardown(control.config.state_dir)
