"""Image rows as Glance shows them."""

from typing import Any

from node.plugins.image.tables import Image, ImageMember, ImageTask
from node.sdk import Context, iso_utc

STORE = "local"
ENDED = ("success", "failure")
_KEPT_US = 48 * 3600 * 1_000_000


def image_view(image: Image) -> dict[str, Any]:
    """Return the JSON object of an image; custom properties stand beside the base ones."""
    view: dict[str, Any] = {
        **image.properties,
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": image.os_hidden,
        "owner": image.project_id or None,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "checksum": image.checksum,
        "os_hash_algo": "sha512" if image.os_hash_value else None,
        "os_hash_value": image.os_hash_value,
        "tags": image.tags,
        "created_at": iso_utc(image.created_at),
        "updated_at": iso_utc(image.updated_at),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }
    if image.status in ("active", "deactivated"):
        view["stores"] = STORE
    if image.status == "importing":
        view["os_glance_importing_to_stores"] = STORE
    if image.failed_import:
        view["os_glance_failed_import"] = STORE
    return view


def member_view(member: ImageMember) -> dict[str, Any]:
    """Return the JSON object of a member."""
    return {
        "image_id": member.image_id,
        "member_id": member.member_id,
        "status": member.status,
        "created_at": iso_utc(member.created_at),
        "updated_at": iso_utc(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def task_view(task: ImageTask) -> dict[str, Any]:
    """Return the JSON object of an import's task."""
    asked = {"image_id": task.image_id, "import_req": {"method": {"name": task.method}}}
    if task.uri:
        asked["import_req"]["method"]["uri"] = task.uri  # type: ignore[index]
    done = task.type == "import" and task.status == "success"
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.project_id,
        "user_id": task.user_id,
        "image_id": task.image_id,
        "request_id": task.request_id,
        "message": task.message,
        "input": task.input or asked,
        "result": {"image_id": task.image_id} if done else None,
        "created_at": iso_utc(task.created_at),
        "updated_at": iso_utc(task.updated_at),
        "expires_at": iso_utc(task.updated_at + _KEPT_US) if task.status in ENDED else None,
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }


def location(ctx: Context, image: Image) -> dict[str, str]:
    """Return the headers of a new image."""
    return {
        "Location": ctx.url(f"/v2/images/{image.id}"),
        "OpenStack-image-import-methods": "glance-direct,web-download",
    }
