"""Graphical and serial consoles: none is offered here, which each request is told in Nova's words.

Source: https://docs.openstack.org/api-ref/compute/#server-consoles-servers-remote-consoles and
https://docs.openstack.org/api-ref/compute/#server-consoles-servers-os-console-auth-token-os-console-auth-tokens
"""

from typing import Any, Literal

from node.plugins.compute.faults import field_error
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find
from node.sdk import BadRequest, Conflict, Context, Frozen, NotFound, Route

_POLICY = "os_compute_api:os-remote-consoles"
_TYPES = {
    "vnc": {"novnc", "xvpvnc"},
    "spice": {"spice-html5"},
    "rdp": {"rdp-html5"},
    "serial": {"serial"},
    "mks": {"webmks"},
}


class Vnc(Frozen, forbid_unknown_fields=True):
    """Value of `os-getVNCConsole`."""

    type: Literal["novnc", "xvpvnc"]


class Spice(Frozen, forbid_unknown_fields=True):
    """Value of `os-getSPICEConsole`."""

    type: Literal["spice-html5"]


class Rdp(Frozen, forbid_unknown_fields=True):
    """Value of `os-getRDPConsole`."""

    type: Literal["rdp-html5"]


class Serial(Frozen, forbid_unknown_fields=True):
    """Value of `os-getSerialConsole`."""

    type: Literal["serial"]


class RemoteConsole(Frozen, forbid_unknown_fields=True):
    """`remote_console` of POST remote-consoles."""

    protocol: Literal["vnc", "spice", "rdp", "serial", "mks"]
    type: Literal["novnc", "xvpvnc", "spice-html5", "rdp-html5", "serial", "webmks"]


class RemoteConsoleBody(Frozen, forbid_unknown_fields=True):
    """Body of POST remote-consoles."""

    remote_console: RemoteConsole


def old_console(ctx: Context, server_id: str) -> None:
    """Refuse a console that was asked for by an action."""
    _refuse(ctx, server_id, ctx.body.type)


def remote_console(ctx: Context, server_id: str) -> None:
    """Refuse a console."""
    wanted: RemoteConsole = ctx.body.remote_console
    if wanted.protocol == "mks" and ctx.microversion < (2, 8):
        raise field_error("protocol", "mks", "'mks' is not one of ['vnc', 'spice', 'rdp', 'serial']")
    if wanted.type not in _TYPES[wanted.protocol]:
        raise BadRequest("Invalid console type for this protocol")
    _refuse(ctx, server_id, wanted.type)


def _refuse(ctx: Context, server_id: str, kind: str) -> None:
    server = find(ctx, server_id, _POLICY)
    if not server.node_id or not server.have:
        raise Conflict(f"Instance {server_id} is not ready")
    raise BadRequest(f"Unavailable console type {kind}.")


def auth_token(_ctx: Context, token: str) -> None:
    """Say that no console has this token: none was given out."""
    del token
    raise NotFound("Token not found")


def _action(name: str, body: Any) -> Route:
    return server_action(name, old_console, _POLICY, body, status=200, until="2.5")


ROUTES = (
    _action("os-getVNCConsole", Vnc),
    _action("os-getSPICEConsole", Spice),
    _action("os-getRDPConsole", Rdp),
    _action("os-getSerialConsole", Serial),
    Route(
        method="POST",
        path="/v2.1/servers/{server_id}/remote-consoles",
        handler=remote_console,
        policy=_POLICY,
        body=RemoteConsoleBody,
        since="2.6",
    ),
    Route(
        method="GET",
        path="/v2.1/os-console-auth-tokens/{token}",
        handler=auth_token,
        policy="os_compute_api:os-console-auth-tokens",
    ),
)
