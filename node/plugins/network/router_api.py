"""`/v2.0/routers`.

Source: https://docs.openstack.org/api-ref/network/v2/#routers-routers
"""

from typing import Any

from msgspec.structs import replace

from node.plugins.network import quota_rules, router_gateway
from node.plugins.network import router_rules as rules
from node.plugins.network.attributes import Wish, check_attributes, parse_create, parse_update
from node.plugins.network.collection import collection
from node.plugins.network.faults import conflict, disallowed
from node.plugins.network.listing import Ask, owned, shown
from node.plugins.network.revise import constrained, revise, stamps
from node.plugins.network.router_find import find_router
from node.plugins.network.router_view import view
from node.plugins.network.sharing_rules import is_admin
from node.plugins.network.tables import HostRoute, Port, Router, Subnet
from node.sdk import AnyOp, Context, Reply, Route, check, delete, insert

_COLUMNS = {"id": "id", "name": "name", "project_id": "project_id", "description": "description"}


def list_routers(ctx: Context) -> dict[str, Any]:
    """List the project's routers; an admin sees all."""
    ask = Ask(ctx, rules.KIND, rules.KIND.by_name)
    columns = ask.columns(_COLUMNS)
    if not is_admin(ctx):
        columns = owned(columns, ctx.project_id)
    rows = ctx.db.rows(Router, **columns)
    return ask.answer([view(row) for row in rows], {})


def show_router(ctx: Context, router_id: str) -> dict[str, Any]:
    """Show one router."""
    return shown(ctx, rules.KIND, view(find_router(ctx, router_id)))


def create_routers(ctx: Context) -> Reply:
    """Create one router or several."""
    wishes, bulk = parse_create(ctx, rules.KIND)
    for wish in wishes:
        check_attributes(ctx, "create_router", wish.given, {"project_id": wish["project_id"]})
        router_gateway.check_policies(
            ctx, "create_router", wish["external_gateway_info"], wish["project_id"]
        )

    def plan() -> tuple[list[AnyOp], list[Router]]:
        ops: list[AnyOp] = []
        rows = []
        for wish in wishes:
            more, row = _new_router(ctx, wish)
            ops += more
            rows.append(row)
        return ops, rows

    items = [view(row) for row in ctx.transact(plan)]
    return Reply(status=201, body={"routers": items} if bulk else {"router": items[0]})


def update_router(ctx: Context, router_id: str) -> dict[str, Any]:
    """Change a router, its gateway or its routes."""
    router = find_router(ctx, router_id)
    target = {"project_id": router.project_id}
    ctx.require("update_router", target, hidden=disallowed("update_router"))
    wish = parse_update(ctx, rules.KIND, target)
    if "external_gateway_info" in wish:
        router_gateway.check_policies(
            ctx, "update_router", wish["external_gateway_info"], router.project_id
        )

    def plan() -> tuple[list[AnyOp], Router]:
        row = constrained(ctx, find_router(ctx, router_id))
        changes = wish.fields(rules.FIELDS)
        ops: list[AnyOp] = []
        if "external_gateway_info" in wish:
            ops, fields = router_gateway.changes(ctx, row, wish["external_gateway_info"])
            changes |= fields
        if "routes" in wish:
            _check_routes(ctx, replace(row, **changes), wish["routes"])
            changes["routes"] = wish["routes"]
        more, new = revise(ctx, row, **changes)
        return [*ops, *more], new

    return {"router": view(ctx.transact(plan))}


def delete_router(ctx: Context, router_id: str) -> None:
    """Delete a router; 409 while it has interfaces."""
    router = find_router(ctx, router_id)
    ctx.require(
        "delete_router", {"project_id": router.project_id}, hidden=disallowed("delete_router")
    )

    def plan() -> tuple[list[AnyOp], None]:
        row = constrained(ctx, find_router(ctx, router_id))
        if router_gateway.interface_ports(ctx, row.id):
            raise conflict("RouterInUse", f"Router {row.id} still has ports")
        ops: list[AnyOp] = [check(row), delete(Router, row.id)]
        if row.external_network_id:
            ops += router_gateway.clear_ops(ctx, row)
        return [*ops, quota_rules.give_back(row.project_id, "router")], None

    ctx.transact(plan, frees=True)


def add_routes(ctx: Context, router_id: str) -> dict[str, Any]:
    """Add extra routes, leaving those that are there."""
    return _change_routes(ctx, router_id, "add_extraroutes")


def remove_routes(ctx: Context, router_id: str) -> dict[str, Any]:
    """Remove extra routes, leaving the others."""
    return _change_routes(ctx, router_id, "remove_extraroutes")


def _change_routes(ctx: Context, router_id: str, rule: str) -> dict[str, Any]:
    router = find_router(ctx, router_id)
    target = {"project_id": router.project_id}
    ctx.require(rule, target, hidden=disallowed(rule))
    given: tuple[HostRoute, ...] = parse_update(ctx, rules.KIND, target).get("routes", ())

    def plan() -> tuple[list[AnyOp], Router]:
        row = constrained(ctx, find_router(ctx, router_id))
        if rule == "add_extraroutes":
            routes = (*row.routes, *(route for route in given if route not in row.routes))
            _check_routes(ctx, row, routes)
        else:
            routes = tuple(route for route in row.routes if route not in given)
        return revise(ctx, row, routes=routes)

    return {"router": view(ctx.transact(plan))}


def _new_router(ctx: Context, wish: Wish) -> tuple[list[AnyOp], Router]:
    row = Router(
        id=ctx.ids.uuid(),
        project_id=wish["project_id"],
        node_id=rules.place(ctx.db),
        zone_hints=wish["availability_zone_hints"],
        tags=wish.get("tags", ()),
        **wish.fields(rules.FIELDS),
        **stamps(ctx),
    )
    ops, fields = router_gateway.changes(ctx, row, wish["external_gateway_info"])
    row = replace(row, **fields)
    if wish["routes"]:
        _check_routes(ctx, row, wish["routes"])
        row = replace(row, routes=wish["routes"])
    return [quota_rules.take(ctx.db, row.project_id, "router"), *ops, insert(row)], row


def _check_routes(ctx: Context, router: Router, routes: tuple[HostRoute, ...]) -> None:
    ports = router_gateway.interface_ports(ctx, router.id)
    gateway = ctx.db.get(Port, router.gateway_port_id) if router.gateway_port_id else None
    subnets = router_gateway.interface_subnets(ctx, router.id)
    if router.external_network_id:
        subnets += ctx.db.rows(Subnet, network_id=router.external_network_id)
    rules.check_routes(routes, [*ports, *([gateway] if gateway else [])], subnets)


ROUTES = (
    *collection(
        "router",
        "routers",
        index=list_routers,
        create=create_routers,
        show=show_router,
        update=update_router,
        remove=delete_router,
    ),
    *(
        Route(
            method="PUT",
            path=f"/v2.0/routers/{{router_id}}/{name}",
            handler=handler,
            policy="get_router",
            body=dict[str, Any],
        )
        for name, handler in (
            ("add_extraroutes", add_routes),
            ("remove_extraroutes", remove_routes),
        )
    ),
)
