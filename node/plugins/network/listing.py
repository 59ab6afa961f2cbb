"""Lists as Neutron gives them: filters over any attribute, `fields`, sorting, pages in both directions and links.

What a filter can decide by a row's field is asked of SQLite; the rest is decided on the rendered items.

Source: https://docs.openstack.org/api-ref/network/v2/#filtering-and-column-selection
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from node.plugins.network.attributes import Kind
from node.plugins.network.faults import missing
from node.sdk import BadRequest, Context

Item = dict[str, Any]

_CONTROL = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})
_TAGS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})
_TRUE = frozenset({"true", "1"})


class Ask:
    """What the query of one list request asks for."""

    def __init__(self, ctx: Context, kind: Kind, known: Iterable[str]) -> None:
        self.ctx = ctx
        self.kind = kind
        self.filters = {
            ("project_id" if name == "tenant_id" else name): values
            for name, values in ctx.params.items()
            if name not in _CONTROL
        }
        allowed = {*known, *_TAGS, "project_id"}
        unknown = [name for name in self.filters if name not in allowed]
        if unknown:
            raise BadRequest(f"{unknown} is invalid attribute for filtering")
        self.fields = [name for name in ctx.params.get("fields", []) if name]
        self.limit = _limit(ctx)
        self.reverse = (ctx.param("page_reverse") or "").lower() in _TRUE
        self.sort = _sort_keys(ctx, set(known))

    def columns(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Return the filters that row fields decide: attribute to field name, for text fields only."""
        return {names[name]: values for name, values in self.filters.items() if name in names}

    def answer(
        self, items: Iterable[Item], tests: Mapping[str, Callable[[Item, list[str]], bool]]
    ) -> Item:
        """Return the body of the answer out of all items that the caller may see, in order of creation.

        `tests` decides filters that are more than a comparison of the attribute's value.
        """
        found = [item for item in items if self._fits(item, tests)] if self.filters else list(items)
        for name, descending in reversed(self.sort):
            found.sort(key=lambda item: _comparable(item.get(name)), reverse=descending)
        page = self._page(found)
        body: Item = {
            self.kind.plural: [select(item, self.fields) for item in page] if self.fields else page
        }
        if self.limit:
            links = self._links(page)
            if links:
                body[f"{self.kind.plural}_links"] = links
        return body

    def _fits(self, item: Item, tests: Mapping[str, Callable[[Item, list[str]], bool]]) -> bool:
        for name, wanted in self.filters.items():
            if name in tests:
                if not tests[name](item, wanted):
                    return False
            elif name in _TAGS:
                if not tags_fit(item.get("tags", ()), name, wanted):
                    return False
            elif not _equals(item.get(name), wanted):
                return False
        return True

    def _page(self, found: list[Item]) -> list[Item]:
        marker = self.ctx.param("marker")
        start, end = 0, len(found)
        if marker:
            at = next((index for index, item in enumerate(found) if item.get("id") == marker), None)
            if at is None:
                raise missing(self.kind.name, marker)
            start, end = (0, at) if self.reverse else (at + 1, end)
        if self.limit:
            if self.reverse:
                start = max(start, end - self.limit)
            else:
                end = min(end, start + self.limit)
        return found[start:end]

    def _links(self, page: Sequence[Item]) -> list[Item]:
        short = len(page) < self.limit
        links = []
        if not short or self.reverse:
            links.append(
                {"rel": "next", "href": self._href(ident(page[-1]) if page else "", back=False)}
            )
        if not short or not self.reverse:
            links.append(
                {"rel": "previous", "href": self._href(ident(page[0]) if page else "", back=True)}
            )
        return links

    def _href(self, marker: str, *, back: bool) -> str:
        skip = ("marker", "page_reverse")
        params = [
            (name, v)
            for name, values in self.ctx.params.items()
            if name not in skip
            for v in values
        ]
        if marker:
            params.append(("marker", marker))
        if back:
            params.append(("page_reverse", "True"))
        return f"{self.ctx.url(self.ctx.path)}?{urlencode(params)}"


def owned(columns: dict[str, Any], project_id: str) -> dict[str, Any]:
    """Return column filters that let through the rows of one project only."""
    asked = columns.get("project_id", [project_id])
    return {**columns, "project_id": [project_id] if project_id in asked else []}


def ident(item: Item) -> str:
    """Return what a page's marker names an item by; a few sorts of items have no id of their own."""
    return str(item.get("id") or item.get("network_id") or item.get("name") or "")


def select(item: Item, fields: Sequence[str]) -> Item:
    """Return only these attributes of an item."""
    return {name: item[name] for name in fields if name in item}


def shown(ctx: Context, kind: Kind, item: Item) -> Item:
    """Return the body that shows one item, cut to the fields that the query asks for."""
    fields = [name for name in ctx.params.get("fields", []) if name]
    return {kind.name: select(item, fields) if fields else item}


def tags_fit(tags: Sequence[str], name: str, wanted: Sequence[str]) -> bool:
    """Return whether tags pass one of the four tag filters; a value is a list joined by commas."""
    asked = {tag for value in wanted for tag in value.split(",") if tag}
    if name == "tags":
        return asked <= set(tags)
    if name == "tags-any":
        return bool(asked & set(tags))
    if name == "not-tags":
        return not asked <= set(tags)
    return not asked & set(tags)


def _equals(value: Any, wanted: Sequence[str]) -> bool:
    if isinstance(value, bool):
        return value in {text.lower() in _TRUE for text in wanted}
    if value is None:
        return "" in wanted
    if isinstance(value, list | tuple):
        return any(text in value for text in wanted)
    return str(value) in wanted


def _limit(ctx: Context) -> int:
    text = ctx.param("limit") or "0"
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f"Limit must be an integer 0 or greater and not '{text}'")
    return int(text)


def _sort_keys(ctx: Context, known: set[str]) -> list[tuple[str, bool]]:
    keys = [key for key in ctx.params.get("sort_key", []) if key]
    directions = [word for word in ctx.params.get("sort_dir", []) if word]
    if len(directions) < len(keys) and not directions:
        directions = ["asc"] * len(keys)
    if len(keys) != len(directions):
        raise BadRequest("The number of sort_keys and sort_dirs must be same")
    for key in keys:
        if key not in known:
            raise BadRequest(f"'{key}' is an invalid attribute for sort key")
    for word in directions:
        if word not in ("asc", "desc"):
            raise BadRequest(
                f"The value '{word}' for sort_dir is not valid; valid value(s) are asc, desc",
                type="HTTPBadRequest",
            )
    return [(key, word == "desc") for key, word in zip(keys, directions, strict=True)]


def _comparable(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    if isinstance(value, bool | int):
        return (1, value)
    return (2, str(value))
