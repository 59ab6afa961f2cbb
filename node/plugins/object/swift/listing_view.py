"""Listings in their three formats.

Source: https://docs.openstack.org/swift/latest/api/object_api_v1_overview.html
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from node.plugins.object.store.contract import Entry
from node.plugins.object.swift import listing_query, object_view
from node.sdk import Reply

Item = dict[str, Any]
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OBJECT = ("name", "hash", "bytes", "content_type", "last_modified")
_CONTAINER = ("name", "count", "bytes", "last_modified")
_EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@lru_cache(maxsize=256)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


def iso(at_us: int) -> str:
    """Return a time as listings show it."""
    return f"{_second(at_us // 1_000_000)}.{at_us % 1_000_000:06d}"


def object_item(entry: Entry, account: str) -> Item:
    """Return what a listing tells of an object."""
    item: Item = {
        "bytes": object_view.listed_size(entry),
        "hash": entry.etag,
        "name": entry.name,
        "content_type": entry.content_type,
        "last_modified": iso(entry.modified_at),
    }
    sys = entry.sys
    if sys:
        if object_view.SLO in sys:
            item["slo_etag"] = f'"{sys[object_view.SLO]}"'
        if object_view.LINK in sys:
            owner = sys.get(object_view.LINK_ACCOUNT, account)
            item["symlink_path"] = f"/v1/{owner}/{sys[object_view.LINK]}"
            if object_view.LINK_ETAG in sys:
                item["symlink_etag"] = sys[object_view.LINK_ETAG]
                item["symlink_bytes"] = int(sys[object_view.LINK_BYTES])
    return item


def version_item(entry: Entry, account: str) -> Item:
    """Return what a listing of versions tells of one."""
    item = object_item(entry, account)
    if entry.is_marker:
        item |= {"content_type": object_view.DELETED_TYPE, "hash": _EMPTY_MD5, "bytes": 0}
    item |= {"version_id": object_view.version_id(entry), "is_latest": entry.is_latest}
    return item


def reply(
    kind: str, items: Sequence[Item], headers: dict[str, str], *, owner: str, tag: str
) -> Reply:
    """Return a listing: `tag` is what is listed (`account` or `container`), `owner` its name."""
    if kind == listing_query.JSON:
        body = msgspec.json.encode(items)
    elif kind == listing_query.PLAIN:
        body = "".join(f"{item.get('name') or item['subdir']}\n" for item in items).encode()
    else:
        body = _xml(items, owner, tag).encode("utf-8", "replace")
    typed = f"{kind}; charset=utf-8"
    if not body:
        return Reply(status=204, headers={**headers, "Content-Type": typed, "Content-Length": "0"})
    return Reply(status=200, body=body, headers=headers, content_type=typed)


def _xml(items: Sequence[Item], owner: str, tag: str) -> str:
    inner, fields = ("object", _OBJECT) if tag == "container" else ("container", _CONTAINER)
    gap = "" if tag == "container" else "\n"
    parts = [_DECLARATION, f"<{tag} name={quoteattr(owner)}>", gap]
    for item in items:
        if "subdir" in item:
            name = item["subdir"]
            named = f"<name>{escape(name)}</name>" if tag == "container" else ""
            parts.append(f"<subdir name={quoteattr(name)}>{named}</subdir>{gap}")
            continue
        shown = [*fields, "storage_policy"] if "storage_policy" in item else fields
        cells = "".join(f"<{field}>{escape(str(item[field]))}</{field}>" for field in shown)
        parts.append(f"<{inner}>{cells}</{inner}>{gap}")
    parts.append(f"</{tag}>")
    return "".join(parts)
