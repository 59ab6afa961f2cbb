"""Rows of the replicated driver: which nodes hold a volume's data, in which epoch, and who uses it.

A VolumeSet is changed by compare-and-set only, by the node in `head_node` while there is one. `members` are the
replicas that hold every acknowledged write: being too few is safe, naming one that lacks a write is not. An epoch is
one life of one head over one list of members; its number is never used again.
"""

from node.sdk import Row, Table


class VolumeSet(Row, kw_only=True):
    """The replicas of a volume. Its id is the volume's."""

    __table__ = Table(name="block_sets", indexes=(("head_node",),))

    epoch: int = 1
    members: tuple[str, ...] = ()
    """Nodes in sync; of these the head reads from its own, else from the first."""
    wanted: tuple[str, ...] = ()
    """Nodes that are to hold a replica."""
    head_node: str = ""
    """The node that uses the volume, and alone may change the set; empty: nobody, and anybody may."""
    use: str = ""
    """What the head is for: "" (none), guest, upkeep (a copy or a backup, which gives way to a guest)."""
    read_only: bool = False
    layers: tuple[str, ...] = ()
    """Files of each replica, lowest first; the last one is written."""
    size_bytes: int = 0
    limits: dict[str, int] = {}
    """Of the head's throttle group, by QEMU's names."""
    clean: bool = True
    """Whether the last head ended with all that it accepted on every member."""
    opened: int = 0
    """The epoch that the present use began with: members were equal then."""
    lost_at: dict[str, int] = {}
    """Since when a node of `wanted` is out of sync, microseconds."""
    next_layer: str = ""
    """Wish: freeze the layer that is written and go on in this one."""
    next_snapshot: str = ""
    """Wish: the FrozenSet to make of what is frozen then."""
    next_size_bytes: int = 0
    """Wish: grow to this size."""
    scrubbed_at: int = 0
    """When all replicas were compared last, microseconds."""
    fault: str = ""
    """What the last comparison found."""


class FrozenSet(Row, kw_only=True):
    """Layers that are kept as they are: a snapshot, whose id it has."""

    __table__ = Table(name="block_frozen", indexes=(("volume_id",),))

    volume_id: str
    layers: tuple[str, ...]
    size_bytes: int
    members: tuple[str, ...]
    """Nodes that hold all of these layers."""


class Leftover(Row, kw_only=True):
    """What a node still has to remove of a volume that is deleted, or of a replica that is not wanted any more."""

    __table__ = Table(name="block_leftovers", indexes=(("node_id",),))

    node_id: str
    volume_id: str
    """Whose processes end; empty: only layers go."""
    layers: tuple[str, ...] = ()


ROW_TYPES: tuple[type[Row], ...] = (VolumeSet, FrozenSet, Leftover)
