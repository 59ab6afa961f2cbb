"""Query parameters that all of Nova's lists share: limit, marker, booleans, and the next link."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from node.sdk import BadRequest, Context

T = TypeVar("T")

MAX_LIMIT = 1000
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


def limit(ctx: Context) -> int:
    """Return how many entries a page has.

    Raises:
        BadRequest: 400, not a number of 0 or more.
    """
    wanted = MAX_LIMIT
    for text in ctx.params.get("limit", []):
        if not (text.isascii() and text.isdigit()):
            raise BadRequest(
                f"Invalid input for query parameters limit. Value: {text}. It is no number"
            )
        wanted = min(MAX_LIMIT, int(text[:9]))
    return wanted


def check_query(ctx: Context, *known: str) -> None:
    """Refuse parameters that a list does not know, from microversion 2.75 on; before they are ignored.

    Raises:
        BadRequest: 400, names the parameters.
    """
    unknown = sorted(set(ctx.params) - set(known))
    if unknown and ctx.microversion >= (2, 75):
        named = ", ".join(f"'{name}'" for name in unknown)
        raise BadRequest(f"Additional properties are not allowed ({named} was unexpected)")


def boolean(text: str | None, *, default: bool = False) -> bool | None:
    """Return what a boolean parameter says; None where it is no boolean."""
    if text is None:
        return default
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def page(
    ctx: Context, rows: Sequence[T], *, key: Callable[[T], str], collection: str
) -> tuple[list[T], dict[str, Any]]:
    """Return the rows of the page that was asked for, and `{collection}_links` where more follow.

    Raises:
        BadRequest: 400, bad limit, or no row has the marker's id.
    """
    size, marker = limit(ctx), ctx.param("marker")
    start = 0
    if marker is not None:
        start = next((i + 1 for i, row in enumerate(rows) if key(row) == marker), -1)
        if start < 0:
            raise BadRequest(f"marker [{marker}] not found")
    found = list(rows[start : start + size])
    if start + size < len(rows) and found:
        return found, {f"{collection}_links": [next_link(ctx, key(found[-1]))]}
    return found, {}


def next_link(ctx: Context, marker: str) -> Mapping[str, str]:
    """Return the link of the page after the marker: the same query."""
    params = [(name, v) for name, values in ctx.params.items() if name != "marker" for v in values]
    return {
        "rel": "next",
        "href": f"{ctx.url(ctx.path)}?{urlencode([*params, ('marker', marker)])}",
    }
