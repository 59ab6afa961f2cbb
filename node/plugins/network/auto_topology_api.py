"""A network behind a router, made for a project when it asks for the first time.

What it takes is made by the service's own calls, with the caller's rights and quota; the row of the topology, inserted
last, decides between two who ask at once: the slower one takes its own away again.

Source: https://docs.openstack.org/api-ref/network/v2/#auto-allocated-topology
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from node.plugins.network.faults import conflict, not_found
from node.plugins.network.sharing_rules import NetworkSight, is_admin
from node.plugins.network.tables import AutoTopology, Network, SubnetPool
from node.sdk import (
    Applied,
    BadRequest,
    Context,
    NodeError,
    Route,
    Unavailable,
    delete,
    insert,
)

_FAILURE = "AutoAllocationFailure"
_NAMES = {"networks": "auto_allocated_network", "routers": "auto_allocated_router"}


def show(ctx: Context, topology_id: str) -> dict[str, Any]:
    """Return the project's topology, made now where there is none; `fields=dry-run` only looks whether it could be."""
    owner = _owner(ctx, topology_id)
    external, pools = _what_it_takes(ctx)
    if "dry-run" in ctx.params.get("fields", []):
        return _view(owner, "dry-run=pass")
    row = ctx.db.get(AutoTopology, owner)
    if row is not None and ctx.db.get(Network, row.network_id) is not None:
        return _view(owner, row.network_id)
    if owner != ctx.project_id:
        raise BadRequest("A topology is made with a token of the project that it is for.")
    return _view(owner, _make(ctx, owner, external, pools, row))


def remove(ctx: Context, topology_id: str) -> None:
    """Take a project's topology away."""
    owner = _owner(ctx, topology_id)
    row = ctx.db.get(AutoTopology, owner)
    if row is None:
        raise not_found("HTTPNotFound", f"There is no auto allocated topology of project {owner}")
    for subnet_id in row.subnet_ids:
        _ask(
            ctx,
            "PUT",
            f"/routers/{row.router_id}/remove_router_interface",
            {"subnet_id": subnet_id},
            gone=True,
        )
    _ask(ctx, "DELETE", f"/routers/{row.router_id}", gone=True)
    _ask(ctx, "DELETE", f"/networks/{row.network_id}", gone=True)
    ctx.transact(lambda: ([delete(AutoTopology, owner)], None), frees=True)


def _owner(ctx: Context, project_id: str) -> str:
    if project_id in ("null", "None", ctx.project_id):
        return ctx.project_id
    if not is_admin(ctx):
        raise not_found("HTTPNotFound", "The resource could not be found.")
    return project_id


def _what_it_takes(ctx: Context) -> tuple[str, list[SubnetPool]]:
    """Return the external network and the subnet pools that an administrator has made the default ones.

    Raises:
        Conflict: 409, there is none.
    """
    sight = NetworkSight(ctx)
    externals = [n for n in ctx.db.rows(Network, external=True) if n.is_default and sight.sees(n)]
    if not externals:
        raise conflict(_FAILURE, "Deployment error: No default router:external network.")
    pools = [pool for pool in ctx.db.rows(SubnetPool) if pool.is_default]
    if not pools:
        raise conflict(_FAILURE, "Deployment error: No default pools.")
    return externals[0].id, pools


def _view(project_id: str, network_id: str) -> dict[str, Any]:
    return {
        "auto_allocated_topology": {
            "id": network_id,
            "tenant_id": project_id,
            "project_id": project_id,
        }
    }


def _ask(ctx: Context, method: str, path: str, json: Any = None, *, gone: bool = False) -> Any:
    answer = ctx.ask(method, f"/network/v2.0{path}", json=json)
    if answer.status < 300 or (gone and answer.status == 404):
        return answer.body
    if answer.status >= 500:
        raise Unavailable(answer.message)
    raise conflict(_FAILURE, f"Unable to provide the topology: {answer.message}")


def _make(
    ctx: Context, owner: str, external: str, pools: list[SubnetPool], stale: AutoTopology | None
) -> str:
    with _undone_on_failure(ctx) as made:
        network = _ask(ctx, "POST", "/networks", {"network": {"name": _NAMES["networks"]}})[
            "network"
        ]
        made.append(("DELETE", f"/networks/{network['id']}", None))
        subnet_ids = []
        for pool in pools:
            wish = {
                "network_id": network["id"],
                "subnetpool_id": pool.id,
                "ip_version": pool.ip_version,
                "name": f"auto_allocated_subnet_v{pool.ip_version}",
            }
            if pool.ip_version == 6:
                wish |= {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
            subnet_ids.append(_ask(ctx, "POST", "/subnets", {"subnet": wish})["subnet"]["id"])
        gateway = {"name": _NAMES["routers"], "external_gateway_info": {"network_id": external}}
        router = _ask(ctx, "POST", "/routers", {"router": gateway})["router"]
        made.append(("DELETE", f"/routers/{router['id']}", None))
        path = f"/routers/{router['id']}"
        for subnet_id in subnet_ids:
            body = {"subnet_id": subnet_id}
            _ask(ctx, "PUT", f"{path}/add_router_interface", body)
            made.append(("PUT", f"{path}/remove_router_interface", body))
        row = AutoTopology(
            id=owner,
            network_id=network["id"],
            router_id=router["id"],
            subnet_ids=subnet_ids,
            created_at=ctx.now(),
            updated_at=ctx.now(),
        )
        old = [delete(AutoTopology, owner, must_exist=True)] if stale is not None else []
        if isinstance(ctx.commit([*old, insert(row)]), Applied):
            return str(network["id"])
        winner = ctx.db.get(AutoTopology, owner)
        if winner is None:
            raise conflict(_FAILURE, "The topology is being deleted: try again.")
        _undo(ctx, made)
        return winner.network_id


@contextlib.contextmanager
def _undone_on_failure(ctx: Context) -> Iterator[list[tuple[str, str, Any]]]:
    made: list[tuple[str, str, Any]] = []
    try:
        yield made
    except NodeError:
        _undo(ctx, made)
        raise


def _undo(ctx: Context, made: list[tuple[str, str, Any]]) -> None:
    """Take back what was made, the last thing first; what cannot be taken back stays the project's."""
    for method, path, json in reversed(made):
        ctx.ask(method, f"/network/v2.0{path}", json=json)


_ONE = "/v2.0/auto-allocated-topology/{topology_id}"

ROUTES = (
    Route(method="GET", path=_ONE, handler=show, policy="get_auto_allocated_topology"),
    Route(
        method="DELETE",
        path=_ONE,
        handler=remove,
        policy="delete_auto_allocated_topology",
        status=204,
    ),
)
