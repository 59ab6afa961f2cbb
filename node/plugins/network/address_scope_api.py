"""`/v2.0/address-scopes`.

Source: https://docs.openstack.org/api-ref/network/v2/#address-scopes
"""

from typing import Any

from node.plugins.network import converters as to
from node.plugins.network import quota_rules, rbac_rules
from node.plugins.network.attributes import (
    REQUIRED,
    Attribute,
    Kind,
    check_attributes,
    parse_create,
    parse_update,
    standard,
)
from node.plugins.network.collection import collection
from node.plugins.network.faults import bad, conflict, disallowed, missing
from node.plugins.network.listing import Ask, shown
from node.plugins.network.revise import revise, stamps
from node.plugins.network.sharing_rules import is_admin, offered
from node.plugins.network.subnet_view import scope_view
from node.plugins.network.tables import AddressScope, SubnetPool
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


class OfferSight:
    """The pools or scopes that one caller sees."""

    def __init__(self, ctx: Context, object_type: str) -> None:
        self._admin = is_admin(ctx)
        self._project_id = ctx.project_id
        self._offered = offered(ctx.db, object_type, ctx.project_id)

    def shared(self, row: SubnetPool | AddressScope) -> bool:
        """Return whether the row is shown as shared."""
        return row.shared or row.id in self._offered

    def sees(self, row: SubnetPool | AddressScope) -> bool:
        """Return whether the caller may know of the row."""
        return self._admin or row.project_id == self._project_id or self.shared(row)


def list_scopes(ctx: Context) -> dict[str, Any]:
    """List the address scopes of the project and those offered to it."""
    ask = Ask(ctx, SCOPE_KIND, SCOPE_KIND.by_name)
    sight = OfferSight(ctx, "address_scope")
    rows = ctx.db.rows(AddressScope, **ask.columns(_COLUMNS))
    return ask.answer(
        [scope_view(row, shared=sight.shared(row)) for row in rows if sight.sees(row)], {}
    )


def show_scope(ctx: Context, address_scope_id: str) -> dict[str, Any]:
    """Show one address scope."""
    row, sight = find_scope(ctx, address_scope_id)
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
    row, sight = find_scope(ctx, address_scope_id)
    target = {"project_id": row.project_id}
    ctx.require("update_address_scope", target, hidden=disallowed("update_address_scope"))
    wish = parse_update(ctx, SCOPE_KIND, target)

    def plan() -> tuple[list[AnyOp], AddressScope]:
        scope, _ = find_scope(ctx, address_scope_id)
        if scope.shared and wish.get("shared") is False:
            raise bad(
                "AddressScopeUpdateError",
                f"Unable to update address scope {scope.id} : Shared address scope can't be unshared.",
            )
        return revise(ctx, scope, **wish.fields({"name": "name", "shared": "shared"}))

    new = ctx.transact(plan)
    return {"address_scope": scope_view(new, shared=sight.shared(new))}


def delete_scope(ctx: Context, address_scope_id: str) -> None:
    """Delete an address scope; 409 while a subnet pool is in it."""
    row, _ = find_scope(ctx, address_scope_id)
    target = {"project_id": row.project_id}
    ctx.require("delete_address_scope", target, hidden=disallowed("delete_address_scope"))

    def plan() -> tuple[list[AnyOp], None]:
        scope, _ = find_scope(ctx, address_scope_id)
        if ctx.db.count(SubnetPool, address_scope_id=scope.id):
            raise conflict(
                "AddressScopeInUse",
                f"Unable to complete operation on address scope {scope.id}. There are one or more subnet pools "
                "in use on the address scope.",
            )
        back = quota_rules.give_back(scope.project_id, "address_scope")
        return [
            check(scope),
            delete(AddressScope, scope.id),
            *rbac_rules.object_ops(ctx.db, scope.id),
            back,
        ], None

    ctx.transact(plan, frees=True)


def find_scope(ctx: Context, ident: str) -> tuple[AddressScope, OfferSight]:
    """Return a scope that the caller sees, and what the caller sees.

    Raises:
        AddressScopeNotFound: 404.
    """
    sight = OfferSight(ctx, "address_scope")
    row = ctx.db.get(AddressScope, ident)
    if row is None or not sight.sees(row):
        raise missing("address_scope", ident)
    return row, sight


ROUTES = collection(
    "address_scope",
    "address-scopes",
    index=list_scopes,
    create=create_scopes,
    show=show_scope,
    update=update_scope,
    remove=delete_scope,
)
