"""The object store of a real cluster: its nodes find each other's disks, and what one stores all have."""

import json
import sys
from pathlib import Path

import pytest

from node.plugins.object.store.map_file import MAP_FILE, store_directory
from node.testing.running_cluster import RunningCluster
from node.testing.running_lab import wait_until

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.probe, pytest.mark.timeout(600)]

SCRIPT = """
import hashlib, sys
from pathlib import Path
from node.clock import SystemClock
from node.data_port import NodeTls, Place, TlsDataPort
from node.plugins.object.store.contract import Facts, Query
from node.plugins.object.store.open import Opened

def locate(node_id):
    found = opened.map_file.places().map.nodes.get(node_id)
    return Place(address=found.address, port=found.port, name=node_id) if found else None

what, state = sys.argv[1], Path(sys.argv[2])
opened = Opened(state, TlsDataPort(NodeTls(state / "tls"), locate), SystemClock())
store = opened.store
if what == "put":
    for name, size in (("small", 1000), ("large", 3_000_000)):
        for policy in ("", "ec-2-1"):
            with store.writer("c", name + policy, policy=policy) as writer:
                writer.write((name + policy).encode() * (size // 5))
                writer.commit(Facts(etag="e"))
for entry in store.list("c", Query()).items:
    digest = hashlib.sha256(b"".join(store.read(entry))).hexdigest()
    print(entry.name, entry.size_bytes, digest, entry.data.split(":")[0])
"""


def state_dir(cluster: RunningCluster, name: str) -> Path:
    return Path(cluster.place(name).state)


def layouts(cluster: RunningCluster, name: str) -> list[int]:
    path = store_directory(state_dir(cluster, name)) / MAP_FILE
    if not path.exists():
        return []
    return [len(layout["disks"]) for layout in json.loads(path.read_text())["layouts"]]


def run(cluster: RunningCluster, name: str, what: str) -> str:
    return cluster.on(name, sys.executable, "-c", SCRIPT, what, str(state_dir(cluster, name)))


def test_what_one_node_stores_all_nodes_have(cluster: RunningCluster) -> None:
    for name in cluster.names:
        wait_until(
            f"{name} has one layout of three disks",
            lambda n=name: layouts(cluster, n) == [3],  # type: ignore[misc]
            timeout_s=120,
        )
    first, *others = cluster.names
    written = run(cluster, first, "put")
    assert [line.split()[3] for line in written.splitlines()] == ["r3", "e2.1", "i", "i"]
    for name in others:
        assert run(cluster, name, "get") == written
