"""Cold and live migration: no server's disks move between nodes here, so no other host is ever a valid one.

Source: https://docs.openstack.org/api-ref/compute/#migrate-server-migrate-action and
https://docs.openstack.org/api-ref/compute/#live-migrate-server-os-migratelive-action
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import server_rules
from node.plugins.compute.checks import Name, boolean
from node.plugins.compute.faults import field_error, unexpected
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_rules import RULES
from node.sdk import BadRequest, Context, Frozen, NodeRow

_POLICY = "os_compute_api:os-migrate-server"
_Flag = bool | str


class LiveMigration(Frozen, forbid_unknown_fields=True):
    """Value of `os-migrateLive`."""

    host: Name | None
    block_migration: _Flag | UnsetType = UNSET
    disk_over_commit: bool | str | UnsetType = UNSET
    force: bool | str | UnsetType = UNSET


class ColdMigration(Frozen, forbid_unknown_fields=True):
    """Value of `migrate` from 2.56 on."""

    host: Name | None | UnsetType = UNSET


def migrate(ctx: Context, server_id: str) -> None:
    """Refuse to move a server that may be off meanwhile."""
    host: Any = UNSET
    if ctx.microversion >= (2, 56) and ctx.body is not None:
        try:
            host = msgspec.convert(ctx.body, ColdMigration).host
        except msgspec.ValidationError as error:
            raise BadRequest(f"Invalid input for field/attribute migrate. {error}") from error
    _refuse(ctx, server_id, "migrate", host)


def migrate_live(ctx: Context, server_id: str) -> None:
    """Refuse to move a server that runs on."""
    body: LiveMigration = ctx.body
    if body.block_migration is UNSET:
        raise BadRequest(
            "Invalid input for field/attribute os-migrateLive. 'block_migration' is a required property"
        )
    if ctx.microversion >= (2, 25):
        if body.disk_over_commit is not UNSET:
            raise unexpected("disk_over_commit")
        if body.block_migration != "auto":
            boolean(body.block_migration, "block_migration")
    elif body.disk_over_commit is UNSET:
        raise BadRequest(
            "Invalid input for field/attribute os-migrateLive. 'disk_over_commit' is a required property"
        )
    else:
        boolean(body.block_migration, "block_migration")
        boolean(body.disk_over_commit, "disk_over_commit")
    if body.force is not UNSET:
        if not (2, 30) <= ctx.microversion < (2, 68):
            raise unexpected("force")
        if boolean(body.force, "force") and body.host is None:
            raise field_error("force", body.force, "A host must be named to force it.")
    _refuse(ctx, server_id, "migrate_live", body.host)


def _refuse(ctx: Context, server_id: str, verb: str, host: Any) -> None:
    server = find(ctx, server_id, f"{_POLICY}:{verb}")
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    server_rules.check_state(server, RULES[verb])
    if isinstance(host, str) and ctx.db.one(NodeRow, name=host) is None:
        raise BadRequest(f"Compute host {host} could not be found.")
    raise BadRequest("No valid host was found. Servers' disks stay with their hosts here.")


ROUTES = (
    server_action("migrate", migrate, f"{_POLICY}:migrate"),
    server_action("os-migrateLive", migrate_live, f"{_POLICY}:migrate_live", LiveMigration),
)
