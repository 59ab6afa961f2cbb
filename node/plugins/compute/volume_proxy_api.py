"""Nova's old view of volumes and snapshots (up to 2.35): proxies to Cinder, as for networks and images.

Source: https://docs.openstack.org/api-ref/compute/#volume-extension-os-volumes-os-snapshots-deprecated
"""

from collections.abc import Mapping
from typing import Any

from node.plugins.compute.checks import Text255
from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    Frozen,
    InnerAnswer,
    NodeError,
    NotFound,
    Reply,
    Route,
    TooLarge,
    Unavailable,
)

_POLICY = "os_compute_api:os-volumes:{}"
_PREFIX = "/volume/v3"
_ERRORS: Mapping[int, type[NodeError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
}


class NewVolume(Frozen):
    """`volume` of a create request."""

    size: int | str
    display_name: Text255 | None = None
    display_description: Text255 | None = None
    volume_type: Text255 | None = None
    metadata: dict[str, str] | None = None
    snapshot_id: str | None = None
    availability_zone: Text255 | None = None


class VolumeBody(Frozen):
    """Body of POST os-volumes."""

    volume: NewVolume


class NewSnapshot(Frozen):
    """`snapshot` of a create request."""

    volume_id: str
    display_name: Text255 | None = None
    display_description: Text255 | None = None
    force: bool | str = False


class SnapshotBody(Frozen):
    """Body of POST os-snapshots."""

    snapshot: NewSnapshot


def _cinder(ctx: Context, method: str, path: str, json: Any = None) -> Any:
    """Return the decoded answer of the block storage service.

    Raises:
        NodeError: as it said, else 503.
    """
    params = {name: values[0] for name, values in ctx.params.items() if name in ("limit", "offset")}
    answer: InnerAnswer = ctx.ask(method, f"{_PREFIX}{path}", params=params, json=json)
    if answer.status < 400:
        return answer.body
    raise _ERRORS.get(answer.status, Unavailable)(answer.message)


def _volume(found: dict[str, Any]) -> dict[str, Any]:
    attachments = [
        {
            "id": one["volume_id"],
            "volumeId": one["volume_id"],
            "serverId": one["server_id"] or "",
            "device": one["device"] or "",
        }
        for one in found["attachments"]
    ]
    return {
        "id": found["id"],
        "status": found["status"],
        "size": found["size"],
        "availabilityZone": found["availability_zone"],
        "createdAt": found["created_at"],
        "displayName": found["name"],
        "displayDescription": found["description"],
        "volumeType": found["volume_type"],
        "snapshotId": found["snapshot_id"],
        "metadata": found["metadata"],
        "attachments": attachments or [{}],
    }


def _snapshot(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": found["id"],
        "volumeId": found["volume_id"],
        "status": found["status"],
        "size": found["size"],
        "createdAt": found["created_at"],
        "displayName": found["name"],
        "displayDescription": found["description"],
    }


def no_id(ctx: Context) -> Reply:
    """Say that a path without a volume's id names nothing."""
    raise NotFound(f"The resource could not be found: {ctx.path}")


def volumes(ctx: Context) -> dict[str, Any]:
    """List volumes."""
    if ctx.raw_path.partition("?")[0].endswith("/"):
        no_id(ctx)
    found = _cinder(ctx, "GET", "/volumes/detail")["volumes"]
    return {"volumes": [_volume(one) for one in found]}


def volume(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Show a volume."""
    return {"volume": _volume(_cinder(ctx, "GET", f"/volumes/{volume_id}")["volume"])}


def create_volume(ctx: Context) -> dict[str, Any]:
    """Create a volume."""
    new: NewVolume = ctx.body.volume
    wish = {
        "size": new.size,
        "name": new.display_name,
        "description": new.display_description,
        "volume_type": new.volume_type,
        "metadata": new.metadata,
        "snapshot_id": new.snapshot_id,
        "availability_zone": new.availability_zone,
    }
    return {"volume": _volume(_cinder(ctx, "POST", "/volumes", {"volume": wish})["volume"])}


def delete_volume(ctx: Context, volume_id: str) -> Reply:
    """Delete a volume."""
    _cinder(ctx, "DELETE", f"/volumes/{volume_id}")
    return Reply(status=202)


def snapshots(ctx: Context) -> dict[str, Any]:
    """List snapshots."""
    found = _cinder(ctx, "GET", "/snapshots/detail")["snapshots"]
    return {"snapshots": [_snapshot(one) for one in found]}


def snapshot(ctx: Context, snapshot_id: str) -> dict[str, Any]:
    """Show a snapshot."""
    return {"snapshot": _snapshot(_cinder(ctx, "GET", f"/snapshots/{snapshot_id}")["snapshot"])}


def create_snapshot(ctx: Context) -> dict[str, Any]:
    """Snapshot a volume."""
    new: NewSnapshot = ctx.body.snapshot
    wish = {
        "volume_id": new.volume_id,
        "name": new.display_name,
        "description": new.display_description,
        "force": new.force,
    }
    made = _cinder(ctx, "POST", "/snapshots", {"snapshot": wish})["snapshot"]
    return {"snapshot": _snapshot(made)}


def delete_snapshot(ctx: Context, snapshot_id: str) -> Reply:
    """Delete a snapshot."""
    _cinder(ctx, "DELETE", f"/snapshots/{snapshot_id}")
    return Reply(status=202)


def _route(method: str, path: str, handler: Any, rule: str, **more: Any) -> Route:
    policy = _POLICY.format(rule)
    return Route(
        method=method, path=f"/v2.1{path}", handler=handler, policy=policy, until="2.35", **more
    )


ROUTES = (
    _route("GET", "/os-volumes", volumes, "list"),
    _route("DELETE", "/os-volumes", no_id, "delete"),
    _route("GET", "/os-volumes/detail", volumes, "detail"),
    _route("POST", "/os-volumes", create_volume, "create", body=VolumeBody),
    _route("GET", "/os-volumes/{volume_id}", volume, "show"),
    _route("DELETE", "/os-volumes/{volume_id}", delete_volume, "delete", status=202),
    _route("GET", "/os-snapshots", snapshots, "snapshots:list"),
    _route("GET", "/os-snapshots/detail", snapshots, "snapshots:detail"),
    _route("POST", "/os-snapshots", create_snapshot, "snapshots:create", body=SnapshotBody),
    _route("GET", "/os-snapshots/{snapshot_id}", snapshot, "snapshots:show"),
    _route(
        "DELETE", "/os-snapshots/{snapshot_id}", delete_snapshot, "snapshots:delete", status=202
    ),
)
