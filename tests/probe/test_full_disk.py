"""A disk that is really full: nothing acknowledged is lost, deletes go through, service comes back by itself."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.cluster.client import ProposalClient
from node.cluster.settings import RaftSettings
from node.errors import DiskFull, Unavailable
from node.state.txn import Applied, Count, Delete, Insert, Txn, decode_outcome, encode_txn
from tests.probe.log_process import CoreProcess, Load, stored

pytestmark = [pytest.mark.probe, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 2**20
SETTINGS = RaftSettings(
    node_id="a",
    compaction_min_entries=200,
    tail_entries=20,
    reserve_bytes=6 * MIB,
    floor_bytes=4 * MIB,
    proposal_timeout_s=3.0,
)


class Disk:
    """A small file system of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self, name: str = "filler") -> None:
        """Take every byte that is left."""
        with (self.place / name).open("ab", buffering=0) as file:
            for size in (MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"f" * size)
        assert self.free() == 0

    def empty(self) -> None:
        """Give all of that back."""
        for file in self.place.glob("filler*"):
            file.unlink()

    def free(self) -> int:
        found = os.statvfs(self.place)
        return found.f_bavail * found.f_frsize


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], check=False
    )
    if mount.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def client(disk: Disk) -> Iterator[ProposalClient]:
    client = ProposalClient(disk.place / "s")
    yield client
    client.close()


@contextlib.contextmanager
def core_on(disk: Disk) -> Iterator[CoreProcess]:
    core = CoreProcess(disk.place, SETTINGS)
    try:
        yield core
    finally:
        core.kill()


def insert(client: ProposalClient, name: str, timeout_s: float = 10) -> None:
    document = f'{{"id": "{name}", "note": "{"x" * 400}"}}'
    txn = Txn(request_id=f"insert {name}", ops=(Insert("probe", name, document), Count("all", 1)))
    assert isinstance(decode_outcome(client.propose(encode_txn(txn), timeout_s)), Applied)


def delete(client: ProposalClient, name: str, timeout_s: float = 10) -> None:
    ops = (Delete("probe", name, must_exist=True), Count("all", -1))
    txn = Txn(request_id=f"delete {name}", ops=ops, frees=True)
    assert isinstance(decode_outcome(client.propose(encode_txn(txn), timeout_s)), Applied)


def until(holds: Callable[[], bool], deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.02)


def accepted(client: ProposalClient, name: str) -> bool:
    try:
        insert(client, name)
    except DiskFull:
        return False
    return True


def prepared(disk: Disk, client: ProposalClient, rows: int = 300) -> set[str]:
    load = Load(disk.place, threads=1)
    load.define()
    load.client.close()
    names = {f"row{number}" for number in range(rows)}
    for name in names:
        insert(client, name)
    return names


def test_a_full_disk_refuses_growth_takes_deletes_and_recovers(
    disk: Disk, client: ProposalClient
) -> None:
    with core_on(disk) as core:
        names = prepared(disk, client)
        disk.fill()
        number = 0
        while accepted(client, f"late{number}"):  # some still fit into what the files have
            names.add(f"late{number}")
            number += 1
            assert number < 20_000
        for gone in sorted(names)[:100]:
            delete(client, gone)
            names.discard(gone)
        assert core.status()["disk_full"]
        with pytest.raises(DiskFull):
            insert(client, "refused")
        disk.empty()
        until(lambda: accepted(client, "after"))
        names.add("after")
        assert not core.status()["disk_full"]
        assert (disk.place / "data" / "reserve").stat().st_size == SETTINGS.reserve_bytes
        core.stop()
    assert stored(disk.place) == (names, len(names))


def test_a_kill_on_a_full_disk_loses_nothing_and_deletes_go_on(
    disk: Disk, client: ProposalClient
) -> None:
    with core_on(disk) as core:
        names = prepared(disk, client)
        disk.fill()
        until(lambda: core.status()["disk_full"])
        core.kill()
    with core_on(disk) as core:
        assert core.status()["disk_full"]
        with pytest.raises(DiskFull):
            insert(client, "refused")
        for gone in sorted(names)[:50]:
            delete(client, gone)
            names.discard(gone)
        core.kill()
    with core_on(disk) as core:
        disk.empty()
        until(lambda: accepted(client, "after"))
        names.add("after")
        core.stop()
    assert stored(disk.place) == (names, len(names))


def test_when_even_the_reserve_is_eaten_it_waits_and_goes_on_once_there_is_room(
    disk: Disk, client: ProposalClient
) -> None:
    with core_on(disk) as core:
        names = prepared(disk, client)
        disk.fill()
        until(lambda: core.status()["disk_full"])
        reserve = disk.place / "data" / "reserve"
        stuck = ""
        for gone in sorted(names):
            if reserve.stat().st_size == 0:
                with contextlib.suppress(AssertionError):  # the log takes some back meanwhile
                    disk.fill("filler2")
            try:
                delete(client, gone, timeout_s=8)
            except (DiskFull, Unavailable):
                stuck = gone  # answered or not, it may have happened
                break
            names.discard(gone)
        assert core.status()["disk_full"]
        assert core.status()["last_tick_age_s"] < 2
        disk.empty()
        until(lambda: accepted(client, "after"))
        names.add("after")
        assert stuck
        delete(client, stuck)  # repeated with its own request id
        names.discard(stuck)
        core.stop()
    assert stored(disk.place) == (names, len(names))


def test_a_load_through_full_and_empty_loses_nothing(disk: Disk, client: ProposalClient) -> None:
    acked: set[str] = set()
    with core_on(disk) as core:
        prepared(disk, client, rows=0)
        for turn in range(3):
            if turn:
                disk.fill(f"filler{turn}")
            for number in range(150):
                name = f"{turn}-{number}"
                try:
                    insert(client, name)
                except DiskFull:
                    continue
                acked.add(name)
            disk.empty()
            until(lambda turn=turn: accepted(client, f"after{turn}"))
            acked.add(f"after{turn}")
        core.stop()
    rows, count = stored(disk.place)
    assert acked <= rows
    assert count == len(rows)


def test_the_reserve_means_what_it_says(disk: Disk) -> None:
    """The file system counts the reserve as taken: no sparse file."""
    before = disk.free()
    with core_on(disk) as core:
        assert before - disk.free() >= SETTINGS.reserve_bytes
        core.stop()
