"""One index: what is refused, what is merged, how much is counted, and what a full disk still takes."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins.object.store import index_ops as ops
from node.plugins.object.store.committer import Committer
from node.plugins.object.store.index_ops import (
    MergeOp,
    PutOp,
    RemoveOp,
    ReserveOp,
    Result,
    UpdateOp,
)
from node.plugins.object.store.index_read import IndexReader, after_prefix
from node.plugins.object.store.index_schema import open_reader
from node.plugins.object.store.record import Record, Said, pack, tombstone
from node.testing.clock import FakeClock


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Committer]:
    made = Committer(tmp_path, FakeClock())
    yield made
    made.close()


def record(
    stamp: int, *, name: str = "n", version: str = "null", size: int = 0, **more: object
) -> Record:
    return Record(
        container_id="c", name=name, version_id=version, stamp=stamp, meta_stamp=stamp,
        size_bytes=size, body=pack(Said(modified_at=1)), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def run(disk: Committer, *work: ops.IndexOp) -> list[Result]:
    done = threading.Event()
    kept: list[Result] = []

    def answer(results: object) -> None:
        kept.extend(results)  # type: ignore[arg-type]
        done.set()

    disk.submit(work, answer)
    assert done.wait(60)
    return kept


def states(disk: Committer, *work: ops.IndexOp) -> list[str]:
    return [result.state for result in run(disk, *work)]


def reader(disk: Committer) -> IndexReader:
    return IndexReader(open_reader(disk.root))


def test_what_is_not_later_is_refused_with_what_is_known(disk: Committer) -> None:
    assert states(disk, PutOp(record=record(10))) == [ops.OK]
    for stamp in (9, 10):
        refused = run(disk, PutOp(record=record(stamp)))[0]
        assert (refused.state, refused.stamp) == (ops.STALE, 10)
    removal = RemoveOp(container_id="c", name="n", version_id="null", stamp=20, replicated=True)
    assert states(disk, removal) == [ops.OK]
    assert states(disk, PutOp(record=record(15))) == [ops.STALE]  # it was deleted later than that
    assert states(disk, PutOp(record=record(21))) == [ops.OK]


def test_a_reserved_name_takes_nobody_else(disk: Committer) -> None:
    assert states(disk, ReserveOp(container_id="c", name="n", stamp=50)) == [ops.OK]
    assert states(disk, PutOp(record=record(40))) == [ops.STALE]
    assert states(disk, ReserveOp(container_id="c", name="n", stamp=45)) == [ops.STALE]
    assert states(disk, PutOp(record=record(50))) == [ops.STALE]
    assert states(disk, PutOp(record=record(50), reserved=50)) == [ops.OK]
    # Somebody who came later is let in, and ends the reservation before it.
    assert states(disk, ReserveOp(container_id="c", name="n", stamp=60)) == [ops.OK]
    assert states(disk, PutOp(record=record(70))) == [ops.OK]
    assert states(disk, PutOp(record=record(60), reserved=60)) == [ops.STALE]


def test_an_update_is_of_what_its_writer_saw(disk: Committer) -> None:
    run(disk, PutOp(record=record(10)))
    changed = Record(
        container_id="c",
        name="n",
        version_id="null",
        stamp=10,
        meta_stamp=12,
        body=pack(Said(modified_at=2)),
    )
    assert states(disk, UpdateOp(record=changed, base=11)) == [ops.STALE]
    assert states(disk, UpdateOp(record=changed, base=10)) == [ops.OK]
    assert states(disk, UpdateOp(record=record(9), base=9)) == [ops.GONE]


def test_replicas_are_the_same_in_whatever_order_they_learn(tmp_path: Path) -> None:
    some = [
        record(10, size=5), record(12, size=7), tombstone("c", "n", "null", 11),
        record(13, version="v1", size=3), tombstone("c", "n", "v1", 20), record(14, version="v2", size=2),
        record(15, name="m", size=1),
    ]  # fmt: skip
    seen = []
    for number, order in enumerate((some, some[::-1], some[3:] + some[:3], some + some)):
        (tmp_path / str(number)).mkdir()
        disk = Committer(tmp_path / str(number), FakeClock())
        for one in order:
            assert states(disk, MergeOp(records=[one])) == [ops.OK]
        found = reader(disk)
        names = sorted(found.records("c", "n"), key=lambda r: r.version_id)
        seen.append((names, found.records("c", "m"), found.usage("c", 0)[0]))
        disk.close()
    assert all(one == seen[0] for one in seen)
    usage = seen[0][2]
    assert (usage.objects, usage.size_bytes, usage.versions_bytes) == (2, 3, 7)


def test_one_flush_serves_many(disk: Committer) -> None:
    before = disk.commits
    gate = threading.Event()
    first = threading.Thread(target=lambda: disk.call(lambda _db: gate.wait(60)))
    first.start()
    done = threading.Semaphore(0)
    for number in range(100):
        disk.submit([PutOp(record=record(10, name=f"{number}"))], lambda _results: done.release())
    gate.set()
    for _number in range(100):
        assert done.acquire(timeout=60)
    first.join()
    assert disk.commits - before <= 3


def test_a_full_index_refuses_growth_and_takes_deletes(disk: Committer) -> None:
    run(disk, PutOp(record=record(10, data="i:aa:9"), blob=b"x" * 9))
    db: sqlite3.Connection = disk._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    disk.call(lambda db: db.execute(f"PRAGMA max_page_count={pages}").fetchone())
    big = PutOp(record=record(20, name="big", data="i:bb:60000"), blob=os.urandom(60_000))
    assert states(disk, big) == [ops.FULL]
    assert disk.failure == ""
    assert reader(disk).records("c", "big") == []
    assert (disk.root / "reserve").exists()
    assert states(disk, RemoveOp(container_id="c", name="n", version_id="null", stamp=30)) == [
        ops.OK
    ]


def test_a_job_that_breaks_spoils_no_other(disk: Committer) -> None:
    gate = threading.Event()
    first = threading.Thread(target=lambda: disk.call(lambda _db: gate.wait(60)))
    first.start()
    kept: list[str] = []
    done = threading.Semaphore(0)

    def answer(results: object) -> None:
        kept.extend(result.state for result in results)  # type: ignore[attr-defined]
        done.release()

    bad = record(10, name="bad", data="nonsense")
    for one in (record(10, name="a"), bad, record(10, name="b")):
        disk.submit([PutOp(record=one)], answer)
    gate.set()
    for _number in range(3):
        assert done.acquire(timeout=60)
    first.join()
    assert kept == [ops.OK, ops.AWAY, ops.OK]
    assert reader(disk).records("c", "bad") == []
    assert len(reader(disk).records("c", "a")) == 1


@pytest.mark.parametrize(
    ("prefix", "behind"),
    [
        ("a", "b"),
        ("a/", "a0"),
        ("\ud7ff", "\ue000"),
        ("x\U0010ffff", "y"),
        ("\U0010ffff", None),
        ("", None),
    ],
)
def test_the_end_of_a_prefix(prefix: str, behind: str | None) -> None:
    assert after_prefix(prefix) == behind
