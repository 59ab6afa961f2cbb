"""Collections: Keystone's filters, pages and links."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from node.sdk import BadRequest, Context, Frozen

T = TypeVar("T")

_FALSE = frozenset({"0", "false", "no", "off", "f", "n"})
_COMPARATORS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda value, wanted: wanted in value,
    "icontains": lambda value, wanted: wanted.lower() in value.lower(),
    "startswith": lambda value, wanted: value.startswith(wanted),
    "istartswith": lambda value, wanted: value.lower().startswith(wanted.lower()),
    "endswith": lambda value, wanted: value.endswith(wanted),
    "iendswith": lambda value, wanted: value.lower().endswith(wanted.lower()),
    "iexact": lambda value, wanted: value.lower() == wanted.lower(),
}


class Filters(Frozen):
    """Which attributes a collection may be filtered by."""

    exact: tuple[str, ...] = ()
    """Strings; also with `__contains` and its like."""
    flags: tuple[str, ...] = ()
    """Booleans: `0`, `false` and the like are false, all else is true."""


def collection(
    ctx: Context, key: str, rows: Sequence[T], view: Callable[[T], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the body of a listing; `limit` and `marker` cut it into pages.

    Raises:
        BadRequest: 400, `limit` is no number or `marker` names nothing.
    """
    page, following = _page(ctx, rows)
    return {
        key: [view(row) for row in page],
        "links": {"next": following, "self": self_link(ctx), "previous": None},
    }


def self_link(ctx: Context) -> str:
    """Return the URL of this very request."""
    return ctx.base_url + ctx.raw_path


def flag(ctx: Context, name: str) -> bool:
    """Return whether a query flag is on: `?effective` counts, `?effective=0` does not."""
    values = ctx.params.get(name)
    return values is not None and values[0].lower() not in _FALSE


def filtered(ctx: Context, rows: Iterable[T], filters: Filters) -> list[T]:
    """Return the rows that the query asks for; parameters that no filter names are ignored."""
    tests = [
        test for name, values in ctx.params.items() if (test := _test(name, values[0], filters))
    ]
    return [row for row in rows if all(test(row) for test in tests)] if tests else list(rows)


def _test(name: str, wanted: str, filters: Filters) -> Callable[[Any], bool] | None:
    field, _mark, comparator = name.partition("__")
    if field in filters.flags and not comparator:
        expected = wanted.lower() not in _FALSE
        return lambda row: bool(getattr(row, field)) == expected
    if field not in filters.exact:
        return None
    if not comparator:
        return lambda row: (getattr(row, field) or "") == wanted
    compare = _COMPARATORS.get(comparator)
    return None if compare is None else lambda row: compare(getattr(row, field) or "", wanted)


def _page(ctx: Context, rows: Sequence[Any]) -> tuple[Sequence[Any], str | None]:
    limit, marker = ctx.param("limit"), ctx.param("marker")
    if marker:
        places = [place for place, row in enumerate(rows) if row.id == marker]
        if not places:
            raise BadRequest(f"Marker {marker} could not be found.")
        rows = rows[places[0] + 1 :]
    if not limit:
        return rows, None
    if not limit.isascii() or not limit.isdigit() or int(limit) == 0:
        raise BadRequest(f"Invalid input for field 'limit': {limit!r} is not a positive number")
    page = rows[: int(limit)]
    if len(page) == len(rows):
        return page, None
    kept = [
        f"{name}={value}"
        for name, values in ctx.params.items()
        if name != "marker"
        for value in values
    ]
    return page, f"{ctx.url(ctx.path)}?{'&'.join([*kept, f'marker={page[-1].id}'])}"
