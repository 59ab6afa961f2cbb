"""OAuth 1 consumers: registered here; the OAuth dance itself is not offered.

Source: https://docs.openstack.org/api-ref/identity/v3-ext/#os-oauth1-api
"""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import changes, given, parse
from node.plugins.identity.change_rules import create, find, stamps, update
from node.plugins.identity.listing import collection
from node.plugins.identity.tables import Consumer
from node.sdk import AnyOp, BadRequest, Context, Frozen, Route, delete


class ConsumerFields(Frozen):
    """What may be given for a consumer."""

    description: str | None | UnsetType = UNSET


class ConsumerBody(Frozen):
    """`{"consumer": {...}}`."""

    consumer: dict[str, Any]


def _view(ctx: Context, row: Consumer) -> dict[str, Any]:
    link = ctx.url(f"/v3/OS-OAUTH1/consumers/{row.id}")
    return {**row.extra, "id": row.id, "description": row.description, "links": {"self": link}}


def create_consumer(ctx: Context) -> dict[str, Any]:
    """Register a consumer; its secret is shown this once."""
    body, extra = parse("consumer", ctx.body.consumer, ConsumerFields)
    row = Consumer(
        id=ctx.ids.hex(),
        secret=ctx.ids.hex(),
        description=given(body.description),
        extra=extra,
        **stamps(ctx),
    )
    create(ctx, "consumer", row)
    return {"consumer": {**_view(ctx, row), "secret": row.secret}}


def list_consumers(ctx: Context) -> dict[str, Any]:
    """List consumers."""
    return collection(ctx, "consumers", ctx.db.rows(Consumer), lambda row: _view(ctx, row))


def show_consumer(ctx: Context, consumer_id: str) -> dict[str, Any]:
    """Show a consumer."""
    return {"consumer": _view(ctx, find(ctx, Consumer, "consumer", consumer_id))}


def update_consumer(ctx: Context, consumer_id: str) -> dict[str, Any]:
    """Change a consumer; its secret stays."""
    if "secret" in ctx.body.consumer:
        raise BadRequest("Additional properties are not allowed ('secret' was unexpected)")
    body, extra = parse("consumer", ctx.body.consumer, ConsumerFields)
    row = update(
        ctx,
        Consumer,
        "consumer",
        consumer_id,
        lambda held: {**changes(body), "extra": {**held.extra, **extra}},
    )
    return {"consumer": _view(ctx, row)}


def delete_consumer(ctx: Context, consumer_id: str) -> None:
    """Delete a consumer."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = find(ctx, Consumer, "consumer", consumer_id)
        return [delete(Consumer, row.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


_ALL = "/v3/OS-OAUTH1/consumers"
_ONE = _ALL + "/{consumer_id}"

ROUTES = (
    Route(
        method="POST",
        path=_ALL,
        handler=create_consumer,
        policy="identity:create_consumer",
        status=201,
        body=ConsumerBody,
    ),
    Route(method="GET", path=_ALL, handler=list_consumers, policy="identity:list_consumers"),
    Route(method="GET", path=_ONE, handler=show_consumer, policy="identity:get_consumer"),
    Route(
        method="PATCH",
        path=_ONE,
        handler=update_consumer,
        policy="identity:update_consumer",
        body=ConsumerBody,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_consumer,
        policy="identity:delete_consumer",
        status=204,
    ),
)
