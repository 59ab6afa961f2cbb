"""What the nodes ask each other of their servers: what only the node knows that a server runs on."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from node.plugins.compute import console_log
from node.plugins.compute.tables import Server
from node.sdk import Context, NodeRow, NotFound, Reply, Route, Unavailable

_PATH = "/v2.1/peer/servers/{server_id}"
_MOST_BYTES = 4 << 20
SYNC = "servers"
"""Name of the reconciler that knows the node's guests."""


def ask(ctx: Context, server: Server, what: str, params: Mapping[str, Any]) -> bytes:
    """Return what another node says of a server of its own.

    Raises:
        Unavailable: 503, that node is down or does not answer.
    """
    path = f"/compute{_PATH.format(server_id=server.id)}/{what}"
    query = urlencode(params)
    with ctx.data_port.get(server.node_id, f"{path}?{query}" if query else path) as answer:
        data = answer.read(_MOST_BYTES)
        while more := answer.read(_MOST_BYTES - len(data)) if len(data) < _MOST_BYTES else b"":
            data += more
    return data


def console_output(ctx: Context, server: Server, lines: int | None) -> str:
    """Return the end of a server's console log, from whichever node it runs on.

    Raises:
        Unavailable: 503, the node does not answer.
    """
    if server.node_id == ctx.node_id:
        return console_log.tail(ctx.config.state_dir, server.id, lines)
    try:
        return ask(ctx, server, "console", {} if lines is None else {"lines": lines}).decode()
    except NotFound as error:  # it moved just now
        raise Unavailable(f"The console log of instance {server.id} cannot be read now") from error


def guest_facts(ctx: Context, server: Server) -> Mapping[str, Any]:
    """Return what the hypervisor knows of a server's guest, from whichever node it runs on; empty: nothing.

    Raises:
        Unavailable: 503, the node does not answer.
    """
    if server.node_id == ctx.node_id:
        return ctx.tell(SYNC, server.id)
    try:
        found: Any = msgspec.json.decode(ask(ctx, server, "guest", {}))
    except NotFound as error:  # it moved just now
        raise Unavailable(f"Instance {server.id} moves") from error
    return dict(found)


def guest_type(ctx: Context, server: Server) -> str:
    """Return how the guests of a server's node run: kvm or qemu."""
    node = ctx.db.get(NodeRow, server.node_id)
    return node.facts.get("virt_type", "qemu") if node else "qemu"


def guest(ctx: Context, server_id: str) -> Reply:
    """Send what the hypervisor knows of a guest of this node's."""
    server = ctx.db.get(Server, server_id)
    if server is None or server.node_id != ctx.node_id:
        raise NotFound(f"Instance {server_id} could not be found.")
    return Reply(body=dict(ctx.tell(SYNC, server_id)))


def console(ctx: Context, server_id: str) -> Reply:
    """Send the end of a console log of this node's."""
    server = ctx.db.get(Server, server_id)
    if server is None or server.node_id != ctx.node_id:
        raise NotFound(f"Instance {server_id} could not be found.")
    asked = ctx.param("lines") or ""
    lines = int(asked) if asked.isascii() and asked.isdigit() else None
    text = console_log.tail(ctx.config.state_dir, server_id, lines)
    return Reply(body=text.encode(), content_type="text/plain; charset=utf-8")


ROUTES = (
    Route(method="GET", path=f"{_PATH}/console", handler=console, policy="public", peers_only=True),
    Route(method="GET", path=f"{_PATH}/guest", handler=guest, policy="public", peers_only=True),
)
