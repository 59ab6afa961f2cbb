"""A volume of three nodes: made from an image on one of them, filled on the others, and healed."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from node.lab.client import Rest
from node.plugins.block.replica_tables import VolumeSet
from node.state.reader import STATE_FILE, Reader
from node.testing.running_cluster import RunningCluster
from node.testing.running_lab import wait_until

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.probe, pytest.mark.timeout(600)]

MIB = 1 << 20


def volume_set(cluster: RunningCluster, volume_id: str) -> VolumeSet | None:
    reader = Reader(cluster.place(cluster.names[0]).state / STATE_FILE)
    try:
        return reader.get(VolumeSet, volume_id)
    finally:
        reader.close()


def wait_for_all(cluster: RunningCluster, volume_id: str) -> VolumeSet:
    """Wait until each node has a replica that is in sync, and nobody uses the volume."""

    def is_whole() -> bool:
        row = volume_set(cluster, volume_id)
        return row is not None and len(row.members) == 3 and row.use == ""

    wait_until("three replicas in sync", is_whole, timeout_s=120)
    row = volume_set(cluster, volume_id)
    assert row is not None
    return row


def status(cluster: RunningCluster, node: str, volume_id: str) -> str:
    def work(rest: Rest) -> Any:
        return rest.get(f"/volume/v3/volumes/{volume_id}")["volume"]["status"]

    return str(cluster.api(node, work))


def layer(cluster: RunningCluster, node: str, row: VolumeSet) -> Path:
    return cluster.place(node).state / "block" / "layers" / row.layers[0]


def test_a_volume_from_an_image_is_on_all_nodes(cluster: RunningCluster, tmp_path: Path) -> None:
    pattern = os.urandom(8 * MIB)
    (tmp_path / "image.raw").write_bytes(pattern)
    path = str(tmp_path / "image.raw")
    image = cluster.show("image", "create", "pattern", "--disk-format", "raw", "--file", path)
    made = cluster.show("volume", "create", "v", "--size", "1", "--image", image["id"])
    wait_until(
        "the volume is there",
        lambda: status(cluster, cluster.names[0], made["id"]) == "available",
        timeout_s=90,
    )
    row = wait_for_all(cluster, made["id"])
    for node in cluster.names:
        with layer(cluster, node, row).open("rb") as file:
            assert file.read(8 * MIB) == pattern

    # A replica whose file is gone is filled again as soon as somebody uses the volume.
    other = next(n for n in cluster.names if n != _keeper(cluster, row))
    layer(cluster, other, row).unlink()
    clone = cluster.show("volume", "create", "w", "--size", "1", "--source", made["id"])
    wait_until(
        "the clone is there",
        lambda: status(cluster, cluster.names[1], clone["id"]) == "available",
        timeout_s=90,
    )
    row = wait_for_all(cluster, made["id"])
    with layer(cluster, other, row).open("rb") as file:
        assert file.read(8 * MIB) == pattern
    for volume in (clone, made):
        cluster.openstack("volume", "delete", volume["id"])
        wait_until(
            "the volume is gone",
            lambda volume=volume: volume_set(cluster, volume["id"]) is None,
            timeout_s=60,
        )
    wait_until(
        "all layers are gone",
        lambda: not any(layer(cluster, node, row).exists() for node in cluster.names),
        timeout_s=60,
    )


def test_no_storage_daemon_is_left_without_use(cluster: RunningCluster) -> None:
    for node in cluster.names:
        for pid_file in (cluster.place(node).state / "block").glob("volumes/*/*.pid"):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
            raise AssertionError(f"{pid_file} runs though nobody uses its volume")


def _keeper(cluster: RunningCluster, row: VolumeSet) -> str:
    """Return the name of the node with the first replica."""
    return next(
        name
        for name in cluster.names
        if (cluster.status(name) or {}).get("node_id") == row.members[0]
    )
