"""What every driver of volumes must do.

A stranger's test file runs it like this:

    class TestMine(DriverSuite):
        @pytest.fixture
        def driver(self, tmp_path): return MyDriver(...)

Set `serves_nbd = False` for a driver whose connections nobody can reach.
"""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins.block.drivers.driver import Connection, Driver, DriverError, QosLimits
from node.plugins.block.tables import Snapshot, Volume

_GIB = 2**30
_MIB = 2**20
NODE = "node-1"


def volume(size_gib: int = 1) -> Volume:
    """Return the row of a new volume."""
    return Volume(id=str(uuid.uuid4()), node_id=NODE, size_gib=size_gib, want="present")


def snapshot_of(source: Volume) -> Snapshot:
    """Return the row of a new snapshot."""
    return Snapshot(
        id=str(uuid.uuid4()), node_id=NODE, volume_id=source.id, size_gib=source.size_gib
    )


def write(driver: Driver, what: Volume, offset: int, data: bytes) -> None:
    """Write into a volume that nobody uses."""
    with driver.export(what, writable=True) as opened:
        opened.write(offset, data)
        opened.flush()


def read(driver: Driver, what: Volume | Snapshot, offset: int, length: int) -> bytes:
    """Read from a volume or a snapshot."""
    with driver.export(what) as opened:
        return opened.read(offset, length)


