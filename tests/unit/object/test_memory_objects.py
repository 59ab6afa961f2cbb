"""The model of the store: versions, markers, conditions, listings."""

import pytest

from node.errors import NotFound, PreconditionFailed
from node.plugins.object.store.contract import Condition, Facts, Query, Store
from node.testing.clock import FakeClock
from node.testing.memory_objects import MemoryObjects


@pytest.fixture
def store() -> Store:
    return MemoryObjects(FakeClock())


def put(store: Store, name: str, data: bytes = b"x", *, version: bool = False, **facts: object) -> str:
    with store.writer("c", name) as writer:
        writer.write(data)
        made = Facts(etag=f"of-{data.decode()}", **facts)  # type: ignore[arg-type]
        return writer.commit(made, version=version).version_id


def names(store: Store, **query: object) -> list[str]:
    listing = store.list("c", Query(**query))  # type: ignore[arg-type]
    return [item if isinstance(item, str) else item.name for item in listing.items]


def data(store: Store, name: str, version_id: str | None = None) -> bytes:
    entry = store.head("c", name, version_id)
    assert entry is not None
    return b"".join(store.read(entry))


def test_versions_and_markers(store: Store) -> None:
    put(store, "a", b"null")
    one = put(store, "a", b"one", version=True)
    marker = store.delete("c", "a", marker="version")
    assert marker is not None
    assert store.head("c", "a") is None
    assert (data(store, "a", one), data(store, "a", "null")) == (b"one", b"null")
    assert names(store) == []
    assert len(store.list("c", Query(versions=True)).items) == 3
    store.delete("c", "a", marker.version_id)
    assert data(store, "a") == b"one"
    assert not store.close("c")
    store.delete("c", "a", one)
    store.delete("c", "a")
    assert store.close("c")
    with pytest.raises(NotFound):
        put(store, "a")


def test_conditions(store: Store) -> None:
    facts = Facts(etag="e")
    store.writer("c", "a").commit(facts, Condition(absent=True))
    for wrong in (Condition(absent=True), Condition(etag="f")):
        with pytest.raises(PreconditionFailed):
            store.writer("c", "a").commit(facts, wrong)
    store.writer("c", "a").commit(facts, Condition(etag="*"))


def test_listing(store: Store) -> None:
    for name in ("a/1", "a/2", "b", "c/d/e", "ü"):
        put(store, name)
    assert names(store, delimiter="/") == ["a/", "b", "c/", "ü"]
    assert names(store, delimiter="/", marker="a/") == ["b", "c/", "ü"]
    assert names(store, delimiter="/", marker="a/1") == ["b", "c/", "ü"]
    assert names(store, delimiter="/", marker="a/1", refold=True) == ["a/", "b", "c/", "ü"]
    assert names(store, delimiter="/", marker="a/", refold=True) == ["b", "c/", "ü"]
    assert names(store, delimiter="/", marker="a/2", refold=True) == ["b", "c/", "ü"]
    assert names(store, delimiter="/", marker="c/e", refold=True, reverse=True) == ["c/", "b", "a/"]
    assert names(store, delimiter="/", marker="c/", refold=True, reverse=True) == ["b", "a/"]
    assert names(store, delimiter="/", prefix="c/") == ["c/d/"]
    assert names(store, marker="a/1", end_marker="c") == ["a/2", "b"]
    assert names(store, reverse=True, limit=2) == ["ü", "c/d/e"]
    assert store.list("c", Query(limit=4)).truncated


def test_parts_become_one_object(store: Store) -> None:
    for number, part in enumerate((b"ab", b"cd")):
        put(store, f"part-{number}", part)
    parts = [entry for entry in store.list("c", Query()).items if not isinstance(entry, str)]
    made = store.compose("c", "whole", parts, Facts(etag="x-2"))
    assert b"".join(store.read(made, 1, 2)) == b"bc"
    assert names(store) == ["whole"]
    with pytest.raises(NotFound):
        store.compose("c", "again", parts, Facts(etag="x-2"))
