"""`/v2.0/subnetpools`.

Source: https://docs.openstack.org/api-ref/network/v2/#subnet-pools-extension-subnetpools
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from node.plugins.network import quota_rules, rbac_rules
from node.plugins.network import subnetpool_rules as rules
from node.plugins.network.address_scope_api import OfferSight, find_scope
from node.plugins.network.attributes import (
    Wish,
    check_attributes,
    parse_create,
    parse_update,
)
from node.plugins.network.collection import collection
from node.plugins.network.faults import bad, bad_request, conflict, disallowed, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.revise import revise, stamps
from node.plugins.network.sharing_rules import is_admin, offered
from node.plugins.network.subnet_view import pool_view
from node.plugins.network.tables import Subnet, SubnetPool
from node.sdk import AnyOp, Context, Reply, check, delete, insert

_COLUMNS = {"id": "id", "name": "name", "project_id": "project_id"}


def list_pools(ctx: Context) -> dict[str, Any]:
    """List the subnet pools of the project and those offered to it."""
    ask = Ask(ctx, rules.KIND, rules.KIND.by_name)
    sight = OfferSight(ctx, "subnetpool")
    rows = ctx.db.rows(SubnetPool, **ask.columns(_COLUMNS))
    return ask.answer(
        [pool_view(row, shared=sight.shared(row)) for row in rows if sight.sees(row)], {}
    )


def show_pool(ctx: Context, subnetpool_id: str) -> dict[str, Any]:
    """Show one subnet pool."""
    row, sight = _find_pool(ctx, subnetpool_id)
    return shown(ctx, rules.KIND, pool_view(row, shared=sight.shared(row)))


def create_pools(ctx: Context) -> Reply:
    """Create one subnet pool or several."""
    wishes, bulk = parse_create(ctx, rules.KIND)
    for wish in wishes:
        check_attributes(ctx, "create_subnetpool", wish.given, {"project_id": wish["project_id"]})

    def plan() -> tuple[list[AnyOp], list[SubnetPool]]:
        ops: list[AnyOp] = []
        rows = []
        for wish in wishes:
            row = _new_pool(ctx, wish)
            _refuse_second_default(ctx, row)
            ops += [quota_rules.take(ctx.db, row.project_id, "subnetpool"), insert(row)]
            rows.append(row)
        return ops, rows

    items = [pool_view(row, shared=row.shared) for row in ctx.transact(plan)]
    return Reply(status=201, body={"subnetpools": items} if bulk else {"subnetpool": items[0]})


def update_pool(ctx: Context, subnetpool_id: str) -> dict[str, Any]:
    """Change a subnet pool; prefixes may only be added."""
    wish = parse_update(ctx, rules.KIND, {"project_id": ctx.project_id})
    row, sight = _find_pool(ctx, subnetpool_id)
    target = {"project_id": row.project_id}
    ctx.require("update_subnetpool", target, hidden=disallowed("update_subnetpool"))

    def plan() -> tuple[list[AnyOp], SubnetPool]:
        pool, _ = _find_pool(ctx, subnetpool_id)
        changes = _pool_changes(ctx, pool, wish)
        ops, changed = revise(ctx, pool, **changes)
        _refuse_second_default(ctx, changed)
        return ops, changed

    new = ctx.transact(plan)
    return {"subnetpool": pool_view(new, shared=sight.shared(new))}


def delete_pool(ctx: Context, subnetpool_id: str) -> None:
    """Delete a subnet pool; refused while subnets are cut from it."""
    row, _ = _find_pool(ctx, subnetpool_id)
    target = {"project_id": row.project_id}
    ctx.require("delete_subnetpool", target, hidden=disallowed("delete_subnetpool"))

    def plan() -> tuple[list[AnyOp], None]:
        pool, _ = _find_pool(ctx, subnetpool_id)
        if ctx.db.count(Subnet, subnetpool_id=pool.id):
            raise bad(
                "SubnetPoolDeleteError",
                "Unable to delete subnet pool: Subnet pool has existing allocations.",
            )
        back = quota_rules.give_back(pool.project_id, "subnetpool")
        return [
            check(pool),
            delete(SubnetPool, pool.id),
            *rbac_rules.object_ops(ctx.db, pool.id),
            back,
        ], None

    ctx.transact(plan, frees=True)


def _find_pool(ctx: Context, ident: str) -> tuple[SubnetPool, OfferSight]:
    sight = OfferSight(ctx, "subnetpool")
    row = ctx.db.get(SubnetPool, ident)
    if row is None or not sight.sees(row):
        raise missing("subnetpool", ident)
    return row, sight


def _new_pool(ctx: Context, wish: Wish) -> SubnetPool:
    version, prefixes = rules.prefixes_of(wish["prefixes"])
    lowest = wish["min_prefixlen"] or (8 if version == 4 else 64)
    highest = wish["max_prefixlen"] or (32 if version == 4 else 128)
    default = wish["default_prefixlen"] or lowest
    rules.check_lengths(version, lowest, default, highest)
    _check_scope(ctx, wish["address_scope_id"], version, prefixes, "")
    return SubnetPool(
        id=ctx.ids.uuid(),
        project_id=wish["project_id"],
        name=wish["name"],
        description=wish["description"],
        ip_version=version,
        prefixes=prefixes,
        min_prefixlen=lowest,
        default_prefixlen=default,
        max_prefixlen=highest,
        default_quota=-1 if wish["default_quota"] is None else wish["default_quota"],
        shared=wish["shared"],
        is_default=wish["is_default"],
        address_scope_id=wish["address_scope_id"],
        tags=wish.get("tags", ()),
        **stamps(ctx),
    )


def _pool_changes(ctx: Context, pool: SubnetPool, wish: Wish) -> dict[str, Any]:
    names = ("name", "description", "is_default", "address_scope_id")
    changes = wish.fields({name: name for name in names})
    if "default_quota" in wish:
        changes["default_quota"] = -1 if wish["default_quota"] is None else wish["default_quota"]
    for name in ("min_prefixlen", "default_prefixlen", "max_prefixlen"):
        if wish.get(name) is not None:
            changes[name] = wish[name]
    bounds = [
        changes.get(n, getattr(pool, n))
        for n in ("min_prefixlen", "default_prefixlen", "max_prefixlen")
    ]
    rules.check_lengths(pool.ip_version, *bounds)
    if "prefixes" in wish:
        version, prefixes = rules.prefixes_of(wish["prefixes"])
        wider = [ipaddress.ip_network(prefix) for prefix in prefixes]
        kept = all(
            any(ipaddress.ip_network(old).subnet_of(new) for new in wider)  # type: ignore[arg-type]
            for old in pool.prefixes
            if version == pool.ip_version
        )
        if version != pool.ip_version or not kept:
            raise bad(
                "IllegalSubnetPoolUpdate",
                "Illegal subnetpool update : Existing prefixes must be a subset of the new prefixes.",
            )
        changes["prefixes"] = prefixes
    if "prefixes" in changes or "address_scope_id" in changes:
        scope_id = changes.get("address_scope_id", pool.address_scope_id)
        _check_scope(
            ctx, scope_id, pool.ip_version, changes.get("prefixes", pool.prefixes), pool.id
        )
    return changes


def _check_scope(
    ctx: Context, ident: str, version: int, prefixes: Sequence[str], pool_id: str
) -> None:
    """Refuse an address scope that is not for this pool.

    Raises:
        AddressScopeNotFound: 404.
        IllegalSubnetPoolAssociationToAddressScope and its like: 400.
        AddressScopePrefixConflict: 409.
    """
    if not ident:
        return
    scope = find_scope(ctx, ident)[0]
    offered_to_us = ident in offered(ctx.db, "address_scope", ctx.project_id)
    if not (is_admin(ctx) or scope.project_id == ctx.project_id or offered_to_us):
        raise bad(
            "IllegalSubnetPoolAssociationToAddressScope",
            f"Illegal subnetpool association: subnetpool {pool_id} cannot be associated with address scope {ident}.",
        )
    if scope.ip_version != version:
        raise bad(
            "IllegalSubnetPoolIpVersionAssociation",
            f"Illegal subnetpool association: subnetpool {pool_id} cannot be associated with address scope {ident} "
            f"because subnetpool ip_version is not {scope.ip_version}.",
        )
    others = [p for p in ctx.db.rows(SubnetPool, address_scope_id=ident) if p.id != pool_id]
    if rules.meet(prefixes, [prefix for other in others for prefix in other.prefixes]):
        raise conflict(
            "AddressScopePrefixConflict",
            "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.",
        )


def _refuse_second_default(ctx: Context, pool: SubnetPool) -> None:
    """Refuse a second default pool of one IP version."""
    for other in ctx.db.rows(SubnetPool):
        if (
            pool.is_default
            and other.is_default
            and other.id != pool.id
            and other.ip_version == pool.ip_version
        ):
            raise bad_request(
                "subnetpools",
                f"A default subnetpool for IPv{pool.ip_version} has already been set: {other.id}",
            )


ROUTES = collection(
    "subnetpool",
    "subnetpools",
    index=list_pools,
    create=create_pools,
    show=show_pool,
    update=update_pool,
    remove=delete_pool,
)
