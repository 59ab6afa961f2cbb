"""createImage and createBackup: an image made of a server's root disk.

The image's row is made here, through the image service with the caller's rights; the server's node brings the data.

Source: https://docs.openstack.org/api-ref/compute/#create-image-createimage-action and
https://docs.openstack.org/api-ref/compute/#create-server-back-up-createbackup-action
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import quota_rules, server_rules
from node.plugins.compute import server_create_rules as rules
from node.plugins.compute.checks import Metadata, Name, integer, printable_name
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_ops import job_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.tables import Server
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    Frozen,
    NodeError,
    Reply,
    Route,
    Unavailable,
)

_POLICY = "os_compute_api:servers:create_image"
_BACKUP = "os_compute_api:os-create-backup"
_IMAGES = "/image/v2/images"
_NOT_KEPT = frozenset({"instance_uuid", "image_type", "base_image_ref", "backup_type"})
_REFUSALS: Mapping[int, type[NodeError]] = {400: BadRequest, 403: Forbidden, 409: Conflict}


class CreateImage(Frozen, forbid_unknown_fields=True):
    """Value of `createImage`."""

    name: Name
    metadata: Metadata | UnsetType = UNSET


class CreateBackup(Frozen, forbid_unknown_fields=True):
    """Value of `createBackup`."""

    name: Name
    backup_type: Annotated[str, msgspec.Meta(max_length=255)]
    rotation: int | str
    metadata: Metadata | UnsetType = UNSET


def create_image(ctx: Context, server_id: str) -> Reply:
    """Make an image of a server."""
    body: CreateImage = ctx.body
    image_id = _snapshot(ctx, server_id, (_POLICY, "snapshot"), body.name, body.metadata, {})
    return _made(ctx, image_id)


def create_backup(ctx: Context, server_id: str) -> Reply:
    """Make an image of a server, and delete older ones of the same type until as many as wished are left."""
    body: CreateBackup = ctx.body
    kept = integer(body.rotation, "rotation", 0)
    more = {"image_type": "backup", "backup_type": body.backup_type}
    if not kept:  # the new one would be deleted too
        _check(ctx, find(ctx, server_id, _BACKUP), "backup")
        _rotate(ctx, server_id, body.backup_type, 0)
        return Reply()
    rule = (_BACKUP, "backup")
    image_id = _snapshot(ctx, server_id, rule, body.name, body.metadata, more)
    _rotate(ctx, server_id, body.backup_type, kept)
    return _made(ctx, image_id)


def _made(ctx: Context, image_id: str) -> Reply:
    if ctx.microversion >= (2, 45):
        return Reply(body={"image_id": image_id})
    return Reply(headers={"Location": f"{ctx.base_url}{_IMAGES}/{image_id}"})


def _rotate(ctx: Context, server_id: str, backup_type: str, kept: int) -> None:
    """Delete a server's oldest backups of a type."""
    asked = {"instance_uuid": server_id, "image_type": "backup", "backup_type": backup_type}
    found = ctx.ask("GET", _IMAGES, params={**asked, "sort": "created_at:desc", "limit": 1000})
    for image in found.body["images"][kept:] if found.status == 200 else ():
        ctx.ask("DELETE", f"{_IMAGES}/{image['id']}")


def _snapshot(
    ctx: Context,
    server_id: str,
    by: tuple[str, str],
    name: str,
    given: Metadata | UnsetType,
    more: Mapping[str, str],
) -> str:
    """Register the image and give the server's node the job; `by` is the policy and the rule."""
    policy, rule = by
    name = printable_name(name)
    metadata = given if isinstance(given, dict) else {}
    rules.check_metadata_quota(metadata, quota_rules.limits_of(ctx.db, ctx.project_id))
    server = find(ctx, server_id, policy)
    _check(ctx, server, rule)
    image_id = new_image(ctx, server, name, metadata, more)

    def plan() -> tuple[list[AnyOp], None]:
        fresh = find(ctx, server_id, policy)
        _check(ctx, fresh, rule)
        action = new_action(ctx, fresh, RULES[rule].action, job=fresh.job + 1)
        data = {"image_id": image_id}
        return job_ops(fresh, RULES[rule], action, ctx.now(), job_data=data), None

    try:
        ctx.transact(plan)
    except NodeError:
        ctx.ask("DELETE", f"{_IMAGES}/{image_id}")
        raise
    return image_id


def _check(ctx: Context, server: Server, rule: str) -> None:
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    server_rules.check_state(server, RULES[rule])
    if not server.node_id:
        raise Conflict(f"Cannot 'snapshot' instance {server.id}: it was never placed on a host")


def new_image(
    ctx: Context,
    server: Server,
    name: str,
    metadata: Mapping[str, str],
    more: Mapping[str, str] | None = None,
) -> str:
    """Register the image that a server's disk becomes; return its id.

    Raises:
        NodeError: 400, 403, 409 as the image service says.
    """
    facts = ctx.hook.image_facts(db=ctx.db, image_id=server.image_id) if server.image_id else None
    kept = {k: v for k, v in facts.properties.items() if k not in _NOT_KEPT} if facts else {}
    flavor = server.flavor
    assert flavor is not None
    properties = {
        **kept,
        **metadata,
        "instance_uuid": server.id,
        "image_type": "snapshot",
        "base_image_ref": server.image_id,
        "user_id": ctx.token.user_id,
        **(more or {}),
    }
    wish = {
        **properties,
        "name": name,
        "disk_format": "qcow2",
        "container_format": "bare",
        "visibility": "private",
        "min_disk": flavor.disk_gib,
        "min_ram": facts.min_ram_mib if facts else 0,
    }
    answer = ctx.ask("POST", _IMAGES, json=wish)
    if answer.status != 201:
        raise _REFUSALS.get(answer.status, Unavailable)(answer.message)
    return str(msgspec.convert(answer.body, dict[str, Any])["id"])


ROUTES = (
    Route(
        method="POST",
        path="/v2.1/servers/{server_id}/action",
        action="createImage",
        handler=create_image,
        policy=_POLICY,
        body=CreateImage,
        status=202,
    ),
    server_action("createBackup", create_backup, _BACKUP, CreateBackup),
)
