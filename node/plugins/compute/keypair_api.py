"""Key pairs: list, create, import, show, delete. They belong to users, not to projects.

Source: https://docs.openstack.org/api-ref/compute/#keypairs-keypairs
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import keypair_rules, keypair_view, listing
from node.plugins.compute.checks import Name
from node.plugins.compute.faults import unexpected
from node.plugins.compute.quota_rules import limits_of
from node.plugins.compute.server_ops import quota_counter
from node.plugins.compute.tables import Keypair
from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Count,
    Forbidden,
    Frozen,
    NodeError,
    NotFound,
    Refused,
    Reply,
    Route,
    check,
    insert,
)
from node.sdk import delete as delete_row

_POLICY = "os_compute_api:os-keypairs"


class NewKeypair(Frozen, forbid_unknown_fields=True):
    """`keypair` of a create request."""

    name: Name
    public_key: Annotated[str, msgspec.Meta(max_length=16384)] | UnsetType = UNSET
    type: Literal["ssh", "x509"] | UnsetType = UNSET
    user_id: Name | UnsetType = UNSET


class CreateBody(Frozen, forbid_unknown_fields=True):
    """Body of POST /os-keypairs."""

    keypair: NewKeypair


def _owner(ctx: Context, verb: str, wanted: str | UnsetType | None) -> str:
    """Return whose key pairs are meant: the caller's, or from 2.10 on those of a named user."""
    user_id = wanted if isinstance(wanted, str) else ctx.token.user_id
    ctx.require(f"{_POLICY}:{verb}", {"user_id": user_id})
    return user_id


def _queried(ctx: Context) -> str | None:
    return ctx.param("user_id") if ctx.microversion >= (2, 10) else None


def find(ctx: Context, user_id: str, name: str) -> Keypair:
    """Return a key pair.

    Raises:
        NotFound: 404.
    """
    pair = ctx.db.get(Keypair, f"{user_id}/{name}")
    if pair is None:
        raise NotFound(f"Keypair {name} not found for user {user_id}")
    return pair


def index(ctx: Context) -> dict[str, Any]:
    """List a user's key pairs."""
    listing.check_query(ctx, "user_id", "limit", "marker")
    user_id = _owner(ctx, "index", _queried(ctx))
    rows = sorted(ctx.db.rows(Keypair, user_id=user_id), key=lambda pair: pair.name)
    links: dict[str, Any] = {}
    if ctx.microversion >= (2, 35):
        rows, links = listing.page(ctx, rows, key=lambda pair: pair.name, collection="keypairs")
    return {"keypairs": [{"keypair": keypair_view.summary(ctx, pair)} for pair in rows], **links}


def create(ctx: Context) -> Reply:
    """Create a key pair or import a public key."""
    new: NewKeypair = ctx.body.keypair
    version = ctx.microversion
    for field, since in (("type", (2, 2)), ("user_id", (2, 10))):
        if version < since and getattr(new, field) is not UNSET:
            raise unexpected(field)
    if version >= (2, 92) and new.public_key is UNSET:
        raise BadRequest(
            "Invalid input for field/attribute keypair. 'public_key' is a required property"
        )
    user_id = _owner(ctx, "create", new.user_id)
    keypair_rules.check_name(new.name, version)
    x509 = new.type == "x509"
    private_key = None
    public_key = new.public_key
    if public_key is UNSET:
        private_key, public_key = (
            keypair_rules.generate_x509(user_id, ctx.now()) if x509 else keypair_rules.generate()
        )
    fingerprint = keypair_rules.x509_fingerprint if x509 else keypair_rules.fingerprint
    pair = Keypair(
        id=f"{user_id}/{new.name}",
        user_id=user_id,
        name=new.name,
        type="x509" if x509 else "ssh",
        public_key=str(public_key),
        fingerprint=fingerprint(str(public_key)),
        created_at=ctx.now(),
    )
    _insert(ctx, pair)
    status = 201 if version >= (2, 2) else 200
    return Reply(status=status, body={"keypair": keypair_view.created(ctx, pair, private_key)})


def _insert(ctx: Context, pair: Keypair) -> None:
    limit = limits_of(ctx.db, ctx.project_id)["key_pairs"]

    def refused(outcome: Refused) -> NodeError | None:
        if outcome.reason == "limit":
            return Forbidden("Quota exceeded, too many key pairs.")
        return Conflict(f"Key pair '{pair.name}' already exists.")

    counter = Count(quota_counter(pair.user_id, "key_pairs"), 1, limit)
    ctx.transact(lambda: ([insert(pair), counter], None), refused=refused)


def show(ctx: Context, name: str) -> dict[str, Any]:
    """Show a key pair."""
    user_id = _owner(ctx, "show", _queried(ctx))
    return {"keypair": keypair_view.detail(ctx, find(ctx, user_id, name))}


def delete(ctx: Context, name: str) -> Reply:
    """Delete a key pair."""
    user_id = _owner(ctx, "delete", _queried(ctx))

    def plan() -> tuple[list[Any], None]:
        pair = find(ctx, user_id, name)
        gone = delete_row(Keypair, pair.id, must_exist=True)
        return [check(pair), gone, Count(quota_counter(user_id, "key_pairs"), -1)], None

    ctx.transact(plan, frees=True)
    return Reply(status=204 if ctx.microversion >= (2, 2) else 202)


ROUTES = (
    Route(method="GET", path="/v2.1/os-keypairs", handler=index, policy=f"{_POLICY}:index"),
    Route(
        method="POST",
        path="/v2.1/os-keypairs",
        handler=create,
        policy=f"{_POLICY}:create",
        body=CreateBody,
    ),
    Route(method="GET", path="/v2.1/os-keypairs/{name}", handler=show, policy=f"{_POLICY}:show"),
    Route(
        method="DELETE",
        path="/v2.1/os-keypairs/{name}",
        handler=delete,
        policy=f"{_POLICY}:delete",
        status=202,
    ),
)
