"""The object store in memory: what `node.plugins.object.store.contract` says, without disks, nodes or time limits.

It is the model that the real store is compared with, and what tests of Swift and S3 run on.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from node.clock import Clock
from node.errors import NotFound, PreconditionFailed
from node.plugins.object.store.contract import (
    ANY,
    NULL,
    Condition,
    Entry,
    Facts,
    Listing,
    Query,
    Usage,
)
from node.types import Micros

_BLOCK = 1 << 16


class MemoryObjects:
    """A `Store`. `blobs` holds the bytes by `Entry.data`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._stamp = 0
        self._versions: dict[tuple[str, str], list[Entry]] = {}
        """Newest first."""
        self._closed: set[str] = set()
        self.blobs: dict[str, bytes] = {}

    def writer(
        self, container_id: str, name: str, *, policy: str = "", size_bytes: int | None = None
    ) -> "MemoryWriter":
        """Begin an object."""
        del policy, size_bytes
        return MemoryWriter(self, container_id, name)

    def compose(
        self,
        container_id: str,
        name: str,
        parts: Sequence[Entry],
        facts: Facts,
        condition: Condition = ANY,
        *,
        version: bool = False,
    ) -> Entry:
        """Join entries to one object; they are gone then."""
        with self._lock:
            data = b"".join(self._bytes(self._present(part)) for part in parts)
            made = self.store(container_id, name, data, facts, condition, version=version)
            for part in parts:
                self._remove(part)
            return made

    def store(
        self,
        container_id: str,
        name: str,
        data: bytes,
        facts: Facts,
        condition: Condition = ANY,
        *,
        version: bool = False,
    ) -> Entry:
        """Make bytes the newest version of a name."""
        with self._lock:
            if container_id in self._closed:
                raise NotFound("The container was deleted")
            self._hold(condition, container_id, name)
            stamp = self._next()
            entry = Entry(
                container_id=container_id,
                name=name,
                version_id=f"{stamp:020d}" if version else NULL,
                stamp=stamp,
                meta_stamp=stamp,
                modified_at=Micros(self._clock.now_us()),
                size_bytes=len(data),
                data=f"blob-{stamp}" if data else "",
                **{field: getattr(facts, field) for field in facts.__struct_fields__},
            )
            if data:
                self.blobs[entry.data] = data
            self._put(entry)
            return self._latest(entry)

    def head(self, container_id: str, name: str, version_id: str | None = None) -> Entry | None:
        """Return a version, or the newest one."""
        with self._lock:
            for entry in self._versions.get((container_id, name), ()):
                if version_id is None:
                    return None if entry.is_marker or self._expired(entry) else self._latest(entry)
                if entry.version_id == version_id:
                    return None if self._expired(entry) else self._latest(entry)
            return None

    def read(self, entry: Entry, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Return bytes of an entry, in blocks."""
        with self._lock:
            data = self._bytes(entry)
        end = len(data) if length is None else min(len(data), offset + length)
        return (data[at : min(at + _BLOCK, end)] for at in range(offset, end, _BLOCK))

    def local_file(
        self, entry: Entry, offset: int = 0, length: int | None = None
    ) -> tuple[Path, int] | None:
        """Return None: there are no files."""
        del entry, offset, length
        return None

    def update(
        self,
        entry: Entry,
        *,
        meta: Mapping[str, str] | None = None,
        sys: Mapping[str, str] | None = None,
        content_type: str | None = None,
        expires_at: Micros | None = None,
        keep_expiry: bool = True,
        touch: bool = True,
    ) -> Entry:
        """Replace what is said of an entry."""
        with self._lock:
            present = self._present(entry)
            change: dict[str, Any] = {"meta_stamp": self._next()}
            given = {"meta": meta, "sys": sys, "content_type": content_type}
            change |= {field: value for field, value in given.items() if value is not None}
            if touch:
                change["modified_at"] = Micros(self._clock.now_us())
            if not keep_expiry:
                change["expires_at"] = expires_at
            changed = msgspec.structs.replace(present, **change)
            kept = self._versions[entry.container_id, entry.name]
            kept[kept.index(present)] = changed
            return self._latest(changed)

    def delete(
        self,
        container_id: str,
        name: str,
        version_id: str | None = None,
        *,
        marker: str = "",
        condition: Condition = ANY,
    ) -> Entry | None:
        """Delete a version, or hide a name."""
        with self._lock:
            if version_id is None and marker and container_id in self._closed:
                raise NotFound("The container was deleted")
            self._hold(condition, container_id, name)
            if version_id is None and marker:
                stamp = self._next()
                made = Entry(
                    container_id=container_id,
                    name=name,
                    version_id=NULL if marker == NULL else f"{stamp:020d}",
                    stamp=stamp,
                    meta_stamp=stamp,
                    modified_at=Micros(self._clock.now_us()),
                    is_marker=True,
                )
                self._put(made)
                return made
            wanted = NULL if version_id is None else version_id
            for entry in self._versions.get((container_id, name), ()):
                if entry.version_id == wanted:
                    removed = self._latest(entry)
                    self._remove(entry)
                    return None if self._expired(entry) else removed
            return None

    def list(self, container_id: str, query: Query) -> Listing:
        """List a container."""
        with self._lock:
            items: list[Entry | str] = []
            for item in self._walk(container_id, query):
                if len(items) == query.limit:
                    return Listing(items=items, truncated=True)
                items.append(item)
            return Listing(items=items, truncated=False)

    def usage(self, container_ids: Sequence[str]) -> Mapping[str, Usage]:
        """Return how much is in containers."""
        with self._lock:
            return {container_id: self._usage(container_id) for container_id in container_ids}

    def close(self, container_id: str) -> bool:
        """Close an empty container for good."""
        with self._lock:
            for (owner, _name), versions in self._versions.items():
                if owner == container_id and any(not self._expired(v) for v in versions):
                    return False
            self._closed.add(container_id)
            return True

    # ------------------------------------------------------------------------------------------ inside

    def _next(self) -> int:
        self._stamp = max(self._stamp + 1, self._clock.now_us())
        return self._stamp

    def _expired(self, entry: Entry) -> bool:
        return entry.expires_at is not None and entry.expires_at <= self._clock.now_us()

    def _latest(self, entry: Entry) -> Entry:
        newest = self._versions[entry.container_id, entry.name][0]
        return msgspec.structs.replace(entry, is_latest=newest.version_id == entry.version_id)

    def _present(self, entry: Entry) -> Entry:
        for found in self._versions.get((entry.container_id, entry.name), ()):
            if (found.version_id, found.stamp) == (entry.version_id, entry.stamp):
                return found
        raise NotFound(f"{entry.name} was replaced or deleted")

    def _bytes(self, entry: Entry) -> bytes:
        if not entry.data:
            return b""
        if entry.data not in self.blobs:
            raise NotFound(f"{entry.name} was replaced or deleted")
        return self.blobs[entry.data]

    def _put(self, entry: Entry) -> None:
        kept = self._versions.setdefault((entry.container_id, entry.name), [])
        for old in [old for old in kept if old.version_id == entry.version_id]:
            self.blobs.pop(old.data, None)
            kept.remove(old)
        kept.insert(0, entry)

    def _remove(self, entry: Entry) -> None:
        kept = self._versions[entry.container_id, entry.name]
        gone = self._present(entry)
        self.blobs.pop(gone.data, None)
        kept.remove(gone)
        if not kept:
            del self._versions[entry.container_id, entry.name]

    def _hold(self, condition: Condition, container_id: str, name: str) -> None:
        newest = self.head(container_id, name)
        if condition.absent and newest is not None:
            raise PreconditionFailed("The object is there already")
        if condition.etag and (newest is None or condition.etag not in ("*", newest.etag)):
            raise PreconditionFailed("The object is not as it is expected")

    def _usage(self, container_id: str) -> Usage:
        objects = size = versions = 0
        for (owner, _name), entries in self._versions.items():
            if owner != container_id:
                continue
            for place, entry in enumerate(entries):
                if place:
                    versions += entry.size_bytes
                elif not entry.is_marker and not self._expired(entry):
                    objects, size = objects + 1, size + entry.size_bytes
        return Usage(objects=objects, size_bytes=size, versions_bytes=versions)

    def _walk(self, container_id: str, query: Query) -> Iterator[Entry | str]:
        names = sorted(
            (name for owner, name in self._versions if owner == container_id),
            key=lambda name: name.encode(),
            reverse=query.reverse,
        )
        folded = ""
        for name in names:
            if not _inside(name, query):
                continue
            entries = [self._latest(e) for e in self._versions[container_id, name]]
            entries = [entry for entry in entries if not self._expired(entry)]
            if not query.versions:
                entries = [e for e in entries if e.is_latest and not e.is_marker]
            elif name == query.marker and query.version_marker:
                known = [entry.version_id for entry in entries]
                at = known.index(query.version_marker) + 1 if query.version_marker in known else 0
                entries = entries[at:]
            if not entries:
                continue
            prefix = _fold(name, query)
            if prefix and not _beyond_marker(prefix, query):
                continue
            if prefix and prefix != folded:
                folded = prefix
                yield prefix
            elif not prefix:
                yield from entries


def _inside(name: str, query: Query) -> bool:
    if not name.startswith(query.prefix):
        return False
    at, marker, end = name.encode(), query.marker.encode(), query.end_marker.encode()
    if query.reverse:
        return (not marker or at < marker) and (not end or at > end)
    if query.versions and query.version_marker and at == marker:
        return True
    return at > marker and (not end or at < end)


def _fold(name: str, query: Query) -> str:
    if not query.delimiter:
        return ""
    at = name.find(query.delimiter, len(query.prefix))
    return name[: at + len(query.delimiter)] if at >= 0 else ""


def _beyond_marker(prefix: str, query: Query) -> bool:
    """Return whether a folded prefix is behind the marker: a marker inside of it has passed it, unless `refold`."""
    if query.refold:
        return prefix != query.marker
    if query.reverse or not query.marker:
        return True
    return prefix.encode() > query.marker.encode() and not query.marker.startswith(prefix)


class MemoryWriter:
    """Bytes on their way."""

    def __init__(self, store: MemoryObjects, container_id: str, name: str) -> None:
        self._store = store
        self._container_id = container_id
        self._name = name
        self._data = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes."""
        self._data += data

    def commit(self, facts: Facts, condition: Condition = ANY, *, version: bool = False) -> Entry:
        """Make them the newest version."""
        return self._store.store(
            self._container_id, self._name, bytes(self._data), facts, condition, version=version
        )

    def abort(self) -> None:
        """Forget them."""
        self._data.clear()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Abort what is not committed."""
        self.abort()
