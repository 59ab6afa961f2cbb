"""The reconciler of the store: disks are known by what lies on them, and layouts follow the rows."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from node.config import Config
from node.plugins import object as plugin
from node.plugins.object.store.data_disk import read_mark
from node.plugins.object.store.layout import DiskMap
from node.plugins.object.store.map_file import MAP_FILE, store_directory
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.store_status import policies_health, store_health, store_metrics
from node.plugins.object.store_sync import StoreSync
from node.plugins.object.tables import DataDisk, ObjectLayout
from node.sdk import NodeRow, insert, patch
from node.testing.cloud import Cloud

Configure = Callable[..., StoreSync]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    made = Cloud(tmp_path, [plugin])
    made.commit(insert(NodeRow(id="node-1", name="n", created_at=1)))
    return made


def sync(cloud: Cloud, *paths: Path) -> StoreSync:
    """Return the reconciler of a node with these directories."""
    section = ObjectSection(data_dirs=",".join(map(str, paths)))
    cloud.control.config = Config(dict(cloud.config.items()) | {"object": section})
    return StoreSync(cloud.control)


def look(cloud: Cloud, reconciler: StoreSync) -> None:
    for _round in range(3):
        for key in ("disks", "map"):
            cloud.commit(*reconciler.reconcile(key).ops)


def rows(cloud: Cloud) -> dict[str, DataDisk]:
    return {Path(row.path).name: row for row in cloud.db.rows(DataDisk)}


def layouts(cloud: Cloud) -> dict[str, int]:
    return {row.id: len(row.disks) for row in cloud.db.rows(ObjectLayout)}


def disk_map(cloud: Cloud) -> DiskMap:
    path = store_directory(cloud.directory) / MAP_FILE
    return msgspec.json.decode(path.read_bytes(), type=DiskMap)


def test_a_new_node_has_one_disk_and_one_layout(cloud: Cloud) -> None:
    reconciler = sync(cloud)
    look(cloud, reconciler)
    assert list(rows(cloud)) == ["disk-1"]
    assert layouts(cloud) == {"1": 1}
    look(cloud, reconciler)
    found = disk_map(cloud)
    assert [disk.id for disk in found.disks()] == [rows(cloud)["disk-1"].id]
    assert [policy.name for policy in found.policies] == ["replicated-3", "ec-2-1", "ec-4-2"]
    health = {name: text for name, _ok, text in policies_health(cloud.db)}
    assert "one copy" in health["object policy replicated-3"]


def test_a_disk_is_added_and_its_layout_follows(cloud: Cloud, tmp_path: Path) -> None:
    look(cloud, sync(cloud, tmp_path / "a"))
    both = sync(cloud, tmp_path / "a", tmp_path / "b")
    look(cloud, both)
    assert layouts(cloud) == {"1": 1, "2": 2}
    for row in rows(cloud).values():
        cloud.commit(patch(DataDisk, row.id, synced=2))
    look(cloud, both)
    assert layouts(cloud) == {"2": 2}
    look(cloud, both)
    assert [layout.number for layout in disk_map(cloud).layouts] == [2]


def test_an_empty_mount_point_is_not_taken_for_the_disk(cloud: Cloud, tmp_path: Path) -> None:
    reconciler = sync(cloud, tmp_path / "a", tmp_path / "b")
    look(cloud, reconciler)
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "b").mkdir()
    look(cloud, reconciler)
    gone = rows(cloud)["b"]
    assert gone.have == "gone"
    assert read_mark(tmp_path / "b") is None
    cloud.clock.advance(700)
    look(cloud, reconciler)
    assert layouts(cloud)["2"] == 1


def test_a_disk_is_known_wherever_it_is_mounted(cloud: Cloud, tmp_path: Path) -> None:
    look(cloud, sync(cloud, tmp_path / "a"))
    before = rows(cloud)["a"]
    (tmp_path / "a").rename(tmp_path / "z")
    look(cloud, sync(cloud, tmp_path / "z"))
    assert rows(cloud)["z"].id == before.id
    assert rows(cloud)["z"].have == "ok"


def test_what_is_no_disk_is_left_alone(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    look(cloud, sync(cloud, tmp_path / "home", tmp_path / "a"))
    assert list(rows(cloud)) == ["a"]
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter"]


def test_a_store_that_does_not_run_is_said_to_be_so(cloud: Cloud) -> None:
    look(cloud, sync(cloud))
    (name, ok, text), *_others = store_health(cloud.control)
    assert (name, ok) == ("object store", False)
    assert "started again" in text
    assert store_metrics(cloud.control) == {"object_store_up": 0.0}
