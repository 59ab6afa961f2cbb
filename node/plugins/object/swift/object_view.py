"""Entries as Swift's headers tell of them."""

import math
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import quote

from node.plugins.object.store.contract import Entry
from node.plugins.object.swift.call import Call
from node.plugins.object.tables import Container

SHOWN = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-delete-at",
    "x-object-manifest",
    "x-robots-tag",
)
"""Headers that an object keeps and sends again, in `sys`."""
SLO, SLO_SIZE = "slo", "slo-size"
"""In `sys` of a static large object: its ETag, and the size of all segments."""
LINK, LINK_ACCOUNT, LINK_ETAG, LINK_BYTES = (
    "symlink-target",
    "symlink-target-account",
    "symlink-target-etag",
    "symlink-target-bytes",
)
"""In `sys` of a symlink: `container/object` as it was sent, and of a static one what it must be."""
DELETED_TYPE = "application/x-deleted;swift_versions_deleted=1"
_PUBLIC = "public-"


def http_date(at_us: int) -> str:
    """Return a time for Last-Modified: seconds, rounded up."""
    return formatdate(math.ceil(at_us / 1_000_000), usegmt=True)


def timestamp(at_us: int) -> str:
    """Return a time as X-Timestamp shows it."""
    return f"{at_us // 1_000_000:010d}.{at_us % 1_000_000 // 10:05d}"


def is_slo(entry: Entry) -> bool:
    """Return whether an object is the manifest of a static large object."""
    return SLO in entry.sys


def is_dlo(entry: Entry) -> bool:
    """Return whether an object is the manifest of a dynamic large object."""
    return bool(entry.sys.get("x-object-manifest"))


def is_link(entry: Entry) -> bool:
    """Return whether an object is a symlink."""
    return LINK in entry.sys


def link_headers(entry: Entry, project_id: str) -> dict[str, str]:
    """Return what a symlink tells of itself."""
    if not is_link(entry):
        return {}
    found = {"X-Symlink-Target": entry.sys[LINK]}
    account = entry.sys.get(LINK_ACCOUNT) or f"AUTH_{project_id}"
    found["X-Symlink-Target-Account"] = account
    if etag := entry.sys.get(LINK_ETAG):
        found["X-Symlink-Target-Etag"] = etag
        found["X-Symlink-Target-Bytes"] = entry.sys.get(LINK_BYTES, "0")
    return found


def headers(call: Call, entry: Entry, container: Container, etag: str) -> dict[str, str]:
    """Return the headers of GET and HEAD, but for those of its body's length."""
    found = {
        "Last-Modified": http_date(entry.modified_at),
        "ETag": etag,
        "X-Timestamp": timestamp(entry.modified_at),
        "Accept-Ranges": "bytes",
    }
    for name, value in entry.meta.items():
        if not call.hides_meta or name.startswith(_PUBLIC):
            found[f"X-Object-Meta-{quote_name(name)}"] = value
    for name in SHOWN:
        if shown := entry.sys.get(name):
            found[name] = shown
    if is_slo(entry):
        found["X-Static-Large-Object"] = "True"
    if container.versioning:
        found["X-Object-Version-Id"] = version_id(entry)
    return found


def version_id(entry: Entry) -> str:
    """Return a version's id as Swift shows it."""
    return entry.version_id


def quote_name(name: str) -> str:
    """Return the name of an item of metadata as a header's name can hold it."""
    return name if name.isascii() else quote(name)


def content_type(entry: Entry) -> str:
    """Return the media type."""
    return entry.content_type or "application/octet-stream"


def listed_size(entry: Entry) -> int:
    """Return the size that a listing shows."""
    return int(entry.sys.get(SLO_SIZE, entry.size_bytes))


def shown_meta(values: Mapping[str, str], kind: str) -> dict[str, str]:
    """Return the headers of an account's or container's metadata."""
    return {f"X-{kind}-Meta-{quote_name(name)}": value for name, value in values.items()}
