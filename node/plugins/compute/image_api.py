"""Images as Nova had them, up to 2.35 (metadata up to 2.38): a proxy to the image service.

Source: https://docs.openstack.org/api-ref/compute/#images-deprecated
"""

from collections.abc import Mapping
from typing import Any

from node.plugins.compute import listing, quota_rules, server_create_rules
from node.plugins.compute.checks import Metadata
from node.plugins.compute.image_view import brief_view, image_view, properties, status
from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    Frozen,
    NodeError,
    NotFound,
    Reply,
    Route,
    Unavailable,
    parse_iso,
)

_IMAGES = "/image/v2/images"
_PATCH = "application/openstack-images-v2.1-json-patch"
_PAGE = 1000
_REFUSALS: Mapping[int, type[NodeError]] = {400: BadRequest, 403: Forbidden, 404: NotFound, 409: Conflict}


class MetadataBody(Frozen, forbid_unknown_fields=True):
    """Body of POST and PUT …/metadata."""

    metadata: Metadata


class ItemBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT …/metadata/{key}."""

    meta: Metadata


def _glance(ctx: Context, method: str, path: str, **more: Any) -> Any:
    """Return what the image service answers.

    Raises:
        NodeError: 400, 403, 404, 409 as it said, else 503.
    """
    answer = ctx.ask(method, _IMAGES + path, **more)
    if answer.status < 400:
        return answer.body
    if answer.status == 404:
        raise NotFound("Image not found.")
    raise _REFUSALS.get(answer.status, Unavailable)(answer.message)


def _image(ctx: Context, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = _glance(ctx, "GET", f"/{image_id}")
    return found


def _listed(ctx: Context) -> list[dict[str, Any]]:
    """Return all images that the caller sees and that fit the query."""
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": _PAGE}
    while page := _glance(ctx, "GET", "", params=params)["images"]:
        found += page
        params["marker"] = page[-1]["id"]
    return [image for image in found if _fits(ctx, image)]


def _fits(ctx: Context, image: Mapping[str, Any]) -> bool:
    known = properties(image)
    for name, values in ctx.params.items():
        value = values[-1]
        match name:
            case "name":
                fits = image["name"] == value
            case "status":
                fits = status(image) == value.upper()
            case "server":
                fits = known.get("instance_uuid") == value.rstrip("/").rpartition("/")[2]
            case "type":
                fits = known.get("image_type", "") == value
            case "minDisk" | "minRam":
                field = {"minDisk": "min_disk", "minRam": "min_ram"}[name]
                fits = str(image[field]) == value
            case "changes-since":
                fits = parse_iso(image["updated_at"]) >= _moment(value)
            case _ if name.startswith("property-"):
                fits = known.get(name.removeprefix("property-")) == value
            case _:
                fits = True
        if not fits:
            return False
    return True


def _moment(text: str) -> int:
    try:
        return parse_iso(text)
    except ValueError as error:
        raise BadRequest(f"Invalid changes-since value: {text}") from error


def index(ctx: Context) -> dict[str, Any]:
    """List images."""
    rows, links = listing.page(ctx, _listed(ctx), key=lambda i: str(i["id"]), collection="images")
    return {"images": [brief_view(ctx, image) for image in rows], **links}


def detail(ctx: Context) -> dict[str, Any]:
    """List images in detail."""
    rows, links = listing.page(ctx, _listed(ctx), key=lambda i: str(i["id"]), collection="images")
    return {"images": [image_view(ctx, image) for image in rows], **links}


def show(ctx: Context, image_id: str) -> dict[str, Any]:
    """Show an image."""
    return {"image": image_view(ctx, _image(ctx, image_id))}


def delete(ctx: Context, image_id: str) -> None:
    """Delete an image."""
    _glance(ctx, "DELETE", f"/{image_id}")


def metadata_index(ctx: Context, image_id: str) -> dict[str, Any]:
    """Show an image's metadata."""
    return {"metadata": properties(_image(ctx, image_id))}


def metadata_show(ctx: Context, image_id: str, key: str) -> dict[str, Any]:
    """Show one entry."""
    found = properties(_image(ctx, image_id))
    if key not in found:
        raise NotFound("Metadata item was not found")
    return {"meta": {key: found[key]}}


def _replace(ctx: Context, image_id: str, old: dict[str, str], new: dict[str, str]) -> dict[str, Any]:
    server_create_rules.check_metadata_quota(new, quota_rules.limits_of(ctx.db, ctx.project_id))
    pointer = {name: "/" + name.replace("~", "~0").replace("/", "~1") for name in {**old, **new}}
    steps: list[dict[str, str]] = [
        {"op": "remove", "path": pointer[name]} for name in old if name not in new
    ]
    steps += [
        {"op": "add", "path": pointer[name], "value": value}
        for name, value in new.items()
        if old.get(name) != value
    ]
    if not steps:
        return dict(new)
    return properties(_glance(ctx, "PATCH", f"/{image_id}", json=steps, content_type=_PATCH))


def metadata_create(ctx: Context, image_id: str) -> dict[str, Any]:
    """Add entries to an image's metadata."""
    old = properties(_image(ctx, image_id))
    return {"metadata": _replace(ctx, image_id, old, {**old, **ctx.body.metadata})}


def metadata_update(ctx: Context, image_id: str) -> dict[str, Any]:
    """Replace an image's metadata."""
    old = properties(_image(ctx, image_id))
    return {"metadata": _replace(ctx, image_id, old, dict(ctx.body.metadata))}


def metadata_set(ctx: Context, image_id: str, key: str) -> dict[str, Any]:
    """Set one entry."""
    if list(ctx.body.meta) != [key]:
        raise BadRequest("Request body and URI mismatch")
    old = properties(_image(ctx, image_id))
    _replace(ctx, image_id, old, {**old, **ctx.body.meta})
    return {"meta": dict(ctx.body.meta)}


def metadata_delete(ctx: Context, image_id: str, key: str) -> Reply:
    """Delete one entry."""
    old = properties(_image(ctx, image_id))
    if key not in old:
        raise NotFound("Invalid metadata key")
    _replace(ctx, image_id, old, {name: value for name, value in old.items() if name != key})
    return Reply(status=204)


_ONE = "/v2.1/images/{image_id}"
_ALL_META, _ONE_META = f"{_ONE}/metadata", f"{_ONE}/metadata/{{key}}"

ROUTES = (
    Route(method="GET", path="/v2.1/images", handler=index, policy="any", until="2.35"),
    Route(method="GET", path="/v2.1/images/detail", handler=detail, policy="any", until="2.35"),
    Route(method="GET", path=_ONE, handler=show, policy="any", until="2.35"),
    Route(method="DELETE", path=_ONE, handler=delete, policy="any", until="2.35", status=204),
    Route(method="GET", path=_ALL_META, handler=metadata_index, policy="any", until="2.38"),
    Route(method="POST", path=_ALL_META, handler=metadata_create, policy="any", until="2.38", body=MetadataBody),
    Route(method="PUT", path=_ALL_META, handler=metadata_update, policy="any", until="2.38", body=MetadataBody),
    Route(method="GET", path=_ONE_META, handler=metadata_show, policy="any", until="2.38"),
    Route(method="PUT", path=_ONE_META, handler=metadata_set, policy="any", until="2.38", body=ItemBody),
    Route(method="DELETE", path=_ONE_META, handler=metadata_delete, policy="any", until="2.38", status=204),
)
