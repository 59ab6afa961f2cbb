"""The two ways in which most resources change: a new row, and some fields of a row under its revision."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from node.plugins.identity.faults import conflict, duplicate, missing
from node.sdk import AnyOp, Context, NodeError, Refused, Row, check, insert, patch

R = TypeVar("R", bound=Row)


def find(ctx: Context, row_type: type[R], kind: str, ident: str) -> R:
    """Return a row.

    Raises:
        NotFound: 404, Keystone's sentence.
    """
    row = ctx.db.get(row_type, ident)
    if row is None:
        raise missing(kind, ident)
    return row


def taken(kind: str, name: str, domain_id: str = "") -> Callable[[Refused], NodeError | None]:
    """Return what turns a refusal into the conflict of a taken name or id."""

    def refused(refusal: Refused) -> NodeError | None:
        if refusal.reason == "unique":
            return duplicate(kind, name, domain_id)
        if refusal.reason == "exists":
            return conflict(kind, f"Duplicate entry found with ID {refusal.id}")
        return None

    return refused


def create(
    ctx: Context,
    kind: str,
    row: R,
    *,
    name: str = "",
    domain_id: str = "",
    rests_on: Callable[[], Sequence[Row]] | None = None,
) -> R:
    """Store a new row while the rows that it rests on stay as they are.

    Raises:
        Conflict: 409, its name or id is taken.
    """

    def plan() -> tuple[Sequence[AnyOp], R]:
        ground = rests_on() if rests_on else ()
        return [*(check(other) for other in ground), insert(row)], row

    return ctx.transact(plan, refused=taken(kind, name or row.id, domain_id))


def update(
    ctx: Context,
    row_type: type[R],
    kind: str,
    ident: str,
    fields_of: Callable[[R], dict[str, Any]],
    *,
    name: str = "",
) -> R:
    """Change the fields that `fields_of` returns for the present row, and return the row after that.

    Raises:
        NotFound: 404, there is no such row.
        Conflict: 409, the new name is taken.
    """

    def plan() -> tuple[Sequence[AnyOp], R]:
        row = find(ctx, row_type, kind, ident)
        fields = {**fields_of(row), "updated_at": ctx.now()}
        return [check(row), patch(row_type, ident, **fields)], msgspec.structs.replace(
            row, **fields
        )

    return ctx.transact(plan, refused=taken(kind, name or ident))


def stamps(ctx: Context) -> dict[str, Any]:
    """Return the times of a new row."""
    now_us = ctx.now()
    return {"created_at": now_us, "updated_at": now_us}
