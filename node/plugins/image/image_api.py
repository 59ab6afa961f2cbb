"""Create, show, list, update and delete images.

Source: https://docs.openstack.org/api-ref/image/v2/
"""

from collections.abc import Sequence
from typing import Any

from node.plugins.image import patch_rules
from node.plugins.image.access import changeable, visible
from node.plugins.image.image_rules import check_tag, check_tag_count, split
from node.plugins.image.image_view import image_view, location
from node.plugins.image.tables import Image, ImageMember
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Count,
    Forbidden,
    NotFound,
    Refused,
    Reply,
    UnsupportedMediaType,
    check,
    delete,
    insert,
    patch,
)

_PATCH_TYPES = (
    "application/openstack-images-v2.1-json-patch",
    "application/openstack-images-v2.0-json-patch",
)
_MAX_IMAGES = 10_000


def create(ctx: Context) -> Reply:
    """Register an image; its data comes later."""
    image, ops = new_image(ctx, ctx.body)
    ctx.transact(lambda: (ops, None), refused=lambda refused: _exists(refused, image.id))
    return Reply(status=201, body=image_view(image), headers=location(ctx, image))


def new_image(ctx: Context, body: Any) -> tuple[Image, Sequence[AnyOp]]:
    """Return the row of a new image, and the operations that make it.

    Raises:
        BadRequest: 400.
        Forbidden: 403, for another project, or to be seen by all.
    """
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object")
    base, properties = split(body)
    owner = base.pop("owner", None) or ctx.project_id
    if owner != ctx.project_id and not ctx.allows("image:set_image_owner"):
        raise Forbidden("You are not permitted to create images owned by another project.")
    visibility = base.get("visibility", "shared")
    _may_show(ctx, visibility, owner)
    now = ctx.now()
    image = Image(
        **{"id": ctx.ids.uuid(), **base},
        properties=properties,
        project_id=owner,
        created_at=now,
        updated_at=now,
    )
    return image, [insert(image), Count(f"quota:{owner}:images", 1, _MAX_IMAGES)]


def _exists(refused: Refused, image_id: str) -> Conflict | None:
    return Conflict(f"Image ID {image_id} already exists!") if refused.reason == "exists" else None


def _may_show(ctx: Context, visibility: str, owner: str) -> None:
    asked = {"project_id": owner, "visibility": visibility}
    rules = {"public": "image:publicize_image", "community": "image:communitize_image"}
    if visibility in rules and not ctx.allows(rules[visibility], asked):
        raise Forbidden(
            f"You are not authorized to complete {rules[visibility].removeprefix('image:')} action."
        )


def show(ctx: Context, image_id: str) -> dict[str, Any]:
    """Show one image."""
    return image_view(visible(ctx, image_id))


def update(ctx: Context, image_id: str) -> dict[str, Any]:
    """Change an image by a JSON patch."""
    media = ctx.headers["content-type"].partition(";")[0].strip().lower()
    if media not in _PATCH_TYPES:
        raise UnsupportedMediaType(
            f"Unsupported media type {media or 'none'}: use {_PATCH_TYPES[0]}"
        )
    changes = patch_rules.parse(ctx.body, version=2.1 if media == _PATCH_TYPES[0] else 2.0)

    def plan() -> tuple[Sequence[AnyOp], Image]:
        image = changeable(ctx, image_id, "image:modify_image")
        fields = patch_rules.apply(image, changes)
        if "owner" in fields:
            owner = fields.pop("owner") or ""
            if owner != image.project_id and not ctx.allows("image:set_image_owner"):
                raise Forbidden("You are not permitted to change the owner of an image.")
            fields["project_id"] = owner
        if fields.get("visibility", image.visibility) != image.visibility:
            _may_show(ctx, fields["visibility"], image.project_id)
        fields["updated_at"] = ctx.now()
        return [check(image), patch(Image, image.id, **fields)], image

    ctx.transact(plan)
    return image_view(ctx.find(Image, image_id, f"No image found with ID {image_id}"))


def remove(ctx: Context, image_id: str) -> Reply:
    """Delete an image; its data is removed by its node."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        image = changeable(ctx, image_id, "image:delete_image")
        if image.protected:
            raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")
        members = ctx.db.rows(ImageMember, image_id=image_id)
        ops: list[AnyOp] = [check(image), Count(f"quota:{image.project_id}:images", -1)]
        ops += [delete(ImageMember, member.id) for member in members]
        if image.status == "queued" and not image.node_id:
            ops.append(delete(Image, image.id))
        else:
            ops.append(patch(Image, image.id, want="absent", upload="", updated_at=ctx.now()))
        return ops, None

    ctx.transact(plan, frees=True)
    return Reply(status=204)


def deactivate(ctx: Context, image_id: str) -> Reply:
    """Take an image's data out of reach."""
    return _switch(ctx, image_id, "image:deactivate", "deactivated")


def reactivate(ctx: Context, image_id: str) -> Reply:
    """Give a deactivated image's data back."""
    return _switch(ctx, image_id, "image:reactivate", "active")


def _switch(ctx: Context, image_id: str, rule: str, status: str) -> Reply:
    def plan() -> tuple[Sequence[AnyOp], None]:
        image = changeable(ctx, image_id, rule)
        if image.status not in ("active", "deactivated"):
            raise Forbidden(
                f"Not allowed to {rule.removeprefix('image:')} image in status '{image.status}'"
            )
        if image.status == status:
            return [], None
        return [check(image), patch(Image, image.id, status=status, updated_at=ctx.now())], None

    ctx.transact(plan)
    return Reply(status=204)


def add_tag(ctx: Context, image_id: str, tag: str) -> Reply:
    """Give an image a tag."""
    check_tag(tag)

    def plan() -> tuple[Sequence[AnyOp], None]:
        image = changeable(ctx, image_id, "image:modify_image")
        if tag in image.tags:
            return [], None
        check_tag_count(len(image.tags) + 1)
        return [
            check(image),
            patch(Image, image.id, tags=[*image.tags, tag], updated_at=ctx.now()),
        ], None

    ctx.transact(plan)
    return Reply(status=204)


def remove_tag(ctx: Context, image_id: str, tag: str) -> Reply:
    """Take a tag from an image."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        image = changeable(ctx, image_id, "image:modify_image")
        if tag not in image.tags:
            raise NotFound(f"Tag {tag} could not be found on image {image_id}")
        tags = [other for other in image.tags if other != tag]
        return [check(image), patch(Image, image.id, tags=tags, updated_at=ctx.now())], None

    ctx.transact(plan)
    return Reply(status=204)
