"""Services, hosts, pools, capabilities, zones: what this cloud's block storage consists of.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#services-os-services
"""

from typing import Any

from node.plugins.block import backend, lookup
from node.plugins.block.backend import Pool
from node.plugins.block.checks import Text255
from node.plugins.block.listing import boolean, stamp
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import BlockService, Snapshot, Volume
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    NodeRow,
    NotFound,
    Reply,
    Route,
    check,
    insert,
    patch,
)

_BINARIES = ("cinder-scheduler", "cinder-volume", "cinder-backup")
_SERVICE = "volume_extension:services:{}"


class ServiceBody(Frozen):
    """Body of PUT /os-services/{action}."""

    host: Text255 = ""
    binary: Text255 | None = None
    service: Text255 | None = None
    disabled_reason: Text255 | None = None
    cluster: Text255 | None = None
    backend_id: Text255 | None = None


class _Service(Frozen):
    """One service of one node."""

    node: NodeRow
    binary: str
    host: str
    row: BlockService | None


def _services(ctx: Context) -> list[_Service]:
    rows = {row.id: row for row in ctx.db.rows(BlockService)}
    nodes = {node.id: node for node in ctx.db.rows(NodeRow)}
    found = []
    for pool in backend.pools(ctx.db, ctx.config):
        for binary in _BINARIES:
            host = pool.host if binary == "cinder-volume" else pool.node_name
            row = rows.get(f"{binary}/{pool.node_id}")
            found.append(_Service(node=nodes[pool.node_id], binary=binary, host=host, row=row))
    return found


def _service_view(ctx: Context, one: _Service) -> dict[str, Any]:
    disabled = one.row is not None and one.row.disabled
    shown: dict[str, Any] = {
        "binary": one.binary,
        "host": one.host,
        "zone": "nova",
        "status": "disabled" if disabled else "enabled",
        "state": "up" if one.node.state == "up" else "down",
        "updated_at": stamp(ctx.now())
        if one.node.state == "up"
        else stamp(one.node.updated_at or one.node.created_at or 1),
        "disabled_reason": one.row.reason if one.row and disabled else None,
    }
    if one.binary == "cinder-volume":
        shown |= {
            "frozen": one.row is not None and one.row.frozen,
            "replication_status": "disabled",
            "active_backend_id": None,
        }
        if ctx.microversion >= (3, 49):
            shown["backend_state"] = shown["state"]
    if ctx.microversion >= (3, 7):
        shown["cluster"] = None
    return shown


def list_services(ctx: Context) -> dict[str, Any]:
    """List the services of all nodes."""
    host, binary = ctx.param("host"), ctx.param("binary")
    found = [
        one
        for one in _services(ctx)
        if (binary is None or one.binary == binary)
        and (host is None or host in (one.host, one.node.name))
    ]
    return {"services": [_service_view(ctx, one) for one in found]}


def _find(ctx: Context, host: str, binary: str) -> _Service:
    if not host:
        raise BadRequest("Missing required element 'host' in request body.")
    for one in _services(ctx):
        if one.binary == binary and host in (one.host, one.node.name):
            return one
    raise NotFound(f"Service {binary} could not be found on host {host}.")


def _volume_host(ctx: Context, host: str) -> _Service:
    """Return the volume service of a host.

    Raises:
        BadRequest: 400, there is none: what freezes and thaws says it so.
    """
    try:
        return _find(ctx, host, "cinder-volume")
    except NotFound as error:
        raise BadRequest(f"Invalid input received: {error.message}") from error


def _change(ctx: Context, binary: str, fields: dict[str, Any]) -> None:
    body: ServiceBody = ctx.body

    def plan() -> tuple[list[AnyOp], None]:
        one = _find(ctx, body.host, binary)
        if one.row is not None:
            return [
                check(one.row),
                patch(BlockService, one.row.id, updated_at=ctx.now(), **fields),
            ], None
        new = BlockService(
            id=f"{binary}/{one.node.id}",
            node_id=one.node.id,
            binary=binary,
            created_at=ctx.now(),
            updated_at=ctx.now(),
            **fields,
        )
        return [insert(new)], None

    ctx.transact(plan)


