"""A page of a large container costs the same wherever it begins, and whatever lies below the prefixes it shows.

What is compared is the work that SQLite does (steps of its machine), which no busy machine changes.
"""

import sqlite3
from pathlib import Path

import pytest

from node.plugins.object.store.committer import Committer
from node.plugins.object.store.contract import Query
from node.plugins.object.store.index_read import IndexReader
from node.plugins.object.store.index_schema import open_reader
from node.plugins.object.store.record import Said, pack
from node.testing.clock import FakeClock

COUNT = 120_000
FOLDERS = 40


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> IndexReader:
    root = tmp_path_factory.mktemp("large")
    fill(root, COUNT)
    return IndexReader(open_reader(root))


def fill(root: Path, count: int) -> None:
    """Write entries as if they had come one by one."""
    body = pack(Said(modified_at=1, etag="0" * 32, content_type="text/plain"))
    rows = (
        ("c", f"{n * FOLDERS // count:03}/{n:09}", "null", 1, 1, 0, 1, 5, None, "", body)
        for n in range(count)
    )

    def task(db: sqlite3.Connection) -> None:
        db.executemany("INSERT INTO entries VALUES(?,?,?,?,?,?,?,?,?,?,?,0)", rows)

    disk = Committer(root, FakeClock())
    disk.call(task)
    disk.close()


def steps(reader: IndexReader, query: Query) -> tuple[int, int]:
    """Return how many items a page has, and what it costs."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    reader.db.set_progress_handler(step, 10)
    try:
        page = reader.list("c", query, 1)
    finally:
        reader.db.set_progress_handler(None, 0)
    return len(page.items), count


def test_pages_cost_the_same_everywhere(reader: IndexReader) -> None:
    costs = []
    for place in range(0, COUNT - 200, COUNT // 7):
        marker = f"{place * FOLDERS // COUNT:03}/{place:09}"
        for reverse in (False, True):
            found, cost = steps(reader, Query(marker=marker, limit=100, reverse=reverse))
            if place or not reverse:
                assert found == 100
                costs.append(cost)
    assert max(costs) <= 1.2 * min(costs) + 10


def test_folded_prefixes_cost_nothing_of_what_is_below(reader: IndexReader) -> None:
    found, cost = steps(reader, Query(delimiter="/"))
    assert found == FOLDERS
    assert cost < COUNT / 10
    _found, one_page = steps(reader, Query(limit=100))
    assert cost < 30 * one_page
