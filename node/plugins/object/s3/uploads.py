"""Uploads in parts, as the store keeps them.

Each bucket has two hidden containers. In one an upload is an entry without data, named by key and upload id, whose
`meta` and `sys` are those of the object that is to be. In the other a part is an entry with data, named by upload id
and number. No row is written for either; what is aborted or completed is gone from both.

An upload id is 16 hexadecimal digits of time, so that uploads of a key are in their order, and 16 at random: who does
not know it cannot guess it, and it holds only in its own bucket and for its own key.
"""

import re
from collections.abc import Iterator

from node.plugins.object.hidden_containers import parts_id, uploads_id
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.store.contract import Entry, Query, Store

_SEPARATOR = "\x01"
_ID = re.compile(r"[0-9a-f]{32}")
_PAGE = 1000
MAX_PARTS = 10_000


def new_id(now_us: int, random_hex: str) -> str:
    """Return an upload id."""
    return f"{now_us:016x}{random_hex[:16]}"


def upload_name(key: str, upload_id: str) -> str:
    """Return the name of an upload's entry."""
    return f"{key}{_SEPARATOR}{upload_id}"


def parted(name: str) -> tuple[str, str]:
    """Return the key and the upload id of an entry's name."""
    key, _separator, upload_id = name.rpartition(_SEPARATOR)
    return key, upload_id


def part_name(upload_id: str, number: int) -> str:
    """Return the name of a part's entry."""
    return f"{upload_id}/{number:05}"


def find(store: Store, bucket_id: str, key: str, upload_id: str) -> Entry:
    """Return an upload in progress.

    Raises:
        S3Error: NoSuchUpload.
    """
    found = None
    if _ID.fullmatch(upload_id):
        found = store.head(uploads_id(bucket_id), upload_name(key, upload_id))
    if found is None:
        raise S3Error("NoSuchUpload", UploadId=upload_id[:200])
    return found


def parts(
    store: Store, bucket_id: str, upload_id: str, after: int = 0
) -> Iterator[tuple[int, Entry]]:
    """Yield the parts of an upload by number."""
    marker = part_name(upload_id, after)
    while True:
        query = Query(prefix=f"{upload_id}/", marker=marker, limit=_PAGE)
        page = store.list(parts_id(bucket_id), query)
        for item in page.items:
            if isinstance(item, Entry):
                yield int(item.name.rpartition("/")[2]), item
                marker = item.name
        if not page.truncated or not page.items:
            return


def drop(store: Store, bucket_id: str, key: str, upload_id: str) -> None:
    """Forget an upload and its parts. The upload goes first: a part that comes too late finds none."""
    store.delete(uploads_id(bucket_id), upload_name(key, upload_id))
    for _number, part in list(parts(store, bucket_id, upload_id)):
        store.delete(part.container_id, part.name)


def unfinished(store: Store, bucket_id: str) -> Iterator[Entry]:
    """Yield the uploads in progress of a bucket."""
    marker = ""
    while True:
        page = store.list(uploads_id(bucket_id), Query(marker=marker, limit=_PAGE))
        for item in page.items:
            if isinstance(item, Entry):
                yield item
                marker = item.name
        if not page.truncated or not page.items:
            return
