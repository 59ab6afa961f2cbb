"""Servers: list, show, update, delete.

Source: https://docs.openstack.org/api-ref/compute/#servers-servers
"""

from typing import Any

from msgspec import UNSET

from node.plugins.compute import listing, server_create_rules, server_rules, server_view
from node.plugins.compute.checks import printable, printable_name
from node.plugins.compute.migration_ops import cancel_ops
from node.plugins.compute.server_body import ServerChange, UpdateBody, check_version
from node.plugins.compute.server_filter import Filters, sorted_servers
from node.plugins.compute.server_lookup import find, ports_of, surroundings
from node.plugins.compute.server_ops import release_ops
from node.plugins.compute.tables import Server, ServerAction, ServerGone
from node.sdk import AnyOp, BadRequest, Context, NodeRow, Route, check, insert, patch

_POLICY = "os_compute_api:servers"


def index(ctx: Context) -> dict[str, Any]:
    """List servers."""
    rows, links = _list(ctx, "index")
    return {"servers": [server_view.summary(ctx, server) for server in rows], **links}


def detail(ctx: Context) -> dict[str, Any]:
    """List servers in full."""
    with ctx.db.snapshot():
        rows, links = _list(ctx, "detail")
        seen = server_view.rights(ctx)
        around = surroundings(ctx, rows, extras=seen.attributes and ctx.microversion >= (2, 3))
    return {"servers": [server_view.detail(ctx, row, around, seen) for row in rows], **links}


def _list(ctx: Context, verb: str) -> tuple[list[Any], dict[str, Any]]:
    scope = _scope(ctx, verb)
    filters = Filters(ctx)
    gone = filters.wants_gone
    rows: list[Any] = [] if gone else ctx.db.rows(Server, order_by=(), **scope)
    if gone is not False:
        rows += ctx.db.rows(ServerGone, order_by=(), **scope)
    tests = filters.keeps()
    if tests:
        rows = [row for row in rows if all(test(row) for test in tests)]
    port_tests = filters.keeps_ports()
    if port_tests:
        ports = ports_of(ctx, rows)
        rows = [row for row in rows if all(test(row, ports) for test in port_tests)]
    rows = sorted_servers(ctx, rows)
    return listing.page(ctx, rows, key=lambda server: server.id, collection="servers")


def _scope(ctx: Context, verb: str) -> dict[str, Any]:
    """Return the restriction to the caller's project, unless an administrator asks for all of them."""
    everyone = ctx.param("all_tenants")
    wanted = listing.boolean(everyone or "1") if everyone is not None else False
    if wanted is None:
        raise BadRequest(f"Invalid value {everyone} for all_tenants: it is no boolean")
    if not wanted:
        return {"project_id": ctx.project_id}
    ctx.require(f"{_POLICY}:{verb}:get_all_tenants", {"project_id": ctx.project_id})
    return {}


def show(ctx: Context, server_id: str) -> dict[str, Any]:
    """Show a server."""
    return {"server": shown(ctx, find(ctx, server_id, f"{_POLICY}:show"))}


def shown(ctx: Context, server: Server) -> dict[str, Any]:
    """Return a server in full, with what only a single one shows."""
    seen = server_view.rights(ctx)
    around = surroundings(ctx, [server], extras=seen.attributes and ctx.microversion >= (2, 3))
    body = server_view.detail(ctx, server, around, seen)
    if ctx.microversion >= (2, 71):
        body["server_groups"] = [server.group_id] if server.group_id else []
    return body


def update(ctx: Context, server_id: str) -> dict[str, Any]:
    """Change names, descriptions and access addresses."""
    body: UpdateBody = ctx.body
    check_version(body.server, ctx.microversion)
    fields = _changes(ctx, body.server)

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_POLICY}:update")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        return [
            check(server),
            patch(Server, server.id, updated_at=ctx.now(), **fields),
        ], None

    ctx.transact(plan)
    server = find(ctx, server_id)
    if ctx.microversion >= (2, 75):
        return {"server": shown(ctx, server)}
    seen = server_view.rights(ctx)
    answer = server_view.common(ctx, server, surroundings(ctx, [server], extras=False), seen)
    if ctx.microversion >= (2, 71):
        answer["server_groups"] = [server.group_id] if server.group_id else []
    return {"server": answer}


def _changes(ctx: Context, change: ServerChange) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if isinstance(change.name, str):
        fields["name"] = printable_name(change.name)
    if isinstance(change.accessIPv4, str):
        fields["access_ipv4"] = server_create_rules.address(change.accessIPv4, "accessIPv4", 4)
    if isinstance(change.accessIPv6, str):
        fields["access_ipv6"] = server_create_rules.address(change.accessIPv6, "accessIPv6", 6)
    if isinstance(change.disk_config, str):
        fields["disk_config"] = change.disk_config
    if change.description is not UNSET:
        fields["description"] = printable(change.description or None, "description")
    if isinstance(change.hostname, str):
        fields["hostname"] = server_create_rules.check_hostname(change.hostname, ctx.microversion)
    return fields


def delete(ctx: Context, server_id: str) -> None:
    """Wish a server gone; one without a node goes at once."""
    _delete(ctx, server_id, f"{_POLICY}:delete")


def force_delete(ctx: Context, server_id: str) -> None:
    """Wish a server gone, as `delete` does: nothing is deferred here."""
    _delete(ctx, server_id, "os_compute_api:os-deferred-delete:force")


def _node_answers(ctx: Context, node_id: str) -> bool:
    """Return whether there is a node to undo a server: one that is down does it when it is back (ServerGone)."""
    node = ctx.db.get(NodeRow, node_id) if node_id else None
    return node is not None and node.state != "down"


def _delete(ctx: Context, server_id: str, rule: str) -> None:
    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, rule)
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        if server.want == "absent" and _node_answers(ctx, server.node_id):
            return [], None
        if not _node_answers(ctx, server.node_id):
            moves = cancel_ops(ctx.db, server, ctx.now())
            return release_ops(ctx.db, ctx.hook, server, ctx.now(), moves), None
        action = ServerAction(
            id=ctx.ids.uuid(),
            server_id=server.id,
            action="delete",
            request_id=ctx.request_id,
            user_id=ctx.token.user_id,
            project_id=server.project_id,
            start_at=ctx.now(),
            created_at=ctx.now(),
            updated_at=ctx.now(),
        )
        wish = patch(Server, server.id, want="absent", updated_at=ctx.now())
        return [check(server), wish, insert(action)], None

    before = ctx.db.get(Server, server_id)
    ctx.transact(plan, frees=True)
    if before is not None and before.have == "shelved_offloaded":
        ctx.ask("DELETE", f"/image/v2/images/{before.job_data.get('image_id', '')}")


_ONE = "/v2.1/servers/{server_id}"
ROUTES = (
    Route(method="GET", path="/v2.1/servers", handler=index, policy=f"{_POLICY}:index"),
    Route(method="GET", path="/v2.1/servers/detail", handler=detail, policy=f"{_POLICY}:detail"),
    Route(method="GET", path=_ONE, handler=show, policy=f"{_POLICY}:show"),
    Route(method="PUT", path=_ONE, handler=update, policy=f"{_POLICY}:update", body=UpdateBody),
    Route(method="DELETE", path=_ONE, handler=delete, policy=f"{_POLICY}:delete", status=204),
    Route(
        method="POST",
        path=_ONE + "/action",
        action="forceDelete",
        handler=force_delete,
        policy="os_compute_api:os-deferred-delete:force",
        status=202,
    ),
)
