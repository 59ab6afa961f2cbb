"""Pages that a container without pages of its own shows.

Source: https://docs.openstack.org/swift/latest/middleware.html#staticweb
"""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from node.plugins.object.store.contract import Entry
from node.plugins.object.swift import listing_view, object_view

_STYLE = (
    "h1 {font-size: 1em; font-weight: bold}"
    " th, td {text-align: left; padding: 0 1em}"
    " a {text-decoration: none}"
)
_STEP = 1024


def _head(label: str, css: str) -> str:
    style = (
        f'<link rel="stylesheet" type="text/css" href="{escape(quote(css, ":/"))}" />'
        if css
        else f'<style type="text/css">{_STYLE}</style>'
    )
    return f"<!DOCTYPE html>\n<html>\n<head>\n<title>Listing of {escape(label)}</title>\n{style}\n</head>\n"


def disabled(label: str, index: str, css: str) -> str:
    """Return the page of a folder that may not be listed."""
    hint = f"<p>There is no {escape(index)} here.</p>" if index else ""
    return (
        f"{_head(label, css)}<body>\n<h1>Web Listing Disabled</h1>\n"
        f"<p>The owner may enable it by setting X-Container-Meta-Web-Listings.</p>{hint}\n"
        "</body>\n</html>\n"
    )


def listing(label: str, folder: str, items: Sequence[Entry | str], css: str) -> str:
    """Return the page of a folder: folders first, then files."""
    rows = []
    if folder:
        rows.append(_row("item", "parent", "../", "../", "&nbsp;", "&nbsp;"))
    for item in items:
        if isinstance(item, str):
            name = item.removeprefix(folder)
            rows.append(_row("item subdir", "", _href(name), name, "&nbsp;", "&nbsp;"))
    for item in items:
        if not isinstance(item, str) and item.name != folder:
            name = item.name.removeprefix(folder)
            kind = " ".join(f"type-{part.lower()}" for part in item.content_type.split("/"))
            when = listing_view.iso(item.modified_at).partition(".")[0].replace("T", " ")
            size = _size(object_view.listed_size(item))
            rows.append(_row(f"item {kind}", "", _href(name), name, size, when))
    return (
        f'{_head(label, css)}<body>\n<h1 id="title">Listing of {escape(label)}</h1>\n'
        '<table id="listing">\n<tr id="heading"><th class="colname">Name</th>'
        '<th class="colsize">Size</th><th class="coldate">Date</th></tr>\n'
        f"{''.join(rows)}</table>\n</body>\n</html>\n"
    )


def _href(name: str) -> str:
    return "./" + quote(name).replace(".", "%2E")


def _row(kind: str, id: str, href: str, name: str, size: str, when: str) -> str:
    mark = f' id="{id}"' if id else ""
    return (
        f'<tr{mark} class="{escape(kind)}"><td class="colname"><a href="{escape(href)}">{escape(name)}</a></td>'
        f'<td class="colsize">{size}</td><td class="coldate">{when}</td></tr>\n'
    )


def _size(size: float) -> str:
    for unit in ("", "Ki", "Mi", "Gi", "Ti"):
        if size < _STEP or unit == "Ti":
            return f"{round(size)}{unit}"
        size /= _STEP
    return ""
