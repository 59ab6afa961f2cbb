"""Snapshots carry everything, and readers that are open go on reading while one is restored."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from node.errors import Incompatible, MachineFault
from node.state.machine import Machine, check_copy
from node.state.reader import Reader
from node.state.txn import AnyOp, Applied, Txn, decode_outcome, encode_entry, encode_txn, insert
from tests.model.rows import DEFINED, TABLES, Thing, directory, logs


def apply(store: Machine, *ops: AnyOp) -> None:
    index = store.applied_index + 1
    txn = Txn(request_id=f"{store.path.name}-{index}", ops=ops)
    answer = store.apply(index, encode_entry([encode_txn(txn)]))[0]
    assert isinstance(decode_outcome(answer), Applied)


def filled(path: Path, rows: int) -> Machine:
    store = Machine(path)
    apply(store, *DEFINED.ops)
    for number in range(rows):
        apply(store, insert(Thing(id=f"{path.stem}-{number}", name=str(number), colour="red")))
    return store


@settings(deadline=None, max_examples=40)
@given(log=logs())
def test_a_restored_store_is_the_one_that_was_copied(log: list[bytes]) -> None:
    with directory() as here:
        source = Machine(here / "source.db")
        for index, entry in enumerate(log, start=1):
            source.apply(index, entry)
        assert source.snapshot_to(here / "copy") == len(log)
        other = filled(here / "other.db", 0)
        if other.applied_index <= len(log):
            other.restore_from(here / "copy")
            assert other.digest() == source.digest()
            assert other.applied_index == len(log)
            # A log that goes on behind the snapshot, and one that begins before it, both fit.
            assert other.apply(len(log), log[-1]) == source.apply(len(log), log[-1])
            more = encode_entry([encode_txn(DEFINED), encode_txn(Txn(request_id="z", ops=()))])
            assert other.apply(len(log) + 1, more) == source.apply(len(log) + 1, more)
            assert other.digest() == source.digest()
        source.close()
        other.close()


def test_readers_that_are_open_see_the_restored_rows(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "source.db", 50), filled(tmp_path / "target.db", 3)
    idle = Reader(target.path)
    assert idle.count(Thing) == 3
    source.snapshot_to(tmp_path / "copy")
    stop, problems, sizes = threading.Event(), [], set()

    def read() -> None:
        reader = Reader(target.path)
        while not stop.is_set():
            try:
                with reader.snapshot():
                    rows = reader.rows(Thing, colour="red")
                    sizes.add(len(rows))
                    if len({row.id.partition("-")[0] for row in rows}) != 1:
                        problems.append("rows of two stores in one moment")
            except Exception as error:  # noqa: BLE001 - the test's thread reads it
                problems.append(repr(error))
        reader.close()

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    target.restore_from(tmp_path / "copy")
    deadline = threading.Event()
    while 50 not in sizes and not deadline.wait(0.01) and not problems:
        pass
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sizes <= {3, 50}
    assert idle.count(Thing) == 50
    apply(target, insert(Thing(id="new", name="new")))
    assert idle.get(Thing, "new") is not None
    idle.close()


def spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


@pytest.mark.parametrize(
    "harm", [spoil, Path.unlink, lambda path: path.write_bytes(b"no database")]
)
def test_a_damaged_snapshot_is_refused(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    source, target = filled(tmp_path / "source.db", 200), filled(tmp_path / "target.db", 3)
    before = target.digest()
    source.snapshot_to(tmp_path / "copy")
    harm(tmp_path / "copy")
    with pytest.raises(MachineFault):
        target.restore_from(tmp_path / "copy")
    assert target.digest() == before
    apply(target, insert(Thing(id="new", name="new")))


def test_a_copy_holds_one_moment_though_rows_are_written_between_its_steps(tmp_path: Path) -> None:
    source = filled(tmp_path / "source.db", 0)
    for number in range(400):
        apply(source, insert(Thing(id=f"big-{number}", name=f"{number:08000d}")))
    steps: list[int] = []

    def between() -> None:
        steps.append(source.applied_index)
        apply(source, insert(Thing(id=f"late-{len(steps)}", name=f"late-{len(steps)}")))

    index = source.snapshot_to(tmp_path / "copy", between)
    assert len(steps) > 2
    assert source.applied_index == index + len(steps)
    target = Machine(tmp_path / "target.db")
    target.restore_from(tmp_path / "copy")
    assert target.applied_index == index
    reader = Reader(target.path)
    assert reader.count(Thing) == 400
    assert check_copy(tmp_path / "copy") == index
    assert not list(tmp_path.glob("copy-*"))
    reader.close()


def test_a_copy_can_be_given_up(tmp_path: Path) -> None:
    source = filled(tmp_path / "source.db", 0)
    for number in range(400):
        apply(source, insert(Thing(id=f"big-{number}", name=f"{number:08000d}")))

    def between() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        source.snapshot_to(tmp_path / "copy", between)
    with pytest.raises(MachineFault):
        check_copy(tmp_path / "copy")


def test_a_store_that_disowned_its_rows_takes_an_older_snapshot(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "source.db", 1), filled(tmp_path / "target.db", 3)
    source.snapshot_to(tmp_path / "copy")
    target.disown()
    assert Reader(target.path).count(Thing) == 3
    target.close()
    target = Machine(tmp_path / "target.db")
    assert target.applied_index == 0
    target.restore_from(tmp_path / "copy")
    assert target.digest() == source.digest()


def test_a_checkpoint_does_not_wait_for_a_reader(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.db", 3)
    reader = Reader(store.path)
    with reader.snapshot():
        assert reader.count(Thing) == 3
        apply(store, insert(Thing(id="new", name="new")))
        begin = time.monotonic()
        store.checkpoint()
        assert time.monotonic() - begin < 4  # a lock would be waited for 5 s
        assert reader.count(Thing) == 3
    assert reader.count(Thing) == 4
    reader.close()


def test_an_older_snapshot_is_refused(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "source.db", 1), filled(tmp_path / "target.db", 3)
    source.snapshot_to(tmp_path / "copy")
    with pytest.raises(MachineFault, match="older"):
        target.restore_from(tmp_path / "copy")


def test_a_store_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.db", 1)
    store.db.execute("UPDATE meta SET value=99 WHERE key='format'")
    store.close()
    with pytest.raises(Incompatible, match="newer version"):
        Machine(tmp_path / "a.db")


def test_any_directory_name_will_do(tmp_path: Path) -> None:
    place = tmp_path / "100%41 ?#&ü"
    place.mkdir()
    store = filled(place / "a.db", 2)
    store.snapshot_to(place / "copy")
    store.restore_from(place / "copy")
    assert Reader(store.path).count(Thing) == 2


def test_only_root_may_read_the_file(tmp_path: Path) -> None:
    assert (filled(tmp_path / "a.db", 1).path.stat().st_mode & 0o777) == 0o600


def test_all_tables_of_the_model_are_there(tmp_path: Path) -> None:
    assert set(filled(tmp_path / "a.db", 0).declared()) == set(TABLES)
