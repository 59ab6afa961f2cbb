"""A page of a container that has several replicas.

Hard part: a majority is asked for the page, and mostly all say the same. Where they differ, the names in question are
read as single names are (which mends the replicas), and the page is put together from what came of that.
"""

from collections.abc import Mapping, Sequence

import msgspec

from node.plugins.object.store.contract import Entry, Listing, Query
from node.plugins.object.store.index_read import visible
from node.plugins.object.store.layout import majority
from node.plugins.object.store.quorum import IndexQuorum
from node.plugins.object.store.record import newest

Item = Entry | str

_ATTEMPTS = 5


def quorum_page(quorum: IndexQuorum, container_id: str, query: Query) -> Listing:
    """Return one page as a majority of replicas has it."""
    mended = Listing(items=[], truncated=False)
    for _attempt in range(_ATTEMPTS):
        disks = quorum.nodes.map_file.places().read_set(container_id)
        pages = quorum.nodes.ask_some(
            disks, majority(len(disks)), lambda access, disk: access.list(disk, container_id, query)
        )
        first, *others = pages.values()
        if all(page == first for page in others):
            return first
        mended = _Mender(quorum, container_id, query).page([first, *others])
        if mended.items or not mended.truncated:  # else all of it was gone, and what follows is not known yet
            break
    return mended


class _Mender:
    """Puts pages together that differ."""

    def __init__(self, quorum: IndexQuorum, container_id: str, query: Query) -> None:
        self._quorum = quorum
        self._container_id = container_id
        self._query = query

    def page(self, pages: Sequence[Listing]) -> Listing:
        """Return the page that is right."""
        ends = [_name(page.items[-1]) for page in pages if page.truncated and page.items]
        by_name = [_by_name(page.items) for page in pages]
        names = sorted(
            {name for some in by_name for name in some},
            key=lambda name: name.encode(),
            reverse=self._query.reverse,
        )
        items: list[Item] = []
        for name in names:
            if ends and any(self._is_behind(name, end) for end in ends):
                break
            found = [some.get(name, []) for some in by_name]
            items += found[0] if all(one == found[0] for one in found) else self._mended(name, found)
        is_cut = bool(ends) or len(items) > self._query.limit
        return Listing(items=items[: self._query.limit], truncated=is_cut)

    def _is_behind(self, name: str, end: str) -> bool:
        return name.encode() < end.encode() if self._query.reverse else name.encode() > end.encode()

    def _mended(self, name: str, found: Sequence[Sequence[Item]]) -> Sequence[Item]:
        """Return what the page should show of a name or folded prefix that is not the same everywhere."""
        shown = [name] if self._holds_any(name, found) else []
        return shown if any(isinstance(i, str) for some in found for i in some) else self._versions(name)

    def _versions(self, name: str) -> Sequence[Item]:
        records = self._quorum.records(self._container_id, name)
        top = newest(records.values())
        pairs = [(r, r is top) for r in records.values() if not r.is_dead]
        older_than = None
        if name == self._query.marker and self._query.version_marker in records:
            older_than = records[self._query.version_marker].stamp
        return visible(pairs, self._query, self._quorum.clock.now_us(), older_than)

    def _holds_any(self, prefix: str, found: Sequence[Sequence[Item]]) -> bool:
        """Return whether a folded prefix still holds a name."""
        if not any(isinstance(item, str) for some in found for item in some):
            return False
        below = msgspec.structs.replace(self._query, prefix=prefix, delimiter="", limit=1)
        if self._query.marker and not self._query.marker.startswith(prefix):
            below = msgspec.structs.replace(below, marker="")
        while True:
            page = quorum_page(self._quorum, self._container_id, below)
            if page.items:
                return True
            if not page.truncated:
                return False


def _name(item: Item) -> str:
    return item if isinstance(item, str) else item.name


def _by_name(items: Sequence[Item]) -> Mapping[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(_name(item), []).append(item)
    return found
