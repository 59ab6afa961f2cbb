"""Access rules: the requests to which application credentials are limited.

Source: https://docs.openstack.org/api-ref/identity/v3/#access-rules
"""

from collections.abc import Sequence
from typing import Any, Literal

from node.plugins.identity.application_credential_view import access_rule_view
from node.plugins.identity.change_rules import stamps
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.tables import AccessRule, ApplicationCredential, StoredAccessRule
from node.sdk import AnyOp, BadRequest, Context, Forbidden, Frozen, Route, delete, insert

_FILTERS = Filters(exact=("service", "path", "method"))


class AccessRuleBody(Frozen, forbid_unknown_fields=True):
    """A rule by the id of one that the user has, or a new one."""

    id: str | None = None
    service: str = ""
    path: str = ""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", ""] = ""


def resolve_rules(
    ctx: Context, user_id: str, wanted: Sequence[AccessRuleBody]
) -> tuple[tuple[AccessRule, ...], list[AnyOp]]:
    """Return the rules of a new credential, and the operations that store those that are new.

    Raises:
        BadRequest: 400, a rule is not complete or names one that the user does not have.
    """
    held = ctx.db.rows(StoredAccessRule, user_id=user_id)
    rules: list[AccessRule] = []
    ops: list[AnyOp] = []
    for given in wanted:
        if given.id:
            row = next((other for other in held if other.id == given.id), None)
            if row is None:
                raise BadRequest(f"Could not find access rule: {given.id}.")
        else:
            if not (given.service and given.path.startswith("/") and given.method):
                raise BadRequest(
                    "An access rule needs a service, a method and a path that begins with a slash."
                )
            key = (given.service, given.path, given.method)
            row = next(
                (other for other in held if (other.service, other.path, other.method) == key), None
            )
            if row is None:
                row = StoredAccessRule(
                    id=ctx.ids.hex(),
                    user_id=user_id,
                    service=given.service,
                    path=given.path,
                    method=given.method,
                    **stamps(ctx),
                )
                held.append(row)
                ops.append(insert(row))
        rules.append(AccessRule(id=row.id, service=row.service, path=row.path, method=row.method))
    return tuple(rules), ops


def list_rules(ctx: Context, user_id: str) -> dict[str, Any]:
    """List a user's access rules."""
    rows = filtered(ctx, ctx.db.rows(StoredAccessRule, user_id=user_id), _FILTERS)
    return collection(ctx, "access_rules", rows, lambda row: _view(ctx, row))


def _view(ctx: Context, row: StoredAccessRule) -> dict[str, Any]:
    link = ctx.url(f"/v3/users/{row.user_id}/access_rules/{row.id}")
    return {**access_rule_view(row), "links": {"self": link}}


def _find(ctx: Context, user_id: str, ident: str) -> StoredAccessRule:
    row = ctx.db.get(StoredAccessRule, ident)
    if row is None or row.user_id != user_id:
        raise missing("access rule", ident)
    return row


def show_rule(ctx: Context, user_id: str, access_rule_id: str) -> dict[str, Any]:
    """Show an access rule."""
    return {"access_rule": _view(ctx, _find(ctx, user_id, access_rule_id))}


def delete_rule(ctx: Context, user_id: str, access_rule_id: str) -> None:
    """Delete an access rule that no credential uses."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = _find(ctx, user_id, access_rule_id)
        for credential in ctx.db.rows(ApplicationCredential, user_id=user_id):
            if any(rule.id == row.id for rule in credential.access_rules or ()):
                raise Forbidden(
                    f"The access rule {row.id} is in use by the application credential {credential.id}."
                )
        return [delete(StoredAccessRule, row.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


_ALL = "/v3/users/{user_id}/access_rules"
_ONE = _ALL + "/{access_rule_id}"

ROUTES = (
    Route(method="GET", path=_ALL, handler=list_rules, policy="identity:list_access_rules"),
    Route(method="GET", path=_ONE, handler=show_rule, policy="identity:get_access_rule"),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_rule,
        policy="identity:delete_access_rule",
        status=204,
    ),
)
