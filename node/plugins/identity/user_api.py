"""Users: create, list, show, update, delete, change the password.

Source: https://docs.openstack.org/api-ref/identity/v3/#users
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from node.plugins.identity.bodies import UserBody, changes, given, parse
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.compliance_rules import expiry, history, prove, refuse_reuse
from node.plugins.identity.directory import directory
from node.plugins.identity.domain_rules import home_domain, listing_domain, must_be_domain
from node.plugins.identity.faults import missing, unauthenticated
from node.plugins.identity.listing import Filters, collection, filtered
from node.plugins.identity.password_rules import MAX_PASSWORD_LENGTH, Passwords
from node.plugins.identity.removal_rules import user_ops
from node.plugins.identity.tables import Project, User
from node.plugins.identity.user_bodies import PasswordBody, UserCreate, UserOptions, UserUpdate
from node.plugins.identity.user_view import user_view
from node.sdk import AnyOp, BadRequest, Context, Forbidden, Route

_FILTERS = Filters(exact=("name", "domain_id", "id"), flags=("enabled",))


def target_of_body(ctx: Context, user_id: str = "") -> Mapping[str, Any]:
    """Return what the policy of a new user is asked about."""
    del user_id
    return {"target.user.domain_id": ctx.body.user.get("domain_id") or home_domain(ctx)}


def target(ctx: Context, user_id: str) -> Mapping[str, Any]:
    """Return what the policy of a user is asked about; one that does not exist is nobody's."""
    user = directory(ctx.db).get(User, user_id)
    if user is None:
        return {}
    return {"target.user.id": user.id, "target.user.domain_id": user.domain_id}


def target_of_list(ctx: Context) -> Mapping[str, Any]:
    """Return what the policy of a listing is asked about."""
    return {"target.domain_id": listing_domain(ctx)}


def create_user(passwords: Passwords, ctx: Context) -> dict[str, Any]:
    """Create a user."""
    body, extra = parse("user", ctx.body.user, UserCreate)
    domain_id = given(body.domain_id) or home_domain(ctx)
    default_project_id = _default_project(ctx, given(body.default_project_id))
    password = _checked_password(given(body.password))
    options = _options({}, given(body.options))
    user = User(
        id=ctx.ids.hex(),
        name=body.name,
        domain_id=domain_id,
        enabled=given(body.enabled, True),
        default_project_id=default_project_id,
        description=given(body.description),
        password_hash=passwords.hash(password) if password is not None else "",
        password_expires_at=expiry(ctx, options) if password is not None else 0,
        options=options,
        extra=extra,
        **stamps(ctx),
    )
    create(
        ctx,
        "user",
        user,
        name=user.name,
        domain_id=domain_id,
        rests_on=lambda: [must_be_domain(ctx, domain_id)],
    )
    return {"user": user_view(ctx, user)}


def _checked_password(password: str | None) -> str | None:
    if password is not None and len(password) > MAX_PASSWORD_LENGTH:
        raise BadRequest(
            f"Invalid input for field 'password': it is longer than {MAX_PASSWORD_LENGTH} characters"
        )
    return password


def _default_project(ctx: Context, project_id: str | None) -> str:
    if not project_id:
        return ""
    project = ctx.db.get(Project, project_id)
    if project is None:
        raise missing("project", project_id)
    if project.is_domain:
        raise BadRequest(f"User's default project ID cannot be a domain: {project_id}")
    return project_id


def _options(held: dict[str, Any], sent: UserOptions | None) -> dict[str, Any]:
    merged = {**held, **changes(sent)}
    return {name: value for name, value in merged.items() if value is not None}


def list_users(ctx: Context) -> dict[str, Any]:
    """List users; with a domain's token only those of the domain."""
    scope: dict[str, Any] = {"domain_id": ctx.token.domain_id} if ctx.token.domain_id else {}
    if not scope and (wanted := ctx.param("domain_id")):
        scope["domain_id"] = wanted
    if name := ctx.param("name"):
        scope["name"] = name
    rows = filtered(ctx, ctx.db.rows(User, **scope), _FILTERS)
    return collection(ctx, "users", rows, lambda user: user_view(ctx, user))


