"""Finding images for a caller: what may not be seen does not exist."""

from collections.abc import Mapping
from typing import Any

from node.plugins.image.tables import Image, ImageMember
from node.sdk import Context, Forbidden, NotFound


def visible(ctx: Context, image_id: str) -> Image:
    """Return an image that the caller may see.

    Raises:
        NotFound: 404.
    """
    missing = NotFound(f"No image found with ID {image_id}")
    image = ctx.db.get(Image, image_id)
    if image is None or image.want == "absent":
        raise missing
    ctx.require("image:get_image", target(ctx, image), hidden=missing)
    return image


def changeable(ctx: Context, image_id: str, rule: str) -> Image:
    """Return an image that the caller may change by a rule.

    Raises:
        NotFound: 404, not even to be seen.
        Forbidden: 403, seen but not the caller's to change.
    """
    image = visible(ctx, image_id)
    refusal = Forbidden(f"You are not authorized to complete {rule.removeprefix('image:')} action.")
    ctx.require(rule, target(ctx, image), hidden=refusal)
    return image


def target(ctx: Context, image: Image) -> Mapping[str, Any]:
    """Return what policies may ask of an image."""
    found: dict[str, Any] = {"project_id": image.project_id, "visibility": image.visibility}
    project_id = ctx.token.project_id
    is_foreign = project_id not in ("", image.project_id)
    if (
        image.visibility == "shared"
        and is_foreign
        and ctx.db.get(ImageMember, f"{image.id}/{project_id}")
    ):
        found["member_id"] = project_id
    return found