def guest_io(connection: Connection, *commands: str) -> str:
    """Do what a guest does, through the connection, with the commands of qemu-io; return what it said."""
    options = (
        f"driver=nbd,server.type=unix,server.path={connection.socket.name},export={connection.export},"
        "reconnect-delay=30,open-timeout=10"
    )
    argv = ["qemu-io", "--image-opts", options]
    for command in commands:
        argv += ["-c", command]
    done = subprocess.run(
        argv,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=connection.socket.parent,  # the names of sockets are short
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout, done.stdout
    return done.stdout


class DriverSuite:
    """Tests of a driver; the subclass gives the fixture `driver`, fresh for each test."""

    serves_nbd = True

    @pytest.fixture
    def made(self, driver: Driver) -> Iterator[Volume]:
        """A volume with something in it."""
        row = volume()
        driver.create(row)
        write(driver, row, _MIB, b"first" * 1000)
        yield row
        with contextlib.suppress(DriverError):
            driver.disconnect(row, NODE)
        driver.delete(row)

    def test_a_new_volume_is_all_zeros(self, driver: Driver) -> None:
        """Every byte of it, to the last."""
        row = volume(2)
        driver.create(row)
        driver.create(row)
        assert read(driver, row, 0, 4096) == bytes(4096)
        assert read(driver, row, 2 * _GIB - 4096, 4096) == bytes(4096)
        with driver.export(row) as opened:
            assert opened.size_bytes == 2 * _GIB
        driver.delete(row)
        driver.delete(row)
        assert row.id not in driver.used_by()

    def test_what_is_written_is_read(self, driver: Driver, made: Volume) -> None:
        """Across boundaries, and making it again loses nothing."""
        write(driver, made, 65530, b"0123456789" * 10)
        driver.create(made)
        assert read(driver, made, 65530, 100) == b"0123456789" * 10
        assert read(driver, made, _MIB, 5000) == b"first" * 1000
        assert made.id in driver.used_by()

    def test_extents_cover_the_volume_and_name_the_holes(
        self, driver: Driver, made: Volume
    ) -> None:
        """What is not named as data reads as zeros."""
        with driver.export(made) as opened:
            extents = opened.extents(0, opened.size_bytes)
            assert sum(length for _offset, length, _data in extents) == opened.size_bytes
            assert any(data and start <= _MIB < start + length for start, length, data in extents)
            holes = sum(length for _offset, length, data in extents if not data)
            assert holes > _GIB // 2

    def test_outside_of_a_volume_is_refused(self, driver: Driver, made: Volume) -> None:
        """Neither read nor written."""
        with driver.export(made, writable=True) as opened:
            with pytest.raises(DriverError):
                opened.read(_GIB - 10, 20)
            with pytest.raises(DriverError):
                opened.write(_GIB - 10, bytes(20))

    def test_a_snapshot_keeps_its_moment(self, driver: Driver, made: Volume) -> None:
        """Also when the volume is changed, and when it is made twice."""
        kept = snapshot_of(made)
        driver.snapshot(made, kept)
        write(driver, made, _MIB, b"later" * 1000)
        driver.snapshot(made, kept)
        assert read(driver, kept, _MIB, 5000) == b"first" * 1000
        assert read(driver, made, _MIB, 5000) == b"later" * 1000
        driver.revert(made, kept)
        assert read(driver, made, _MIB, 5000) == b"first" * 1000
        driver.delete_snapshot(made, kept)
        driver.delete_snapshot(made, kept)
        assert read(driver, made, _MIB, 5000) == b"first" * 1000

    def test_volumes_from_a_snapshot_and_a_volume_live_apart(
        self, driver: Driver, made: Volume
    ) -> None:
        """They may be larger, and outlive their source's changes."""
        kept, other, clone = snapshot_of(made), volume(2), volume(2)
        driver.snapshot(made, kept)
        driver.create_from_snapshot(other, kept)
        driver.clone(clone, made)
        write(driver, made, _MIB, b"later" * 1000)
        write(driver, clone, 2 * _GIB - 5, b"clone")
        for row in (other, clone):
            assert read(driver, row, _MIB, 5000) == b"first" * 1000
        assert read(driver, other, 2 * _GIB - 5, 5) == bytes(5)
        for row in (other, clone):
            driver.delete(row)
        assert read(driver, kept, _MIB, 5000) == b"first" * 1000
        driver.delete_snapshot(made, kept)

    def test_a_volume_from_a_file(self, driver: Driver, tmp_path: Path) -> None:
        """The image's contents, then zeros; one that does not fit is refused."""
        raw, image = tmp_path / "raw", tmp_path / "image.qcow2"
        raw.write_bytes(b"image" * 1000 + bytes(_MIB - 5000))
        argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)]
        subprocess.run(argv, check=True)
        row = volume()
        driver.create_from_file(row, image, "qcow2")
        driver.create_from_file(row, image, "qcow2")
        assert read(driver, row, 0, 5000) == b"image" * 1000
        assert read(driver, row, _GIB - 10, 10) == bytes(10)
        driver.delete(row)
        big = tmp_path / "big.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(big), "3G"], check=True)
        small = volume()
        with pytest.raises(DriverError):
            driver.create_from_file(small, big, "qcow2")
        driver.delete(small)
        assert small.id not in driver.used_by()

    def test_a_volume_grows(self, driver: Driver, made: Volume) -> None:
        """What was in it stays; what is new is zeros."""
        driver.extend(made, 2)
        driver.extend(made, 2)
        with driver.export(made) as opened:
            assert opened.size_bytes == 2 * _GIB
            assert opened.read(_MIB, 5000) == b"first" * 1000
            assert opened.read(2 * _GIB - 10, 10) == bytes(10)

    def test_a_volume_is_left_and_taken_over(self, driver: Driver, made: Volume) -> None:
        """Its contents stay."""
        driver.unmanage(made)
        assert made.id not in driver.used_by()
        names = [name for name, _size in driver.manageable()]
        reference = next(name for name in names if made.id in name)
        again = volume()
        driver.manage(again, reference)
        driver.manage(again, reference)
        assert read(driver, again, _MIB, 5000) == b"first" * 1000
        assert reference not in [name for name, _size in driver.manageable()]
        driver.delete(again)
        with pytest.raises(DriverError):
            driver.manage(volume(), "volume-that-never-was")

    def test_stats_are_figures(self, driver: Driver) -> None:
        """There is never more free than there is."""
        stats = driver.stats()
        assert 0 <= stats.free_gib <= stats.total_gib

    def test_a_guest_sees_what_is_in_the_volume(self, driver: Driver, made: Volume) -> None:
        """And writes what is read later; connecting again changes nothing."""
        first = driver.connect(made, NODE, "rw")
        assert driver.connect(made, NODE, "rw") == first
        assert first.size_bytes == _GIB
        if self.serves_nbd:
            said = guest_io(first, "read -P 0x66 1M 1", "write -P 0x5a 2M 64k", "flush")
            assert "wrote 65536/65536" in said
        driver.disconnect(made, NODE)
        driver.disconnect(made, NODE)
        if self.serves_nbd:
            assert read(driver, made, 2 * _MIB, 65536) == b"\x5a" * 65536

    def test_a_volume_in_use_is_snapshotted_cloned_and_grown(
        self, driver: Driver, made: Volume
    ) -> None:
        """Its connection outlives all of it."""
        link = driver.connect(made, NODE, "rw")
        kept, clone = snapshot_of(made), volume()
        driver.qos(made, QosLimits(total_iops=5000))
        driver.snapshot(made, kept)
        driver.clone(clone, made)
        driver.extend(made, 2)
        again = driver.connect(made, NODE, "rw")
        assert (again.socket, again.size_bytes) == (link.socket, 2 * _GIB)
        if self.serves_nbd:
            guest_io(again, "write -P 0x5a 1M 64k", "write -P 0x5b 2000M 64k", "flush")
        assert read(driver, kept, _MIB, 5000) == b"first" * 1000
        assert read(driver, clone, _MIB, 5000) == b"first" * 1000
        driver.disconnect(made, NODE)
        driver.delete(clone)
        driver.delete_snapshot(made, kept)
