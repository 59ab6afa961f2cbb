"""Which disks make up the next layout, and when the one before it is done with. Pure decisions over rows."""

from collections.abc import Iterable, Mapping, Sequence

from node.plugins.object.store.layout import Disk, DiskMap, Layout, NodePlace, PolicySpec
from node.plugins.object.tables import DataDisk, ObjectLayout, StoragePolicy
from node.sdk import NodeRow

_MICROS = 1_000_000


def wanted_disks(
    disks: Iterable[DataDisk], nodes: Mapping[str, NodeRow], now_us: int, patience_s: int
) -> list[DataDisk]:
    """Return the disks that should hold objects: all but those that are drained, given up or of a node that leaves."""
    kept = []
    for disk in disks:
        node = nodes.get(disk.node_id)
        if node is None or node.want != "present" or disk.weight <= 0:
            continue
        is_lost = disk.have in ("gone", "failed") and _is_old(disk.have_since, now_us, patience_s)
        is_down = node.state == "down" and _is_old(node.updated_at, now_us, patience_s)
        if not is_lost and not is_down:
            kept.append(disk)
    return sorted(kept, key=lambda disk: disk.id)


def _is_old(since_us: int, now_us: int, patience_s: int) -> bool:
    return now_us - since_us > patience_s * _MICROS


def as_layout(disks: Iterable[DataDisk]) -> list[dict[str, str]]:
    """Return what a layout row says of disks."""
    return [
        {
            "id": disk.id,
            "node_id": disk.node_id,
            "path": disk.path,
            "zone": disk.zone,
            "weight": f"{disk.weight:g}",
        }
        for disk in disks
    ]


def in_order(layouts: Iterable[ObjectLayout]) -> list[ObjectLayout]:
    """Return layouts, the oldest first."""
    return sorted(layouts, key=lambda layout: int(layout.id))


def next_layout(
    layouts: Sequence[ObjectLayout], wanted: Sequence[DataDisk]
) -> list[dict[str, str]] | None:
    """Return the disks of a new layout, or None where the newest one fits, or another change is under way."""
    if not wanted:
        return None
    if not layouts:
        return as_layout(wanted)
    if len(layouts) > 1:
        return None
    made = as_layout(wanted)
    return made if made != layouts[-1].disks else None


def is_done(
    layouts: Sequence[ObjectLayout], disks: Mapping[str, DataDisk], nodes: Mapping[str, NodeRow]
) -> bool:
    """Return whether the oldest layout may go: all disks of the newest that can be reached have what they should."""
    if len(layouts) < 2:
        return False
    newest = layouts[-1]
    away = 0
    for said in newest.disks:
        disk = disks.get(said["id"])
        if disk is not None and disk.synced >= int(newest.id):
            continue
        node = nodes.get(said["node_id"])
        is_away = disk is None or disk.have in ("gone", "failed") or node is None or node.state == "down"
        if not is_away:
            return False
        away += 1
    return away <= 1 and away < len(newest.disks)


def disk_map(
    node_id: str, layouts: Sequence[ObjectLayout], policies: Iterable[StoragePolicy],
    nodes: Iterable[NodeRow],
) -> DiskMap:  # fmt: skip
    """Return the map of disks that rows say."""
    return DiskMap(
        node_id=node_id,
        layouts=tuple(
            Layout(
                number=int(layout.id),
                disks=tuple(
                    Disk(
                        id=d["id"],
                        node_id=d["node_id"],
                        path=d["path"],
                        zone=d["zone"],
                        weight=float(d["weight"]),
                    )
                    for d in layout.disks
                ),
            )
            for layout in layouts
        ),
        policies=tuple(
            PolicySpec(
                name=p.name, kind=p.kind, data=p.data, parity=p.parity, is_default=p.is_default
            )
            for p in sorted(policies, key=lambda p: p.id)
        ),
        nodes={
            node.id: NodePlace(
                address=node.address,
                port=node.data_port,
                name=node.name,
                is_up=node.state != "down",
            )
            for node in sorted(nodes, key=lambda node: node.id)
        },
    )
