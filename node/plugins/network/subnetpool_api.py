"""`/v2.0/subnetpools` and `/v2.0/address-scopes`.

Source: https://docs.openstack.org/api-ref/network/v2/#subnet-pools-extension-subnetpools
"""

import ipaddress
from typing import Any

from node.plugins.network import converters as to
from node.plugins.network import quota_rules
from node.plugins.network import subnetpool_rules as rules
from node.plugins.network.attributes import (
    REQUIRED,
    Attribute,
    Kind,
    Wish,
    check_attributes,
    parse_create,
    parse_update,
    standard,
)
from node.plugins.network.collection import collection
from node.plugins.network.faults import bad, bad_request, conflict, disallowed, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.revise import revise, stamps
from node.plugins.network.sharing_rules import is_admin, offered
from node.plugins.network.subnet_view import pool_view, scope_view
from node.plugins.network.tables import AddressScope, Subnet, SubnetPool
from node.sdk import AnyOp, Context, Reply, check, delete, insert

SCOPE_KIND = Kind(
    name="address_scope",
    plural="address_scopes",
    attributes=(
        *(a for a in standard() if a.name in ("name", "project_id", "tenant_id", "id")),
        Attribute(name="ip_version", convert=to.one_of((4, 6)), put=False, default=REQUIRED),
        Attribute(name="shared", convert=to.boolean, default=False),
    ),
)

_COLUMNS = {"id": "id", "name": "name", "project_id": "project_id"}


class _Sight:
    """The pools or scopes that one caller sees."""

    def __init__(self, ctx: Context, object_type: str) -> None:
        self._admin = is_admin(ctx)
        self._project_id = ctx.project_id
        self._offered = offered(ctx.db, object_type, ctx.project_id)

    def shared(self, row: SubnetPool | AddressScope) -> bool:
        return row.shared or row.id in self._offered

    def sees(self, row: SubnetPool | AddressScope) -> bool:
        return self._admin or row.project_id == self._project_id or self.shared(row)


def list_pools(ctx: Context) -> dict[str, Any]:
    """List the subnet pools of the project and those offered to it."""
    ask = Ask(ctx, rules.KIND, rules.KIND.by_name)
    sight = _Sight(ctx, "subnetpool")
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
    row, sight = _find_pool(ctx, subnetpool_id)
    target = {"project_id": row.project_id}
    ctx.require("update_subnetpool", target, hidden=disallowed("update_subnetpool"))
    wish = parse_update(ctx, rules.KIND, target)

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
        return [check(pool), delete(SubnetPool, pool.id), back], None

    ctx.transact(plan, frees=True)


def list_scopes(ctx: Context) -> dict[str, Any]:
    """List the address scopes of the project and those offered to it."""
    ask = Ask(ctx, SCOPE_KIND, SCOPE_KIND.by_name)
    sight = _Sight(ctx, "address_scope")
    rows = ctx.db.rows(AddressScope, **ask.columns(_COLUMNS))
    return ask.answer(
        [scope_view(row, shared=sight.shared(row)) for row in rows if sight.sees(row)], {}
    )


def show_scope(ctx: Context, address_scope_id: str) -> dict[str, Any]:
    """Show one address scope."""
    row, sight = _find_scope(ctx, address_scope_id)
    return shown(ctx, SCOPE_KIND, scope_view(row, shared=sight.shared(row)))


def create_scopes(ctx: Context) -> Reply:
    """Create one address scope or several."""
    wishes, bulk = parse_create(ctx, SCOPE_KIND)
    for wish in wishes:
        check_attributes(
            ctx, "create_address_scope", wish.given, {"project_id": wish["project_id"]}
        )

    def plan() -> tuple[list[AnyOp], list[AddressScope]]:
        rows = [
            AddressScope(
                id=ctx.ids.uuid(),
                project_id=wish["project_id"],
                name=wish["name"],
                ip_version=wish["ip_version"],
                shared=wish["shared"],
                **stamps(ctx),
            )
            for wish in wishes
        ]
        takes: list[AnyOp] = [
            quota_rules.take(ctx.db, row.project_id, "address_scope") for row in rows
        ]
        return [*takes, *(insert(row) for row in rows)], rows

    items = [scope_view(row, shared=row.shared) for row in ctx.transact(plan)]
    return Reply(
        status=201, body={"address_scopes": items} if bulk else {"address_scope": items[0]}
    )


