"""Object stores of several nodes in one process: real disks, real indexes, no sockets. Nodes can be cut off."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from node.clock import Clock
from node.errors import Unavailable
from node.plugins.object.store.data_disk import make_mark
from node.plugins.object.store.disk_answers import DiskAnswers
from node.plugins.object.store.healer import Healer
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.layout import Disk, DiskMap, Layout, NodePlace, PolicySpec
from node.plugins.object.store.local_access import InnerBackend, LocalAccess
from node.plugins.object.store.map_file import MapFile, write_map
from node.plugins.object.store.node_access import NodeAccess
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.object_store import ObjectStore
from node.plugins.object.store.quorum import IndexQuorum
from node.plugins.object.store.section import ObjectSection

POLICIES = (
    PolicySpec(name="copies", kind="replicated", data=3, is_default=True),
    PolicySpec(name="coded", kind="ec", data=4, parity=2),
)


class SiteNode:
    """One node's store."""

    def __init__(self, site: "ObjectSite", node_id: str) -> None:
        self.id = node_id
        self.directory = site.directory / node_id
        self.map_file = MapFile(self.directory)
        self._site = site
        self._clock = site.clock

    def open(self) -> None:
        """Open the disks that the map names."""
        self.host = DiskHost(self.map_file, self._clock)
        self.host.refresh()
        self.answers = DiskAnswers(self.map_file, self.host)
        backend = InnerBackend(self.host, self.answers.answer)
        self.local = LocalAccess(self.map_file, backend, self._clock)
        self.nodes = Nodes(self.map_file, self.local, self._site.way_from(self.id), self._clock)
        self.quorum = IndexQuorum(self.nodes, self._clock)
        self.store = ObjectStore(self.quorum)
        section = ObjectSection(heal_mib_per_s=100_000)
        self.healer = Healer(
            self.nodes, self.host, self.answers, self._clock, section, self.directory
        )
        """Not started: tests run its parts."""

    def close(self) -> None:
        """Close the disks."""
        self.host.close()


class CutAccess:
    """Another node's disks, while neither side is cut off."""

    def __init__(self, site: "ObjectSite", own: str, node_id: str) -> None:
        self._site = site
        self._pair = own, node_id

    def __getattr__(self, name: str) -> Any:
        """Reach the node."""
        return getattr(self._site.local(*self._pair), name)


class ObjectSite:
    """Nodes with disks below a directory. Close it."""

    def __init__(
        self, directory: Path, clock: Clock, *, nodes: int = 1, disks: int = 1,
        policies: Sequence[PolicySpec] = POLICIES,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.clock = clock
        self.policies = tuple(policies)
        self.down: set[str] = set()
        """Nodes that no other one reaches, and that reach none."""
        self.nodes = [SiteNode(self, f"node-{number}") for number in range(nodes)]
        made = [disk for node in self.nodes for disk in self.make_disks(node, disks)]
        self.layouts: tuple[Layout, ...] = (Layout(number=1, disks=tuple(made)),)
        self.publish()
        for node in self.nodes:
            node.open()

    def make_disks(self, node: SiteNode, count: int) -> list[Disk]:
        """Make directories of a node disks."""
        made = []
        for number in range(count):
            path = node.directory / f"disk-{number}"
            make_mark(path, f"{node.id}-disk-{number}")
            made.append(Disk(id=f"{node.id}-disk-{number}", node_id=node.id, path=str(path)))
        return made

    def publish(self) -> None:
        """Give every node the map as it is now."""
        places = {
            node.id: NodePlace(address="127.0.0.1", port=1, name=node.id) for node in self.nodes
        }
        for node in self.nodes:
            write_map(
                node.directory,
                DiskMap(
                    node_id=node.id, layouts=self.layouts, policies=self.policies, nodes=places
                ),
            )

    def way_from(self, own: str) -> Callable[[str], NodeAccess]:
        """Return what leads from one node to the others."""
        return lambda node_id: CutAccess(self, own, node_id)

    def local(self, own: str, node_id: str) -> LocalAccess:
        """Return the disks of a node as another one reaches them.

        Raises:
            Unavailable: one of both is cut off.
        """
        if {own, node_id} & self.down:
            raise Unavailable(f"{node_id} cannot be reached from {own}")
        return next(node.local for node in self.nodes if node.id == node_id)

    def close(self) -> None:
        """Close all disks."""
        for node in self.nodes:
            node.close()
