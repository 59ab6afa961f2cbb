"""The reading side of one index: names, pages of names, and how much there is. One connection a thread.

Hard part: a page skips what is folded into a prefix instead of reading it, so that a page costs the same however much
lies below each prefix.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import xxhash

from node.plugins.object.store.contract import Entry, Listing, Query, Usage
from node.plugins.object.store.record import Record, entry_of, shown_entry, tombstone

_COLUMNS = "version, stamp, meta_stamp, marker, latest, size, expires, data, body, ballot"
_BATCH = 512
_FOLDED_BATCH = 32
"""Where most rows may be skipped."""


def _load(container_id: str, name: str, row: Sequence[Any]) -> Record:
    version, stamp, meta_stamp, marker, _latest, size, expires, data, body, ballot = row
    return Record(
        container_id=container_id, name=name, version_id=version, stamp=stamp, meta_stamp=meta_stamp,
        is_marker=bool(marker), size_bytes=size, expires_at=expires, data=data, body=body, ballot=ballot,
    )  # fmt: skip


class IndexReader:
    """Queries of one index."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def latest(self, container_id: str, name: str) -> Record | None:
        """Return the newest version of a name as this replica has it, a marker included."""
        row = self.db.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE container=? AND name=? AND latest=1",  # noqa: S608
            (container_id, name),
        ).fetchone()
        return _load(container_id, name, row) if row else None

    def records(self, container_id: str, name: str) -> list[Record]:
        """Return all versions of a name, and its tombstones."""
        rows = self.db.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE container=? AND name=?",  # noqa: S608
            (container_id, name),
        )
        found = [_load(container_id, name, row) for row in rows]
        dead = self.db.execute(
            "SELECT version, stamp FROM tombs WHERE container=? AND name=?", (container_id, name)
        )
        return found + [tombstone(container_id, name, v, stamp) for v, stamp in dead]

    def blob(self, id: str) -> bytes | None:
        """Return inline bytes; None where they are not here or are not what they were."""
        row = self.db.execute("SELECT hash, data FROM blobs WHERE id=?", (id,)).fetchone()
        if row is None or xxhash.xxh3_128_digest(row[1]) != row[0]:
            return None
        data: bytes = row[1]
        return data

    def usage(self, container_id: str, now_us: int) -> tuple[Usage, int]:
        """Return how much is in a container, and the stamp of its last change."""
        row = self.db.execute(
            "SELECT objects, bytes, versions, stamp FROM containers WHERE container=?",
            (container_id,),
        ).fetchone()
        if row is None:
            return Usage(), 0
        objects, size = self.db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM entries INDEXED BY entries_expires"
            " WHERE container=? AND expires<=? AND expires IS NOT NULL AND latest=1 AND marker=0",
            (container_id, now_us),
        ).fetchone()
        used = Usage(objects=row[0] - objects, size_bytes=row[1] - size, versions_bytes=row[2])
        return used, row[3]

    def list(self, container_id: str, query: Query, now_us: int) -> Listing:
        """Return one page."""
        if not query.versions and not query.delimiter:
            return self._plain(container_id, query, now_us)
        items: list[Entry | str] = []
        for item in self._walk(container_id, query, now_us):
            if len(items) == query.limit:
                return Listing(items=items, truncated=True)
            items.append(item)
        return Listing(items=items, truncated=False)

    def _plain(self, container_id: str, query: Query, now_us: int) -> Listing:
        """Return a page of names as they are: by far the most frequent one, in one query."""
        where, values = Cursor(query).bounds()
        order = "DESC" if query.reverse else "ASC"
        rows = self.db.execute(
            "SELECT name, version, stamp, meta_stamp, size, expires, data, body FROM entries"  # noqa: S608
            f" WHERE container=?{where} AND latest=1 AND marker=0 AND (expires IS NULL OR expires>?)"
            f" ORDER BY name {order} LIMIT ?",
            (container_id, *values, now_us, query.limit + 1),
        ).fetchall()
        return Listing(
            items=[shown_entry(container_id, row) for row in rows[: query.limit]],
            truncated=len(rows) > query.limit,
        )

    def _walk(self, container_id: str, query: Query, now_us: int) -> Iterator[Entry | str]:
        at = Cursor(query)
        older_than = self._stamp_of(container_id, query)
        most = _FOLDED_BATCH if query.delimiter else _BATCH
        batch = min(most, query.limit + 1)
        while not at.is_over:
            skipped = False
            count = 0
            for name, group in _by_name(self._rows(container_id, query, at, batch)):
                count += len(group)
                prefix = fold(name, query)
                items = self._of_name(container_id, name, group, query, now_us, older_than)
                at.passed(name)
                if not items:
                    continue
                if prefix:
                    if is_beyond_marker(prefix, query):
                        yield prefix
                    at.passed_prefix(prefix)
                    skipped = True
                    break
                yield from items
            if not skipped and count < batch:
                return
            batch = most

    def _rows(
        self, container_id: str, query: Query, at: "Cursor", limit: int
    ) -> Sequence[tuple[Any, ...]]:
        """Return rows behind the cursor; the versions of its last name are all there."""
        where, values = at.bounds()
        kind = "" if query.versions else " AND latest=1 AND marker=0"
        order = "DESC" if query.reverse else "ASC"
        rows = self.db.execute(
            f"SELECT name, {_COLUMNS} FROM entries WHERE container=?{where}{kind}"  # noqa: S608
            f" ORDER BY name {order} LIMIT ?",
            (container_id, *values, limit),
        ).fetchall()
        if query.versions and len(rows) == limit:
            last = rows[-1][0]
            rows = [row for row in rows if row[0] != last]
            rows += self.db.execute(
                f"SELECT name, {_COLUMNS} FROM entries WHERE container=? AND name=?",  # noqa: S608
                (container_id, last),
            ).fetchall()
        return rows

    def _stamp_of(self, container_id: str, query: Query) -> int | None:
        if not (query.versions and query.version_marker and query.marker):
            return None
        row = self.db.execute(
            "SELECT stamp FROM entries WHERE container=? AND name=? AND version=?",
            (container_id, query.marker, query.version_marker),
        ).fetchone()
        return row[0] if row else None

    def _of_name(
        self, container_id: str, name: str, rows: Sequence[Sequence[Any]], query: Query, now_us: int,
        older_than: int | None,
    ) -> Sequence[Entry]:  # fmt: skip
        found = [(_load(container_id, name, row[1:]), bool(row[5])) for row in rows]
        return visible(found, query, now_us, older_than)


