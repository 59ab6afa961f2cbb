"""Which nodes keep an image's data: pure decisions over rows.

Every node takes the same decision from the same rows: nodes are ranked by a hash of image and node, so that images
spread evenly and a node that comes or goes moves only what it has to.
"""

import hashlib
from collections.abc import Collection, Iterable

from node.plugins.image.tables import ImageCopy
from node.sdk import NodeRow

REPAIR_AFTER_US = 300 * 1_000_000
"""How long a node may be down before its copies are made again elsewhere: longer than a machine takes to boot."""


def ranked(image_id: str, nodes: Iterable[NodeRow]) -> list[NodeRow]:
    """Return nodes in the order in which they are to keep an image."""
    return sorted(nodes, key=lambda node: hashlib.sha256(f"{image_id}/{node.id}".encode()).digest())


def sources(
    image_id: str, nodes: Iterable[NodeRow], copies: Iterable[ImageCopy], own: str
) -> list[NodeRow]:
    """Return the other nodes that the data may be had from, the best first; those that are down are no source."""
    held = {copy.node_id for copy in copies}
    found = [n for n in nodes if n.id in held and n.id != own and n.state != "down"]
    return sorted(ranked(image_id, found), key=lambda node: node.state != "up")


def short_of(
    image_id: str, nodes: Collection[NodeRow], copies: Iterable[ImageCopy], wanted: int, now_us: int
) -> list[str]:
    """Return the ids of the nodes that should make a copy now."""
    held = {copy.node_id for copy in copies}
    holders = [node for node in nodes if node.id in held and not _lost(node, now_us)]
    fit = [
        node
        for node in nodes
        if node.id not in held and node.state == "up" and node.want == "present"
    ]
    # Those in maintenance come last: they are about to go down.
    fit = sorted(ranked(image_id, fit), key=lambda node: node.maintenance)
    return [node.id for node in fit[: max(0, wanted - len(holders))]]


def may_go(
    image_id: str, nodes: Iterable[NodeRow], copies: Iterable[ImageCopy], wanted: int, own: str
) -> list[ImageCopy]:
    """Return the copies that are kept instead of this node's own; none: the own one has to stay."""
    by_node = {copy.node_id: copy for copy in copies}
    holders = [n for n in nodes if n.id in by_node and n.state == "up" and n.want == "present"]
    kept = [node.id for node in ranked(image_id, holders)][:wanted]
    return [by_node[node_id] for node_id in kept] if len(kept) >= wanted and own not in kept else []


def _lost(node: NodeRow, now_us: int) -> bool:
    """Return whether nothing is to be expected of a node's copies any more."""
    if node.want != "present":
        return True
    return node.state == "down" and now_us - node.updated_at > REPAIR_AFTER_US
