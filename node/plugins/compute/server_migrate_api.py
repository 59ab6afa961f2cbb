"""Migrate: a server moves to another node with its disks, switched off on the way, to be confirmed or reverted.

Source: https://docs.openstack.org/api-ref/compute/#migrate-server-migrate-action
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import migration_ops, server_rules
from node.plugins.compute.checks import Name, boolean
from node.plugins.compute.faults import unexpected
from node.plugins.compute.migration_rules import next_number
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_move import other_place, unlike
from node.plugins.compute.server_ops import job_ops
from node.plugins.compute.server_placement import Place, Placer
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_volume_ops import volumes_of_server
from node.plugins.compute.tables import Server
from node.sdk import AnyOp, BadRequest, Conflict, Context, Frozen, NodeRow, OverQuota

_SERVER = "os_compute_api:os-migrate-server"
_POLICY = f"{_SERVER}:migrate"
_NO_HOST = "No valid host was found. There are not enough hosts available."


class Migrate(Frozen, forbid_unknown_fields=True):
    """Value of `migrate`; null is as good as an empty one."""

    host: Name | None | UnsetType = UNSET


def migrate(ctx: Context, server_id: str) -> None:
    """Move a server to another node."""
    body = _body(ctx)
    host = body.host if isinstance(body.host, str) else ""

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, _POLICY)
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["migrate"])
        found = destination(ctx, server, host)
        action = new_action(ctx, server, "migrate", job=server.job + 1)
        fields: dict[str, Any] = {"old_flavor": server.flavor, "job_data": {"dest": found.node.id}}
        if server_rules.vm_state(server) == "stopped":
            fields["want"] = "stopped"  # also one that switched itself off
        return [
            *job_ops(server, RULES["migrate"], action, ctx.now(), **fields),
            *migration_ops.begin_ops(
                server,
                found.node.id,
                found.limits,
                ctx.ids.uuid(),
                ctx.now(),
                number=next_number(ctx.db),
                user_id=ctx.token.user_id,
            ),
        ], None

    try:
        ctx.transact(plan)
    except OverQuota as error:
        raise BadRequest(_NO_HOST) from error


class MigrateLive(Frozen, forbid_unknown_fields=True):
    """Value of `os-migrateLive`."""

    host: Name | None
    block_migration: bool | str | UnsetType = UNSET
    disk_over_commit: bool | str | UnsetType = UNSET
    force: bool | str | UnsetType = UNSET


def migrate_live(ctx: Context, server_id: str) -> None:
    """Move a server to another node while its guest runs."""
    body: MigrateLive = ctx.body
    _check_live(ctx, body)

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_SERVER}:migrate_live")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["live_migrate"])
        found = destination(ctx, server, body.host or "", live=True)
        action = new_action(ctx, server, "live-migration", job=server.job + 1)
        return [
            *job_ops(
                server, RULES["live_migrate"], action, ctx.now(), job_data={"dest": found.node.id}
            ),
            *migration_ops.begin_ops(
                server,
                found.node.id,
                found.limits,
                ctx.ids.uuid(),
                ctx.now(),
                number=next_number(ctx.db),
                user_id=ctx.token.user_id,
                kind="live-migration",
            ),
        ], None

    try:
        ctx.transact(plan)
    except OverQuota as error:
        raise BadRequest(_NO_HOST) from error


def _check_live(ctx: Context, body: MigrateLive) -> None:
    """Refuse what this microversion does not know. Disks always go with their server: nothing is shared here."""
    version = ctx.microversion
    block = body.block_migration
    if block is UNSET:
        raise BadRequest(
            "Invalid input for field/attribute os-migrateLive. 'block_migration' is a required property"
        )
    if version < (2, 25):
        boolean(block, "block_migration")
        if body.disk_over_commit is UNSET:
            raise BadRequest(
                "Invalid input for field/attribute os-migrateLive. "
                "'disk_over_commit' is a required property"
            )
        boolean(body.disk_over_commit, "disk_over_commit")
    else:
        if body.disk_over_commit is not UNSET:
            raise unexpected("disk_over_commit")
        if block != "auto":
            boolean(block, "block_migration")
    if body.force is not UNSET:
        if not (2, 30) <= version < (2, 68):
            raise unexpected("force")
        boolean(body.force, "force")


def destination(ctx: Context, server: Server, host: str, *, live: bool = False) -> Place:
    """Return where a server may move; `host` names the only node that is asked for.

    Raises:
        BadRequest: 400, there is no such place.
        Conflict: 409, the server is nowhere, or its node is down.
    """
    node = ctx.db.get(NodeRow, server.node_id) if server.node_id else None
    if node is None:
        raise Conflict(f"Cannot 'migrate' instance {server.id}: it was never placed on a host")
    if volumes_of_server(ctx.db, server.id):
        raise BadRequest(f"{_NO_HOST} Servers with volumes stay with the host that serves these.")
    if host in (node.name, node.id):
        raise BadRequest("The target host can't be the same one.")
    if host and ctx.db.one(NodeRow, name=host) is None and ctx.db.get(NodeRow, host) is None:
        raise BadRequest(f"Compute host {host} could not be found.")
    if node.state == "down":
        raise Conflict(f"Service is unavailable at this time: compute host {node.name} is down.")
    unfit = unlike(ctx.db, node) if live else set()
    found = other_place(Placer.of(ctx), server, {node.id} | unfit, host)
    if found is None:
        raise BadRequest(_NO_HOST)
    return found


def _body(ctx: Context) -> Migrate:
    if ctx.body is None:
        return Migrate()
    try:
        body = msgspec.convert(ctx.body, Migrate)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Invalid input for field/attribute migrate. {error}") from error
    if body.host is not UNSET and ctx.microversion < (2, 56):
        raise unexpected("host")
    return body


ROUTES = (
    server_action("migrate", migrate, _POLICY),
    server_action("os-migrateLive", migrate_live, f"{_SERVER}:migrate_live", MigrateLive),
)
