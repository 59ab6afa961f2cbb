"""What a drill does to machines of a lab is real: disks that stall, fill up and forget, clocks that are wrong."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.clock import SHIFT_VARIABLE, SystemClock
from node.errors import Unavailable
from node.lab.disk import Disk
from node.lab.machine import Machine

pytestmark = [
    pytest.mark.netns, pytest.mark.root,
    # What holds a machine of the lab outlives the object that started it, on purpose.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk.img", tmp_path / "around" / "state")
    try:
        made.ensure(64)
        yield made
    finally:
        made.remove()


def synced(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def test_a_disk_is_made_once_and_leaves_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk.img", tmp_path / "around" / "state")
    disk.ensure(64)
    synced(disk.directory / "kept", b"1")
    disk.ensure(64)
    assert (disk.directory / "kept").exists()
    assert 50 << 20 < os.statvfs(disk.directory).f_blocks * os.statvfs(disk.directory).f_bsize < 64 << 20
    disk.remove()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert list(disk.directory.iterdir()) == []
    disk.remove()
    for fault in (disk.fill, disk.freeze, disk.lose_power):
        with pytest.raises(Unavailable):
            fault()


def test_a_frozen_disk_lets_writes_wait_and_reads_go_on(disk: Disk) -> None:
    kept = disk.directory / "kept"
    synced(kept, b"1")
    disk.freeze()
    done = threading.Event()
    writer = threading.Thread(target=lambda: (synced(kept, b"2"), done.set()))
    try:
        writer.start()
        assert not done.wait(0.3)
        assert kept.read_bytes() == b"1"
    finally:
        disk.thaw()
        disk.thaw()
    assert done.wait(10)
    writer.join()
    assert kept.read_bytes() == b"12"


def test_a_full_disk_takes_nothing_until_it_is_emptied(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        synced(disk.directory / "more", b"1" * 4096)
    disk.empty()
    synced(disk.directory / "more", b"1" * 4096)


def test_power_loss_takes_what_was_not_synced_and_nothing_else(disk: Disk) -> None:
    """Also where somebody else, who came meanwhile, has the disk among his mounts and keeps it."""
    synced(disk.directory / "kept", b"synced")
    private = subprocess.Popen(["unshare", "--mount", "sleep", "infinity"])
    other = Machine(f"hedgerow-test-{os.getpid()}-{random.randrange(1 << 30):x}", "other")
    other.ensure()
    try:
        with (disk.directory / "kept").open("ab") as file, (disk.directory / "lost").open("wb") as new:
            file.write(b", not synced")
            file.flush()
            new.write(b"1")
            new.flush()
            assert (disk.directory / "kept").read_bytes() == b"synced, not synced"
            disk.lose_power()
            with pytest.raises(OSError, match="Input/output error"):
                os.fsync(file.fileno())
        disk.power_on()
        assert (disk.directory / "kept").read_bytes() == b"synced"
        assert not (disk.directory / "lost").exists()
        synced(disk.directory / "kept", b" again")
        disk.lose_power()
        disk.power_on()
        assert (disk.directory / "kept").read_bytes() == b"synced again"
    finally:
        private.kill()
        private.wait()
        other.off()


def test_a_machine_with_clocks_of_its_own_counts_from_another_moment_after_each_boot() -> None:
    machine = Machine(f"hedgerow-test-{os.getpid()}-{random.randrange(1 << 30):x}", "m", own_clocks=True)
    told = "import time; print(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"
    seen: list[float] = []
    try:
        for _boot in range(2):
            machine.ensure()
            here_s = time.monotonic()
            since_s, uptime_s = map(float, machine.run([sys.executable, "-c", told]).split())
            assert since_s - here_s > 900
            assert uptime_s - since_s < 60
            seen.append(since_s - here_s)
            machine.off()
    finally:
        machine.off()
    assert abs(seen[0] - seen[1]) > 1


def test_a_clock_is_wrong_by_what_its_file_says_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = SystemClock()
    assert abs(right.now_us() - time.time_ns() // 1000) < 5_000_000
    shift = tmp_path / "shift"
    shift.write_bytes(bytes(8))
    monkeypatch.setenv(SHIFT_VARIABLE, str(shift))
    clock = SystemClock()
    for shift_s in (0, 3600, -900):
        with shift.open("r+b") as file:
            file.write((shift_s * 1_000_000).to_bytes(8, "little", signed=True))
        assert abs(clock.now_us() - right.now_us() - shift_s * 1_000_000) < 5_000_000