def _switch(ctx: Context, *, disabled: bool, reason: str | None) -> dict[str, Any]:
    body: ServiceBody = ctx.body
    binary = body.binary or body.service or ""
    if not binary:
        raise BadRequest("Missing required element 'binary' in request body.")
    _change(ctx, binary, {"disabled": disabled, "reason": reason})
    return {
        "host": body.host,
        "service": binary,
        "binary": binary,
        "disabled": disabled,
        "status": "disabled" if disabled else "enabled",
    }


def enable(ctx: Context) -> dict[str, Any]:
    """Let a service take work."""
    return {**_switch(ctx, disabled=False, reason=None), "disabled_reason": ""}


def disable(ctx: Context) -> dict[str, Any]:
    """Have a service take no work."""
    return _switch(ctx, disabled=True, reason=None)


def disable_with_reason(ctx: Context) -> dict[str, Any]:
    """Have a service take no work, and say why."""
    reason = ctx.body.disabled_reason
    if not reason or not reason.strip():
        raise BadRequest("Invalid input for field/attribute disabled_reason.")
    return {**_switch(ctx, disabled=True, reason=reason.strip()), "disabled_reason": reason.strip()}


def freeze(ctx: Context) -> Reply:
    """Have no volume made on a host; those that are there go on."""
    _volume_host(ctx, ctx.body.host)
    _change(ctx, "cinder-volume", {"frozen": True})
    return Reply(status=200)


def thaw(ctx: Context) -> Reply:
    """Let volumes be made on a host again."""
    _volume_host(ctx, ctx.body.host)
    _change(ctx, "cinder-volume", {"frozen": False})
    return Reply(status=200)


def failover(ctx: Context) -> Reply:
    """Refuse: hosts of this cloud have no second backend to fail over to."""
    _volume_host(ctx, ctx.body.host)
    raise BadRequest("Invalid replication target: the host has no replication targets.")


def log_levels(ctx: Context) -> dict[str, Any]:
    """Show the log levels of services (3.32): they are the nodes' configuration."""
    return {
        "log_levels": [
            {"binary": one.binary, "host": one.host, "levels": {}} for one in _services(ctx)
        ]
    }


def list_hosts(ctx: Context) -> dict[str, Any]:
    """List hosts and their services."""
    shown = [
        {
            "service-status": "available" if one.node.state == "up" else "unavailable",
            "service": one.binary,
            "zone": "nova",
            "service-state": "disabled" if one.row and one.row.disabled else "enabled",
            "host_name": one.host,
            "last-update": stamp(ctx.now()),
        }
        for one in _services(ctx)
    ]
    return {"hosts": shown}


def show_host(ctx: Context, host_name: str) -> dict[str, Any]:
    """Show what is on a host: the total, then by project."""
    found = [one for one in _services(ctx) if host_name in (one.host, one.node.name)]
    if not found:
        raise NotFound(f"Host {host_name} could not be found.")
    node_id = found[0].node.id
    volumes = ctx.db.rows(Volume, node_id=node_id)
    snapshots = ctx.db.rows(Snapshot, node_id=node_id)
    projects = sorted({row.project_id for row in (*volumes, *snapshots)})
    shown = [_resource(host_name, "(total)", volumes, snapshots)]
    shown += [
        _resource(
            host_name,
            project,
            [row for row in volumes if row.project_id == project],
            [row for row in snapshots if row.project_id == project],
        )
        for project in projects
    ]
    return {"host": [{"resource": one} for one in shown]}


def _resource(
    host: str, project: str, volumes: list[Volume], snapshots: list[Snapshot]
) -> dict[str, str]:
    return {
        "host": host,
        "project": project,
        "volume_count": str(len(volumes)),
        "total_volume_gb": str(sum(row.size_gib for row in volumes)),
        "snapshot_count": str(len(snapshots)),
        "total_snapshot_gb": str(sum(row.size_gib for row in snapshots)),
    }


def pools(ctx: Context) -> dict[str, Any]:
    """List the pools that the scheduler knows."""
    detailed = boolean(ctx.param("detail", "false"), "detail")
    name = ctx.param("name") if ctx.microversion >= (3, 28) else None
    kind = ctx.param("volume_type") if ctx.microversion >= (3, 35) else None
    found = [pool for pool in backend.pools(ctx.db, ctx.config) if name in (None, pool.name)]
    if kind:
        specs = lookup.volume_type(ctx, kind).extra_specs
        found = [pool for pool in found if backend.suits(pool, specs)]
    return {"pools": [_pool_view(ctx, pool) if detailed else {"name": pool.name} for pool in found]}


