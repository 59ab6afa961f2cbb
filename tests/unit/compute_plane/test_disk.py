"""Disk files: what is refused, and that a kill leaves nothing half made."""

import os
import subprocess
from pathlib import Path

import pytest

from node.plugins.compute import disk
from node.plugins.compute.config_drive import drive_files, make_config_drive
from node.plugins.compute.disk import DiskError


def _qcow2(path: Path, *more: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, path, "8M"], check=True)
    return path


def test_an_overlay_is_found_where_its_directory_is_moved(tmp_path: Path) -> None:
    base = _qcow2(tmp_path / "base.qcow2")
    (tmp_path / "s").mkdir()
    disk.make_overlay(tmp_path / "s" / "disk", base, "qcow2", 64 * 2**20)
    out = subprocess.run(
        ["qemu-img", "info", tmp_path / "s" / "disk"], check=True, capture_output=True, text=True
    ).stdout
    assert "backing file: ../base.qcow2" in out
    assert "64 MiB" in out
    assert os.listdir(tmp_path / "s") == ["disk"]


def test_a_backing_file_is_refused(tmp_path: Path) -> None:
    _qcow2(tmp_path / "secret.qcow2")
    bad = _qcow2(tmp_path / "bad.qcow2", "-F", "qcow2", "-b", str(tmp_path / "secret.qcow2"))
    with pytest.raises(DiskError, match="backing file"):
        disk.inspect(bad, "qcow2")


def test_a_data_file_is_refused(tmp_path: Path) -> None:
    bad = _qcow2(tmp_path / "bad.qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on")
    with pytest.raises(DiskError, match="another file"):
        disk.inspect(bad, "qcow2")


def test_another_format_is_not_guessed(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"\0" * 4096)
    with pytest.raises(DiskError):
        disk.inspect(plain, "qcow2")
    with pytest.raises(DiskError, match="vmdk"):
        disk.inspect(plain, "vmdk")
    # A qcow2 that was called raw is raw: its header means nothing.
    assert disk.inspect(_qcow2(tmp_path / "q"), "raw").virtual_size_bytes < 2**20


def test_a_failed_make_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="disk"):
        disk.make_overlay(tmp_path / "disk", tmp_path / "nowhere", "qcow2", 2**20)
    assert list(tmp_path.iterdir()) == []


def test_keep_file_links_and_copies(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"x")
    disk.keep_file(source, tmp_path / "b")
    assert source.stat().st_nlink == 2
    with pytest.raises(DiskError, match="gone"):
        disk.keep_file(tmp_path / "gone", tmp_path / "c")
    other = Path("/dev/shm") / f"hedgerow-{os.getpid()}"
    try:
        disk.keep_file(source, other)
        assert other.read_bytes() == b"x"
    finally:
        other.unlink(missing_ok=True)


def test_convert_and_resize(tmp_path: Path) -> None:
    source = _qcow2(tmp_path / "a")
    disk.convert(source, "qcow2", tmp_path / "b", "raw")
    assert (tmp_path / "b").stat().st_size == 8 * 2**20
    disk.resize(source, 16 * 2**20)
    assert disk.inspect(source, "qcow2").virtual_size_bytes == 16 * 2**20


def test_a_config_drive_has_the_label_and_openstacks_files(tmp_path: Path) -> None:
    files = {
        "openstack/latest/meta_data.json": b"{}",
        "openstack/2018-08-27/user_data": b"#!/bin/sh\n",
        "latest/meta-data/public-keys/": b"0=k",
        "latest/meta-data/instance-id": b"i",
        "openstack/../../etc/shadow": b"no",
    }
    image = tmp_path / "disk.config"
    make_config_drive(image, files)
    data = image.read_bytes()
    assert data[0x8000 + 40 : 0x8000 + 72].rstrip() == b"config-2"
    assert b"#!/bin/sh" in data
    assert [p.name for p in tmp_path.iterdir()] == ["disk.config"]
    assert image.stat().st_mode & 0o077 == 0
    assert set(drive_files(files)) == {
        "openstack/latest/meta_data.json",
        "openstack/2018-08-27/user_data",
    }
