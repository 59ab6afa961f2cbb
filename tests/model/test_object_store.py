"""The object store does what its model does: any operations in any order, on one disk, on three, and among nodes.

Versions have ids of their own in each, so they are compared by their place in the history of a name.
"""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from node.errors import NodeError
from node.plugins.object.store.contract import (
    ANY,
    NULL,
    Condition,
    Entry,
    Facts,
    Listing,
    Query,
    Store,
)
from node.testing.clock import FakeClock
from node.testing.memory_objects import MemoryObjects
from node.testing.object_site import ObjectSite
from node.types import Micros

CONTAINERS = ("c1", "c2")
NAMES = st.sampled_from(["a", "b", "d/1", "d/2", "d/e/f", "é", "z\U0001f600", "\ud7ff", "\ue000"])
SIZES = st.sampled_from([0, 1, 300, 65536, 65537, 1 << 20, (1 << 20) + 7, 2_500_000])
ETAGS = st.sampled_from(["e1", "e2"])
CONDITIONS = st.sampled_from(
    [ANY, ANY, Condition(absent=True), Condition(etag="*"), Condition(etag="e1")]
)
MARKERS = st.sampled_from(["", "a", "d", "d/1", "d/2", "d/", "x"])


_TICKS_US = 500
"""The clock of tests goes on by itself whenever it is read; `advance` goes further than that."""


