"""Sharing: the projects that an image is offered to.

Source: https://docs.openstack.org/api-ref/image/v2/#sharing
"""

from collections.abc import Sequence
from typing import Any

from node.plugins.image.access import changeable, visible
from node.plugins.image.image_view import member_view
from node.plugins.image.tables import Image, ImageMember
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    NotFound,
    Refused,
    Reply,
    check,
    delete,
    insert,
    patch,
)

_STATES = ("pending", "accepted", "rejected")


def _shared(ctx: Context, image_id: str, rule: str) -> Image:
    image = changeable(ctx, image_id, rule)
    if image.visibility != "shared":
        raise Forbidden("Only shared images have members.")
    return image


def add(ctx: Context, image_id: str) -> dict[str, Any]:
    """Offer an image to a project."""
    wanted = ctx.body.get("member") if isinstance(ctx.body, dict) else None
    if not isinstance(wanted, str) or not wanted or len(wanted) > 255:
        raise BadRequest('Expected a member in the form: {"member": "image_id"}')
    member_id = wanted

    def plan() -> tuple[Sequence[AnyOp], ImageMember]:
        image = _shared(ctx, image_id, "image:add_member")
        now = ctx.now()
        member = ImageMember(
            id=f"{image_id}/{member_id}",
            image_id=image_id,
            member_id=member_id,
            created_at=now,
            updated_at=now,
        )
        return [check(image), insert(member)], member

    def refused(refusal: Refused) -> Conflict | None:
        if refusal.reason != "exists":
            return None
        return Conflict(f"Project {member_id} is a member of image {image_id} already")

    return member_view(ctx.transact(plan, refused=refused))


def index(ctx: Context, image_id: str) -> dict[str, Any]:
    """List the members that the caller may know of."""
    image = visible(ctx, image_id)
    if image.visibility != "shared":
        raise Forbidden("Only shared images have members.")
    members = [m for m in ctx.db.rows(ImageMember, image_id=image_id) if _may_know(ctx, image, m)]
    return {"members": [member_view(member) for member in members], "schema": "/v2/schemas/members"}


def _may_know(ctx: Context, image: Image, member: ImageMember) -> bool:
    asked = {"project_id": image.project_id, "member_id": member.member_id}
    return ctx.allows("image:get_members", asked)


def _member(ctx: Context, image: Image, member_id: str) -> ImageMember:
    member = ctx.db.get(ImageMember, f"{image.id}/{member_id}")
    if member is None or not _may_know(ctx, image, member):
        raise NotFound(f"{member_id} not found in the member list of the image {image.id}.")
    return member


def show(ctx: Context, image_id: str, member_id: str) -> dict[str, Any]:
    """Show one member."""
    return member_view(_member(ctx, visible(ctx, image_id), member_id))


def update(ctx: Context, image_id: str, member_id: str) -> dict[str, Any]:
    """Accept or reject an offered image, as the member."""
    status = ctx.body.get("status") if isinstance(ctx.body, dict) else None
    if status not in _STATES:
        raise BadRequest(f"Invalid status {status!r}: it is one of {', '.join(_STATES)}")

    def plan() -> tuple[Sequence[AnyOp], None]:
        member = _member(ctx, visible(ctx, image_id), member_id)
        asked = {"member_id": member.member_id}
        ctx.require(
            "image:modify_member", asked, hidden=Forbidden("You are not the member of this image.")
        )
        return [
            check(member),
            patch(ImageMember, member.id, status=status, updated_at=ctx.now()),
        ], None

    ctx.transact(plan)
    return member_view(ctx.find(ImageMember, f"{image_id}/{member_id}", "The member is gone"))


def remove(ctx: Context, image_id: str, member_id: str) -> Reply:
    """Take an offer back."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        image = _shared(ctx, image_id, "image:delete_member")
        member = _member(ctx, image, member_id)
        return [check(member), delete(ImageMember, member.id)], None

    ctx.transact(plan, frees=True)
    return Reply(status=204)
