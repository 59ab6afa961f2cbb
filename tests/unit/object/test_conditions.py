"""Writers who depend on what is there, all at once, through all nodes: one of them wins each time."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.clock import SystemClock
from node.errors import PreconditionFailed, Unavailable
from node.plugins.object.store.contract import Condition, Facts, Store
from node.testing.object_site import ObjectSite

WRITERS = 6


@pytest.fixture(params=[(1, 1), (1, 3), (3, 1)], ids=["one disk", "three disks", "three nodes"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectSite]:
    nodes, disks = request.param
    made = ObjectSite(tmp_path / "site", SystemClock(), nodes=nodes, disks=disks)
    yield made
    made.close()


def write(store: Store, name: str, value: bytes, condition: Condition, etag: str) -> bool | None:
    """Write; say whether it was done, None where nobody knows."""
    with store.writer("c", name) as writer:
        writer.write(value)
        try:
            writer.commit(Facts(etag=etag), condition)
        except PreconditionFailed:
            return False
        except Unavailable:
            return None
        return True


def together(site: ObjectSite, work: Callable[[Store, int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(store: Store, number: int) -> None:
        try:
            work(store, number)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failures.append(error)

    threads = [
        threading.Thread(target=guarded, args=(site.nodes[n % len(site.nodes)].store, n))
        for n in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_one_of_many_creates_a_name(site: ObjectSite) -> None:
    won: dict[str, list[int]] = {f"o{n}": [] for n in range(15)}
    unsure: dict[str, list[int]] = {name: [] for name in won}

    def create(store: Store, number: int) -> None:
        for name, winners in won.items():
            done = write(store, name, b"%d" % number, Condition(absent=True), str(number))
            if done is not False:
                (winners if done else unsure[name]).append(number)

    together(site, create)
    assert sum(map(len, won.values())) > len(won) / 2
    for name, winners in won.items():
        assert len(winners) <= 1
        found = {value_of(node.store, name) for node in site.nodes}
        assert len(found) == 1
        assert found.pop() in (winners or [None, *unsure[name]])


def value_of(store: Store, name: str) -> int | None:
    entry = store.head("c", name)
    return int(b"".join(store.read(entry))) if entry else None


def test_a_counter_misses_nothing(site: ObjectSite) -> None:
    assert write(site.nodes[0].store, "n", b"0", Condition(absent=True), "0")
    each = 8
    unsure: list[str] = []

    def count(store: Store, _number: int) -> None:
        done = 0
        while done < each:
            value = str((value_of(store, "n") or 0) + 1)
            before = Condition(etag=str(int(value) - 1))
            outcome = write(store, "n", value.encode(), before, value)
            if outcome is None:
                unsure.append(value)
            done += outcome is True

    together(site, count)
    found = {value_of(node.store, "n") for node in site.nodes}
    least = WRITERS * each
    assert len(found) == 1
    assert least <= (found.pop() or 0) <= least + len(unsure)
