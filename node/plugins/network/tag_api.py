"""`/v2.0/{resource}/{id}/tags` for every resource that has tags.

Source: https://docs.openstack.org/api-ref/network/v2/#standard-attributes-tag-extension
"""

from collections.abc import Callable
from typing import Any

from node.plugins.network import converters as to
from node.plugins.network import floatingip_api, network_api, port_api, secgroup_find, subnet_api
from node.plugins.network.faults import disallowed, missing, not_found
from node.plugins.network.revise import revise
from node.plugins.network.router_find import find_router
from node.plugins.network.sharing_rules import NetworkSight
from node.plugins.network.tables import Named, Network, SubnetPool
from node.sdk import AnyOp, BadRequest, Context, Reply, Route

Find = Callable[[Context, str], Named]


def _network(ctx: Context, ident: str) -> Named:
    return network_api.find(ctx, ident, NetworkSight(ctx))


def _security_group(ctx: Context, ident: str) -> Named:
    return secgroup_find.find(ctx, ident, secgroup_find.Sight(ctx))


def _subnetpool(ctx: Context, ident: str) -> Named:
    row = ctx.db.get(SubnetPool, ident)
    if row is None or not (row.project_id == ctx.project_id or row.shared or ctx.token.is_admin):
        raise missing("subnetpool", ident)
    return row


_FINDERS: tuple[tuple[str, str, Find], ...] = (
    ("networks", "network", _network),
    ("subnets", "subnet", subnet_api.find),
    ("ports", "port", port_api.find),
    ("routers", "router", find_router),
    ("floatingips", "floatingip", floatingip_api.find),
    ("security-groups", "security_group", _security_group),
    ("subnetpools", "subnetpool", _subnetpool),
)


class TagRoutes:
    """The tag endpoints of one resource type."""

    def __init__(self, path: str, resource: str, find: Find) -> None:
        self._path = path
        self._resource = resource
        self._find = find

    def list(self, ctx: Context, ident: str) -> dict[str, Any]:
        """List a resource's tags."""
        return {"tags": self._find(ctx, ident).tags}

    def show(self, ctx: Context, ident: str, tag: str) -> None:
        """Say whether a resource has a tag."""
        if tag not in self._find(ctx, ident).tags:
            raise not_found("TagNotFound", f"Tag {tag} could not be found.")

    def replace(self, ctx: Context, ident: str) -> dict[str, Any]:
        """Replace all tags of a resource."""
        given = ctx.body.get("tags")
        if not isinstance(given, list):
            raise BadRequest("Invalid input for tags. Reason: 'tags' is required and a list.")
        try:
            tags = to.tags(given)
        except ValueError as error:
            raise BadRequest(f"Invalid input for tags. Reason: {error}.") from error
        return {"tags": self._change(ctx, ident, lambda _old: tags)}

    def add(self, ctx: Context, ident: str, tag: str) -> Reply:
        """Add one tag."""
        try:
            to.tags([tag])
        except ValueError as error:
            raise BadRequest(f"Invalid input for tags. Reason: {error}.") from error
        self._change(ctx, ident, lambda old: old if tag in old else to.tags([*old, tag]))
        return Reply(status=201)

    def remove(self, ctx: Context, ident: str, tag: str) -> None:
        """Remove one tag."""
        self.show(ctx, ident, tag)
        self._change(ctx, ident, lambda old: tuple(item for item in old if item != tag))

    def clear(self, ctx: Context, ident: str) -> None:
        """Remove all tags."""
        self._change(ctx, ident, lambda _old: ())

    def routes(self) -> tuple[Route, ...]:
        """Return the endpoints."""
        many = f"/v2.0/{self._path}/{{ident}}/tags"
        one = many + "/{tag}"
        policy = f"get_{self._resource}"
        return (
            Route(method="GET", path=many, handler=self.list, policy=policy),
            Route(
                method="PUT", path=many, handler=self.replace, policy=policy, body=dict[str, Any]
            ),
            Route(method="DELETE", path=many, handler=self.clear, policy=policy, status=204),
            Route(method="GET", path=one, handler=self.show, policy=policy, status=204),
            Route(method="PUT", path=one, handler=self.add, policy=policy, status=201),
            Route(method="DELETE", path=one, handler=self.remove, policy=policy, status=204),
        )

    def _change(
        self, ctx: Context, ident: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]
    ) -> tuple[str, ...]:
        rule = f"update_{self._resource}"

        def plan() -> tuple[list[AnyOp], tuple[str, ...]]:
            row = self._find(ctx, ident)
            ctx.require(rule, _target(ctx, row), hidden=disallowed(rule))
            ops, new = revise(ctx, row, tags=change(row.tags))
            return ops, new.tags

        return ctx.transact(plan)


def _target(ctx: Context, row: Named) -> dict[str, Any]:
    network = ctx.db.get(Network, getattr(row, "network_id", ""))
    return {
        "project_id": row.project_id,
        "network:project_id": network.project_id if network else "",
    }


ROUTES = tuple(route for finder in _FINDERS for route in TagRoutes(*finder).routes())
