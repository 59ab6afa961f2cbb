"""Changes to one row: the operations and the row as it will read afterwards."""

from typing import Any, TypeVar

import msgspec

from node.plugins.network.tables import Named
from node.sdk import AnyOp, Context, PreconditionFailed, Row, check, patch

R = TypeVar("R", bound=Named)


def revise(ctx: Context, row: R, **changes: Any) -> tuple[list[AnyOp], R]:
    """Return the operations that change fields of a row as it was read, and the changed row.

    Nothing is done when nothing differs. `revision` and `updated_at` move along.
    """
    real = {name: value for name, value in changes.items() if getattr(row, name) != value}
    if not real:
        return [], row
    real |= {"revision": row.revision + 1, "updated_at": ctx.now()}
    return [check(row), patch(type(row), row.id, **real)], msgspec.structs.replace(row, **real)


def constrained(ctx: Context, row: R) -> R:
    """Return the row when it has the revision that the header `If-Match: revision_number=N` asks for.

    Raises:
        RevisionNumberConstraintFailed: 412.
    """
    asked = ctx.headers.get("if-match", "")
    name, _, number = asked.partition("=")
    if name.strip() == "revision_number" and number.strip() != str(row.revision):
        raise PreconditionFailed(
            f"Constrained to {number.strip()}, but current revision is {row.revision}",
            type="RevisionNumberConstraintFailed",
        )
    return row


def stamps(ctx: Context) -> dict[str, Any]:
    """Return `created_at` and `updated_at` of a new row."""
    now = ctx.now()
    return {"created_at": now, "updated_at": now}


def quota_counter(project_id: str, resource: str) -> str:
    """Return the name of the counter that bounds a project's resources of one sort."""
    return f"quota:{project_id}:{resource}"


def in_use_counter(row_type: type[Row], ident: str) -> str:
    """Return the name of the counter of what holds a row in being: ports of a network, addresses of a subnet, ..."""
    return f"{row_type.__table__.name}:users:{ident}"
