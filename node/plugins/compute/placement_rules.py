"""Where a server fits: filters and weighers over nodes, as pure functions, and the limits that claims are held to."""

from collections.abc import Mapping

from node.plugins.compute.server_ops import node_counter
from node.sdk import Frozen, NodeRow, PlacementRequest, Reader

DEFAULT_ZONE = "nova"


class PlacementSection(Frozen):
    """`[placement]`: how far a node's resources are given out."""

    cpu_allocation_ratio: float = 16.0
    """Virtual CPUs given out for each real one."""
    ram_allocation_ratio: float = 1.0
    """Memory given out for each byte there is."""
    disk_allocation_ratio: float = 1.0
    """Disk given out for each byte there is."""


def zone_of(node: NodeRow) -> str:
    """Return the availability zone of a node."""
    return node.facts.get("availability_zone", DEFAULT_ZONE)


def capacity(node: NodeRow, section: PlacementSection) -> dict[str, int]:
    """Return what may be claimed of a node, by resource."""
    return {
        "vcpus": int(node.vcpus * section.cpu_allocation_ratio),
        "memory_mib": int(node.memory_mib * section.ram_allocation_ratio),
        "disk_gib": int(node.disk_gib * section.disk_allocation_ratio),
    }


def claimed(db: Reader, node_id: str) -> dict[str, int]:
    """Return what servers have claimed of a node, by resource."""
    return {
        name: db.counter(node_counter(node_id, name))
        for name in ("vcpus", "memory_mib", "disk_gib")
    }


def fits(
    request: PlacementRequest, node: NodeRow, limits: Mapping[str, int], used: Mapping[str, int]
) -> bool:
    """Return whether a node has room for a request."""
    needs = {"vcpus": request.vcpus, "memory_mib": request.memory_mib, "disk_gib": request.disk_gib}
    single = request.vcpus <= max(1, node.vcpus)  # a guest never gets more CPUs than there are
    return single and all(used[name] + need <= limits[name] for name, need in needs.items())


def in_zone(request: PlacementRequest, node: NodeRow) -> bool:
    """Return whether a node is in the zone that was asked for."""
    return not request.availability_zone or zone_of(node) == request.availability_zone


def named(request: PlacementRequest, node: NodeRow) -> bool:
    """Return whether a node is the one that an administrator named, where one was named."""
    wanted = request.hints.get("force_host", [])
    return not wanted or node.name in wanted or node.id in wanted


def beside(request: PlacementRequest, node: NodeRow) -> bool:
    """Return whether a node obeys `same_host` and `different_host`, given as `same_node` and `other_node` ids."""
    same, other = request.hints.get("same_node"), request.hints.get("other_node", [])
    return (same is None or node.id in same) and node.id not in other


def free_memory(
    request: PlacementRequest, limits: Mapping[str, int], used: Mapping[str, int]
) -> float:
    """Return the share of memory that would be left: spread rather than pack."""
    total = limits["memory_mib"] or 1
    return (limits["memory_mib"] - used["memory_mib"] - request.memory_mib) / total


def affinity(request: PlacementRequest, node: NodeRow) -> float:
    """Return the weight of soft server group policies."""
    near, far = request.hints.get("near_node", []), request.hints.get("far_node", [])
    return 10.0 * near.count(node.id) - 10.0 * far.count(node.id)
