"""Placement: which node gets a thing, as pure functions over rows.

Filters say no, weighers say how much; both are hooks. The choice is deterministic for the same input.
"""

from collections.abc import Callable, Iterable, Sequence

from node.state.row import Row, Table
from node.types import Frozen


class NodeRow(Row, kw_only=True):
    """One member of the cluster, as it reports itself."""

    __table__ = Table(name="nodes", indexes=(("name",),))

    name: str
    address: str = ""
    """Where other nodes reach this one: overlay, cluster and data ports."""
    cluster_port: int = 0
    data_port: int = 0
    api_port: int = 0
    fingerprint: str = ""
    """SHA-256 of the node's public key (SubjectPublicKeyInfo), hex."""
    role: str = "voter"
    """voter or learner, as the log has it; written by the membership controller."""
    want: str = "present"
    """present, or absent: to be drained and removed."""
    failure_domain: str = ""
    state: str = "up"
    """up, suspect or down; written by liveness only."""
    feature_level: int = 1
    """Of the version that it runs."""
    lease_epoch: int = 0
    """Raised with each change to down: who acts on a dead node's rows checks it."""
    maintenance: bool = False
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    memory_used_mib: int = 0
    disk_used_gib: int = 0
    vcpus_used: int = 0
    facts: dict[str, str] = {}
    """What plugins report of this node, for example `virt_type`."""
    boot_at: int = 0


class PlacementRequest(Frozen):
    """What looks for a node: a kind (`server`, `volume`), its needs, and hints by name."""

    kind: str
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    availability_zone: str = ""
    hints: dict[str, list[str]] = {}


Filter = Callable[[PlacementRequest, NodeRow], bool]
Weigher = Callable[[PlacementRequest, NodeRow], float]


def alive(_request: PlacementRequest, node: NodeRow) -> bool:
    """Take nodes that are up, not in maintenance and not about to leave."""
    return node.state == "up" and not node.maintenance and node.want == "present"


def choose(
    request: PlacementRequest,
    nodes: Iterable[NodeRow],
    filters: Sequence[Filter],
    weighers: Sequence[Weigher],
) -> list[NodeRow]:
    """Return the nodes that pass every filter, best first; equal ones in order of id."""
    fit = [node for node in nodes if all(test(request, node) for test in (alive, *filters))]
    return sorted(fit, key=lambda node: (-sum(weigh(request, node) for weigh in weighers), node.id))
