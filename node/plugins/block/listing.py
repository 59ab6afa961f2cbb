"""What all lists of block storage share: pages, sort keys, filters, times, booleans."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from node.sdk import BadRequest, Context, NotFound, Row

T = TypeVar("T")
R = TypeVar("R", bound=Row)
MAX_LIMIT = 1000
PAGE_PARAMS = frozenset({"limit", "offset", "marker", "sort", "sort_key", "sort_dir", "with_count"})
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


def stamp(time_us: int) -> str | None:
    """Return a time as Cinder writes it; None for none."""
    if not time_us:
        return None
    whole = datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{time_us % 1_000_000:06d}"


def boolean(value: object, field: str) -> bool:
    """Return the boolean that Cinder's schemas take a value for.

    Raises:
        BadRequest: 400.
    """
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE and value is not None:
        return False
    raise BadRequest(f"Invalid value '{value}' for {field}: it is no boolean")


def number(text: str | None, name: str, default: int) -> int:
    """Return a whole number of a query, at least 0.

    Raises:
        BadRequest: 400.
    """
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise BadRequest(f"Invalid input for query parameters {name}. Value: {text}.")
    return int(text)


def _sort_keys(ctx: Context, known: Mapping[str, Any]) -> list[tuple[str, bool]]:
    text = ctx.param("sort")
    pairs: list[tuple[str, str]] = []
    if text is not None:
        if ctx.param("sort_key") or ctx.param("sort_dir"):
            raise BadRequest("The 'sort_key' and 'sort_dir' parameters are deprecated.")
        for part in text.split(","):
            name, _colon, direction = part.strip().partition(":")
            pairs.append((name.strip(), direction.strip() or "desc"))
    else:
        pairs.append((ctx.param("sort_key") or "created_at", ctx.param("sort_dir") or "desc"))
    keys = []
    for name, direction in pairs:
        if name not in known:
            raise BadRequest(f"Invalid input received: invalid sort keys: {name}")
        if direction not in ("asc", "desc"):
            raise BadRequest("Unknown sort direction, must be 'desc' or 'asc'.")
        keys.append((name, direction == "desc"))
    return keys


def page(
    ctx: Context,
    rows: Sequence[T],
    *,
    key: Callable[[T], str],
    collection: str,
    sort: Mapping[str, Callable[[T], Any]],
) -> tuple[list[T], dict[str, Any]]:
    """Return the rows of the page that was asked for, and `{collection}_links` where more follow.

    Raises:
        BadRequest: 400, bad limit, offset or sort key.
        NotFound: 404, no row has the marker's id.
    """
    ordered = list(rows)
    for name, descending in reversed(_sort_keys(ctx, sort)):
        value = sort[name]
        ordered.sort(key=lambda row: _comparable(value(row)), reverse=descending)
    size = number(ctx.param("limit"), "limit", MAX_LIMIT)
    start = number(ctx.param("offset"), "offset", 0)
    marker = ctx.param("marker")
    if marker:
        ids = [key(row) for row in ordered]
        if marker not in ids:
            raise NotFound(f"Marker {marker} could not be found.")
        start += ids.index(marker) + 1
    size = min(size, MAX_LIMIT)
    found = ordered[start : start + size]
    more: dict[str, Any] = {}
    if found and len(found) == size and ctx.param("limit") is not None:
        href = next_link(ctx, key(found[-1]))
        more = {f"{collection}_links": [{"rel": "next", "href": href}]}
    return found, more


def count_of(ctx: Context, total: int) -> dict[str, int]:
    """Return the field `count` where it is asked for (3.45)."""
    text = ctx.param("with_count")
    if ctx.microversion < (3, 45) or text is None or not boolean(text, "with_count"):
        return {}
    return {"count": total}


def next_link(ctx: Context, marker: str) -> str:
    """Return the URL of the page after the marker: the same query."""
    params = [
        (name, v)
        for name, values in ctx.params.items()
        if name not in ("marker", "offset")
        for v in values
    ]
    return f"{ctx.url(ctx.path)}?{urlencode([*params, ('marker', marker)])}"


def all_tenants(ctx: Context) -> bool:
    """Return whether an administrator asks for the rows of all projects."""
    text = ctx.param("all_tenants")
    if text is None or not ctx.token.is_admin:
        return False
    return True if text == "" else boolean(text, "all_tenants")


def own_rows(ctx: Context, row_type: type[R]) -> list[R]:
    """Return the rows of the caller's project, or of all where an administrator asks for that."""
    if all_tenants(ctx):
        return ctx.db.rows(row_type)
    return ctx.db.rows(row_type, project_id=ctx.project_id)


def like(ctx: Context, name: str, value: str | None) -> bool | None:
    """Return whether a text holds the filter `name~`; None where there is no such filter (3.31)."""
    wanted = ctx.param(f"{name}~")
    if wanted is None:
        return None
    return ctx.microversion >= (3, 31) and wanted.lower() in (value or "").lower()


def time_filter(ctx: Context, name: str) -> Callable[[int], bool] | None:
    """Return the test that `created_at` or `updated_at` of a query asks for: `gt:2019-01-01T00:00:00`.

    Raises:
        BadRequest: 400.
    """
    text = ctx.param(name)
    if text is None or ctx.microversion < (3, 60):
        return None
    tests = []
    for part in text.split(","):
        found = re.fullmatch(r"(?:(gt|gte|eq|neq|lt|lte):)?(.+)", part.strip())
        if found is None:
            raise BadRequest(f"Invalid filter {name}: {text}")
        tests.append((found.group(1) or "eq", _micros(found.group(2), name)))

    def fits(value: int) -> bool:
        second = value // 1_000_000
        return all(_compare(operator, second, wanted) for operator, wanted in tests)

    return fits


def _micros(text: str, name: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"Invalid value for {name}: {text}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp())
    except (OverflowError, ValueError):
        raise BadRequest(f"Invalid value for {name}: {text}") from None


def _compare(operator: str, value: int, wanted: int) -> bool:
    match operator:
        case "gt":
            return value > wanted
        case "gte":
            return value >= wanted
        case "lt":
            return value < wanted
        case "lte":
            return value <= wanted
        case "neq":
            return value != wanted
    return value == wanted


def _comparable(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    if isinstance(value, bool | int | float):
        return (1, value)
    return (2, str(value))


def mapping(text: str) -> dict[str, str]:
    """Return the mapping that a filter holds, written as Python writes it; an unreadable one holds nothing."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return {"": text}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {"": text}
