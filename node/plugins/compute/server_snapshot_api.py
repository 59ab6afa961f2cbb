"""createImage: an image made of a server's root disk.

The image's row is made here, through the image service with the caller's rights; the server's node brings the data.

Source: https://docs.openstack.org/api-ref/compute/#create-image-createimage-action
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import quota_rules, server_rules
from node.plugins.compute import server_create_rules as rules
from node.plugins.compute.checks import Metadata, Name, printable_name
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_ops import job_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_volume_ops import root_of, volumes_of_server
from node.plugins.compute.tables import Server, ServerVolume
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
    VolumePlan,
    images_of,
    volumes_of,
)

_POLICY = "os_compute_api:servers:create_image"
_IMAGES = "/image/v2/images"
_NOT_KEPT = frozenset({"instance_uuid", "image_type", "base_image_ref", "backup_type"})
_SNAPSHOT: Mapping[str, str] = {"image_type": "snapshot"}
_REFUSALS: Mapping[int, type[NodeError]] = {400: BadRequest, 403: Forbidden, 409: Conflict}


class CreateImage(Frozen, forbid_unknown_fields=True):
    """Value of `createImage`."""

    name: Name
    metadata: Metadata | UnsetType = UNSET


def create_image(ctx: Context, server_id: str) -> Reply:
    """Make an image of a server."""
    body: CreateImage = ctx.body
    name = printable_name(body.name)
    metadata = body.metadata if isinstance(body.metadata, dict) else {}
    rules.check_metadata_quota(metadata, quota_rules.limits_of(ctx.db, ctx.project_id))
    server = find(ctx, server_id, _POLICY)
    check_snapshot(ctx, server, "snapshot")
    snapshots = volume_snapshots(ctx, server, name)
    image_id = new_image(ctx, server, name, {**metadata, **_mapping(server, snapshots)})
    more = [op for _row, planned in snapshots for op in planned.ops]
    return begin_snapshot(ctx, server_id, _POLICY, "snapshot", {"image_id": image_id}, more)


def begin_snapshot(
    ctx: Context,
    server_id: str,
    policy: str,
    rule: str,
    data: Mapping[str, str],
    more: Sequence[AnyOp] = (),
) -> Reply:
    """Have the server's node fill the image in `data`, or delete that again; answer as the microversion wants it."""
    image_id = data["image_id"]

    def plan() -> tuple[list[AnyOp], None]:
        fresh = find(ctx, server_id, policy)
        check_snapshot(ctx, fresh, rule)
        action = new_action(ctx, fresh, RULES[rule].action, job=fresh.job + 1)
        return [*job_ops(fresh, RULES[rule], action, ctx.now(), job_data=dict(data)), *more], None

    try:
        ctx.transact(plan)
    except NodeError:
        ctx.ask("DELETE", f"{_IMAGES}/{image_id}")
        raise
    if ctx.microversion >= (2, 45):
        return Reply(body={"image_id": image_id})
    return Reply(headers={"Location": f"{ctx.base_url}{_IMAGES}/{image_id}"})


def check_snapshot(ctx: Context, server: Server, rule: str) -> None:
    """Refuse an image of a server that is locked, busy or nowhere."""
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    server_rules.check_state(server, RULES[rule])
    if not server.node_id:
        raise Conflict(f"Cannot '{rule}' instance {server.id}: it was never placed on a host")


def volume_snapshots(
    ctx: Context, server: Server, name: str
) -> list[tuple[ServerVolume, VolumePlan]]:
    """Plan snapshots of all volumes of a server that boots from one; none for other servers."""
    rows = volumes_of_server(ctx.db, server.id)
    if root_of(rows) is None:
        return []
    volumes = volumes_of(ctx.hook)
    return [
        (row, volumes.plan_snapshot(ctx, row.volume_id, f"snapshot for {name}"))
        for row in sorted(rows, key=lambda row: (row.boot_index != 0, row.device))
    ]


def _mapping(
    server: Server, snapshots: Sequence[tuple[ServerVolume, VolumePlan]]
) -> dict[str, str]:
    """Return the properties by which an image names snapshots of volumes."""
    if not snapshots:
        return {}
    entries = [
        {
            "source_type": "snapshot",
            "destination_type": "volume",
            "snapshot_id": planned.id,
            "boot_index": 0 if row.boot_index == 0 else None,
            "device_name": row.device,
            "delete_on_termination": row.delete_on_termination,
        }
        for row, planned in snapshots
    ]
    return {
        "block_device_mapping": json.dumps(entries),
        "bdm_v2": "True",
        "root_device_name": server.root_device,
    }


def new_image(
    ctx: Context,
    server: Server,
    name: str,
    metadata: Mapping[str, str],
    kind: Mapping[str, str] = _SNAPSHOT,
) -> str:
    """Register the image that a server's disk becomes; return its id. `kind`: properties that say what it is.

    Raises:
        NodeError: 400, 403, 409 as the image service says.
    """
    facts = images_of(ctx.hook).facts(ctx.db, server.image_id) if server.image_id else None
    kept = {k: v for k, v in facts.properties.items() if k not in _NOT_KEPT} if facts else {}
    flavor = server.flavor
    assert flavor is not None
    properties = {
        **kept,
        "instance_uuid": server.id,
        "base_image_ref": server.image_id,
        "user_id": ctx.token.user_id,
        **kind,
        **metadata,  # the last word is the user's, as in Nova
    }
    wish = {
        **properties,
        "name": name,
        "disk_format": "raw" if "block_device_mapping" in metadata else "qcow2",
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
)
