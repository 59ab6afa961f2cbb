"""Volumes and images: upload, reimage, and the metadata that volumes keep of images.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#upload-volume-to-image
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from node.plugins.block import lookup, requests, volume_rules
from node.plugins.block.checks import Metadata, Text255, is_uuid
from node.plugins.block.listing import boolean, stamp
from node.plugins.block.tables import Volume, VolumeType
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    Frozen,
    NodeError,
    NotFound,
    Reply,
    Route,
    Unavailable,
    check,
    images_of,
    patch,
)

_ACTION = "/v3/volumes/{volume_id}/action"
_IMAGES = "/image/v2/images"
_FORMATS = ("raw", "qcow2", "vmdk", "vdi")
_NOT_KEPT = frozenset(
    {
        "image_id",
        "image_name",
        "checksum",
        "container_format",
        "disk_format",
        "min_disk",
        "min_ram",
        "size",
        "signature_verified",
    }
)
_REFUSALS: Mapping[int, type[NodeError]] = {400: BadRequest, 403: Forbidden, 409: Conflict}


class Upload(Frozen):
    """Value of `os-volume_upload_image`."""

    image_name: Text255
    force: bool | str = False
    disk_format: str | None = None
    container_format: str | None = None
    visibility: str | None = None
    protected: bool | str | None = None


class SetMetadata(Frozen, forbid_unknown_fields=True):
    """Value of `os-set_image_metadata`."""

    metadata: Metadata


class UnsetMetadata(Frozen, forbid_unknown_fields=True):
    """Value of `os-unset_image_metadata`."""

    key: Text255


class Reimage(Frozen, forbid_unknown_fields=True):
    """Value of `os-reimage` (3.68)."""

    image_id: str
    reimage_reserved: bool | str = False


def upload(ctx: Context, volume_id: str) -> Reply:
    """Make an image of a volume."""
    body: Upload = ctx.body
    force = boolean(body.force, "force")
    disk_format = body.disk_format or "raw"
    if disk_format not in _FORMATS:
        raise BadRequest(
            f"Invalid input received: disk_format {disk_format} is not one of {_FORMATS}"
        )
    row = lookup.volume(ctx, volume_id, "volume_extension:volume_actions:upload_image")
    _check(row, force=force)
    image_id = _register(ctx, row, body, disk_format)

    def plan() -> tuple[list[AnyOp], Volume]:
        fresh = lookup.volume(ctx, volume_id)
        _check(fresh, force=force)
        job = volume_rules.next_job(
            fresh, "upload", ctx.now(), image_id=image_id, disk_format=disk_format
        )
        return [check(fresh), patch(Volume, fresh.id, **job)], fresh

    try:
        requests.transact(ctx, plan)
    except NodeError:
        ctx.ask("DELETE", f"{_IMAGES}/{image_id}")
        raise
    return Reply(status=202, body={"os-volume_upload_image": _view(ctx, volume_id, body, image_id)})


def _check(row: Volume, *, force: bool) -> None:
    volume_rules.check_status(
        row, ("available", "in-use") if force else ("available",), "upload to image"
    )


def _register(ctx: Context, row: Volume, body: Upload, disk_format: str) -> str:
    """Register the image; return its id."""
    wish: dict[str, Any] = {
        **{k: v for k, v in row.image_metadata.items() if k not in _NOT_KEPT},
        "name": body.image_name,
        "disk_format": disk_format,
        "container_format": body.container_format or "bare",
        "min_disk": row.size_gib,
        "visibility": body.visibility or "private",
    }
    for name in ("min_ram",):
        if row.image_metadata.get(name, "").isdigit():
            wish[name] = int(row.image_metadata[name])
    if body.protected is not None:
        wish["protected"] = boolean(body.protected, "protected")
    answer = ctx.ask("POST", _IMAGES, json=wish)
    if answer.status != 201:
        raise _REFUSALS.get(answer.status, Unavailable)(answer.message)
    return str(msgspec.convert(answer.body, dict[str, Any])["id"])


def _view(ctx: Context, volume_id: str, body: Upload, image_id: str) -> dict[str, Any]:
    row = lookup.volume(ctx, volume_id)
    kind = ctx.db.get(VolumeType, row.type_id)
    shown: dict[str, Any] = {
        "id": row.id,
        "updated_at": stamp(row.updated_at),
        "status": "uploading",
        "display_description": row.description,
        "size": row.size_gib,
        "volume_type": None,
        "image_id": image_id,
        "container_format": body.container_format or "bare",
        "disk_format": body.disk_format or "raw",
        "image_name": body.image_name,
    }
    if kind is not None:
        shown["volume_type"] = {
            "id": kind.id,
            "name": kind.name,
            "description": kind.description,
            "is_public": kind.is_public,
            "extra_specs": kind.extra_specs,
            "qos_specs_id": kind.qos_id or None,
            "created_at": stamp(kind.created_at),
            "updated_at": stamp(kind.updated_at),
            "deleted": False,
            "deleted_at": None,
        }
    if ctx.microversion >= (3, 1):
        shown["visibility"] = body.visibility or "private"
        shown["protected"] = bool(body.protected)
    return shown


def set_metadata(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Set metadata that a volume keeps of its image."""
    body: SetMetadata = ctx.body
    return {"metadata": _put(ctx, volume_id, lambda old: {**old, **body.metadata}, "set")}


