"""createBackup: an image of a server that takes the place of the oldest of its kind.

Source: https://docs.openstack.org/api-ref/compute/#create-server-back-up-createbackup-action
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import quota_rules, server_rules
from node.plugins.compute import server_create_rules as rules
from node.plugins.compute.checks import Metadata, Name, integer, printable_name
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_ops import job_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_snapshot_api import new_image
from node.plugins.compute.tables import Server
from node.sdk import AnyOp, Conflict, Context, Frozen, NodeError, Reply, Route

_POLICY = "os_compute_api:os-create-backup"
_IMAGES = "/image/v2/images"
_PAGE = 1000


class CreateBackup(Frozen, forbid_unknown_fields=True):
    """Value of `createBackup`."""

    name: Name
    backup_type: Annotated[str, msgspec.Meta(max_length=255)]
    rotation: int | str
    metadata: Metadata | UnsetType = UNSET


def create_backup(ctx: Context, server_id: str) -> Reply:
    """Make a backup; the server's node deletes those that are too many once it is there."""
    body: CreateBackup = ctx.body
    name, rotation = printable_name(body.name), integer(body.rotation, "rotation", 0)
    metadata = body.metadata if isinstance(body.metadata, dict) else {}
    rules.check_metadata_quota(metadata, quota_rules.limits_of(ctx.db, ctx.project_id))
    server = find(ctx, server_id, _POLICY)
    _check(ctx, server)
    old = _older(ctx, server.id, body.backup_type)
    if not rotation:  # none is kept, so none is made
        for image_id in old:
            ctx.ask("DELETE", f"{_IMAGES}/{image_id}")
        return Reply()
    kind = {"image_type": "backup", "backup_type": body.backup_type}
    image_id = new_image(ctx, server, name, metadata, kind)
    rotated = old[: max(0, len(old) - rotation + 1)]

    def plan() -> tuple[list[AnyOp], None]:
        fresh = find(ctx, server_id, _POLICY)
        _check(ctx, fresh)
        action = new_action(ctx, fresh, "createBackup", job=fresh.job + 1)
        data = {"image_id": image_id, "rotated": ",".join(rotated)}
        return job_ops(fresh, RULES["backup"], action, ctx.now(), job_data=data), None

    try:
        ctx.transact(plan)
    except NodeError:
        ctx.ask("DELETE", f"{_IMAGES}/{image_id}")
        raise
    if ctx.microversion >= (2, 45):
        return Reply(body={"image_id": image_id})
    return Reply(headers={"Location": f"{ctx.base_url}{_IMAGES}/{image_id}"})


def _check(ctx: Context, server: Server) -> None:
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    server_rules.check_state(server, RULES["backup"])
    if not server.node_id:
        raise Conflict(f"Cannot 'createBackup' instance {server.id}: it was never placed on a host")


def _older(ctx: Context, server_id: str, backup_type: str) -> list[str]:
    """Return the ids of a server's backups of one kind, the oldest first."""
    wanted: dict[str, Any] = {
        "image_type": "backup",
        "backup_type": backup_type,
        "instance_uuid": server_id,
        "sort_key": "created_at",
        "sort_dir": "asc",
        "limit": _PAGE,
    }
    answer = ctx.ask("GET", _IMAGES, params=wanted)
    return [image["id"] for image in answer.body["images"]] if answer.status == 200 else []


ROUTES = (
    Route(
        method="POST",
        path="/v2.1/servers/{server_id}/action",
        action="createBackup",
        handler=create_backup,
        policy=_POLICY,
        body=CreateBackup,
        status=202,
    ),
)
