"""A store on a disk without room: it says so, loses nothing, and goes on where it stopped once there is room."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cluster.space import is_full_error
from node.errors import MachineFault
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.txn import Txn, encode_entry, encode_txn, insert
from tests.model.rows import DEFINED, Note

pytestmark = [pytest.mark.root]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def entry(index: int) -> bytes:
    row = Note(id=f"n{index}", text="x" * 20_000)
    return encode_entry([encode_txn(Txn(request_id=str(index), ops=(insert(row),)))])


def refusal(store: Machine, index: int) -> MachineFault | None:
    try:
        store.apply(index, entry(index))
    except MachineFault as fault:
        return fault
    return None


def test_nothing_is_lost_when_the_disk_is_full(disk: Path, tmp_path: Path) -> None:
    store = Machine(disk / "state.db")
    store.apply(1, encode_entry([encode_txn(DEFINED)]))
    index = 1
    while (fault := refusal(store, index + 1)) is None:
        index += 1
        assert index < 1000
    assert is_full_error(fault)
    assert store.applied_index == index
    reader = Reader(store.path)
    assert {row.id for row in reader.rows(Note)} == {f"n{i}" for i in range(2, index + 1)}
    for _again in range(3):  # the entry is tried again, and fails again, without a trace
        with pytest.raises(MachineFault):
            store.apply(index + 1, entry(index + 1))
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    for number in range(index + 1, index + 20):
        store.apply(number, entry(number))
    assert reader.count(Note) == index + 18
    reader.close()
    twin = Machine(tmp_path / "twin.db")
    twin.apply(1, encode_entry([encode_txn(DEFINED)]))
    for number in range(2, index + 20):
        twin.apply(number, entry(number))
    assert twin.digest() == store.digest()
    twin.close()
    store.close()


def test_a_store_whose_process_was_killed_opens_where_no_block_is_left(
    disk: Path, tmp_path: Path
) -> None:
    store = Machine(tmp_path / "state.db")
    store.apply(1, encode_entry([encode_txn(DEFINED)]))
    store.apply(2, entry(2))
    for name in ("state.db", "state.db-wal"):
        shutil.copy(tmp_path / name, disk / name)
    store.close()
    (disk / "state.db-shm").write_bytes(bytes(32768))
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    opened = Machine(disk / "state.db")
    assert opened.applied_index == 2
    reader = Reader(opened.path)
    assert reader.count(Note) == 1
    assert refusal(opened, 3) is not None
    (disk / "filler").unlink()
    assert refusal(opened, 3) is None
    reader.close()
    opened.close()


def test_to_open_a_store_writes_nothing(tmp_path: Path) -> None:
    Machine(tmp_path / "state.db").close()
    again = Machine(tmp_path / "state.db")
    assert again.db.total_changes == 0
    assert not (tmp_path / "state.db-wal").stat().st_size
    again.close()