def visible(
    found: list[tuple[Record, bool]], query: Query, now_us: int, older_than: int | None
) -> Sequence[Entry]:
    """Return what a page shows of the versions of one name, each given with whether it is the newest."""
    shown = [(r, latest) for r, latest in found if r.expires_at is None or r.expires_at > now_us]
    if not query.versions:
        return [entry_of(r, is_latest=True) for r, latest in shown if latest and not r.is_marker]
    shown.sort(key=lambda pair: (pair[0].stamp, pair[0].data), reverse=True)
    if older_than is not None and shown and shown[0][0].name == query.marker:
        shown = [pair for pair in shown if pair[0].stamp < older_than]
    return [entry_of(record, is_latest=latest) for record, latest in shown]


class Cursor:
    """How far a page has come, as bounds of an SQL query."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._low, self._low_open = query.prefix, False
        self._high = after_prefix(query.prefix)
        self.is_over = False
        if query.reverse:
            if query.marker:
                self._lower_high(query.marker)
            if query.end_marker and query.end_marker >= self._low:
                self._low, self._low_open = query.end_marker, True
        else:
            if query.marker and _bytes(query.marker) >= _bytes(self._low):
                self._low, self._low_open = query.marker, not query.version_marker
                self._low_open |= not query.versions
            if query.end_marker:
                self._lower_high(query.end_marker)

    def _lower_high(self, name: str) -> None:
        if self._high is None or _bytes(name) < _bytes(self._high):
            self._high = name

    def bounds(self) -> tuple[str, list[str]]:
        """Return the condition and its values."""
        where = f" AND name{'>' if self._low_open else '>='}?"
        values = [self._low]
        if self._high is not None:
            where += " AND name<?"
            values.append(self._high)
        return where, values

    def passed(self, name: str) -> None:
        """Go on behind a name."""
        if self._query.reverse:
            self._high = name
        else:
            self._low, self._low_open = name, True

    def passed_prefix(self, prefix: str) -> None:
        """Go on behind everything that is folded into a prefix."""
        if self._query.reverse:
            self._high = prefix
            return
        behind = after_prefix(prefix)
        if behind is None:
            self.is_over = True
        else:
            self._low, self._low_open = behind, False


def _bytes(name: str) -> bytes:
    return name.encode()


def after_prefix(prefix: str) -> str | None:
    """Return the first text behind all that begins with a prefix, or None where there is none."""
    while prefix:
        code = ord(prefix[-1])
        if code < 0x10FFFF:
            # Surrogates are no characters of UTF-8.
            return prefix[:-1] + chr(0xE000 if code == 0xD7FF else code + 1)
        prefix = prefix[:-1]
    return None


def fold(name: str, query: Query) -> str:
    """Return the prefix that a name is folded into, or an empty string."""
    if not query.delimiter:
        return ""
    at = name.find(query.delimiter, len(query.prefix))
    return name[: at + len(query.delimiter)] if at >= 0 else ""


def is_beyond_marker(prefix: str, query: Query) -> bool:
    """Return whether a folded prefix is behind the marker: a marker inside of it has passed it, unless `refold`."""
    if query.refold:
        return prefix != query.marker
    if query.reverse or not query.marker:
        return True
    return _bytes(prefix) > _bytes(query.marker) and not query.marker.startswith(prefix)


def _by_name(
    rows: Sequence[tuple[Any, ...]],
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    group: list[tuple[Any, ...]] = []
    for row in rows:
        if group and group[0][0] != row[0]:
            yield group[0][0], group
            group = []
        group.append(row)
    if group:
        yield group[0][0], group
