"""Volumes offered to other projects, in the old form and in that of 3.55.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volume-transfer
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from node.plugins.block import listing, lookup, quota_rules, requests, volume_rules
from node.plugins.block.checks import Name, Text255, reference, text_or_none
from node.plugins.block.listing import boolean, stamp
from node.plugins.block.lookup import links
from node.plugins.block.tables import Snapshot, Volume, VolumeTransfer
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    NotFound,
    Reply,
    Route,
    check,
    delete,
    insert,
    patch,
)

_SORT: Mapping[str, Callable[[VolumeTransfer], Any]] = {
    "id": lambda row: row.id,
    "name": lambda row: row.name,
    "created_at": lambda row: row.created_at,
    "volume_id": lambda row: row.volume_id,
}


class New(Frozen):
    """`transfer` of a create request."""

    volume_id: str
    name: Text255 | None = None
    no_snapshots: bool | str = False


class CreateBody(Frozen):
    """Body of POST volume-transfers."""

    transfer: New


class Accept(Frozen):
    """`accept` of an accept request."""

    auth_key: Name


class AcceptBody(Frozen):
    """Body of POST accept."""

    accept: Accept


def brief(ctx: Context, row: VolumeTransfer) -> dict[str, Any]:
    """Return the entry of a list without details."""
    return {
        "id": row.id,
        "volume_id": row.volume_id,
        "name": row.name,
        "links": links(ctx, "volume-transfers", row.id),
    }


def view(ctx: Context, row: VolumeTransfer) -> dict[str, Any]:
    """Return a transfer as JSON."""
    shown = {**brief(ctx, row), "created_at": stamp(row.created_at)}
    if ctx.microversion >= (3, 55):
        shown["no_snapshots"] = row.no_snapshots
    if ctx.microversion >= (3, 57):
        shown["source_project_id"] = row.project_id
        shown["destination_project_id"] = row.destination_project_id or None
        shown["accepted"] = row.accepted
    return shown


def _find(ctx: Context, transfer_id: str, rule: str = "") -> VolumeTransfer:
    row = ctx.db.get(VolumeTransfer, transfer_id)
    if row is None or not (ctx.token.is_admin or row.project_id == ctx.project_id):
        raise NotFound(f"Transfer {transfer_id} could not be found.")
    if rule:
        ctx.require(rule, row)
    return row


def _list(ctx: Context, shown: Callable[[VolumeTransfer], dict[str, Any]]) -> dict[str, Any]:
    rows = listing.own_rows(ctx, VolumeTransfer)
    found, more = listing.page(
        ctx, rows, key=lambda row: row.id, collection="transfers", sort=_SORT
    )
    return {"transfers": [shown(row) for row in found], **more}


def index(ctx: Context) -> dict[str, Any]:
    """List transfers."""
    return _list(ctx, lambda row: brief(ctx, row))


def detail(ctx: Context) -> dict[str, Any]:
    """List transfers with all that is shown of them."""
    return _list(ctx, lambda row: view(ctx, row))


def show(ctx: Context, transfer_id: str) -> dict[str, Any]:
    """Show a transfer."""
    return {"transfer": view(ctx, _find(ctx, transfer_id, "volume:get_transfer"))}


def _hash(salt: str, key: str) -> str:
    return hmac.new(salt.encode(), key.encode(), hashlib.sha256).hexdigest()


def create(ctx: Context) -> Reply:
    """Offer a volume; the answer holds the key that takes it."""
    new: New = ctx.body.transfer
    volume_id = reference(new.volume_id, "volume_id")
    alone = ctx.microversion >= (3, 55) and boolean(new.no_snapshots, "no_snapshots")
    key, salt = secrets.token_hex(8), secrets.token_hex(4)

    def plan() -> tuple[list[AnyOp], VolumeTransfer]:
        volume = lookup.volume(ctx, volume_id, "volume:create_transfer")
        if volume_rules.status(volume) != "available" or volume_rules.is_busy(volume):
            raise BadRequest("Invalid volume: status must be available")
        if volume.encrypted:
            raise BadRequest("Invalid volume: transferring encrypted volume is not supported")
        snapshots = ctx.db.rows(Snapshot, volume_id=volume.id)
        if any(volume_rules.snapshot_status(one) != "available" for one in snapshots):
            raise BadRequest("Invalid snapshot: snapshots of the volume must be available")
        row = VolumeTransfer(
            id=ctx.ids.uuid(),
            created_at=ctx.now(),
            project_id=volume.project_id,
            volume_id=volume.id,
            name=text_or_none(new.name),
            salt=salt,
            key_hash=_hash(salt, key),
            no_snapshots=alone,
        )
        fields = {"use": "awaiting-transfer", "override": "", "updated_at": ctx.now()}
        return [check(volume), patch(Volume, volume.id, **fields), insert(row)], row

    row = requests.transact(ctx, plan)
    return Reply(status=202, body={"transfer": {**view(ctx, row), "auth_key": key}})


def accept(ctx: Context, transfer_id: str) -> Reply:
    """Take an offered volume."""
    key = ctx.body.accept.auth_key

    def plan() -> tuple[list[AnyOp], VolumeTransfer]:
        row = ctx.db.get(VolumeTransfer, transfer_id)
        if row is None:
            raise NotFound(f"Transfer {transfer_id} could not be found.")
        ctx.require("volume:accept_transfer", {"project_id": ctx.project_id})
        if not hmac.compare_digest(_hash(row.salt, key), row.key_hash):
            raise BadRequest(
                f"Invalid auth key: Attempt to transfer {transfer_id} with invalid auth key."
            )
        volume = ctx.db.must(Volume, row.volume_id, f"Volume {row.volume_id} could not be found.")
        if volume.use != "awaiting-transfer":
            raise BadRequest(f"Invalid volume: Volume {volume.id} does not wait for its transfer.")
        return _move(ctx, row, volume), row

    row = requests.transact(ctx, plan)
    return Reply(status=202, body={"transfer": brief(ctx, row)})


def _move(ctx: Context, row: VolumeTransfer, volume: Volume) -> list[AnyOp]:
    """Return the operations by which a volume, and its snapshots, change their project and its quota."""
    to = ctx.project_id
    ops: list[AnyOp] = [check(row), delete(VolumeTransfer, row.id, must_exist=True), check(volume)]
    fields = {
        "project_id": to,
        "user_id": ctx.token.user_id,
        "use": "",
        "group_id": "",
        "updated_at": ctx.now(),
    }
    ops.append(patch(Volume, volume.id, **fields))
    amounts = {"volumes": 1, "gigabytes": volume.size_gib}
    ops += quota_rules.take(ctx.db, ctx.config, to, amounts, volume.type_id)
    ops += quota_rules.give_back(volume.project_id, amounts, volume.type_id)
    if row.no_snapshots:
        return ops
    for one in ctx.db.rows(Snapshot, volume_id=volume.id):
        moved = {"project_id": to, "user_id": ctx.token.user_id, "updated_at": ctx.now()}
        amounts = {"snapshots": 1, "gigabytes": one.size_gib}
        ops += [check(one), patch(Snapshot, one.id, **moved)]
        ops += quota_rules.take(ctx.db, ctx.config, to, amounts, one.type_id)
        ops += quota_rules.give_back(volume.project_id, amounts, one.type_id)
    return ops


def remove(ctx: Context, transfer_id: str) -> Reply:
    """Take an offer back."""

    def plan() -> tuple[list[AnyOp], None]:
        row = _find(ctx, transfer_id, "volume:delete_transfer")
        ops: list[AnyOp] = [check(row), delete(VolumeTransfer, row.id, must_exist=True)]
        volume = ctx.db.get(Volume, row.volume_id)
        if volume is not None and volume.use == "awaiting-transfer":
            fields = {"use": "", "override": "", "updated_at": ctx.now()}
            ops += [check(volume), patch(Volume, volume.id, **fields)]
        return ops, None

    ctx.transact(plan)
    return Reply(status=202)


def _routes(prefix: str, since: str | None) -> tuple[Route, ...]:
    one = f"{prefix}/{{transfer_id}}"
    get_all = "volume:get_all_transfers"
    return (
        Route(method="GET", path=prefix, handler=index, policy=get_all, since=since),
        Route(method="GET", path=f"{prefix}/detail", handler=detail, policy=get_all, since=since),
        Route(
            method="POST",
            path=prefix,
            handler=create,
            policy="any",
            body=CreateBody,
            status=202,
            since=since,
        ),
        Route(method="GET", path=one, handler=show, policy="any", since=since),
        Route(method="DELETE", path=one, handler=remove, policy="any", status=202, since=since),
        Route(
            method="POST",
            path=f"{one}/accept",
            handler=accept,
            policy="any",
            body=AcceptBody,
            status=202,
            since=since,
        ),
    )


ROUTES = (*_routes("/v3/os-volume-transfer", None), *_routes("/v3/volume-transfers", "3.55"))
