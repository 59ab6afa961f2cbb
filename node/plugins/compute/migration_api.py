"""Migrations: what resizes and evacuations did to servers. Live migrations, which could be steered, there are none of.

Source: https://docs.openstack.org/api-ref/compute/#migrations-os-migrations and
https://docs.openstack.org/api-ref/compute/#server-migrations-servers-migrations
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from node.plugins.compute import listing
from node.plugins.compute.faults import field_error
from node.plugins.compute.host_view import node_number
from node.plugins.compute.migration_rules import status_of
from node.plugins.compute.server_lookup import find
from node.plugins.compute.tables import Migration, ServerAction
from node.sdk import Context, Frozen, NodeRow, NotFound, Route, iso_utc, parse_iso

_LIST = "os_compute_api:os-migrations:index"
_OF_SERVER = "os_compute_api:servers:migrations"
_QUERY: Mapping[str, tuple[int, int]] = {
    "hidden": (2, 1),
    "host": (2, 1),
    "instance_uuid": (2, 1),
    "source_compute": (2, 1),
    "status": (2, 1),
    "migration_type": (2, 1),
    "limit": (2, 59),
    "marker": (2, 59),
    "changes-since": (2, 59),
    "changes-before": (2, 66),
    "user_id": (2, 80),
    "project_id": (2, 80),
}


class _Entry(Frozen):
    """A migration with what its status hangs on."""

    row: Migration
    status: str
    changed_at: int


def _entries(ctx: Context, rows: Sequence[Migration]) -> list[_Entry]:
    ids = [job for row in rows for job in (row.action_id, row.end_id) if job]
    actions = {action.id: action for action in ctx.db.rows(ServerAction, id=ids, order_by=())}
    found = []
    for row in rows:
        action, end = actions.get(row.action_id), actions.get(row.end_id)
        changed = max([row.updated_at, *(one.updated_at for one in (action, end) if one)])
        found.append(_Entry(row=row, status=status_of(row, action, end), changed_at=changed))
    return found


def _view(ctx: Context, entry: _Entry, nodes: Mapping[str, NodeRow]) -> dict[str, Any]:
    row = entry.row
    source, target = nodes.get(row.source_node), nodes.get(row.dest_node)
    body: dict[str, Any] = {
        "id": row.number,
        "source_node": source.name if source else None,
        "source_compute": source.name if source else None,
        "dest_node": target.name if target else None,
        "dest_compute": target.name if target else None,
        "dest_host": (target.address or None) if target else None,
        "status": entry.status,
        "instance_uuid": row.server_id,
        "old_instance_type_id": _flavor_number(row.old_flavor_id),
        "new_instance_type_id": _flavor_number(row.new_flavor_id),
        "created_at": iso_utc(row.created_at, suffix="", micros=True),
        "updated_at": iso_utc(entry.changed_at, suffix="", micros=True),
    }
    if ctx.microversion >= (2, 23):
        body["migration_type"] = row.migration_type
    if ctx.microversion >= (2, 59):
        body["uuid"] = row.id
    if ctx.microversion >= (2, 80):
        body |= {"user_id": row.user_id, "project_id": row.project_id}
    return body


def _flavor_number(flavor_id: str) -> int:
    """Return a number for a flavor, as the API wants one: the id where it is a number, else one that stays."""
    return int(flavor_id) if flavor_id.isdigit() else node_number(NodeRow(id=flavor_id, name=""))


def index(ctx: Context) -> dict[str, Any]:
    """List migrations, the newest first."""
    params = _params(ctx)
    nodes = {node.id: node for node in ctx.db.rows(NodeRow)}
    newest_first = (("created_at", "desc"), ("number", "desc"))
    server_id = params.get("instance_uuid")
    where = (("server_id", "=", server_id),) if server_id else ()
    rows = ctx.db.rows(Migration, order_by=newest_first, where=where)
    names = {node.id: node.name for node in nodes.values()}
    checks: dict[str, Callable[[_Entry, str], bool]] = {
        "host": lambda e, v: v in (names.get(e.row.source_node), names.get(e.row.dest_node)),
        "source_compute": lambda e, v: names.get(e.row.source_node) == v,
        "status": lambda e, v: e.status == v,
        "migration_type": lambda e, v: e.row.migration_type == v,
        "hidden": lambda _e, v: not listing.boolean(v),
        "user_id": lambda e, v: e.row.user_id == v,
        "project_id": lambda e, v: e.row.project_id == v,
        "changes-since": lambda e, v: e.changed_at >= _moment("changes-since", v),
        "changes-before": lambda e, v: e.changed_at <= _moment("changes-before", v),
    }
    found = [
        entry
        for entry in _entries(ctx, rows)
        if all(checks[name](entry, text) for name, text in params.items() if name in checks)
    ]
    links: dict[str, Any] = {}
    if ctx.microversion >= (2, 59):
        found, links = listing.page(ctx, found, key=lambda e: e.row.id, collection="migrations")
    return {"migrations": [_view(ctx, entry, nodes) for entry in found], **links}


def _params(ctx: Context) -> dict[str, str]:
    """Return the filters that the microversion knows; from 2.59 on others are refused."""
    known = {name for name, since in _QUERY.items() if ctx.microversion >= since}
    for name in ("changes-since", "changes-before"):
        if name in known and (text := ctx.param(name)) is not None:
            _moment(name, text)
    if ctx.microversion >= (2, 59) and (unknown := sorted(set(ctx.params) - known)):
        raise field_error(
            unknown[0],
            ctx.param(unknown[0]),
            f"Additional properties are not allowed ('{unknown[0]}' was unexpected)",
        )
    return {name: ctx.params[name][-1] for name in known if ctx.params.get(name)}


def _moment(name: str, text: str) -> int:
    try:
        return parse_iso(text)
    except (ValueError, OverflowError):
        raise field_error(name, text, f"'{text}' is not a 'date-time'") from None


def of_server(ctx: Context, server_id: str) -> dict[str, Any]:
    """List a server's live migrations that go on: none ever does."""
    find(ctx, server_id, f"{_OF_SERVER}:index")
    return {"migrations": []}


