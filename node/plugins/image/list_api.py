"""Listings of images: visibility, filters, sorting, pages.

Source: https://docs.openstack.org/api-ref/image/v2/#list-images
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from node.plugins.image.image_view import image_view
from node.plugins.image.tables import Image, ImageMember
from node.sdk import BadRequest, Context, parse_iso

_PAGE = 25
_MAX_PAGE = 1000
_SORT_KEYS = (
    "name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at", "owner",
    "visibility", "min_disk", "min_ram", "checksum", "protected", "os_hidden", "virtual_size",
)  # fmt: skip
_OWN_KEYS = frozenset({
    "limit", "marker", "sort", "sort_key", "sort_dir", "visibility", "member_status", "tag", "os_hidden", "size_min",
    "size_max", "protected", "owner", "created_at", "updated_at",
})  # fmt: skip
_IN = ("name", "status", "id", "container_format", "disk_format")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "eq": lambda left, right: left == right,
    "neq": lambda left, right: left != right,
}

Test = Callable[[Image], bool]


def index(ctx: Context) -> dict[str, Any]:
    """List the images that the caller may see."""
    tests = [_hidden_test(ctx), *_tests(ctx)]
    images = [image for image in _seen(ctx) if all(test(image) for test in tests)]
    images = _sorted(ctx, images)
    limit = _limit(ctx)
    marker = ctx.param("marker")
    start = 0
    if marker:
        ids = [image.id for image in images]
        if marker not in ids:
            raise BadRequest(f"marker {marker} is not an image that can be listed")
        start = ids.index(marker) + 1
    page = images[start : start + limit]
    answer: dict[str, Any] = {
        "images": [image_view(image) for image in page],
        "schema": "/v2/schemas/images",
        "first": _link(ctx, None),
    }
    if start + limit < len(images) and page:
        answer["next"] = _link(ctx, page[-1].id)
    return answer


def _seen(ctx: Context) -> list[Image]:
    visibility = ctx.param("visibility")
    if visibility not in (None, "public", "private", "shared", "community", "all"):
        raise BadRequest(f"Invalid visibility value: {visibility}")
    project_id = ctx.project_id
    accepted = _shared_with(ctx)
    is_admin = ctx.token.is_admin
    asked_owner = ctx.param("owner")

    def may_see(image: Image) -> bool:
        mine = image.project_id == project_id
        if visibility == "all" or (is_admin and visibility is not None):
            return (
                is_admin
                or mine
                or image.visibility in ("public", "community")
                or image.id in accepted
            )
        if visibility is not None and image.visibility != visibility:
            return False
        if image.visibility == "public":
            return True
        if image.visibility == "community":
            return visibility == "community" or mine or asked_owner == image.project_id
        if image.visibility == "shared":
            return mine or image.id in accepted or is_admin
        return mine or is_admin

    rows = [image for image in ctx.db.rows(Image, want="") if may_see(image)]
    if is_admin and visibility not in (None, "all"):
        rows = [image for image in rows if image.visibility == visibility]
    return rows


def _shared_with(ctx: Context) -> set[str]:
    status = ctx.param("member_status", "accepted")
    if status not in ("accepted", "pending", "rejected", "all"):
        raise BadRequest(f"Invalid member_status: {status}")
    if not ctx.project_id:
        return set()
    members = ctx.db.rows(ImageMember, member_id=ctx.project_id)
    return {member.image_id for member in members if status in ("all", member.status)}


def _hidden_test(ctx: Context) -> Test:
    wanted = _boolean("os_hidden", ctx.param("os_hidden", "false") or "false")
    return lambda image: image.os_hidden == wanted


def _tests(ctx: Context) -> list[Test]:
    tests: list[Test] = []
    for name, values in ctx.params.items():
        for value in values:
            test = _test(name, value)
            if test is not None:
                tests.append(test)
    return tests


def _test(name: str, value: str) -> Test | None:
    match name:
        case (
            "limit"
            | "marker"
            | "sort"
            | "sort_key"
            | "sort_dir"
            | "visibility"
            | "member_status"
            | "os_hidden"
        ):
            return None
        case "tag":
            return lambda image: value in image.tags
        case "size_min" | "size_max":
            bound = _number(name, value)
            if name == "size_min":
                return lambda image: (image.size or 0) >= bound
            return lambda image: (image.size or 0) <= bound
        case "protected":
            wanted = _boolean(name, value)
            return lambda image: image.protected == wanted
        case "owner":
            return lambda image: image.project_id == value
        case "created_at" | "updated_at":
            return _time_test(name, value)
    if name in _IN and value.startswith("in:"):
        choices = _choices(value[3:])
        return lambda image: getattr(image, name) in choices
    if name in _SORT_KEYS or name == "os_hash_value":
        return lambda image: str(getattr(image, name)) == value
    return lambda image: image.properties.get(name) == value


def _time_test(name: str, value: str) -> Test:
    operator, colon, text = value.partition(":")
    if not colon or operator not in _OPERATORS:
        operator, text = "eq", value
    try:
        moment = parse_iso(text)
    except ValueError as error:
        raise BadRequest(f"Invalid time value {text} for {name}") from error
    compare = _OPERATORS[operator]
    return lambda image: compare(getattr(image, name) // 1_000_000, moment // 1_000_000)


def _choices(text: str) -> list[str]:
    """Return the values of `in:a,"b,c"`."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^,"]+)', text)]


