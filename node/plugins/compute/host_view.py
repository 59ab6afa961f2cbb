"""Nodes as Nova's administrators see them: services, hypervisors, hosts, zones."""

import ipaddress
import json
import uuid
import zlib
from collections.abc import Sequence
from typing import Any

from node.plugins.compute.aggregate_rules import zoned
from node.plugins.compute.placement_rules import claimed, zone_of
from node.plugins.compute.tables import ComputeService, Server
from node.sdk import Context, Frozen, NodeRow, iso_utc

BINARY = "nova-compute"


class Host(Frozen):
    """A node with what is said of its compute service."""

    node: NodeRow
    service: ComputeService
    servers: tuple[Server, ...] = ()
    used: dict[str, int] = {}

    @property
    def up(self) -> bool:
        """Return whether the node answers and nobody declared it down."""
        return self.node.state == "up" and not self.service.forced_down


def hosts(ctx: Context, *, details: bool = False) -> list[Host]:
    """Return all nodes by name; `details` reads their servers and claims too."""
    services = {row.id: row for row in ctx.db.rows(ComputeService)}
    found = []
    for node in sorted(zoned(ctx.db), key=lambda row: row.name):
        servers = tuple(ctx.db.rows(Server, node_id=node.id)) if details else ()
        used = claimed(ctx.db, node.id) if details else {}
        service = services.get(node.id) or ComputeService(id=node.id)
        found.append(Host(node=node, service=service, servers=servers, used=used))
    return found


def node_uuid(node: NodeRow) -> str:
    """Return the id that microversions from 2.53 on show."""
    try:
        return str(uuid.UUID(node.id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"hedgerow-node:{node.id}"))


def node_number(node: NodeRow) -> int:
    """Return the id that microversions below 2.53 show: a number that stays."""
    return zlib.crc32(node.id.encode()) & 0x7FFFFFFF


def shown_id(ctx: Context, node: NodeRow) -> str | int:
    """Return a node's id as the microversion shows it."""
    return node_uuid(node) if ctx.microversion >= (2, 53) else node_number(node)


def service_view(ctx: Context, host: Host) -> dict[str, Any]:
    """Return a compute service."""
    at_us = host.node.updated_at or host.node.created_at
    body: dict[str, Any] = {
        "id": shown_id(ctx, host.node),
        "binary": BINARY,
        "host": host.node.name,
        "zone": zone_of(host.node),
        "status": "disabled" if host.service.disabled else "enabled",
        "state": "up" if host.up else "down",
        "updated_at": iso_utc(at_us, suffix="", micros=True),
        "disabled_reason": host.service.reason,
    }
    if ctx.microversion >= (2, 11):
        body["forced_down"] = host.service.forced_down
    return body


def hypervisor_summary(ctx: Context, host: Host) -> dict[str, Any]:
    """Return a hypervisor's entry in the plain list."""
    return {
        "id": shown_id(ctx, host.node),
        "hypervisor_hostname": host.node.name,
        "state": "up" if host.up else "down",
        "status": "disabled" if host.service.disabled else "enabled",
    }


def hypervisor_detail(ctx: Context, host: Host) -> dict[str, Any]:
    """Return a hypervisor in full."""
    node = host.node
    version = node.facts.get("hypervisor_version", "")
    body = hypervisor_summary(ctx, host) | {
        "host_ip": _address(node.address),
        "hypervisor_type": "QEMU",
        "hypervisor_version": int(version) if version.isdigit() else 0,
        "service": {
            "id": shown_id(ctx, node),
            "host": node.name,
            "disabled_reason": host.service.reason,
        },
    }
    if ctx.microversion >= (2, 88):
        return body | {"uptime": uptime(ctx, node)}
    cpu_info = {
        "arch": node.facts.get("arch", ""),
        "model": node.facts.get("cpu_model", ""),
        "vendor": node.facts.get("cpu_vendor", ""),
        "features": [],
        "topology": {"cores": node.vcpus, "threads": 1, "sockets": 1},
    }
    body["cpu_info"] = cpu_info if ctx.microversion >= (2, 28) else json.dumps(cpu_info)
    return body | resources(host)


def resources(host: Host) -> dict[str, int]:
    """Return what a node has and has given out."""
    node, used = host.node, host.used
    return {
        "vcpus": node.vcpus,
        "vcpus_used": used["vcpus"],
        "memory_mb": node.memory_mib,
        "memory_mb_used": used["memory_mib"],
        "free_ram_mb": node.memory_mib - used["memory_mib"],
        "local_gb": node.disk_gib,
        "local_gb_used": used["disk_gib"],
        "free_disk_gb": node.disk_gib - used["disk_gib"],
        "disk_available_least": node.disk_gib - used["disk_gib"],
        "running_vms": sum(server.power == 1 for server in host.servers),
        "current_workload": sum(server.job_done < server.job for server in host.servers),
    }


def statistics(found: Sequence[Host]) -> dict[str, int]:
    """Return the sums over all enabled hypervisors."""
    enabled = [resources(host) for host in found if not host.service.disabled]
    names = (
        "vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "free_ram_mb", "local_gb", "local_gb_used",
        "free_disk_gb", "disk_available_least", "running_vms", "current_workload",
    )  # fmt: skip
    return {"count": len(enabled), **{name: sum(row[name] for row in enabled) for name in names}}


def server_names(host: Host) -> list[dict[str, str]]:
    """Return the servers on a node by id and name."""
    return [{"uuid": server.id, "name": server.name} for server in host.servers]


def uptime(ctx: Context, node: NodeRow) -> str | None:
    """Return how long a node has been up, in the words of `uptime`; None where nobody knows."""
    if not node.boot_at or node.state != "up":
        return None
    now_us = ctx.now()
    minutes = max(0, now_us - node.boot_at) // 60_000_000
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{iso_utc(now_us)[11:19]} up {days} days, {hours:2d}:{minutes % 60:02d}"


def _address(text: str) -> str | None:
    for candidate in (text, text.rpartition(":")[0].strip("[]")):
        try:
            return str(ipaddress.ip_address(candidate))
        except ValueError:
            continue
    return None
