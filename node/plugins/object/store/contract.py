"""What the APIs know of the store: containers by id, versions of objects by name, and their bytes.

One seam under both views: Swift and S3 put everything that is theirs (headers, lists of parts, locks, tags) into
`meta` and `sys` of an entry, which the store keeps and never reads. The store decides where bytes and entries are,
how many copies there are, and which of two writers is the later one.

Hard part: an entry is the commit point. A writer's bytes are durable on a quorum before `commit` puts the entry, and
the entry is on a quorum before `commit` returns; whatever is torn off before that is garbage that nobody can see.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from node.sdk import Frozen, Micros

NULL = "null"
"""Version id of what is written while a container keeps no versions."""


class Entry(Frozen):
    """One version of one object, as the index of its container holds it."""

    container_id: str
    name: str
    version_id: str
    stamp: int
    """Hybrid logical clock, of the data: the greater one is the later one, everywhere."""
    meta_stamp: int
    """The same, of `meta` and `sys`; at least `stamp`."""
    modified_at: Micros
    """When it was written, for Last-Modified and X-Timestamp. Changes of `meta` alone move it too (`update`)."""
    size_bytes: int = 0
    etag: str = ""
    """As the writer gave it: MD5 in hexadecimal, or S3's `md5-parts`."""
    content_type: str = ""
    meta: Mapping[str, str] = {}
    """What users said, names in lower case, without any prefix."""
    sys: Mapping[str, str] = {}
    """What the APIs keep: `content-encoding`, `x-delete-at`, `slo`, `s3-lock`, …; names in lower case."""
    expires_at: Micros | None = None
    """From then on it is as if it were not there; it is removed later."""
    is_marker: bool = False
    """A delete marker: no data; as the newest version it hides the name."""
    is_latest: bool = True
    data: str = ""
    """Where the bytes are; only the store can read it. Empty: no bytes."""


class Facts(Frozen):
    """What a writer says of the object that it has written."""

    etag: str
    content_type: str = "application/octet-stream"
    meta: Mapping[str, str] = {}
    sys: Mapping[str, str] = {}
    expires_at: Micros | None = None


class Condition(Frozen):
    """What must hold of the newest version at the moment of the commit, or PreconditionFailed (412)."""

    absent: bool = False
    """There is none (`If-None-Match: *`)."""
    etag: str = ""
    """It has this ETag (`If-Match`); `*`: there is one."""


ANY = Condition()


class Query(Frozen):
    """What to list. Names are compared as UTF-8 bytes."""

    prefix: str = ""
    marker: str = ""
    """Only names after it (before it, with `reverse`)."""
    version_marker: str = ""
    """With `versions`: of the versions of `marker`, only those older than this one."""
    end_marker: str = ""
    """Only names before it (after it, with `reverse`)."""
    delimiter: str = ""
    """Names that hold it behind the prefix are folded into one prefix."""
    refold: bool = False
    """A folded prefix in which the marker lies is listed again, unless it is the marker itself (Swift); else a marker
    in it has passed it (S3)."""
    limit: int = 10_000
    """How many entries and folded prefixes together."""
    reverse: bool = False
    versions: bool = False
    """All versions and markers, newest first for each name; else only what is there."""


class Listing(Frozen):
    """One page. `items` are in order: entries, and folded prefixes as plain strings."""

    items: Sequence[Entry | str]
    truncated: bool
    """Whether there is more behind it."""


class Usage(Frozen):
    """How much is in a container: newest versions that are no markers."""

    objects: int = 0
    size_bytes: int = 0
    versions_bytes: int = 0
    """Of all older versions."""


class Writer(Protocol):
    """Bytes on their way to become an object. Must be ended by `commit` or `abort`; leaving a `with` block aborts."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; the buffer may be used again as soon as this returns.

        Raises:
            DiskFull: 507.
            Unavailable: 503, not enough nodes to keep it on.
        """

    def commit(self, facts: Facts, condition: Condition = ANY, *, version: bool = False) -> Entry:
        """Make what was written the newest version of the name, durably.

        `version`: as a version of its own; else as version `null`, in place of the one before.

        Raises:
            PreconditionFailed: 412, the condition does not hold; the object is as it was.
            NotFound: 404, the container was closed meanwhile.
            DiskFull: 507.
            Unavailable: 503, no quorum: it may be there later, or not.
        """

    def abort(self) -> None:
        """Forget it. Harmless after `commit`."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(self, *_error: object) -> None:
        """Abort what is not committed."""


class Store(Protocol):
    """The object store as this node sees it. Thread-safe. In tests: `node.testing.memory_objects.MemoryObjects`.

    Every method raises Unavailable (503) where a quorum is out of reach.
    """

    def writer(
        self, container_id: str, name: str, *, policy: str = "", size_bytes: int | None = None
    ) -> Writer:
        """Begin an object. `policy`: name of a storage policy, "" for the default; `size_bytes` where it is known."""

    def compose(
        self, container_id: str, name: str, parts: Sequence[Entry], facts: Facts,
        condition: Condition = ANY, *, version: bool = False,
    ) -> Entry:  # fmt: skip
        """Join the data of entries, in their order, to one object without copying it; the parts are gone then.

        The parts are of any one container (S3 keeps the parts of uploads in a container of their own). Raises as
        `Writer.commit`, and NotFound where a part is gone.
        """

    def head(self, container_id: str, name: str, version_id: str | None = None) -> Entry | None:
        """Return a version, or the newest; None where there is none, it is expired, or a marker hides it.

        With a `version_id` a marker itself is returned.
        """

    def read(self, entry: Entry, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Return bytes of an entry. Errors of the first block are raised here, later ones while iterating.

        Raises:
            NotFound: 404, the entry was replaced meanwhile and its bytes are gone.
            Unavailable: 503, too few fragments can be read.
        """

    def local_file(
        self, entry: Entry, offset: int = 0, length: int | None = None
    ) -> tuple[Path, int] | None:
        """Return a file of this node and the offset in it where these bytes lie, checked, or None: use `read`."""

    def update(
        self, entry: Entry, *, meta: Mapping[str, str] | None = None, sys: Mapping[str, str] | None = None,
        content_type: str | None = None, expires_at: Micros | None = None, keep_expiry: bool = True,
        touch: bool = True,
    ) -> Entry:  # fmt: skip
        """Replace what is said of an entry whose data stays. `touch`: move `modified_at` too.

        Raises:
            NotFound: 404, that version (this `stamp` of it) is not there any more.
        """

    def delete(
        self, container_id: str, name: str, version_id: str | None = None, *, marker: str = "",
        condition: Condition = ANY,
    ) -> Entry | None:  # fmt: skip
        """Delete; return what was removed, or the marker that was made, or None where there was nothing.

        Without `version_id`: with `marker` empty the version `null` is removed for good; with `marker="version"` a
        delete marker with an id of its own hides the name, with `marker="null"` one in place of the version `null`.
        With `version_id`: that version, or that marker, is removed for good.
        """

    def list(self, container_id: str, query: Query) -> Listing:
        """List a container: all that was acknowledged before is in it."""

    def usage(self, container_ids: Sequence[str]) -> Mapping[str, Usage]:
        """Return how much is in each of these containers; one that has never been written to is empty."""

    def close(self, container_id: str) -> bool:
        """Take no more objects into a container if it is empty (of versions too); say whether it is closed now.

        After that its id is dead for good: a container that is made again under the same name has another id.
        """
