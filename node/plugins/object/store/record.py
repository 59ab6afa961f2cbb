"""What an index holds of one version, as it is stored, sent between nodes and merged.

Two records of one key are the same everywhere after a merge: the one that was written, or confirmed, later wins, and
a tombstone is a record like any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from node.plugins.object.store.contract import Entry
from node.sdk import Frozen, Micros


class Record(Frozen, array_like=True):
    """One version of one name, or the tombstone of it."""

    container_id: str
    name: str
    version_id: str
    stamp: int
    meta_stamp: int
    is_dead: bool = False
    """A tombstone: the version was removed for good at `stamp`."""
    is_marker: bool = False
    size_bytes: int = 0
    expires_at: int | None = None
    data: str = ""
    body: bytes = b""
    """`Said`, in msgpack."""
    ballot: int = 0
    """The stamp with which somebody confirmed it who had found it on some replicas only."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what names it."""
        return self.container_id, self.name, self.version_id

    @property
    def order(self) -> tuple[int, str]:
        """Return what decides between two of one key: the greatest wins."""
        return max(self.stamp, self.meta_stamp, self.ballot), self.data


class Said(Frozen, array_like=True):
    """What is said of a version, which no query asks for."""

    modified_at: int
    etag: str = ""
    content_type: str = ""
    meta: Mapping[str, str] = {}
    sys: Mapping[str, str] = {}


_encoder = msgspec.msgpack.Encoder()
_said = msgspec.msgpack.Decoder(Said)


def record_of(entry: Entry) -> Record:
    """Return what is stored of an entry."""
    said = Said(
        modified_at=entry.modified_at,
        etag=entry.etag,
        content_type=entry.content_type,
        meta=entry.meta,
        sys=entry.sys,
    )
    return Record(
        container_id=entry.container_id,
        name=entry.name,
        version_id=entry.version_id,
        stamp=entry.stamp,
        meta_stamp=entry.meta_stamp,
        is_marker=entry.is_marker,
        size_bytes=entry.size_bytes,
        expires_at=entry.expires_at,
        data=entry.data,
        body=_encoder.encode(said),
    )


def entry_of(record: Record, *, is_latest: bool) -> Entry:
    """Return the entry that a record holds."""
    said = _said.decode(record.body)
    expires = record.expires_at
    return Entry(
        container_id=record.container_id,
        name=record.name,
        version_id=record.version_id,
        stamp=record.stamp,
        meta_stamp=record.meta_stamp,
        modified_at=Micros(said.modified_at),
        size_bytes=record.size_bytes,
        etag=said.etag,
        content_type=said.content_type,
        meta=said.meta,
        sys=said.sys,
        expires_at=None if expires is None else Micros(expires),
        is_marker=record.is_marker,
        is_latest=is_latest,
        data=record.data,
    )


def shown_entry(container_id: str, row: Sequence[Any]) -> Entry:
    """Return the entry of a row of a listing: (name, version, stamp, meta stamp, size, expires, data, body)."""
    name, version, stamp, meta_stamp, size, expires, data, body = row
    said = _said.decode(body)
    return Entry(
        container_id=container_id,
        name=name,
        version_id=version,
        stamp=stamp,
        meta_stamp=meta_stamp,
        modified_at=Micros(said.modified_at),
        size_bytes=size,
        etag=said.etag,
        content_type=said.content_type,
        meta=said.meta,
        sys=said.sys,
        expires_at=expires,
        data=data,
    )


def tombstone(container_id: str, name: str, version_id: str, stamp: int) -> Record:
    """Return the record of a version that is gone."""
    return Record(
        container_id=container_id,
        name=name,
        version_id=version_id,
        stamp=stamp,
        meta_stamp=stamp,
        is_dead=True,
    )


def confirm(record: Record, stamp: int) -> Record:
    """Return a record as somebody confirms it who has reserved its name."""
    if record.is_dead:
        return tombstone(record.container_id, record.name, record.version_id, stamp)
    return msgspec.structs.replace(record, ballot=stamp)


def merge(*sides: Iterable[Record]) -> dict[str, Record]:
    """Return the records of one name by version, the winner of each."""
    merged: dict[str, Record] = {}
    for side in sides:
        for record in side:
            present = merged.get(record.version_id)
            if present is None or record.order > present.order:
                merged[record.version_id] = record
    return merged


def newest(records: Iterable[Record]) -> Record | None:
    """Return the newest version of one name, markers included; None where all are gone."""
    return max((r for r in records if not r.is_dead), key=lambda r: (r.stamp, r.data), default=None)


def is_expired(record: Record | Entry, now_us: int) -> bool:
    """Return whether a version's time is over."""
    return record.expires_at is not None and record.expires_at <= now_us


def pack(value: Any) -> bytes:
    """Return a value in msgpack."""
    return _encoder.encode(value)
