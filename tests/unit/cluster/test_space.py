"""The reserve, with a measure of free space that the test sets and real files."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from node.cluster import space
from node.cluster.space import SpaceGuard, is_full_error
from node.errors import MachineFault

KIB = 1024


class Disk:
    """Says how much is free."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, path: Path) -> int:
        return self.free


def guard(place: Path, disk: Disk) -> SpaceGuard:
    return SpaceGuard(place, reserve_bytes=64 * KIB, floor_bytes=128 * KIB, measure=disk)


def held(place: Path) -> int:
    found = place / "reserve"
    return found.stat().st_size if found.exists() else 0


def test_it_takes_its_reserve_for_real(tmp_path: Path) -> None:
    assert not guard(tmp_path, Disk(10**9)).is_full
    assert held(tmp_path) == 64 * KIB
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 64 * KIB


def test_below_the_floor_it_is_full_and_keeps_the_reserve(tmp_path: Path) -> None:
    disk = Disk(10**9)
    one = guard(tmp_path, disk)
    disk.free = 127 * KIB
    one.check(force=True)
    assert one.is_full
    assert held(tmp_path) == 64 * KIB


def test_a_failed_write_gives_up_the_reserve_once(tmp_path: Path) -> None:
    one = guard(tmp_path, Disk(10**9))
    assert one.hit()
    assert one.is_full
    assert held(tmp_path) == 0
    assert not one.hit()


def test_it_comes_back_with_some_slack_and_a_new_reserve(tmp_path: Path) -> None:
    disk = Disk(10**9)
    one = guard(tmp_path, disk)
    one.hit()
    disk.free = 200 * KIB  # floor and reserve, but no slack: it would flap
    one.check(force=True)
    assert one.is_full
    disk.free = 230 * KIB
    one.check(force=True)
    assert not one.is_full
    assert held(tmp_path) == 64 * KIB


def test_a_reserve_that_cannot_be_taken_leaves_it_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert guard(tmp_path, Disk(10**9)).is_full
    assert held(tmp_path) == 0


def test_a_start_on_a_full_disk_gives_up_the_reserve(tmp_path: Path) -> None:
    guard(tmp_path, Disk(10**9))
    assert guard(tmp_path, Disk(10 * KIB)).is_full
    assert held(tmp_path) == 0


def test_it_looks_once_a_period_only(tmp_path: Path) -> None:
    disk = Disk(10**9)
    one = guard(tmp_path, disk)
    disk.free = 0
    one.check()
    assert not one.is_full


def test_a_lack_of_room_is_known_through_its_causes(tmp_path: Path) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    wrapped = MachineFault("of the machine")
    wrapped.__cause__ = full
    assert is_full_error(full)
    assert is_full_error(wrapped)
    assert is_full_error(OSError(errno.ENOSPC, "x"))
    assert is_full_error(OSError(errno.EDQUOT, "x"))
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    assert not is_full_error(broken)
    assert not is_full_error(OSError(errno.EIO, "x"))
    assert not is_full_error(None)
    assert space.free_bytes(tmp_path) > 0
