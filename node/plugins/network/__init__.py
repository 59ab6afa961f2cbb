"""The network service: Neutron v2.0 and its data plane."""

from collections.abc import Mapping, Sequence

from node.plugins.network import server_ports
from node.plugins.network.section import NetworkSection
from node.plugins.network.tables import ROW_TYPES
from node.sdk import (
    AnyOp,
    Context,
    Control,
    Frozen,
    PortPlan,
    PortRequest,
    PortState,
    Reader,
    Reconciler,
    Row,
    Service,
    hookimpl,
)


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of networks and all that hangs on them."""
    return ROW_TYPES


@hookimpl
def services() -> Sequence[Service]:
    """Return Neutron v2.0; the core never loads it."""
    from node.plugins.network.service import SERVICE

    return (SERVICE,)


@hookimpl
def port_plan(ctx: Context, request: PortRequest) -> PortPlan:
    """Plan the ports of a new server."""
    return server_ports.plan_ports(ctx, request)


@hookimpl
def port_bind(
    db: Reader, server_id: str, node_id: str | None, now_us: int, port_ids: Sequence[str] | None
) -> Sequence[AnyOp]:
    """Bind a server's ports to another node, or take them from it."""
    if node_id is None:
        return server_ports.release_ports(db, server_id, now_us, port_ids)
    return server_ports.move_ops(db, server_id, node_id, now_us, port_ids)


@hookimpl
def port_states(db: Reader, server_ids: Sequence[str]) -> Mapping[str, list[PortState]]:
    """Return what compute needs of the ports of servers."""
    return server_ports.states(db, server_ids)


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the `[network]` section."""
    return {"network": NetworkSection}


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the data plane of this node; API workers never load it."""
    from node.plugins.network import planes

    return planes.reconcilers(control)


@hookimpl
def node_facts(control: Control) -> Mapping[str, str]:
    """Tell the MTU towards other nodes and which interface is on the external wire."""
    from node.plugins.network import underlay

    return underlay.facts(control)


@hookimpl
def teardown(control: Control) -> None:
    """Remove bridges, taps, namespaces, tables and processes of this node."""
    from node.plugins.network import planes

    planes.teardown(control)


@hookimpl
def health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Say whether this node's ports are plugged."""
    from node.plugins.network import planes

    return planes.health(control)


@hookimpl
def metrics(control: Control) -> Mapping[str, float]:
    """Count this node's ports."""
    from node.plugins.network import planes

    return planes.metrics(control)
