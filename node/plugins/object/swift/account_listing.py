"""Listing the containers of an account: rows, in the order of their names' bytes."""

from collections.abc import Iterator

from node.plugins.object.store.contract import Query
from node.plugins.object.tables import Container
from node.sdk import Reader

_PAGE = 1000


def listed(db: Reader, project_id: str, query: Query) -> list[Container | str]:
    """Return one page: containers, and folded prefixes as plain strings."""
    found: list[Container | str] = []
    folded = ""
    for row in _rows(db, project_id, query):
        if len(found) == query.limit:
            break
        prefix = _fold(row.name, query)
        if not prefix:
            found.append(row)
        elif prefix not in (folded, query.marker):
            folded = prefix
            found.append(prefix)
    return found


def _fold(name: str, query: Query) -> str:
    if not query.delimiter:
        return ""
    at = name.find(query.delimiter, len(query.prefix))
    return name[: at + len(query.delimiter)] if at >= 0 else ""


def _rows(db: Reader, project_id: str, query: Query) -> Iterator[Container]:
    """Yield the containers whose names lie within the query, page by page."""
    if query.limit == 0:
        return
    behind, before = (
        (query.end_marker, query.marker) if query.reverse else (query.marker, query.end_marker)
    )
    while True:
        where: list[tuple[str, str, str | int]] = []
        if query.prefix:
            where.append(("name", ">=", query.prefix))
            where.append(("name", "<", query.prefix + "\U0010ffff"))
        if behind:
            where.append(("name", ">", behind))
        if before:
            where.append(("name", "<", before))
        order = (("name", "desc" if query.reverse else "asc"),)
        rows = db.rows(Container, account=project_id, where=where, order_by=order, limit=_PAGE)
        yield from rows
        if len(rows) < _PAGE:
            return
        if query.reverse:
            before = rows[-1].name
        else:
            behind = rows[-1].name