def unset_metadata(ctx: Context, volume_id: str) -> Reply:
    """Remove one item of that metadata."""
    key = ctx.body.key

    def less(old: dict[str, str]) -> dict[str, str]:
        if key not in old:
            raise NotFound(f"Volume {volume_id} has no image metadata with key {key}.")
        return {name: value for name, value in old.items() if name != key}

    _put(ctx, volume_id, less, "remove")
    return Reply(status=200)


def show_metadata(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Show that metadata."""
    row = lookup.volume(ctx, volume_id, "volume_extension:volume_image_metadata:show")
    return {"metadata": row.image_metadata}


def _put(ctx: Context, volume_id: str, change: Any, verb: str) -> dict[str, str]:
    def plan() -> tuple[list[AnyOp], dict[str, str]]:
        row = lookup.volume(ctx, volume_id, f"volume_extension:volume_image_metadata:{verb}")
        after: dict[str, str] = change(dict(row.image_metadata))
        return [
            check(row),
            patch(Volume, row.id, image_metadata=after, updated_at=ctx.now()),
        ], after

    return requests.transact(ctx, plan)


def reimage(ctx: Context, volume_id: str) -> Reply:
    """Overwrite a volume with an image (3.68)."""
    body: Reimage = ctx.body
    if not is_uuid(body.image_id):
        raise BadRequest("Invalid image_id provided.")
    allowed = ["available", "error"]
    if boolean(body.reimage_reserved, "reimage_reserved"):
        allowed.append("reserved")
    facts = images_of(ctx.hook).facts(ctx.db, body.image_id)
    if facts is None or facts.status != "active":
        raise BadRequest(
            f"Invalid image identifier or unable to access requested image {body.image_id}."
        )

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.volume(ctx, volume_id, "volume:reimage")
        volume_rules.check_status(row, allowed, "reimage")
        if facts.min_disk_gib > row.size_gib or facts.virtual_size_bytes > row.size_gib << 30:
            raise BadRequest("Invalid input received: the image is larger than the volume.")
        job = volume_rules.next_job(row, "reimage", ctx.now(), image_id=body.image_id)
        return [check(row), patch(Volume, row.id, **job)], None

    requests.transact(ctx, plan)
    return Reply(status=202)


def _route(
    action: str, handler: Any, body: Any, status: int = 200, since: str | None = None
) -> Route:
    return Route(
        method="POST",
        path=_ACTION,
        action=action,
        handler=handler,
        policy="any",
        body=body,
        status=status,
        since=since,
    )


ROUTES = (
    _route("os-volume_upload_image", upload, Upload, 202),
    _route("os-set_image_metadata", set_metadata, SetMetadata),
    _route("os-unset_image_metadata", unset_metadata, UnsetMetadata),
    _route("os-show_image_metadata", show_metadata, None),
    _route("os-reimage", reimage, Reimage, 202, "3.68"),
)
