"""What the nodes ask each other of their servers: what only the node knows that a server runs on."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from node.plugins.compute import console_log
from node.plugins.compute.tables import Server
from node.sdk import Context, NotFound, Reply, Route, Unavailable

_PATH = "/v2.1/peer/servers/{server_id}"
_MOST_BYTES = 4 << 20


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
)
