"""The password that a guest makes for itself and posts, encrypted with its owner's key.

A guest may post once; its owner reads it and may clear it, then the guest may post again.

Source: https://docs.openstack.org/api-ref/compute/#servers-password-servers-os-server-password
"""

import re
from collections.abc import Sequence
from typing import Any

from node.plugins.compute.server_lookup import find
from node.plugins.compute.tables import ServerExtra
from node.sdk import AnyOp, Check, Context, Reader, Route, patch

MAX_BYTES = 1020
"""Four pieces of 255 characters, as Nova keeps it."""

_PATH = re.compile(r"/?openstack/[^/]+/password")
_API = "/v2.1/servers/{server_id}/os-server-password"
_POLICY = "os_compute_api:os-server-password"


def accept(db: Reader, server_id: str, path: str, data: bytes) -> tuple[int, Sequence[AnyOp]]:
    """Return the HTTP status for what a guest posts, and the operations that keep it."""
    if not _PATH.fullmatch(path.partition("?")[0]):
        return 405, ()
    extra = db.get(ServerExtra, server_id)
    if extra is None:
        return 404, ()
    if extra.guest_password:
        return 409, ()
    if not data or len(data) > MAX_BYTES or not data.isascii():
        return 400, ()
    table = ServerExtra.__table__.name
    return 200, (
        Check(table, server_id, extra.rev),
        patch(ServerExtra, server_id, guest_password=data.decode()),
    )


def show(ctx: Context, server_id: str) -> dict[str, Any]:
    """Show the password that a guest posted, encrypted."""
    find(ctx, server_id, f"{_POLICY}:show")
    extra = ctx.db.get(ServerExtra, server_id)
    return {"password": extra.guest_password if extra else ""}


def clear(ctx: Context, server_id: str) -> None:
    """Forget the password that a guest posted."""
    find(ctx, server_id, f"{_POLICY}:clear")

    def plan() -> tuple[Sequence[AnyOp], None]:
        extra = ctx.db.get(ServerExtra, server_id)
        if extra is None or not extra.guest_password:
            return (), None
        return (patch(ServerExtra, server_id, guest_password=""),), None

    ctx.transact(plan)


ROUTES = (
    Route(method="GET", path=_API, handler=show, policy=f"{_POLICY}:show"),
    Route(method="DELETE", path=_API, handler=clear, policy=f"{_POLICY}:clear", status=204),
)
