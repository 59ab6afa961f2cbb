"""createBackup: an image of a server that takes the place of the oldest of its kind.

Source: https://docs.openstack.org/api-ref/compute/#create-server-back-up-createbackup-action
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import quota_rules
from node.plugins.compute import server_create_rules as rules
from node.plugins.compute.checks import Metadata, Name, integer, printable_name
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_snapshot_api import begin_snapshot, check_snapshot, new_image
from node.plugins.compute.server_volume_ops import root_of, volumes_of_server
from node.sdk import BadRequest, Context, Frozen, Reply, Route

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
    check_snapshot(ctx, server, "backup")
    if root_of(volumes_of_server(ctx.db, server.id)) is not None:
        raise BadRequest("Backup is not supported for volume-backed instances.")
    old = _older(ctx, server.id, body.backup_type)
    if not rotation:  # none is kept, so none is made
        for image_id in old:
            ctx.ask("DELETE", f"{_IMAGES}/{image_id}")
        return Reply()
    kind = {"image_type": "backup", "backup_type": body.backup_type}
    image_id = new_image(ctx, server, name, metadata, kind)
    rotated = old[: max(0, len(old) - rotation + 1)]
    data = {"image_id": image_id, "rotated": ",".join(rotated)}
    return begin_snapshot(ctx, server_id, _POLICY, "backup", data)


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
