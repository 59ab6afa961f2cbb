"""Image data: upload, download, staging and import.

Source: https://docs.openstack.org/api-ref/image/v2/#image-data
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.plugins.image.access import changeable, target, visible
from node.plugins.image.data_store import DataStore, Stored, verify
from node.plugins.image.image_rules import must_have_no_data
from node.plugins.image.image_view import STORE, task_view
from node.plugins.image.section import ImageSection
from node.plugins.image.tables import Image, ImageTask
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    NodeRow,
    NotFound,
    Reply,
    UnsupportedMediaType,
    check,
    insert,
    patch,
)

_GIB = 1 << 30


def store_of(ctx: Context) -> DataStore:
    """Return this node's data store."""
    return DataStore(ctx.config.state_dir)


def upload(ctx: Context, image_id: str) -> Reply:
    """Store an image's data and make it active."""
    stored, part, upload_id = _receive(ctx, image_id, "saving")
    store = store_of(ctx)
    try:
        image = changeable(ctx, image_id, "image:upload_image")
        virtual_size = verify(stored, image.disk_format)
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
        verify(stored, image.disk_format)
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
    node = ctx.db.one(NodeRow)

    def claim() -> tuple[Sequence[AnyOp], None]:
        image = changeable(ctx, image_id, "image:upload_image")
        must_have_no_data(image)
        if not image.disk_format or not image.container_format:
            raise BadRequest(
                "Properties disk_format, container_format must be set prior to saving data."
            )
        fields: dict[str, Any] = {"status": status, "upload": upload_id, "updated_at": ctx.now()}
        fields["node_id"] = node.id if node else ""
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
        return [check(image), patch(Image, image_id, **fields)], None

    ctx.transact(plan)


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
    if not path.exists():
        raise NotFound(f"The data of image {image_id} is missing: upload it again as another image")
    size = path.stat().st_size
    offset, length = _range(ctx, size)
    headers = {"Content-MD5": image.checksum or ""}
    if length != size:
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
    return Reply(
        status=206 if length != size else 200,
        headers=headers,
        content_type="application/octet-stream",
        length_bytes=length,
        file=(str(path), offset, length),
    )


def _range(ctx: Context, size: int) -> tuple[int, int]:
    """Return (offset, length) of a single byte range; without one, of everything."""
    from node.sdk import RangeNotSatisfiable

    text = ctx.headers.get("range", "")
    if not text:
        return 0, size
    unit, _equals, span = text.partition("=")
    first, dash, last = span.partition("-")
    numbers = all(part == "" or (part.isascii() and part.isdigit()) for part in (first, last))
    if unit.strip() != "bytes" or not dash or not numbers or not (first or last):
        raise RangeNotSatisfiable(f"Range {text} is not supported")
    if not first:
        length = min(int(last), size)
        return size - length, length
    offset = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if offset >= size or end < offset:
        raise RangeNotSatisfiable(f"Range {text} has no byte of the image's {size}")
    return offset, end - offset + 1


def import_image(ctx: Context, image_id: str) -> Reply:
    """Make staged data the image's."""
    method = ctx.body.get("method") if isinstance(ctx.body, dict) else None
    name = method.get("name") if isinstance(method, dict) else None
    if not isinstance(name, str):
        raise BadRequest("Import request requires a 'name' field in 'method'.")
    if name != "glance-direct":
        raise BadRequest(f"Unknown import method name '{name}'.")
    image = changeable(ctx, image_id, "image:modify_image")
    if image.status != "uploading":
        raise Conflict(f"Image needs to be in status uploading to be able to use {name} import")
    store = store_of(ctx)
    staged = store.staged(image_id)
    now = ctx.now()
    task = ImageTask(
        id=ctx.ids.uuid(), image_id=image_id, project_id=image.project_id, user_id=ctx.token.user_id,
        request_id=ctx.request_id, status="success", method=name, created_at=now, updated_at=now,
    )  # fmt: skip
    if not staged.exists() and not store.path(image_id).exists():
        raise Conflict(f"The staged data of image {image_id} is missing: stage it again")
    source = staged if staged.exists() else store.path(image_id)
    virtual_size = verify(_stored(image, source), image.disk_format)
    if staged.exists():
        store.keep(staged, store.path(image_id))

    def plan() -> tuple[Sequence[AnyOp], None]:
        fresh = changeable(ctx, image_id, "image:modify_image")
        if fresh.status != "uploading":
            raise Conflict(f"Image {image_id} is {fresh.status} by now")
        fields: dict[str, Any] = {"status": "active", "upload": "", "updated_at": now}
        return [
            check(fresh),
            patch(Image, image_id, virtual_size=virtual_size, **fields),
            insert(task),
        ], None

    ctx.transact(plan)
    return Reply(status=202)


def _stored(image: Image, path: Path) -> Stored:
    from node.plugins.image.format_rules import HEADER_BYTES, inspect

    with path.open("rb") as file:
        inspection = inspect(file.read(HEADER_BYTES))
    return Stored(
        size=image.size or 0,
        checksum=image.checksum or "",
        os_hash_value=image.os_hash_value or "",
        inspection=inspection,
    )


def tasks(ctx: Context, image_id: str) -> dict[str, Any]:
    """List the imports of an image."""
    visible(ctx, image_id)
    return {"tasks": [task_view(task) for task in ctx.db.rows(ImageTask, image_id=image_id)]}


def info_import(_ctx: Context) -> dict[str, Any]:
    """Say how images may be imported."""
    description = "Import methods available."
    return {
        "import-methods": {"description": description, "type": "array", "value": ["glance-direct"]}
    }


def info_stores(_ctx: Context) -> dict[str, Any]:
    """Say where images are stored."""
    return {"stores": [{"id": STORE, "description": "The nodes' own disks", "default": "true"}]}
