"""A data disk that is really full: growth is refused, reads and deletes go on, and it recovers by itself."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.clock import SystemClock
from node.errors import DiskFull
from node.plugins.object.store.contract import Query, Store
from node.testing.object_site import ObjectSite
from tests.probe.object_node import get, put

pytestmark = [pytest.mark.probe, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 2**20


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "disk"
    made.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "object", made], check=True)
    try:
        yield made
    finally:
        subprocess.run(["umount", "--lazy", made], check=True)


def fill(place: Path) -> Path:
    path = place / "filler"
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"f" * MIB)
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"f")
    return path


def put_until_full(store: Store) -> None:
    """Fill what the index's file has room for."""
    for number in range(5000):
        put(store, "c", f"small{number}", os.urandom(2000))


def test_a_full_disk_refuses_growth_and_nothing_else(place: Path) -> None:
    site = ObjectSite(place, SystemClock())
    try:
        store = site.nodes[0].store
        for number in range(50):
            put(store, "c", f"o{number:02}", os.urandom(1000))
        put(store, "c", "big", b"b" * MIB)
        filler = fill(place)
        with pytest.raises(DiskFull):
            put(store, "c", "more", b"m" * MIB)
        with pytest.raises(DiskFull):
            put_until_full(store)
        assert get(store, "c", "big") == b"b" * MIB
        for number in range(50):
            assert store.delete("c", f"o{number:02}") is not None
        assert not store.list("c", Query(prefix="o")).items
        filler.unlink()
        put(store, "c", "more", b"m" * MIB)
        assert get(store, "c", "more") == b"m" * MIB
    finally:
        site.close()
