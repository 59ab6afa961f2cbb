"""Imports: staged data, or data that the node of the image fetches from the web, becomes the image's.

Source: https://docs.openstack.org/api-ref/image/v2/#interoperable-image-import
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.plugins.image import copy_data, import_rules
from node.plugins.image.access import changeable, visible
from node.plugins.image.data_api import copy_op, matches, store_of
from node.plugins.image.data_store import Stored, verify
from node.plugins.image.image_view import STORE, task_view
from node.plugins.image.section import ImageSection
from node.plugins.image.tables import Image, ImageTask
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    NodeRow,
    Reply,
    check,
    insert,
    patch,
)

METHODS = ("glance-direct", "web-download")


def import_image(ctx: Context, image_id: str) -> Reply:
    """Make staged data, or that of a URL, the image's."""
    name, method = import_rules.method(ctx.body, METHODS)
    import_rules.check_stores(ctx.body, STORE)
    if name == "web-download":
        return _from_web(ctx, image_id, import_rules.uri(method.get("uri"), ctx.config.section(ImageSection)))
    return _from_stage(ctx, image_id)


def new_task(ctx: Context, image_id: str, owner: str, **fields: Any) -> ImageTask:
    """Return the task of an import."""
    now = ctx.now()
    return ImageTask(
        id=ctx.ids.uuid(), image_id=image_id, project_id=owner, user_id=ctx.token.user_id,
        request_id=ctx.request_id, created_at=now, updated_at=now, **fields,
    )  # fmt: skip


def _from_web(ctx: Context, image_id: str, uri: str) -> Reply:
    """Have this node's core fetch the data: the client does not wait for it."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        image = changeable(ctx, image_id, "image:modify_image")
        if image.status != "queued":
            raise Conflict("Image needs to be in 'queued' state to use 'web-download' method")
        if not image.disk_format or not image.container_format:
            raise BadRequest("'disk_format' and 'container_format' must be set before importing an image")
        task = new_task(ctx, image_id, image.project_id, method="web-download", uri=uri)
        return [check(image), *start_ops(ctx, task), insert(task)], None

    ctx.transact(plan)
    return Reply(status=202)


def start_ops(ctx: Context, task: ImageTask) -> list[AnyOp]:
    """Return the operations that hand an image to this node for an import."""
    fields = {"status": "importing", "upload": task.id, "node_id": ctx.node_id}
    return [patch(Image, task.image_id, **fields, updated_at=ctx.now())]


def _from_stage(ctx: Context, image_id: str) -> Reply:
    """Make staged data the image's."""
    image = changeable(ctx, image_id, "image:modify_image")
    if image.status != "uploading":
        raise Conflict("Image needs to be in 'uploading' state before calling image_import")
    store = store_of(ctx)
    staged = store.staged(image_id)
    now = ctx.now()
    task = new_task(ctx, image_id, image.project_id, status="success")
    if not staged.exists() and not store.path(image_id).exists():
        _bring_staged(ctx, image, staged)
    source = staged if staged.exists() else store.path(image_id)
    virtual_size = verify(_stored(image, source), image.disk_format, match=matches(ctx))
    if staged.exists():
        store.keep(staged, store.path(image_id))

    def plan() -> tuple[Sequence[AnyOp], None]:
        fresh = changeable(ctx, image_id, "image:modify_image")
        if fresh.status != "uploading":
            raise Conflict(f"Image {image_id} is {fresh.status} by now")
        fields: dict[str, Any] = {"status": "active", "upload": "", "node_id": ctx.node_id}
        fields["updated_at"] = now
        return [
            check(fresh),
            patch(Image, image_id, virtual_size=virtual_size, **fields),
            insert(task),
            copy_op(ctx, image_id),
        ], None

    ctx.transact(plan)
    return Reply(status=202)


def _bring_staged(ctx: Context, image: Image, staged: Path) -> None:
    """Fetch data that was staged through another node.

    Raises:
        Conflict: 409, no node has it.
        Unavailable: 503, the node that has it does not answer.
    """
    nodes = [node for node in ctx.db.rows(NodeRow, id=image.node_id) if node.id != ctx.node_id]
    if not nodes:
        raise Conflict(f"The staged data of image {image.id} is missing: stage it again")
    store = store_of(ctx)
    part = store.part(image.id, f"{ctx.ids.hex()}.staged")
    path = copy_data.staged_path(image.id)
    try:
        copy_data.fetch(ctx.data_port, image, nodes, path, part, lambda: False)
        store.keep(part, staged)
    finally:
        part.unlink(missing_ok=True)


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
        "import-methods": {"description": description, "type": "array", "value": list(METHODS)}
    }