def _pool_view(ctx: Context, pool: Pool) -> dict[str, Any]:
    section = ctx.config.section(BlockSection)
    return {
        "name": pool.name,
        "capabilities": {
            "pool_name": pool.driver,
            "volume_backend_name": pool.driver,
            "vendor_name": backend.VENDOR,
            "driver_version": "1.0",
            "storage_protocol": backend.PROTOCOL,
            "total_capacity_gb": round(pool.total_gib, 2),
            "free_capacity_gb": round(pool.free_gib, 2),
            "allocated_capacity_gb": round(pool.allocated_gib, 2),
            "provisioned_capacity_gb": round(pool.allocated_gib, 2),
            "reserved_percentage": section.reserve_percent,
            "max_over_subscription_ratio": str(section.oversubscription),
            "thin_provisioning_support": True,
            "thick_provisioning_support": False,
            "multiattach": True,
            "QoS_support": True,
            "location_info": None,
            "backend_state": "up" if pool.up else "down",
            "timestamp": stamp(ctx.now()),
            "updated": stamp(ctx.now()),
        },
    }


def capabilities(ctx: Context, host_name: str) -> dict[str, Any]:
    """Show what the driver of a host can do."""
    for pool in backend.pools(ctx.db, ctx.config):
        if host_name in (pool.host, pool.name, pool.node_name):
            break
    else:
        raise NotFound(f"Service cinder-volume could not be found on host {host_name}.")

    def says(title: str, text: str) -> dict[str, str]:
        return {"title": title, "description": text, "type": "boolean"}

    return {
        "namespace": f"OS::Storage::Capabilities::{pool.node_name}",
        "vendor_name": backend.VENDOR,
        "volume_backend_name": pool.driver,
        "pool_name": None,
        "driver_version": "1.0",
        "storage_protocol": backend.PROTOCOL,
        "display_name": None,
        "description": None,
        "visibility": None,
        "replication_targets": [],
        "properties": {
            "thin_provisioning": says("Thin Provisioning", "Sets thin provisioning."),
            "qos": says("QoS", "Enables QoS."),
            "multiattach": says("Multiattach", "Volumes may be attached to several servers."),
            "replication_enabled": says("Replication", "Enables replication."),
            "compression": says("Compression", "Enables compression."),
        },
    }


def zones(_ctx: Context) -> dict[str, Any]:
    """List the availability zones."""
    return {"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": True}}]}


_PUTS = (
    ("enable", enable, "update"),
    ("disable", disable, "update"),
    ("disable-log-reason", disable_with_reason, "update"),
    ("freeze", freeze, "freeze"),
    ("thaw", thaw, "thaw"),
    ("failover_host", failover, "failover"),
)
_POLICIES = {
    "freeze": "volume:freeze_host",
    "thaw": "volume:thaw_host",
    "failover": "volume:failover_host",
}

ROUTES = (
    Route(
        method="GET",
        path="/v3/os-services",
        handler=list_services,
        policy=_SERVICE.format("index"),
    ),
    *(
        Route(
            method="PUT",
            path=f"/v3/os-services/{name}",
            handler=handler,
            policy=_POLICIES.get(verb, _SERVICE.format("update")),
            body=ServiceBody,
            status=202 if name == "failover_host" else 200,
        )
        for name, handler, verb in _PUTS
    ),
    Route(
        method="PUT",
        path="/v3/os-services/failover",
        handler=failover,
        policy="volume:failover_host",
        body=ServiceBody,
        status=202,
        since="3.26",
    ),
    Route(
        method="PUT",
        path="/v3/os-services/get-log",
        handler=log_levels,
        policy=_SERVICE.format("update"),
        since="3.32",
    ),
    Route(method="GET", path="/v3/os-hosts", handler=list_hosts, policy="volume_extension:hosts"),
    Route(
        method="GET",
        path="/v3/os-hosts/{host_name}",
        handler=show_host,
        policy="volume_extension:hosts",
    ),
    Route(
        method="GET",
        path="/v3/scheduler-stats/get_pools",
        handler=pools,
        policy="scheduler_extension:scheduler_stats:get_pools",
    ),
    Route(
        method="GET",
        path="/v3/capabilities/{host_name}",
        handler=capabilities,
        policy="volume_extension:capabilities",
    ),
    Route(method="GET", path="/v3/os-availability-zone", handler=zones, policy="any"),
)