def update_scope(ctx: Context, address_scope_id: str) -> dict[str, Any]:
    """Rename an address scope or share it."""
    row, sight = _find_scope(ctx, address_scope_id)
    target = {"project_id": row.project_id}
    ctx.require("update_address_scope", target, hidden=disallowed("update_address_scope"))
    wish = parse_update(ctx, SCOPE_KIND, target)

    def plan() -> tuple[list[AnyOp], AddressScope]:
        scope, _ = _find_scope(ctx, address_scope_id)
        if scope.shared and wish.get("shared") is False:
            raise conflict(
                "AddressScopeUpdateError",
                f"Unable to update address scope {scope.id} : Shared address scope can't be unshared.",
            )
        return revise(ctx, scope, **wish.fields({"name": "name", "shared": "shared"}))

    new = ctx.transact(plan)
    return {"address_scope": scope_view(new, shared=sight.shared(new))}


def delete_scope(ctx: Context, address_scope_id: str) -> None:
    """Delete an address scope; 409 while a subnet pool is in it."""
    row, _ = _find_scope(ctx, address_scope_id)
    target = {"project_id": row.project_id}
    ctx.require("delete_address_scope", target, hidden=disallowed("delete_address_scope"))

    def plan() -> tuple[list[AnyOp], None]:
        scope, _ = _find_scope(ctx, address_scope_id)
        if ctx.db.count(SubnetPool, address_scope_id=scope.id):
            raise conflict(
                "AddressScopeInUse",
                f"Unable to complete operation on address scope {scope.id}. There are one or more subnet pools "
                "in use on the address scope.",
            )
        back = quota_rules.give_back(scope.project_id, "address_scope")
        return [check(scope), delete(AddressScope, scope.id), back], None

    ctx.transact(plan, frees=True)


def _find_pool(ctx: Context, ident: str) -> tuple[SubnetPool, _Sight]:
    sight = _Sight(ctx, "subnetpool")
    row = ctx.db.get(SubnetPool, ident)
    if row is None or not sight.sees(row):
        raise missing("subnetpool", ident)
    return row, sight


def _find_scope(ctx: Context, ident: str) -> tuple[AddressScope, _Sight]:
    sight = _Sight(ctx, "address_scope")
    row = ctx.db.get(AddressScope, ident)
    if row is None or not sight.sees(row):
        raise missing("address_scope", ident)
    return row, sight


def _new_pool(ctx: Context, wish: Wish) -> SubnetPool:
    version, prefixes = rules.prefixes_of(wish["prefixes"])
    lowest = wish["min_prefixlen"] or (8 if version == 4 else 64)
    highest = wish["max_prefixlen"] or (32 if version == 4 else 128)
    default = wish["default_prefixlen"] or lowest
    rules.check_lengths(version, lowest, default, highest)
    _check_scope(ctx, wish["address_scope_id"], version)
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
    if "address_scope_id" in changes:
        _check_scope(ctx, changes["address_scope_id"], pool.ip_version)
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
    return changes


def _check_scope(ctx: Context, ident: str, version: int) -> None:
    if ident and _find_scope(ctx, ident)[0].ip_version != version:
        raise bad(
            "IllegalSubnetPoolIpVersionAssociation",
            f"Illegal subnetpool association: subnetpool of IP version {version} cannot be associated with address "
            f"scope {ident} because subnetpool ip_version is not that of the address scope.",
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


ROUTES = (
    *collection(
        "subnetpool",
        "subnetpools",
        index=list_pools,
        create=create_pools,
        show=show_pool,
        update=update_pool,
        remove=delete_pool,
    ),
    *collection(
        "address_scope",
        "address-scopes",
        index=list_scopes,
        create=create_scopes,
        show=show_scope,
        update=update_scope,
        remove=delete_scope,
    ),
)
