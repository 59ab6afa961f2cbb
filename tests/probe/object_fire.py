"""The object store under fire: `python -m tests.probe.object_fire --seconds 600 --nodes 3 --seed 7`.

Real store processes and real data ports are killed, cut off and restarted, disks are lost and added, fragments rot,
while clients write and read through all nodes. Nothing acknowledged may be lost or revert, and redundancy has to come
back.
"""

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from node.errors import NodeError
from node.plugins.object.store.contract import Entry, Query
from node.plugins.object.store.scheme import extents
from tests.probe.object_cluster import FireCluster, FireNode
from tests.probe.object_load import Load

_QUIET_S = 180.0


class Fire:
    """One trouble at a time, each put right before the next."""

    def __init__(self, cluster: FireCluster, seed: int) -> None:
        self.cluster = cluster
        self.chance = random.Random(seed)
        self.troubles = {
            "kill-store": self._kill_store, "kill-api": self._kill_api, "kill-both": self._kill_both,
            "cut": self._cut, "rot": self._rot, "lose-disk": self._lose_disk,
        }  # fmt: skip
        self.counts = dict.fromkeys(self.troubles, 0)
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    def start(self) -> None:
        self._keeper.start()

    def stop(self) -> None:
        self._stop.set()
        self._keeper.join()

    def _keep(self) -> None:
        """Let the layouts follow, as the core does."""
        while not self._stop.wait(0.3):
            self.cluster.publish()

    def once(self) -> str:
        name = self.chance.choice(list(self.troubles))
        self.troubles[name](self.chance.choice(self.cluster.nodes))
        self.counts[name] += 1
        return name

    def _kill(self, node: FireNode, *parts: str) -> None:
        for part in parts:
            node.kill(part)
        time.sleep(self.chance.random() * 1.5)
        for part in parts:
            node.start(part)
        self.cluster.wait_up()

    def _kill_store(self, node: FireNode) -> None:
        self._kill(node, "store")

    def _kill_api(self, node: FireNode) -> None:
        self._kill(node, "api")

    def _kill_both(self, node: FireNode) -> None:
        self._kill(node, "api", "store")

    def _cut(self, node: FireNode) -> None:
        self.cluster.cut.add(node.id)
        self.cluster.publish()
        time.sleep(1 + self.chance.random() * 2)
        self.cluster.cut.clear()
        self.cluster.publish()

    def _rot(self, node: FireNode) -> None:
        """Change one byte each in some fragments of one disk; the next rot waits until these are mended."""
        self.wait_redundant()
        files = sorted(node.directory.glob("disk*/fragments/*/*"))
        for path in self.chance.sample(files, min(5, len(files))):
            with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
                size = path.stat().st_size
                at = self.chance.randrange(size)
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ (1 << self.chance.randrange(8))]))
        node.ask("run", "scrub")
        time.sleep(0.5)
        self.wait_redundant()

    def _lose_disk(self, node: FireNode) -> None:
        """Lose one disk; it is replaced by a new one."""
        self.wait_redundant()
        disks = [disk for disk in self.cluster.disks.values() if disk.node_id == node.id]
        self.cluster.lose_disk(self.chance.choice(disks).id)
        time.sleep(self.chance.random())
        self.cluster.add_disk(node)
        self.wait_redundant()

    def wait_redundant(self) -> None:
        """Wait until one layout is left, all follow it, and every object is as redundant as it should be."""
        deadline = time.monotonic() + _QUIET_S
        while not self._is_redundant():
            assert time.monotonic() < deadline, "redundancy does not come back"
            time.sleep(0.3)

    def _is_redundant(self) -> bool:
        if len(self.cluster.layouts) > 1:
            return False
        newest = int(self.cluster.layouts[-1].id)
        if any(disk.synced < newest for disk in self.cluster.disks.values()):
            return False
        try:
            before = [self._task(node, "repair")["runs"] for node in self.cluster.nodes]
            for node in self.cluster.nodes:
                node.ask("run", "repair")
            deadline = time.monotonic() + 30
            while any(
                self._task(node, "repair")["runs"] < run + 1 or self._task(node, "repair")["running"]
                for node, run in zip(self.cluster.nodes, before, strict=True)
            ):
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.2)
            return all(self._task(n, "repair")["lacking"] == 0 for n in self.cluster.nodes)
        except NodeError:
            return False

    def _task(self, node: FireNode, name: str) -> dict:  # type: ignore[type-arg]
        return node.ask("hello")["tasks"][name]  # type: ignore[index]


def missing_fragments(cluster: FireCluster) -> list[str]:
    """Return the fragments that are not where they should be, as the files say."""
    node = cluster.nodes[0]
    places = node.opened.map_file.places()
    missing = []
    for item in node.store.list("c", Query()).items:
        assert isinstance(item, Entry)
        for extent in extents(item.data):
            if extent.scheme.text == "i":
                continue
            for number, disk in places.fragment_homes(extent.id, extent.scheme):
                path = Path(disk.path) / "fragments" / extent.id[-2:] / f"{extent.id}.{number}"
                if not path.exists():
                    missing.append(f"{item.name}: {path}")
    return missing


def burn(directory: Path, *, nodes: int, seconds: float, seed: int, least: int = 0) -> dict[str, int]:
    """Run the fire for so long, and until there were `least` troubles; return how much of what was done.

    Raises:
        AssertionError: something acknowledged was lost, or redundancy did not come back.
    """
    cluster = FireCluster(directory, nodes)
    fire = Fire(cluster, seed)
    load = Load([node.store for node in cluster.nodes], seed)
    try:
        cluster.start()
        fire.start()
        load.start()
        until = time.monotonic() + seconds
        while not load.faults and (time.monotonic() < until or sum(fire.counts.values()) < least):
            time.sleep(fire.chance.random())
            name = fire.once()
            print(f"seed {seed}: {name}", load.counts, flush=True)
        load.finish()
        fire.wait_redundant()
        assert not load.faults, f"seed {seed}: {load.faults[:5]}"
        for name in load.histories:
            for node in cluster.nodes:
                load.check(node.store, name)
        assert not load.faults, f"seed {seed}: {load.faults[:5]}"
        missing = missing_fragments(cluster)
        assert not missing, f"seed {seed}: {missing[:5]}"
        return {**load.counts, **fire.counts}
    finally:
        load.finish()
        fire.stop()
        cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="hedgerow-fire-"))
    print(f"seed {given.seed}, {directory}", flush=True)
    try:
        print(burn(directory, nodes=given.nodes, seconds=given.seconds, seed=given.seed))
    except BaseException:
        given.keep = True
        raise
    finally:
        if not given.keep:
            shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
