"""Image data: upload, staging and download.

Source: https://docs.openstack.org/api-ref/image/v2/#image-data
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from node.plugins.image import copy_data, copy_rules
from node.plugins.image.access import changeable, target, visible
from node.plugins.image.data_range import Part, byte_range
from node.plugins.image.data_store import DataStore, Stored, verify
from node.plugins.image.image_rules import must_have_no_data
from node.plugins.image.image_view import STORE
from node.plugins.image.section import ImageSection
from node.plugins.image.tables import Image, ImageCopy
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Forbidden,
    NodeRow,
    NotFound,
    Reply,
    UnsupportedMediaType,
    check,
    patch,
    put,
)

_GIB = 1 << 30


def store_of(ctx: Context) -> DataStore:
    """Return this node's data store."""
    return DataStore(ctx.config.state_dir)


def matches(ctx: Context) -> bool:
    """Return whether data must be of the format that its image declares."""
    return ctx.config.section(ImageSection).require_image_format_match


def upload(ctx: Context, image_id: str) -> Reply:
    """Store an image's data and make it active."""
    stored, part, upload_id = _receive(ctx, image_id, "saving")
    store = store_of(ctx)
    try:
        image = changeable(ctx, image_id, "image:upload_image")
        virtual_size = verify(stored, image.disk_format, match=matches(ctx))
        store.keep(part, store.path(image_id))
        _activate(ctx, image_id, upload_id, stored, virtual_size)
    except BaseException:
        part.unlink(missing_ok=True)
        _give_up(ctx, image_id, upload_id)
        raise
    return Reply(status=204)


def stage(ctx: Context, image_id: str) -> Reply:
    """Store an image's data for an import that follows."""
    stored, part, upload_id = _receive(ctx, image_id, "uploading")
    store = store_of(ctx)
    try:
        image = changeable(ctx, image_id, "image:upload_image")
        verify(stored, image.disk_format, match=matches(ctx))
        store.keep(part, store.staged(image_id))
    except BaseException:
        part.unlink(missing_ok=True)
        _give_up(ctx, image_id, upload_id)
        raise
    facts = {
        "size": stored.size,
        "checksum": stored.checksum,
        "os_hash_value": stored.os_hash_value,
    }
    ctx.transact(lambda: ([patch(Image, image_id, updated_at=ctx.now(), **facts)], None))
    return Reply(status=204)


def _receive(ctx: Context, image_id: str, status: str) -> tuple[Stored, Path, str]:
    """Claim the image for this upload and take the data."""
    media = ctx.headers["content-type"].partition(";")[0].strip().lower()
    if media != "application/octet-stream":
        raise UnsupportedMediaType(
            f"Unsupported media type {media or 'none'}: use application/octet-stream"
        )
    upload_id = ctx.ids.hex()

    def claim() -> tuple[Sequence[AnyOp], None]:
        image = changeable(ctx, image_id, "image:upload_image")
        must_have_no_data(image)
        if not image.disk_format or not image.container_format:
            raise BadRequest(
                "Properties disk_format, container_format must be set prior to saving data."
            )
        fields: dict[str, Any] = {"status": status, "upload": upload_id, "updated_at": ctx.now()}
        fields["node_id"] = ctx.node_id
        return [check(image), patch(Image, image_id, **fields)], None

    ctx.transact(claim)
    store = store_of(ctx)
    limit_bytes = ctx.config.section(ImageSection).max_image_gib * _GIB
    try:
        part = store.part(image_id, upload_id)
        return store.receive(ctx.stream, part, limit_bytes), part, upload_id
    except BaseException:
        _give_up(ctx, image_id, upload_id)
        raise


def _activate(
    ctx: Context, image_id: str, upload_id: str, stored: Stored, virtual_size: int | None
) -> None:
    def plan() -> tuple[Sequence[AnyOp], None]:
        image = ctx.db.get(Image, image_id)
        if image is None or image.want == "absent" or image.upload != upload_id:
            raise NotFound(f"Image {image_id} was deleted while its data was uploaded")
        fields: dict[str, Any] = {
            "status": "active",
            "upload": "",
            "size": stored.size,
            "virtual_size": virtual_size,
            "checksum": stored.checksum,
            "os_hash_value": stored.os_hash_value,
            "updated_at": ctx.now(),
        }
        return [check(image), patch(Image, image_id, **fields), copy_op(ctx, image_id)], None

    ctx.transact(plan)


def copy_op(ctx: Context, image_id: str) -> AnyOp:
    """Return the operation that says that this node has the image's data."""
    now = ctx.now()
    return put(
        ImageCopy(
            id=f"{image_id}/{ctx.node_id}",
            image_id=image_id,
            node_id=ctx.node_id,
            created_at=now,
            updated_at=now,
        )
    )


def _give_up(ctx: Context, image_id: str, upload_id: str) -> None:
    """Make the image ready for another upload, unless it is another's by now."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        image = ctx.db.get(Image, image_id)
        if image is None or image.want == "absent" or image.upload != upload_id:
            return [], None
        return [
            check(image),
            patch(Image, image_id, status="queued", upload="", updated_at=ctx.now()),
        ], None

    ctx.transact(plan, frees=True)


def download(ctx: Context, image_id: str) -> Reply:
    """Send an image's data."""
    image = visible(ctx, image_id)
    if image.status == "deactivated" and not ctx.token.is_admin:
        raise Forbidden(
            "The requested image has been deactivated. Image data download is forbidden."
        )
    ctx.require("image:download_image", target(ctx, image))
    if image.status not in ("active", "deactivated"):
        return Reply(status=204)
    path = store_of(ctx).path(image_id)
    size = path.stat().st_size if path.exists() else image.size or 0
    part = byte_range(ctx, size)
    answer: dict[str, Any] = {
        "status": 206 if part.length != size else 200,
        "headers": {"Content-MD5": image.checksum or "", **part.headers},
        "content_type": "application/octet-stream",
        "length_bytes": part.length,
    }
    if path.exists():
        return Reply(file=(str(path), part.offset, part.length), **answer)
    return Reply(body=_from_others(ctx, image, part), **answer)


def _from_others(ctx: Context, image: Image, part: Part) -> Iterator[bytes]:
    """Return an image's data as another node sends it.

    Raises:
        NotFound: 404, no node has it.
        Unavailable: 503, none that has it answers.
    """
    copies = ctx.db.rows(ImageCopy, image_id=image.id)
    if not copies:
        raise NotFound(f"The data of image {image.id} is missing: upload it again as another image")
    nodes = copy_rules.sources(image.id, ctx.db.rows(NodeRow), copies, ctx.node_id)
    if not part.length:
        return iter(())
    path = copy_data.copy_path(image.id)
    data = copy_data.passed_on(ctx.data_port, nodes, path, part.offset, part.length)
    first = next(data)
    return itertools.chain([first], data)


def info_stores(_ctx: Context) -> dict[str, Any]:
    """Say where images are stored."""
    return {"stores": [{"id": STORE, "description": "The nodes' own disks", "default": "true"}]}
