"""Diagnostics: what a running server has used. Its node's core asks the hypervisor.

Source: https://docs.openstack.org/api-ref/compute/#servers-diagnostics-servers-diagnostics
"""

from typing import Any

import msgspec

from node.plugins.compute import guest_usage, server_peer_api, server_rules
from node.plugins.compute.guest_usage import GuestUsage
from node.plugins.compute.server_lookup import find
from node.plugins.compute.tables import Server
from node.sdk import Conflict, Context, Route, Unavailable

_POLICY = "os_compute_api:os-server-diagnostics"
_TOPOLOGY = "compute:server:topology:index"
_RUNNING = 1


def diagnostics(ctx: Context, server_id: str) -> dict[str, Any]:
    """Show what a server has used since it was started."""
    server = find(ctx, server_id, _POLICY)
    if not server.node_id:
        raise Conflict(f"Instance {server_id} is not ready")
    if server_rules.power_state(server) != _RUNNING:
        raise Conflict(
            f"Cannot 'get_diagnostics' instance {server_id} while it is in power_state "
            f"{server_rules.power_state(server)}"
        )
    usage = _usage(ctx, server)
    if ctx.microversion < (2, 48):
        return guest_usage.plain_view(usage)
    launched = server.launched_at
    return {
        "state": "running",
        "driver": "libvirt",
        "hypervisor": server_peer_api.guest_type(ctx, server),
        "hypervisor_os": "linux",
        "uptime": (ctx.now() - launched) // 1_000_000 if launched else None,
        "config_drive": server.config_drive,
        **guest_usage.view(usage),
    }


def topology(ctx: Context, server_id: str) -> dict[str, Any]:
    """Show a server's NUMA topology: guests have none here, which is an empty one."""
    find(ctx, server_id, _TOPOLOGY)
    return {"nodes": [], "pagesize_kb": None}


def _usage(ctx: Context, server: Server) -> GuestUsage:
    facts = server_peer_api.guest_facts(ctx, server)
    if not facts:  # it ended just now
        raise Unavailable(f"The hypervisor knows nothing of instance {server.id} now")
    return msgspec.convert(facts, GuestUsage)


ROUTES = (
    Route(
        method="GET",
        path="/v2.1/servers/{server_id}/diagnostics",
        handler=diagnostics,
        policy=_POLICY,
    ),
    Route(
        method="GET",
        path="/v2.1/servers/{server_id}/topology",
        handler=topology,
        policy=_TOPOLOGY,
        since="2.78",
    ),
)
