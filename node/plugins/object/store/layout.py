"""Where things are: the map of disks, and which of them hold what. Pure.

Weighted rendezvous hashing: each disk has a score for a key, the greatest scores hold it. A disk that comes takes only
its share, one that goes leaves its share to the others. Copies go to different zones first, then to different nodes,
then to different disks.

The hash and its seed are frozen: a change would make every byte seem to be in the wrong place.

Source: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (logarithmic method).
"""

import math
from collections.abc import Mapping, Sequence

import xxhash

from node.plugins.object.store.scheme import Scheme, copies, fitting
from node.sdk import Frozen

INDEX_REPLICAS = 3
_SEED = 0x6865646765726F77
_SPAN = float(1 << 64)


class Disk(Frozen):
    """A directory that holds objects."""

    id: str
    node_id: str
    path: str = ""
    zone: str = ""
    weight: float = 1.0


class Layout(Frozen):
    """Which disks there are, from one number of the layout to the next."""

    number: int
    disks: tuple[Disk, ...]


class PolicySpec(Frozen):
    """What a storage policy asks for."""

    name: str
    kind: str = "replicated"
    data: int = 3
    parity: int = 0
    is_default: bool = False


class NodePlace(Frozen):
    """Where another node's data port is."""

    address: str
    port: int
    name: str
    is_up: bool = True


class DiskMap(Frozen):
    """All that the store must know of the cluster. Written by the core process, read by all others."""

    node_id: str
    layouts: tuple[Layout, ...] = ()
    """The oldest first. More than one while data moves: reads are of the oldest, writes go to all."""
    policies: tuple[PolicySpec, ...] = ()
    nodes: Mapping[str, NodePlace] = {}

    @property
    def newest(self) -> int:
        """Return the number of the newest layout, 0 where there is none."""
        return self.layouts[-1].number if self.layouts else 0

    def disk(self, disk_id: str) -> Disk | None:
        """Return a disk of any layout."""
        for layout in reversed(self.layouts):
            for disk in layout.disks:
                if disk.id == disk_id:
                    return disk
        return None

    def disks(self) -> list[Disk]:
        """Return the disks of all layouts, each once, those of the newest first."""
        found: dict[str, Disk] = {}
        for layout in reversed(self.layouts):
            for disk in layout.disks:
                found.setdefault(disk.id, disk)
        return list(found.values())

    def scheme(self, policy: str) -> Scheme:
        """Return what a policy comes to on the disks that there are."""
        count = sum(1 for disk in self.layouts[-1].disks if disk.weight > 0) if self.layouts else 1
        for spec in self.policies:
            if spec.name == policy or (not policy and spec.is_default):
                return fitting(spec.kind, spec.data, spec.parity, count)
        return copies(max(1, min(INDEX_REPLICAS, count)))


def score(disk: Disk, key: str) -> float:
    """Return a disk's score for a key."""
    if disk.weight <= 0:
        return -1.0
    part = (xxhash.xxh3_64_intdigest(f"{disk.id}/{key}".encode(), _SEED) + 0.5) / _SPAN
    return disk.weight / -math.log(part)


class Load:
    """How much of one object each failure domain holds already."""

    def __init__(self) -> None:
        self._count: dict[tuple[str, str], int] = {}

    def of(self, disk: Disk) -> tuple[int, int, int]:
        """Return how much is in the disk's zone, on its node, and on it."""
        count = self._count
        return (
            count.get(("zone", _zone(disk)), 0),
            count.get(("node", disk.node_id), 0),
            count.get(("disk", disk.id), 0),
        )

    def add(self, disk: Disk) -> None:
        """Count one more on a disk."""
        for key in (("zone", _zone(disk)), ("node", disk.node_id), ("disk", disk.id)):
            self._count[key] = self._count.get(key, 0) + 1


def ranked(disks: Sequence[Disk], key: str) -> list[Disk]:
    """Return the disks for a key, best first, spread over failure domains as evenly as can be."""
    scores = {disk.id: (-score(disk, key), disk.id) for disk in disks}
    rest = sorted((d for d in disks if d.weight > 0), key=lambda disk: scores[disk.id])
    if len({_zone(disk) for disk in rest}) == len(rest):
        return rest
    order: list[Disk] = []
    load = Load()
    while rest:
        best = min(rest, key=lambda disk: (*load.of(disk), *scores[disk.id]))
        rest.remove(best)
        order.append(best)
        load.add(best)
    return order


def _zone(disk: Disk) -> str:
    return disk.zone or disk.node_id




class Places:
    """What follows from one map; remembers what is asked often."""

    def __init__(self, disk_map: DiskMap) -> None:
        self.map = disk_map
        self._index: dict[tuple[int, str], tuple[str, ...]] = {}
        self._schemes: dict[str, Scheme] = {}

    def index_disks(self, layout: Layout, container_id: str) -> tuple[str, ...]:
        """Return the ids of the disks that hold a container's index."""
        key = layout.number, container_id
        found = self._index.get(key)
        if found is None:
            if len(self._index) > 1 << 14:
                self._index.clear()
            best = ranked(layout.disks, container_id)[:INDEX_REPLICAS]
            found = self._index[key] = tuple(disk.id for disk in best)
        return found

    def write_sets(self, container_id: str) -> list[tuple[str, ...]]:
        """Return the sets of disks of which each needs a majority for a write."""
        return [self.index_disks(layout, container_id) for layout in self.map.layouts]

    def read_set(self, container_id: str) -> tuple[str, ...]:
        """Return the set of disks of which a read needs a majority."""
        if not self.map.layouts:
            return ()
        return self.index_disks(self.map.layouts[0], container_id)

    def scheme(self, policy: str) -> Scheme:
        """Return what a policy comes to."""
        found = self._schemes.get(policy)
        if found is None:
            found = self._schemes[policy] = self.map.scheme(policy)
        return found

    def data_disks(self, id: str) -> list[Disk]:
        """Return the disks for bytes, best first: those of the newest layout, then all others."""
        if not self.map.layouts:
            return []
        order = ranked(self.map.layouts[-1].disks, id)
        known = {disk.id for disk in order}
        return order + [disk for disk in self.map.disks() if disk.id not in known]

    def fragment_homes(self, id: str, scheme: Scheme) -> list[tuple[int, Disk]]:
        """Return the number of each fragment with the disk that it belongs on.

        Copies are all number 0. Of coded ones each looks for a disk of its own, so that a new disk moves few of them;
        where there are fewer disks than fragments they share.
        """
        if not self.map.layouts:
            return []
        disks = self.map.layouts[-1].disks
        if not scheme.is_coded:
            return [(0, disk) for disk in ranked(disks, id)[: scheme.fragments]]
        load = Load()
        usable = [disk for disk in disks if disk.weight > 0]
        homes = []
        for number in range(scheme.fragments if usable else 0):
            key = f"{id}.{number}"
            best = min(usable, key=lambda d: (*load.of(d), -score(d, key), d.id))
            load.add(best)
            homes.append((number, best))
        return homes


def majority(count: int) -> int:
    """Return how many are more than half."""
    return count // 2 + 1