def data_of(size: int, seed: int) -> bytes:
    """Return bytes that no other seed gives."""
    return (seed.to_bytes(4, "big") * (size // 4 + 1))[:size]


class Comparison(RuleBasedStateMachine):
    """Every operation is done in both."""

    nodes: ClassVar[int] = 1
    disks: ClassVar[int] = 1
    entries = Bundle("entries")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.directory = tempfile.TemporaryDirectory(prefix="hedgerow-object-")
        self.site = ObjectSite(
            Path(self.directory.name), self.clock, nodes=self.nodes, disks=self.disks
        )
        self.model = MemoryObjects(self.clock)
        self.turn = 0
        self.count = 0

    @property
    def store(self) -> Store:
        """Return the store, through another node each time."""
        self.turn += 1
        return self.site.nodes[self.turn % self.nodes].store

    def both(self, call: Callable[[Store, int], Any]) -> tuple[Any, Any]:
        """Do the same in both; they must agree on what fails."""
        outcomes: list[Any] = []
        for side, store in enumerate((self.model, self.store)):
            try:
                outcomes.append(call(store, side))
            except NodeError as error:
                outcomes.append(type(error))
        kinds = [o if isinstance(o, type) else None for o in outcomes]
        assert kinds[0] == kinds[1], outcomes
        return outcomes[0], outcomes[1]

    def same(self, pair: tuple[Any, Any]) -> tuple[Entry, Entry] | None:
        """Compare two outcomes that are entries, None or errors."""
        mine, theirs = pair
        assert isinstance(mine, Entry) == isinstance(theirs, Entry), pair
        if not isinstance(mine, Entry):
            return None
        assert shown(mine) == shown(theirs)
        assert abs(mine.modified_at - theirs.modified_at) < _TICKS_US
        return mine, theirs

    @rule(
        target=entries, container=st.sampled_from(CONTAINERS), name=NAMES, size=SIZES, etag=ETAGS,
        condition=CONDITIONS, version=st.booleans(), known=st.booleans(),
        policy=st.sampled_from(["", "coded"]), expires_s=st.sampled_from([None, None, 50]),
    )  # fmt: skip
    def write(
        self, container: str, name: str, size: int, etag: str, condition: Condition, version: bool,
        known: bool, policy: str, expires_s: int | None,
    ) -> tuple[Entry, Entry] | None:  # fmt: skip
        """Write an object."""
        self.clock.advance(0.001)
        self.count += 1
        data = data_of(size, self.count)
        expires = None if expires_s is None else Micros(self.clock.now_us() + expires_s * 10**6)
        facts = Facts(etag=etag, meta={"n": str(self.count)}, expires_at=expires)

        def call(store: Store, _side: int) -> Entry:
            size_bytes = size if known else None
            with store.writer(container, name, policy=policy, size_bytes=size_bytes) as writer:
                for at in range(0, size, 300_000):
                    writer.write(memoryview(data)[at : at + 300_000])
                return writer.commit(facts, condition, version=version)

        return self.same(self.both(call))

    @rule(container=st.sampled_from(CONTAINERS), name=NAMES)
    def abort(self, container: str, name: str) -> None:
        """Begin an object and forget it."""
        with self.store.writer(container, name) as writer:
            writer.write(bytes(100_000))

    @rule(pair=entries, etag=ETAGS, touch=st.booleans(), expire=st.sampled_from([None, 0, 100]))
    def update(
        self, pair: tuple[Entry, Entry] | None, etag: str, touch: bool, expire: int | None
    ) -> None:
        """Say something else of an entry, which may be gone."""
        if pair is None:
            return
        self.clock.advance(0.001)
        expires_at = Micros(self.clock.now_us() + expire * 10**6) if expire else None

        def call(store: Store, side: int) -> Entry:
            return store.update(
                pair[side], meta={"u": etag}, touch=touch, expires_at=expires_at,
                keep_expiry=expire is None,
            )  # fmt: skip

        self.same(self.both(call))

    @rule(
        container=st.sampled_from(CONTAINERS), name=NAMES, condition=CONDITIONS,
        marker=st.sampled_from(["", "", "version", "null"]),
    )  # fmt: skip
    def delete(self, container: str, name: str, condition: Condition, marker: str) -> None:
        """Delete a name."""
        self.clock.advance(0.001)
        self.same(
            self.both(
                lambda store, _side: store.delete(
                    container, name, marker=marker, condition=condition
                )
            )
        )

    @rule(pair=entries)
    def delete_version(self, pair: tuple[Entry, Entry] | None) -> None:
        """Delete one version."""
        if pair is None:
            return
        self.clock.advance(0.001)

        def call(store: Store, side: int) -> Entry | None:
            entry = pair[side]
            return store.delete(entry.container_id, entry.name, entry.version_id)

        self.same(self.both(call))

    @rule(target=entries, pairs=st.lists(entries, min_size=1, max_size=3), name=NAMES)
    def compose(self, pairs: list[Any], name: str) -> tuple[Entry, Entry] | None:
        """Join entries, each once."""
        known = {
            (p[0].container_id, p[0].name, p[0].version_id): p for p in pairs if p is not None
        }
        parts = list(known.values())
        if not parts or any(part[0].expires_at or part[0].is_marker for part in parts):
            return None
        if ("c1", name, NULL) in known:
            return None
        self.clock.advance(0.001)
        return self.same(
            self.both(
                lambda store, side: store.compose(
                    "c1", name, [part[side] for part in parts], Facts(etag="joined")
                )
            )
        )

    @rule(
        container=st.sampled_from(CONTAINERS), marker=MARKERS, end=MARKERS,
        prefix=st.sampled_from(["", "d", "d/", "z"]), delimiter=st.sampled_from(["", "/", "e"]),
        limit=st.sampled_from([1, 2, 100]), reverse=st.booleans(), versions=st.booleans(),
    )  # fmt: skip
    def listing(
        self, container: str, marker: str, end: str, prefix: str, delimiter: str, limit: int,
        reverse: bool, versions: bool,
    ) -> None:  # fmt: skip
        """List a container."""
        query = Query(
            prefix=prefix, marker=marker, end_marker=end, delimiter=delimiter, limit=limit,
            reverse=reverse, versions=versions,
        )  # fmt: skip
        mine, theirs = self.both(lambda store, _side: store.list(container, query))
        assert page(mine) == page(theirs), query

    @rule(container=st.sampled_from(CONTAINERS), limit=st.sampled_from([1, 2]))
    def walk_versions(self, container: str, limit: int) -> None:
        """List all versions, page by page."""
        found: list[list[Any]] = [[], []]
        for side, store in enumerate((self.model, self.store)):
            query = Query(versions=True, limit=limit)
            for _page in range(200):
                got = store.list(container, query)
                found[side] += page(got)[0]
                if not got.truncated:
                    break
                last = got.items[-1]
                assert isinstance(last, Entry)
                query = Query(
                    versions=True, limit=limit, marker=last.name, version_marker=last.version_id
                )
        assert found[0] == found[1]

    @rule(seconds=st.sampled_from([1, 60]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule(container=st.sampled_from(["c2"]))
    def close(self, container: str) -> None:
        """Close a container."""
        mine, theirs = self.both(lambda store, _side: store.close(container))
        assert mine == theirs

    @rule(pair=entries, offset=st.sampled_from([0, 1, 1 << 20]), length=st.sampled_from([None, 9]))
    def read(self, pair: tuple[Entry, Entry] | None, offset: int, length: int | None) -> None:
        """Read what is there still."""
        if pair is None:
            return
        heads = [
            store.head(pair[side].container_id, pair[side].name, pair[side].version_id)
            for side, store in enumerate((self.model, self.store))
        ]
        mine, theirs = heads
        assert (mine is None) == (theirs is None)
        if mine is None or theirs is None:
            return
        assert shown(mine) == shown(theirs)
        expected = b"".join(self.model.read(mine, offset, length))
        assert b"".join(self.store.read(theirs, offset, length)) == expected
        file = self.store.local_file(theirs, offset, length)
        if file is not None:
            path, at = file
            assert path.read_bytes()[at : at + len(expected)] == expected

    @invariant()
    def usage_is_the_same(self) -> None:
        """Compare what is in the containers."""
        assert self.model.usage(CONTAINERS) == self.store.usage(CONTAINERS)

    @rule(container=st.sampled_from(CONTAINERS), name=NAMES)
    def head(self, container: str, name: str) -> None:
        """Look at a name."""
        self.same(self.both(lambda store, _side: store.head(container, name)))

    def teardown(self) -> None:
        """Leave nothing."""
        self.site.close()
        with contextlib.suppress(OSError):
            self.directory.cleanup()


def shown(entry: Entry) -> dict[str, Any]:
    """Return what must be the same of an entry."""
    fields = ("container_id", "name", "size_bytes", "etag", "content_type", "meta")
    more = ("sys", "expires_at", "is_marker", "is_latest")
    found = {field: getattr(entry, field) for field in (*fields, *more)}
    return found | {"is_null": entry.version_id == NULL}


def page(listing: Listing) -> tuple[list[Any], bool]:
    """Return what must be the same of a page."""
    items = [shown(item) if isinstance(item, Entry) else item for item in listing.items]
    return items, listing.truncated


class OneDisk(Comparison):
    """The fast path."""


class ThreeDisks(Comparison):
    """Three replicas of each index on one node."""

    disks = 3


class ThreeNodes(Comparison):
    """Each operation through another node."""

    nodes = 3
    disks = 1


SOME = settings(max_examples=25, stateful_step_count=25)



@pytest.mark.parametrize("machine", [OneDisk, ThreeDisks, ThreeNodes])
def test_the_store_does_what_its_model_does(machine: type[Comparison]) -> None:
    run_state_machine_as_test(machine, settings=SOME)
