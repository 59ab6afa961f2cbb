"""What projects have used over time, and the few small reports about servers.

Source: https://docs.openstack.org/api-ref/compute/#usage-reports-os-simple-tenant-usage
"""

from collections.abc import Iterable
from typing import Any

from node.plugins.compute import listing, server_rules
from node.plugins.compute.tables import Server, ServerGone
from node.sdk import BadRequest, Context, Route, iso_utc, parse_iso

_POLICY = "os_compute_api:os-simple-tenant-usage"
_HOUR_US = 3_600_000_000
_FOUR_WEEKS_US = 28 * 24 * _HOUR_US


def _period(ctx: Context) -> tuple[int, int]:
    """Return begin and end of the report, by default the last four weeks."""
    listing.check_query(ctx, "start", "end", "detailed", "limit", "marker")
    now_us = ctx.now()
    start_us = _time(ctx.param("start"), now_us - _FOUR_WEEKS_US)
    stop_us = _time(ctx.param("end"), now_us)
    if start_us >= stop_us:
        raise BadRequest("Invalid start time. The start time cannot occur after the end time.")
    return start_us, stop_us


def _time(text: str | None, default: int) -> int:
    if not text:
        return default
    try:
        return parse_iso(text)
    except (ValueError, OverflowError):
        raise BadRequest(f"Datetime is in invalid format: {text}") from None


def _ended_us(server: Server) -> int:
    return server.deleted_at if isinstance(server, ServerGone) else 0


def _hours(server: Server, start_us: int, stop_us: int) -> float:
    begin_us = max(server.launched_at or server.created_at, start_us)
    end_us = min(_ended_us(server) or stop_us, stop_us)
    return max(0, end_us - begin_us) / _HOUR_US


def _server_view(server: Server, hours: float, now_us: int) -> dict[str, Any]:
    flavor = server.flavor
    assert flavor is not None
    began_us, ended_us = server.launched_at or server.created_at, _ended_us(server)
    return {
        "instance_id": server.id,
        "name": server.name,
        "hours": hours,
        "vcpus": flavor.vcpus,
        "memory_mb": flavor.memory_mib,
        "local_gb": flavor.disk_gib + flavor.ephemeral_gib,
        "flavor": flavor.name,
        "tenant_id": server.project_id,
        "started_at": iso_utc(began_us, suffix="", micros=True),
        "ended_at": iso_utc(ended_us, suffix="", micros=True) if ended_us else None,
        "uptime": max(0, (ended_us or now_us) - began_us) // 1_000_000,
        "state": "terminated" if ended_us else server_rules.vm_state(server),
    }


def _report(
    ctx: Context,
    project_id: str,
    servers: Iterable[Server],
    period: tuple[int, int],
    *,
    detailed: bool,
) -> dict[str, Any]:
    rows = []
    totals = dict.fromkeys(
        ("total_hours", "total_vcpus_usage", "total_memory_mb_usage", "total_local_gb_usage"), 0.0
    )
    for server in servers:
        flavor, hours = server.flavor, _hours(server, *period)
        if hours <= 0 or flavor is None:
            continue
        rows.append(_server_view(server, hours, ctx.now()))
        totals["total_hours"] += hours
        totals["total_vcpus_usage"] += hours * flavor.vcpus
        totals["total_memory_mb_usage"] += hours * flavor.memory_mib
        totals["total_local_gb_usage"] += hours * (flavor.disk_gib + flavor.ephemeral_gib)
    if not rows:
        return {}
    body: dict[str, Any] = {
        "tenant_id": project_id,
        "start": iso_utc(period[0], suffix="", micros=True),
        "stop": iso_utc(period[1], suffix="", micros=True),
        **totals,
    }
    return body | ({"server_usages": rows} if detailed else {})


def _servers(ctx: Context, **scope: str) -> list[Server]:
    rows: list[Server] = [*ctx.db.rows(Server, **scope), *ctx.db.rows(ServerGone, **scope)]  # type: ignore[arg-type]
    return sorted(rows, key=lambda server: (server.created_at, server.id))


def index(ctx: Context) -> dict[str, Any]:
    """Report on every project."""
    period = _period(ctx)
    detailed = ctx.param("detailed", "0") == "1"
    rows, links = _paged(ctx, _servers(ctx), "tenant_usages")
    projects = dict.fromkeys(server.project_id for server in rows)
    reports = [
        _report(
            ctx, project, [s for s in rows if s.project_id == project], period, detailed=detailed
        )
        for project in projects
    ]
    return {"tenant_usages": [report for report in reports if report], **links}


def show(ctx: Context, project_id: str) -> dict[str, Any]:
    """Report on one project."""
    period = _period(ctx)
    rows, links = _paged(ctx, _servers(ctx, project_id=project_id), "tenant_usage")
    return {"tenant_usage": _report(ctx, project_id, rows, period, detailed=True), **links}


def _paged(ctx: Context, rows: list[Server], name: str) -> tuple[list[Server], dict[str, Any]]:
    """Page by server, from 2.40 on."""
    if ctx.microversion < (2, 40):
        return rows, {}
    return listing.page(ctx, rows, key=lambda server: server.id, collection=name)


ROUTES = (
    Route(
        method="GET", path="/v2.1/os-simple-tenant-usage", handler=index, policy=f"{_POLICY}:list"
    ),
    Route(
        method="GET",
        path="/v2.1/os-simple-tenant-usage/{project_id}",
        handler=show,
        policy=f"{_POLICY}:show",
    ),
)