def _no_such(ctx: Context, server_id: str, migration_id: str, verb: str) -> None:
    find(ctx, server_id, f"{_OF_SERVER}:{verb}")
    raise NotFound(
        f"In-progress live migration {migration_id} is not found for server {server_id}."
    )


def show(ctx: Context, server_id: str, migration_id: str) -> None:
    """Show a live migration that goes on: none ever does."""
    _no_such(ctx, server_id, migration_id, "show")


def abort(ctx: Context, server_id: str, migration_id: str) -> None:
    """End a live migration that goes on: none ever does."""
    _no_such(ctx, server_id, migration_id, "delete")


def force_complete(ctx: Context, server_id: str, migration_id: str) -> None:
    """Hurry a live migration that goes on: none ever does."""
    _no_such(ctx, server_id, migration_id, "force_complete")


_PATH = "/v2.1/servers/{server_id}/migrations"
_ONE = _PATH + "/{migration_id}"
ROUTES = (
    Route(method="GET", path="/v2.1/os-migrations", handler=index, policy=_LIST),
    Route(method="GET", path=_PATH, handler=of_server, policy=f"{_OF_SERVER}:index", since="2.23"),
    Route(method="GET", path=_ONE, handler=show, policy=f"{_OF_SERVER}:show", since="2.23"),
    Route(
        method="DELETE",
        path=_ONE,
        handler=abort,
        policy=f"{_OF_SERVER}:delete",
        since="2.24",
        status=202,
    ),
    Route(
        method="POST",
        path=_ONE + "/action",
        action="force_complete",
        handler=force_complete,
        policy=f"{_OF_SERVER}:force_complete",
        since="2.22",
        status=202,
    ),
)
