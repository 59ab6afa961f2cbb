"""Gather the rows that a server's metadata is rendered from."""

import secrets
from typing import Any

from node.plugins.compute.aggregate_rules import zoned
from node.plugins.compute.metadata_render import Facts
from node.plugins.compute.placement_rules import DEFAULT_ZONE, zone_of
from node.plugins.compute.tables import Server, ServerExtra
from node.sdk import Reader


def facts_of(db: Reader, hook: Any, server_id: str) -> Facts | None:
    """Return what rendering needs of a server, or None when there is no such server."""
    server = db.get(Server, server_id)
    if server is None:
        return None
    node = next((row for row in zoned(db) if row.id == server.node_id), None)
    ports = hook.port_states(db=db, server_ids=[server_id]) or {}
    return Facts(
        server=server,
        extra=db.get(ServerExtra, server_id) or ServerExtra(id=server_id),
        ports=ports.get(server_id, []),
        zone=zone_of(node) if node else DEFAULT_ZONE,
        random_seed=secrets.token_bytes(512),
    )
