"""Rows of object storage: what a person typed, and where things are. Objects themselves are in no row.

*Handlers* write accounts and containers; `StoragePolicy` is written by seeds and administrators, `DataDisk` by the
node whose disk it is. The objects of a container, and how much is in it, are in the container's index, by the
container's id: a container that is deleted and made again is another one, and nothing of the old one comes back.
"""

import msgspec

from node.sdk import Row, Table


class ObjectAccount(Row, kw_only=True):
    """What is said of a project's account. `id` is the project's; an account without a row is an empty one."""

    __table__ = Table(name="object_accounts")

    meta: dict[str, str] = msgspec.field(default_factory=dict)
    """User metadata: names in lower case without prefix. `temp-url-key`, `quota-bytes`, … are among them."""
    sys: dict[str, str] = msgspec.field(default_factory=dict)
    """What only the service or its administrators set: `access-control`, `quota-bytes`, …"""
    deleted: bool = False
    """Deleted by an administrator: everything of it is on its way out."""


class Container(Row, kw_only=True):
    """A container, which S3 calls a bucket. `id` is made up; (account, name) is unique."""

    __table__ = Table(
        name="object_containers",
        indexes=(("account",), ("name",)),
        unique=(("account", "name"),),
    )

    account: str
    """The project's id, or an opaque name of a hidden account."""
    name: str
    policy: str = ""
    """Name of the storage policy; never changes."""
    versioning: str = ""
    """"", enabled or suspended."""
    meta: dict[str, str] = msgspec.field(default_factory=dict)
    """User metadata (`X-Container-Meta-*`): names in lower case without prefix."""
    sys: dict[str, str] = msgspec.field(default_factory=dict)
    """What the APIs keep: `read` and `write` ACLs, `versions-location`, S3's documents by `s3-policy`, `s3-cors`, …"""
    owner_id: str = ""
    """User who made it."""
    via: str = "swift"
    """swift or s3: through which view it was made."""
    closing: bool = False
    """Being deleted: takes no more objects."""


class StoragePolicy(Row, kw_only=True):
    """How objects are kept. `id` is its number, as Swift's rings have one."""

    __table__ = Table(name="object_policies", unique=(("name",),))

    name: str
    kind: str = "replicated"
    """replicated or ec."""
    data: int = 1
    """Copies of replicated ones; data fragments (k) of erasure-coded ones."""
    parity: int = 0
    """Parity fragments (m)."""
    is_default: bool = False
    deprecated: bool = False
    aliases: list[str] = msgspec.field(default_factory=list)


class DataDisk(Row, kw_only=True):
    """A directory of a node that holds objects. `id` is in a file on the disk itself. Written by its node."""

    __table__ = Table(name="object_disks", indexes=(("node_id",),))

    node_id: str
    path: str
    zone: str = ""
    """Failure domain above the node (rack); empty: the node is its own."""
    size_bytes: int = 0
    weight: float = 0.0
    """Share of the data that it takes; 0: none, it is being drained."""
    have: str = ""
    """ok, full, failed or gone."""
    fault: str = ""
    have_since: int = 0
    """Since when, microseconds."""
    synced: int = 0
    """The newest layout for which it has all index entries that it should have."""


class ObjectLayout(Row, kw_only=True):
    """Which disks hold objects. `id` is its number; a new one is made when disks come, go or change their weight.

    Two of them are there while index entries move to their new places: writes then go to both, reads to the older.
    """

    __table__ = Table(name="object_layouts")

    disks: list[dict[str, str]]
    """id, node_id, path, zone and weight (a decimal) of each."""


ROW_TYPES: tuple[type[Row], ...] = (
    ObjectAccount,
    Container,
    StoragePolicy,
    DataDisk,
    ObjectLayout,
)
