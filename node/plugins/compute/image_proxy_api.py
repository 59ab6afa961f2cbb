"""Nova's old image API (up to 2.35, metadata up to 2.38): a proxy to Glance's.

Source: https://docs.openstack.org/api-ref/compute/#images-deprecated
"""

from collections.abc import Mapping
from typing import Any

from node.plugins.compute import image_proxy_view, listing, quota_rules, server_create_rules
from node.plugins.compute.checks import Metadata
from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    Frozen,
    NodeError,
    NotFound,
    Route,
    Unavailable,
)

_IMAGES = "/image/v2/images"
_PATCH = "application/openstack-images-v2.1-json-patch"
_ANY = "os_compute_api:image-metadata"
_REFUSALS: Mapping[int, type[NodeError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}
_FILTERS = {
    "name": "name",
    "minDisk": "min_disk",
    "minRam": "min_ram",
    "type": "image_type",
}


class MetadataBody(Frozen, forbid_unknown_fields=True):
    """Body of POST and PUT …/metadata."""

    metadata: Metadata


class ItemBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT …/metadata/{key}."""

    meta: Metadata


def _glance(ctx: Context, method: str, path: str, **more: Any) -> Any:
    answer = ctx.ask(method, _IMAGES + path, **more)
    if answer.status < 400:
        return answer.body
    raise _REFUSALS.get(answer.status, Unavailable)(answer.message)


def _image(ctx: Context, image_id: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = _glance(ctx, "GET", f"/{image_id}")
    except NotFound as error:
        raise NotFound(f"Image {image_id} could not be found.") from error
    return found


def _listed(ctx: Context, view: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"limit": listing.limit(ctx), "sort_key": "created_at"}
    for name, theirs in _FILTERS.items():
        if (value := ctx.param(name)) is not None:
            asked[theirs] = value
    for name, values in ctx.params.items():
        if name.startswith("property-"):
            asked[name.removeprefix("property-")] = values[0]
    if (status := ctx.param("status")) is not None:
        known = image_proxy_view.statuses_of(status)
        asked["status"] = f"in:{','.join(known)}" if known else status
    if (server := ctx.param("server")) is not None:
        asked["instance_uuid"] = server.rstrip("/").rpartition("/")[2]
    if (since := ctx.param("changes-since")) is not None:
        asked["updated_at"] = f"gte:{since}"
    if (marker := ctx.param("marker")) is not None:
        asked["marker"] = marker
    if not asked["limit"]:
        return {"images": []}
    found = _glance(ctx, "GET", "", params=asked)
    images = found["images"]
    body: dict[str, Any] = {"images": [view(ctx, image) for image in images]}
    if "next" in found and images:
        body["images_links"] = [listing.next_link(ctx, images[-1]["id"])]
    return body


def index(ctx: Context) -> dict[str, Any]:
    """List images."""
    return _listed(ctx, image_proxy_view.summary)


def index_detail(ctx: Context) -> dict[str, Any]:
    """List images in full."""
    return _listed(ctx, image_proxy_view.detail)


def show(ctx: Context, image_id: str) -> dict[str, Any]:
    """Show an image."""
    return {"image": image_proxy_view.detail(ctx, _image(ctx, image_id))}


def delete(ctx: Context, image_id: str) -> None:
    """Delete an image."""
    _image(ctx, image_id)
    _glance(ctx, "DELETE", f"/{image_id}")


def metadata_index(ctx: Context, image_id: str) -> dict[str, Any]:
    """Show an image's metadata."""
    return {"metadata": image_proxy_view.metadata(_image(ctx, image_id))}


def metadata_show(ctx: Context, image_id: str, key: str) -> dict[str, Any]:
    """Show one entry of an image's metadata."""
    found = image_proxy_view.metadata(_image(ctx, image_id))
    if key not in found:
        raise NotFound("Metadata item was not found")
    return {"meta": {key: found[key]}}


def metadata_update(ctx: Context, image_id: str) -> dict[str, Any]:
    """Add entries to an image's metadata."""
    return {"metadata": _set(ctx, image_id, ctx.body.metadata, keep=True)}


def metadata_replace(ctx: Context, image_id: str) -> dict[str, Any]:
    """Replace an image's metadata."""
    return {"metadata": _set(ctx, image_id, ctx.body.metadata, keep=False)}


def metadata_set(ctx: Context, image_id: str, key: str) -> dict[str, Any]:
    """Set one entry of an image's metadata."""
    if set(ctx.body.meta) != {key}:
        raise BadRequest("Request body and URI mismatch")
    _set(ctx, image_id, ctx.body.meta, keep=True)
    return {"meta": ctx.body.meta}


def metadata_delete(ctx: Context, image_id: str, key: str) -> None:
    """Take one entry out of an image's metadata."""
    if key not in image_proxy_view.metadata(_image(ctx, image_id)):
        raise NotFound("Invalid metadata key")
    _patch(ctx, image_id, [{"op": "remove", "path": _pointer(key)}])


def _set(ctx: Context, image_id: str, wanted: Mapping[str, str], *, keep: bool) -> dict[str, str]:
    held = image_proxy_view.metadata(_image(ctx, image_id))
    after = {**held, **wanted} if keep else dict(wanted)
    server_create_rules.check_metadata_quota(after, quota_rules.limits_of(ctx.db, ctx.project_id))
    changes: list[dict[str, str]] = [
        {"op": "replace" if name in held else "add", "path": _pointer(name), "value": value}
        for name, value in after.items()
        if held.get(name) != value
    ]
    changes += [{"op": "remove", "path": _pointer(name)} for name in held if name not in after]
    if changes:
        _patch(ctx, image_id, changes)
    return after


def _patch(ctx: Context, image_id: str, changes: list[dict[str, str]]) -> None:
    _glance(ctx, "PATCH", f"/{image_id}", json=changes, content_type=_PATCH)


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


_ONE = "/v2.1/images/{image_id}"


def _route(method: str, path: str, handler: Any, body: Any = None, **more: Any) -> Route:
    until = "2.38" if "/metadata" in path else "2.35"
    return Route(
        method=method, path=path, handler=handler, policy=_ANY, body=body, until=until, **more
    )


ROUTES = (
    _route("GET", "/v2.1/images", index),
    _route("GET", "/v2.1/images/detail", index_detail),
    _route("GET", _ONE, show),
    _route("DELETE", _ONE, delete, status=204),
    _route("GET", _ONE + "/metadata", metadata_index),
    _route("POST", _ONE + "/metadata", metadata_update, MetadataBody),
    _route("PUT", _ONE + "/metadata", metadata_replace, MetadataBody),
    _route("GET", _ONE + "/metadata/{key}", metadata_show),
    _route("PUT", _ONE + "/metadata/{key}", metadata_set, ItemBody),
    _route("DELETE", _ONE + "/metadata/{key}", metadata_delete, status=204),
)
