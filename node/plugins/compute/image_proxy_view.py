"""Glance's images in the words of Nova's old image API."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from node.plugins.compute.link_view import bookmark, self_links
from node.sdk import Context

_STATUS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "active": ("ACTIVE", 100),
        "queued": ("SAVING", 25),
        "importing": ("SAVING", 50),
        "uploading": ("SAVING", 50),
        "saving": ("SAVING", 50),
        "deleted": ("DELETED", 0),
        "pending_delete": ("DELETED", 0),
        "killed": ("ERROR", 0),
    }
)
_OWN = frozenset(
    {
        "id", "name", "status", "visibility", "protected", "os_hidden", "owner", "disk_format", "container_format",
        "size", "virtual_size", "min_disk", "min_ram", "checksum", "os_hash_algo", "os_hash_value", "tags",
        "created_at", "updated_at", "self", "file", "schema", "stores", "locations", "direct_url",
    }
)  # fmt: skip


def statuses_of(wanted: str) -> list[str]:
    """Return Glance's statuses that Nova shows as one; none where it is no status."""
    return [name for name, (shown, _progress) in _STATUS.items() if shown == wanted.upper()]


def metadata(image: Mapping[str, Any]) -> dict[str, str]:
    """Return what an image has besides Glance's own attributes."""
    return {name: str(value) for name, value in image.items() if name not in _OWN}


def summary(ctx: Context, image: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image's entry in the plain list."""
    alternate = {
        "rel": "alternate",
        "type": "application/vnd.openstack.image",
        "href": f"{ctx.base_url}/image/images/{image['id']}",
    }
    links = [*self_links(ctx, "images", image["id"]), alternate]
    return {"id": image["id"], "name": image["name"], "links": links}


def detail(ctx: Context, image: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image in full."""
    status, progress = _STATUS.get(image["status"], ("UNKNOWN", 0))
    more = metadata(image)
    body = summary(ctx, image) | {
        "status": status,
        "progress": progress,
        "minDisk": image["min_disk"],
        "minRam": image["min_ram"],
        "created": image["created_at"],
        "updated": image["updated_at"],
        "metadata": more,
        "OS-EXT-IMG-SIZE:size": image["size"] or 0,
    }
    if server_id := more.get("instance_uuid"):
        links = [
            {"rel": "self", "href": ctx.url(f"/v2.1/servers/{server_id}")},
            *bookmark(ctx, "servers", server_id),
        ]
        body["server"] = {"id": server_id, "links": links}
    if "auto_disk_config" in more:
        is_auto = more["auto_disk_config"].lower() in ("true", "1")
        body["OS-DCF:diskConfig"] = "AUTO" if is_auto else "MANUAL"
    return body
