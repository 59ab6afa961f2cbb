"""What was done to a server: instance actions and their events.

Source: https://docs.openstack.org/api-ref/compute/#servers-actions-servers-os-instance-actions
"""

from typing import Any

from node.plugins.compute import listing
from node.plugins.compute.faults import field_error
from node.plugins.compute.server_lookup import find, find_gone, host_id
from node.plugins.compute.server_ops import EVENTS
from node.plugins.compute.tables import ActionEvent, Server, ServerAction
from node.sdk import Context, NodeRow, NotFound, Route, iso_utc, parse_iso

_POLICY = "os_compute_api:os-instance-actions"


def _server(ctx: Context, server_id: str, verb: str) -> Server:
    """Return the server; from 2.21 on also one that is deleted."""
    server = find_gone(ctx, server_id) if ctx.microversion >= (2, 21) else find(ctx, server_id)
    ctx.require(f"{_POLICY}:{verb}", server)
    return server


def _when(at_us: int) -> str | None:
    return iso_utc(at_us, suffix="", micros=True) if at_us else None


def _view(ctx: Context, action: ServerAction) -> dict[str, Any]:
    body: dict[str, Any] = {
        "action": action.action,
        "instance_uuid": action.server_id,
        "message": action.message or None,
        "project_id": action.project_id,
        "request_id": action.request_id,
        "start_time": _when(action.start_at),
        "user_id": action.user_id,
    }
    if ctx.microversion >= (2, 58):
        body["updated_at"] = _when(action.updated_at)
    return body


def _events(action: ServerAction) -> list[ActionEvent]:
    """Return the steps; what the node still works on is one without an end."""
    if action.events or action.action not in EVENTS:
        return action.events
    return [ActionEvent(name=EVENTS[action.action], start_at=action.start_at)]


def _event_view(
    ctx: Context, server: Server, event: ActionEvent, *, details: bool
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "event": event.name,
        "start_time": _when(event.start_at),
        "finish_time": _when(event.finish_at),
        "result": event.result or None,
    }
    admin = ctx.token.is_admin
    if admin:
        body["traceback"] = event.traceback or None
    if ctx.microversion >= (2, 62):
        node = ctx.db.get(NodeRow, event.node_id or server.node_id)
        name = node.name if node else ""
        body["hostId"] = host_id(server.project_id, name)
        if admin:
            body["host"] = name or None
    if ctx.microversion >= (2, 84) and details:
        body["details"] = event.traceback or None
    return body


def index(ctx: Context, server_id: str) -> dict[str, Any]:
    """List what was done to a server, newest first."""
    _server(ctx, server_id, "list")
    rows = sorted(
        ctx.db.rows(ServerAction, server_id=server_id),
        key=lambda a: (a.created_at, a.id),
        reverse=True,
    )
    links: dict[str, Any] = {}
    if ctx.microversion >= (2, 58):
        for name, version, sign in (("changes-since", (2, 58), 1), ("changes-before", (2, 66), -1)):
            text = ctx.param(name)
            if text is None or ctx.microversion < version:
                continue
            try:
                at_us = parse_iso(text)
            except (ValueError, OverflowError):
                raise field_error(name, text, f"'{text}' is not a 'date-time'") from None
            rows = [row for row in rows if sign * row.updated_at >= sign * at_us]
        rows, links = listing.page(
            ctx, rows, key=lambda action: action.request_id, collection="links"
        )
        links = {"links": links["links_links"]} if links else {}
    return {"instanceActions": [_view(ctx, row) for row in rows], **links}


def show(ctx: Context, server_id: str, request_id: str) -> dict[str, Any]:
    """Show one action with its events."""
    server = _server(ctx, server_id, "show")
    action = ctx.db.one(ServerAction, server_id=server_id, request_id=request_id)
    if action is None:
        raise NotFound(f"Action {request_id} not found")
    body = _view(ctx, action)
    if ctx.microversion >= (2, 51) or ctx.token.is_admin:
        details = ctx.allows(f"{_POLICY}:events:details", server)
        body["events"] = [
            _event_view(ctx, server, event, details=details) for event in _events(action)
        ]
    return {"instanceAction": body}


_PATH = "/v2.1/servers/{server_id}/os-instance-actions"
ROUTES = (
    Route(method="GET", path=_PATH, handler=index, policy=f"{_POLICY}:list"),
    Route(method="GET", path=_PATH + "/{request_id}", handler=show, policy=f"{_POLICY}:show"),
)
