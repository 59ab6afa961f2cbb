"""Pages of rows: limit, marker, sort keys, and the links that clients follow."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from node.api.context import Context
from node.errors import BadRequest

T = TypeVar("T")

MAX_LIMIT = 1000
"""Longest page; more is cut to it, as OpenStack's `max_limit` does."""


def limit_of(ctx: Context, maximum: int = MAX_LIMIT) -> int:
    """Return the page size that is asked for, at most `maximum`.

    Raises:
        BadRequest: 400, no whole number of at least 0.
    """
    text = ctx.param("limit")
    if text is None or text == "":
        return maximum
    if not text.isascii() or not text.isdigit():
        raise BadRequest(
            "limit param must be an integer"
            if not text.startswith("-")
            else "limit param must be positive"
        )
    return min(int(text[:20]), maximum)  # nobody counts further than that


def sort(items: Sequence[T], keys: Sequence[tuple[str, bool]], value: Any) -> list[T]:
    """Return the items sorted by several keys, (name, descending); `value(item, name)` gives what is compared."""
    result = list(items)
    for name, descending in reversed(keys):
        result.sort(key=lambda item: _comparable(value(item, name)), reverse=descending)
    return result


def cut(items: Sequence[T], *, marker: str | None, limit: int, ident: Any) -> tuple[list[T], bool]:
    """Return the page behind the marker, and whether there is more.

    Raises:
        BadRequest: 400, no item has the marker's id.
    """
    start = 0
    if marker:
        for index, item in enumerate(items):
            if ident(item) == marker:
                start = index + 1
                break
        else:
            raise BadRequest(f"marker [{marker}] not found")
    page = list(items[start : start + limit])
    return page, start + limit < len(items)


def next_link(ctx: Context, marker: str) -> str:
    """Return the URL of the page that follows: the same query with another marker."""
    params = [(name, v) for name, values in ctx.params.items() if name != "marker" for v in values]
    return ctx.url(ctx.path) + "?" + urlencode([*params, ("marker", marker)])


def links(ctx: Context, page: Sequence[Any], ident: Any, *, more: bool) -> list[Mapping[str, str]]:
    """Return the `<collection>_links` list of Nova, Cinder and Neutron."""
    if not more or not page:
        return []
    return [{"rel": "next", "href": next_link(ctx, ident(page[-1]))}]


def _comparable(value: Any) -> tuple[int, Any]:
    """Order null before everything, and unlike types apart."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool | int | float):
        return (1, value)
    return (2, str(value))
