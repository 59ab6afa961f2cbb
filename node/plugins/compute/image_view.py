"""Glance's images as Nova showed them, up to 2.35."""

from collections.abc import Mapping
from typing import Any

from node.plugins.compute.link_view import self_links
from node.sdk import Context

Glance = Mapping[str, Any]

_STATUS = {"active": "ACTIVE", "queued": "SAVING", "saving": "SAVING", "deleted": "DELETED", "killed": "ERROR"}
_PROGRESS = {"active": 100, "saving": 50, "queued": 25}
_BASE = frozenset({
    "id", "name", "status", "visibility", "protected", "os_hidden", "owner", "disk_format", "container_format", "size",
    "virtual_size", "min_disk", "min_ram", "checksum", "os_hash_algo", "os_hash_value", "tags", "created_at",
    "updated_at", "self", "file", "schema", "stores", "direct_url", "locations", "os_glance_failed_import",
    "os_glance_importing_to_stores",
})  # fmt: skip


def status(image: Glance) -> str:
    """Return the word that Nova has for an image's status."""
    return _STATUS.get(image["status"], "UNKNOWN")


def properties(image: Glance) -> dict[str, str]:
    """Return the custom properties, which Nova calls metadata."""
    return {name: value for name, value in image.items() if name not in _BASE}


def brief_view(ctx: Context, image: Glance) -> dict[str, Any]:
    """Return an image as it stands in a listing."""
    glance = f"{ctx.base_url}/image/images/{image['id']}"
    alternate = {"rel": "alternate", "type": "application/vnd.openstack.image", "href": glance}
    links = [*self_links(ctx, "images", image["id"]), alternate]
    return {"id": image["id"], "name": image["name"], "links": links}


def image_view(ctx: Context, image: Glance) -> dict[str, Any]:
    """Return an image in detail."""
    metadata = properties(image)
    view = {
        **brief_view(ctx, image),
        "status": status(image),
        "created": image["created_at"],
        "updated": image["updated_at"],
        "minDisk": image["min_disk"],
        "minRam": image["min_ram"],
        "progress": _PROGRESS.get(image["status"], 0),
        "metadata": metadata,
        "OS-EXT-IMG-SIZE:size": image["size"] or 0,
    }
    if "auto_disk_config" in metadata:
        is_auto = metadata["auto_disk_config"].lower() == "true"
        view["OS-DCF:diskConfig"] = "AUTO" if is_auto else "MANUAL"
    if server_id := metadata.get("instance_uuid"):
        view["server"] = {"id": server_id, "links": self_links(ctx, "servers", server_id)}
    return view
