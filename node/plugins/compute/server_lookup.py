"""Find a server for a request, and what is around it: nodes, ports, extras. Batches only: lists are long."""

import hashlib
from collections.abc import Sequence
from typing import Any

from node.plugins.compute.aggregate_rules import zoned
from node.plugins.compute.tables import (
    ComputeService,
    Server,
    ServerExtra,
    ServerGone,
    ServerVolume,
)
from node.sdk import Context, Frozen, NodeRow, NotFound, PortState


class Surroundings(Frozen):
    """What the views of servers need besides their rows."""

    nodes: dict[str, NodeRow]
    ports: dict[str, list[PortState]]
    extras: dict[str, ServerExtra]
    services: dict[str, ComputeService] = {}
    volumes: dict[str, list[ServerVolume]] = {}

    def host_status(self, node_id: str) -> str:
        """Return the state of a node in the words of `host_status`; "" for none."""
        node, service = self.nodes.get(node_id), self.services.get(node_id)
        if node is None:
            return ""
        if node.state == "down" or (service is not None and service.forced_down):
            return "DOWN"
        if node.state != "up":
            return "UNKNOWN"
        return "MAINTENANCE" if service is not None and service.disabled else "UP"


def find(ctx: Context, server_id: str, rule: str = "") -> Server:
    """Return a server that the caller may know of, and do `rule` with.

    Raises:
        NotFound: 404, no such server, or one of another project.
        Forbidden: 403, the policy refuses.
    """
    server = ctx.db.get(Server, server_id)
    if server is None or not (ctx.token.is_admin or server.project_id == ctx.project_id):
        raise NotFound(f"Instance {server_id} could not be found.")
    if rule:
        ctx.require(rule, server)
    return server


def find_gone(ctx: Context, server_id: str) -> Server:
    """Return a server, be it deleted already.

    Raises:
        NotFound: 404.
    """
    server = ctx.db.get(Server, server_id) or ctx.db.get(ServerGone, server_id)
    if server is None or not (ctx.token.is_admin or server.project_id == ctx.project_id):
        raise NotFound(f"Instance {server_id} could not be found.")
    return server


def ports_of(ctx: Context, servers: Sequence[Server]) -> dict[str, list[PortState]]:
    """Return the interfaces of servers, by server."""
    ids = [server.id for server in servers]
    states: Any = ctx.hook.port_states(db=ctx.db, server_ids=ids) if ids else None
    return dict(states or {})


def surroundings(ctx: Context, servers: Sequence[Server], *, extras: bool) -> Surroundings:
    """Return what the views of these servers need; `extras` asks for user data too."""
    found = (
        ctx.db.rows(ServerExtra, id=[server.id for server in servers]) if extras and servers else []
    )
    attached: dict[str, list[ServerVolume]] = {}
    if servers:
        for row in ctx.db.rows(ServerVolume, server_id=[server.id for server in servers]):
            attached.setdefault(row.server_id, []).append(row)
    return Surroundings(
        nodes={node.id: node for node in zoned(ctx.db)},
        ports=ports_of(ctx, servers),
        extras={extra.id: extra for extra in found},
        services={row.id: row for row in ctx.db.rows(ComputeService)},
        volumes=attached,
    )


def host_id(project_id: str, host: str) -> str:
    """Return the name under which a project sees a host: equal for equal hosts, and nothing more."""
    return hashlib.sha224((project_id + host).encode()).hexdigest() if host else ""