def show_user(ctx: Context, user_id: str) -> dict[str, Any]:
    """Show a user."""
    return {"user": user_view(ctx, find(ctx, User, "user", user_id))}


def update_user(passwords: Passwords, ctx: Context, user_id: str) -> dict[str, Any]:
    """Change a user. A new password, or disabling, ends all of the user's tokens."""
    body, extra = parse("user", ctx.body.user, UserUpdate)
    if ctx.body.user.get("id", user_id) != user_id:
        raise BadRequest("Cannot change user ID")
    sent = changes(body)
    domain_id, options = sent.pop("domain_id", None), sent.pop("options", None)
    sent.pop("original_password", None)
    if "default_project_id" in sent:
        sent["default_project_id"] = _default_project(ctx, sent["default_project_id"])
    if "password" in sent:
        password = _checked_password(sent.pop("password"))
        sent["password_hash"] = passwords.hash(password) if password is not None else ""
        sent["tokens_valid_from"] = ctx.now()
    if sent.get("enabled") is False:
        sent["tokens_valid_from"] = ctx.now()

    def fields_of(user: User) -> dict[str, Any]:
        if domain_id not in (None, user.domain_id):
            raise BadRequest("Cannot change Domain ID")
        merged = _options(user.options, options)
        renewed: dict[str, Any] = {}
        if "password_hash" in sent:
            renewed["password_history"] = history(ctx, user)
            renewed["password_expires_at"] = expiry(ctx, merged) if sent["password_hash"] else 0
        return {**sent, **renewed, "extra": {**user.extra, **extra}, "options": merged}

    user = update(ctx, User, "user", user_id, fields_of, name=sent.get("name", ""))
    return {"user": user_view(ctx, user)}


def change_password(passwords: Passwords, ctx: Context, user_id: str) -> None:
    """Change one's own password by showing the present one.

    Raises:
        Unauthorized: 401, the present password is another, or there is no such user.
    """
    body = ctx.body.user
    user = prove(passwords, ctx, ctx.db.get(User, user_id), body.original_password)
    if user.options.get("lock_password"):
        raise Forbidden(
            f"The password of user {user_id} is locked: an administrator has to change it."
        )
    refuse_reuse(passwords, ctx, user, body.password)
    password_hash = passwords.hash(_checked_password(body.password) or "")

    def fields_of(row: User) -> dict[str, Any]:
        if row.password_hash != user.password_hash:
            raise unauthenticated()
        return {
            "password_hash": password_hash,
            "password_history": history(ctx, row),
            "password_expires_at": expiry(ctx, row.options),
            "tokens_valid_from": ctx.now(),
        }

    update(ctx, User, "user", user_id, fields_of)


def delete_user(ctx: Context, user_id: str) -> None:
    """Delete a user and everything of the user's own."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        return user_ops(ctx.db, find(ctx, User, "user", user_id)), None

    ctx.transact(plan, frees=True)


def routes(passwords: Passwords) -> tuple[Route, ...]:
    """Return the routes of users."""
    one = "/v3/users/{user_id}"
    return (
        Route(
            method="POST",
            path="/v3/users",
            handler=partial(create_user, passwords),
            policy="identity:create_user",
            target=target_of_body,
            status=201,
            body=UserBody,
            summary="Create a user",
        ),
        Route(
            method="GET",
            path="/v3/users",
            handler=list_users,
            policy="identity:list_users",
            target=target_of_list,
        ),
        Route(method="GET", path=one, handler=show_user, policy="identity:get_user", target=target),
        Route(
            method="PATCH",
            path=one,
            handler=partial(update_user, passwords),
            policy="identity:update_user",
            target=target,
            body=UserBody,
            summary="Change a user",
        ),
        Route(
            method="DELETE",
            path=one,
            handler=delete_user,
            policy="identity:delete_user",
            target=target,
            status=204,
        ),
        Route(
            method="POST",
            path=one + "/password",
            handler=partial(change_password, passwords),
            policy="public",
            status=204,
            body=PasswordBody,
            summary="Change one's own password",
        ),
    )