def _sorted(ctx: Context, images: list[Image]) -> list[Image]:
    keys = _sort_keys(ctx)
    images = sorted(images, key=lambda image: (image.created_at, image.id), reverse=True)
    for name, descending in reversed(keys):
        field = "project_id" if name == "owner" else name

        def value(image: Image, field: str = field) -> tuple[bool, Any]:
            found = getattr(image, field)
            return (found is not None, found)

        images.sort(key=value, reverse=descending)
    return images


def _sort_keys(ctx: Context) -> list[tuple[str, bool]]:
    combined = ctx.param("sort")
    if combined:
        if "sort_key" in ctx.params or "sort_dir" in ctx.params:
            raise BadRequest("Old and new sorting syntax cannot be combined")
        pairs = [part.strip().partition(":") for part in combined.split(",")]
        keys = [(name, direction or "desc") for name, _colon, direction in pairs]
    else:
        names = ctx.params.get("sort_key", ["created_at"])
        directions = ctx.params.get("sort_dir", ["desc"])
        if len(directions) > 1 and len(directions) != len(names):
            raise BadRequest("Number of sort dirs does not match the number of sort keys")
        if len(directions) == 1:
            directions = directions * len(names)
        keys = list(zip(names, directions, strict=True))
    for name, direction in keys:
        if name not in _SORT_KEYS:
            raise BadRequest(
                f"Invalid sort key: {name}. It must be one of the following: {', '.join(_SORT_KEYS)}."
            )
        if direction not in ("asc", "desc"):
            raise BadRequest(f"Invalid sort direction: {direction}")
    return [(name, direction == "desc") for name, direction in keys]


def _limit(ctx: Context) -> int:
    text = ctx.param("limit")
    if text is None:
        return _PAGE
    number = _number("limit", text)
    return min(number, _MAX_PAGE)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise BadRequest(f"{name} param must be an integer of at least 0")
    return int(text)


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise BadRequest(f"Invalid value for {name}: {text}")
    return _BOOLEANS[text.lower()]


def _link(ctx: Context, marker: str | None) -> str:
    pairs = [
        (name, value) for name, values in ctx.params.items() if name != "marker" for value in values
    ]
    if marker:
        pairs.append(("marker", marker))
    return "/v2/images" + (f"?{urlencode(pairs)}" if pairs else "")
