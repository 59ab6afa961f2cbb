"""Which layers nothing rests on any more, and the notes by which each node removes its part."""

from collections.abc import Iterable, Sequence

from node.plugins.block.replica_tables import FrozenSet, Leftover, VolumeSet
from node.sdk import Reader


def layers_to_go(db: Reader, layers: Sequence[str], without: str) -> tuple[str, ...]:
    """Return those of the layers that no volume and no snapshot names, besides the one that goes."""
    held: set[str] = set()
    for row in db.rows(VolumeSet, order_by=()):
        if row.id != without:
            held.update(row.layers)
            held.add(row.next_layer)
    for frozen in db.rows(FrozenSet, order_by=()):
        if frozen.id != without:
            held.update(frozen.layers)
    return tuple(layer for layer in layers if layer not in held)


def leftovers(
    tag: str, volume_id: str, layers: Sequence[str], nodes: Iterable[str]
) -> list[Leftover]:
    """Return a note for each node; none where there is nothing to remove."""
    if not layers and not volume_id:
        return []
    return [
        Leftover(id=f"{tag}/{node}", node_id=node, volume_id=volume_id, layers=tuple(layers))
        for node in sorted(nodes)
    ]
