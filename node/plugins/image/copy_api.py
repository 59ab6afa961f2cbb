"""What nodes serve each other of images: whole copies, and data that waits for its import."""

from pathlib import Path

from node.plugins.image.data_range import byte_range
from node.plugins.image.data_store import DataStore
from node.plugins.image.tables import Image
from node.sdk import Context, NotFound, Reply


def copy(ctx: Context, image_id: str) -> Reply:
    """Serve this node's copy of an image to another node."""
    image = ctx.db.get(Image, image_id)
    if image is None or image.status not in ("active", "deactivated"):
        raise NotFound(f"No image found with ID {image_id}")
    return _file(ctx, DataStore(ctx.config.state_dir).path(image_id))


def staged(ctx: Context, image_id: str) -> Reply:
    """Serve data that was staged here to the node that imports it."""
    image = ctx.db.get(Image, image_id)
    if image is None or image.status != "uploading":
        raise NotFound(f"No image found with ID {image_id}")
    return _file(ctx, DataStore(ctx.config.state_dir).staged(image_id))


def _file(ctx: Context, path: Path) -> Reply:
    if not path.exists():
        raise NotFound("This node has no copy")
    size = path.stat().st_size
    part = byte_range(ctx, size)
    return Reply(
        status=206 if part.asked else 200,
        content_type="application/octet-stream",
        headers=part.headers,
        length_bytes=part.length,
        file=(str(path), part.offset, part.length),
    )
