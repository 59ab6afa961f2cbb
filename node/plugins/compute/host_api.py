"""Hypervisors, compute services, hosts and availability zones.

Source: https://docs.openstack.org/api-ref/compute/#hypervisors-os-hypervisors, #compute-services-os-services,
#hosts-os-hosts-deprecated and #availability-zones-os-availability-zone
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import host_view, listing
from node.plugins.compute.checks import Name, is_uuid
from node.plugins.compute.checks import boolean as to_boolean
from node.plugins.compute.host_view import BINARY, Host, hosts
from node.plugins.compute.placement_rules import zone_of
from node.sdk import BadRequest, Context, Frozen, NotFound, NotImplementedHere, Route, iso_utc, put


class ServiceBody(Frozen, forbid_unknown_fields=True):
    """Body of the old PUT os-services/{verb}."""

    host: Name
    binary: Name
    disabled_reason: Name | UnsetType = UNSET
    forced_down: bool | str | UnsetType = UNSET


class ServiceChange(Frozen, forbid_unknown_fields=True):
    """Body of PUT os-services/{service_id} from 2.53 on."""

    status: Literal["enabled", "disabled"] | UnsetType = UNSET
    disabled_reason: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | UnsetType = UNSET
    forced_down: bool | str | UnsetType = UNSET


class HostChange(Frozen, forbid_unknown_fields=True):
    """Body of PUT os-hosts/{hostname}."""

    status: Literal["enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"] | UnsetType = (
        UNSET
    )
    maintenance_mode: (
        Literal["enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"] | UnsetType
    ) = UNSET


def _hypervisor(ctx: Context, hypervisor_id: str) -> Host:
    for host in hosts(ctx, details=True):
        if str(host_view.shown_id(ctx, host.node)) == hypervisor_id:
            return host
    if ctx.microversion >= (2, 53) and not is_uuid(hypervisor_id):
        raise BadRequest(f"Invalid uuid {hypervisor_id}")
    raise NotFound(f"Compute host {hypervisor_id} could not be found.")


def _listed(ctx: Context, found: Iterable[Host], *, full: bool) -> dict[str, Any]:
    """Return a list of hypervisors, paged from 2.33 on and searched from 2.53 on."""
    listing.check_query(ctx, "hypervisor_hostname_pattern", "with_servers", "limit", "marker")
    rows = list(found)
    links: dict[str, Any] = {}
    with_servers = False
    if ctx.microversion >= (2, 53):
        rows = _matching(rows, ctx.param("hypervisor_hostname_pattern"))
        with_servers = bool(listing.boolean(ctx.param("with_servers")))
    if ctx.microversion >= (2, 33):
        key = lambda host: str(host_view.shown_id(ctx, host.node))  # noqa: E731
        rows, links = listing.page(ctx, rows, key=key, collection="hypervisors")
    view = host_view.hypervisor_detail if full else host_view.hypervisor_summary
    bodies = [view(ctx, host) for host in rows]
    if with_servers:
        for body, host in zip(bodies, rows, strict=True):
            body.update({"servers": host_view.server_names(host)} if host.servers else {})
    return {"hypervisors": bodies, **links}


def _matching(rows: list[Host], pattern: str | None) -> list[Host]:
    if pattern is None:
        return rows
    found = [host for host in rows if pattern in host.node.name]
    if not found:
        raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
    return found


def hypervisors(ctx: Context) -> dict[str, Any]:
    """List hypervisors."""
    return _listed(ctx, hosts(ctx, details=True), full=False)


def hypervisors_detail(ctx: Context) -> dict[str, Any]:
    """List hypervisors in full."""
    return _listed(ctx, hosts(ctx, details=True), full=True)


def hypervisor(ctx: Context, hypervisor_id: str) -> dict[str, Any]:
    """Show a hypervisor."""
    host = _hypervisor(ctx, hypervisor_id)
    body = host_view.hypervisor_detail(ctx, host)
    if ctx.microversion >= (2, 53) and listing.boolean(ctx.param("with_servers")) and host.servers:
        body["servers"] = host_view.server_names(host)
    return {"hypervisor": body}


def hypervisor_statistics(ctx: Context) -> dict[str, Any]:
    """Show sums over all hypervisors."""
    return {"hypervisor_statistics": host_view.statistics(hosts(ctx, details=True))}


def hypervisor_uptime(ctx: Context, hypervisor_id: str) -> dict[str, Any]:
    """Show how long a hypervisor has been up."""
    host = _hypervisor(ctx, hypervisor_id)
    uptime = host_view.uptime(ctx, host.node)
    if uptime is None:
        raise BadRequest(f"The uptime of {host.node.name} is not known: it is {host.node.state}")
    return {"hypervisor": {**host_view.hypervisor_summary(ctx, host), "uptime": uptime}}


def hypervisor_search(ctx: Context, hypervisor_id: str) -> dict[str, Any]:
    """List the hypervisors whose name holds a text."""
    found = _matching(hosts(ctx), hypervisor_id)
    return {"hypervisors": [host_view.hypervisor_summary(ctx, host) for host in found]}


def hypervisor_servers(ctx: Context, hypervisor_id: str) -> dict[str, Any]:
    """List the servers on the hypervisors whose name holds a text."""
    bodies = []
    for host in _matching(hosts(ctx, details=True), hypervisor_id):
        body = host_view.hypervisor_summary(ctx, host)
        bodies.append(body | ({"servers": host_view.server_names(host)} if host.servers else {}))
    return {"hypervisors": bodies}


def services(ctx: Context) -> dict[str, Any]:
    """List compute services."""
    listing.check_query(ctx, "host", "binary")
    host, binary = ctx.param("host"), ctx.param("binary")
    found = [h for h in hosts(ctx) if binary in {None, BINARY} and host in {None, h.node.name}]
    return {"services": [host_view.service_view(ctx, entry) for entry in found]}


def _named(ctx: Context, name: str, binary: str) -> Host:
    for host in hosts(ctx):
        if host.node.name == name and binary == BINARY:
            return host
    raise NotFound(f"Host {name} could not be found: there is no {binary} on it")


def _change(ctx: Context, host: Host, **fields: Any) -> Host:
    row = msgspec.structs.replace(host.service, updated_at=ctx.now(), **fields)
    ctx.transact(lambda: ([put(row)], None))
    return msgspec.structs.replace(host, service=row)


def old_update(ctx: Context, service_id: str) -> dict[str, Any]:
    """Enable, disable or force down the service on a host; `service_id` is the verb."""
    body: ServiceBody = ctx.body
    host = _named(ctx, body.host, body.binary)
    answer: dict[str, Any] = {"host": body.host, "binary": body.binary}
    if service_id == "enable":
        _change(ctx, host, disabled=False, reason=None)
        answer["status"] = "enabled"
    elif service_id == "disable":
        _change(ctx, host, disabled=True)
        answer["status"] = "disabled"
    elif service_id == "disable-log-reason":
        if not isinstance(body.disabled_reason, str):
            raise BadRequest("Missing disabled reason field")
        _change(ctx, host, disabled=True, reason=body.disabled_reason)
        answer |= {"status": "disabled", "disabled_reason": body.disabled_reason}
    elif service_id == "force-down" and ctx.microversion >= (2, 11):
        if body.forced_down is UNSET:
            raise BadRequest("Missing forced_down field")
        forced_down = to_boolean(body.forced_down, "forced_down")
        _change(ctx, host, forced_down=forced_down)
        answer["forced_down"] = forced_down
    else:
        raise NotFound("Unknown action")
    return {"service": answer}


def update(ctx: Context, service_id: str) -> dict[str, Any]:
    """Change a service."""
    body: ServiceChange = ctx.body
    found = next((h for h in hosts(ctx) if host_view.node_uuid(h.node) == service_id), None)
    if found is None:
        if not is_uuid(service_id):
            raise BadRequest(f"Invalid uuid {service_id}")
        raise NotFound(f"Service {service_id} could not be found.")
    fields: dict[str, Any] = {}
    if body.status is not UNSET:
        fields = {"disabled": body.status == "disabled", "reason": None}
    if isinstance(body.disabled_reason, str):
        if body.status != "disabled":
            raise BadRequest("Specifying disabled_reason requires that status is disabled.")
        fields["reason"] = body.disabled_reason
    if body.forced_down is not UNSET:
        fields["forced_down"] = to_boolean(body.forced_down, "forced_down")
    if not fields:
        raise BadRequest(
            "No updates were requested. Fields 'status' or 'forced_down' should be specified."
        )
    return {"service": host_view.service_view(ctx, _change(ctx, found, **fields))}


def host_list(ctx: Context) -> dict[str, Any]:
    """List hosts with their services."""
    zone = ctx.param("zone")
    rows = []
    for host in hosts(ctx):
        rows.append({"host_name": host.node.name, "service": "compute", "zone": zone_of(host.node)})
        rows.append({"host_name": host.node.name, "service": "scheduler", "zone": "internal"})
    return {"hosts": [row for row in rows if not zone or row["zone"] == zone]}


def host_update(ctx: Context, hostname: str) -> dict[str, Any]:
    """Enable or disable a host for new servers."""
    body: HostChange = ctx.body
    if body.status is UNSET and body.maintenance_mode is UNSET:
        raise BadRequest("Neither status nor maintenance_mode was given")
    found = next((host for host in hosts(ctx) if host.node.name == hostname), None)
    if found is None:
        raise NotFound(f"Compute host {hostname} could not be found.")
    if body.maintenance_mode is not UNSET:
        raise NotImplementedHere("Virt driver does not implement host maintenance mode.")
    enabled = str(body.status).lower() == "enable"
    _change(ctx, found, disabled=not enabled)
    return {"host": hostname, "status": "enabled" if enabled else "disabled"}


def host_power(ctx: Context, hostname: str, verb: str) -> None:
    """Refuse: the machines themselves are not switched by this API."""
    if verb not in {"startup", "shutdown", "reboot"}:
        raise NotFound("The resource could not be found.")
    if not any(host.node.name == hostname for host in hosts(ctx)):
        raise NotFound(f"Compute host {hostname} could not be found.")
    raise NotImplementedHere(f"Virt driver does not implement host power management: {verb}")


def host_show(ctx: Context, hostname: str) -> dict[str, Any]:
    """Show what a host has and what each project uses of it."""
    host = next((h for h in hosts(ctx, details=True) if h.node.name == hostname), None)
    if host is None:
        raise NotFound(f"Compute host {hostname} could not be found.")

    def row(project: str, cpu: int, memory_mb: int, disk_gb: int) -> dict[str, Any]:
        numbers = {"cpu": cpu, "memory_mb": memory_mb, "disk_gb": disk_gb}
        return {"resource": {"host": hostname, "project": project, **numbers}}

    used = (host.used["vcpus"], host.used["memory_mib"], host.used["disk_gib"])
    rows = [
        row("(total)", host.node.vcpus, host.node.memory_mib, host.node.disk_gib),
        row("(used_now)", *used),
        row("(used_max)", *used),
    ]
    for project in sorted({server.project_id for server in host.servers}):
        flavors = [s.flavor for s in host.servers if s.project_id == project and s.flavor]
        rows.append(
            row(
                project,
                sum(flavor.vcpus for flavor in flavors),
                sum(flavor.memory_mib for flavor in flavors),
                sum(flavor.disk_gib + flavor.ephemeral_gib for flavor in flavors),
            )
        )
    return {"host": rows}


def zones(ctx: Context) -> dict[str, Any]:
    """List availability zones."""
    return {
        "availabilityZoneInfo": [_zone(name, up, None) for name, (up, _) in _zones(ctx).items()]
    }


def zones_detail(ctx: Context) -> dict[str, Any]:
    """List availability zones with their hosts."""
    return {"availabilityZoneInfo": [_zone(name, *rest) for name, rest in _zones(ctx).items()]}


def _zone(name: str, up: bool, members: dict[str, Any] | None) -> dict[str, Any]:  # noqa: FBT001
    return {"zoneName": name, "zoneState": {"available": up}, "hosts": members}


def _zones(ctx: Context) -> dict[str, tuple[bool, dict[str, Any]]]:
    """Return (any enabled host, hosts) by zone."""
    found: dict[str, tuple[bool, dict[str, Any]]] = {}
    for host in hosts(ctx):
        enabled = not host.service.disabled
        available, members = found.get(zone_of(host.node), (False, {}))
        at_us = host.node.updated_at or host.node.created_at
        updated_at = iso_utc(at_us, suffix="", micros=True)
        members[host.node.name] = {
            BINARY: {"available": host.up, "active": enabled, "updated_at": updated_at}
        }
        found[zone_of(host.node)] = (available or enabled, members)
    return found


def _get(path: str, handler: Any, policy: str, **more: Any) -> Route:
    return Route(
        method="GET",
        path=f"/v2.1/{path}",
        handler=handler,
        policy=f"os_compute_api:{policy}",
        **more,
    )


_HYPERVISOR, _SERVICE = "os-hypervisors", "os-services"
ROUTES = (
    _get("os-hypervisors", hypervisors, f"{_HYPERVISOR}:list"),
    _get("os-hypervisors/detail", hypervisors_detail, f"{_HYPERVISOR}:list-detail"),
    _get(
        "os-hypervisors/statistics",
        hypervisor_statistics,
        f"{_HYPERVISOR}:statistics",
        until="2.87",
    ),
    _get("os-hypervisors/{hypervisor_id}", hypervisor, f"{_HYPERVISOR}:show"),
    _get(
        "os-hypervisors/{hypervisor_id}/uptime",
        hypervisor_uptime,
        f"{_HYPERVISOR}:uptime",
        until="2.87",
    ),
    _get(
        "os-hypervisors/{hypervisor_id}/search",
        hypervisor_search,
        f"{_HYPERVISOR}:search",
        until="2.52",
    ),
    _get(
        "os-hypervisors/{hypervisor_id}/servers",
        hypervisor_servers,
        f"{_HYPERVISOR}:servers",
        until="2.52",
    ),
    _get("os-services", services, f"{_SERVICE}:list"),
    Route(
        method="PUT",
        path="/v2.1/os-services/{service_id}",
        handler=old_update,
        policy=f"os_compute_api:{_SERVICE}:update",
        body=ServiceBody,
        until="2.52",
    ),
    Route(
        method="PUT",
        path="/v2.1/os-services/{service_id}",
        handler=update,
        policy=f"os_compute_api:{_SERVICE}:update",
        body=ServiceChange,
        since="2.53",
    ),
    _get("os-hosts", host_list, "os-hosts:list", until="2.42"),
    _get("os-hosts/{hostname}", host_show, "os-hosts:show", until="2.42"),
    _get("os-hosts/{hostname}/{verb}", host_power, "os-hosts:power", until="2.42"),
    Route(
        method="PUT",
        path="/v2.1/os-hosts/{hostname}",
        handler=host_update,
        policy="os_compute_api:os-hosts:update",
        body=HostChange,
        until="2.42",
    ),
    _get("os-availability-zone", zones, "os-availability-zone:list"),
    _get("os-availability-zone/detail", zones_detail, "os-availability-zone:detail"),
)
