"""Rows of block storage, and who writes which column.

*Handlers* (API workers) write what is wished; the *node* in `node_id` writes what is. It is the node that owns the row:
it calls the driver and reports. Which nodes hold the data is the driver's affair and in rows of its own.

How a volume is driven, in one paragraph: `want` is present or absent. What happens to the data (create, extend,
retype, migrate, revert, restore, upload) is a *job*, as with servers: the handler sets `job_kind`, `job_data` and adds
one to `job`; the node acts while `job_done < job` and reports the end (`job_done = job`, `have`, `fault`, the columns
that the job changed). There is one outstanding job at most; one that was cut off is done again: drivers are
idempotent. `use` says what the volume is held for, which may be nothing; it is written by whoever writes attachments,
transfers and backups, in a transaction that checks the volume's row. Cinder's `status` is a pure function of these
columns (`volume_rules.status`), and `override` (os-reset_status) hides it until the next change.

Snapshots and backups have no jobs but their making and their end: `have` goes from "" to present (or error), and
`want = "absent"` has the node remove the data and then the row. Deletion never depends on a missing row.

An attachment is written by handlers (reserved, attaching, detaching) and by the node that uses the volume (attached,
and its end), always together with the volume's `use`.
"""

import msgspec

from node.sdk import Resource, Row, Table

DEFAULT_TYPE = "__DEFAULT__"
"""Name of the type that is always there."""


class Volume(Resource, kw_only=True):
    """A block device. `have` (node): "" (not made yet), present, error."""

    __table__ = Table(
        name="volumes",
        indexes=(("project_id",), ("node_id",), ("type_id",), ("group_id",), ("snapshot_id",)),
    )
    stays_with_node = True

    # --- written by handlers -------------------------------------------------------------------------------
    user_id: str = ""
    name: str | None = None
    description: str | None = None
    size_gib: int = 0
    """As it is shown and counted; the job `extend` names the size that comes."""
    type_id: str = ""
    zone: str = "nova"
    driver: str = ""
    """Name of the driver that has its data; set at creation, changed by the job `migrate`."""
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    image_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    """volume_image_metadata."""
    bootable: bool = False
    read_only: bool = False
    multiattach: bool = False
    encrypted: bool = False
    snapshot_id: str = ""
    source_volume_id: str = ""
    source_type: str = ""
    """Where the first contents come from: "", image, snapshot, volume, backup, managed."""
    image_id: str = ""
    backup_id: str = ""
    group_id: str = ""
    use: str = ""
    """"", reserved, attaching, in-use, detaching, awaiting-transfer, backing-up, maintenance."""
    previous_use: str = ""
    """What it was held for before a backup, which goes on beside the use."""
    override: str = ""
    """Status set by os-reset_status."""
    migration_status: str | None = None
    job: int = 1
    """Number of the newest job; 1 is the making."""
    job_kind: str = "create"
    """create, extend, retype, migrate, revert, restore, upload."""
    job_data: dict[str, str] = msgspec.field(default_factory=dict)
    """extend: `size_gib`. retype: `type_id`. revert: `snapshot_id`. restore: `backup_id`. upload: `image_id`,
    `disk_format`. migrate: `node_id`, `driver`."""
    reference: str = ""
    """Of a managed volume: the file that it was taken from."""

    # --- written by the node -------------------------------------------------------------------------------
    job_done: int = 0
    job_step: str = ""
    """Finer word of a running creation: downloading."""
    key_id: str = ""
    """Of an encrypted volume: its VolumeKey."""


class Snapshot(Resource, kw_only=True):
    """The contents of a volume at one moment. `have` (node): "", present, error."""

    __table__ = Table(
        name="volume_snapshots",
        indexes=(("project_id",), ("node_id",), ("volume_id",), ("group_snapshot_id",)),
    )
    stays_with_node = True

    user_id: str = ""
    volume_id: str = ""
    name: str | None = None
    description: str | None = None
    size_gib: int = 0
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    group_snapshot_id: str = ""
    driver: str = ""
    type_id: str = ""
    override: str = ""
    progress: str = "0%"
    reference: str = ""


class VolumeAttachment(Row, kw_only=True):
    """A volume in use by a server, or by a host outside of this cloud."""

    __table__ = Table(
        name="volume_attachments",
        indexes=(("volume_id",), ("server_id",), ("node_id",)),
    )

    volume_id: str
    project_id: str = ""
    server_id: str = ""
    host: str = ""
    """Name of the host where it is attached."""
    node_id: str = ""
    """The node that uses it; empty: not known yet, or not of this cloud."""
    status: str = "reserved"
    """reserved, attaching, attached, detaching, error_attaching."""
    device: str = ""
    mode: str = "rw"
    """rw or ro."""
    attached_at: int = 0
    connector: dict[str, str] = msgspec.field(default_factory=dict)


class Backup(Resource, kw_only=True):
    """A copy of a volume in the object store. `have` (node): "", present, error."""

    __table__ = Table(
        name="volume_backups",
        indexes=(("project_id",), ("node_id",), ("volume_id",), ("parent_id",)),
    )

    user_id: str = ""
    volume_id: str = ""
    snapshot_id: str = ""
    parent_id: str = ""
    name: str | None = None
    description: str | None = None
    container: str = "volumebackups"
    zone: str | None = None
    size_gib: int = 0
    object_count: int = 0
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    incremental: bool = False
    override: str = ""
    data_at: int = 0
    """Moment that the contents are of."""
    restoring_to: str = ""
    """Volume that is being written from it."""
    volume_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    """What the volume had besides its data; a volume that is restored gets it back."""
    image_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    bootable: bool = False
    manifest_id: str = ""
    """Backup whose manifest this one reads, where it was imported from a record; empty: its own."""


class VolumeType(Row, kw_only=True):
    """A kind of volume. Written by handlers."""

    __table__ = Table(name="volume_types", unique=(("name",),), indexes=(("qos_id",),))

    name: str
    description: str | None = None
    is_public: bool = True
    extra_specs: dict[str, str] = msgspec.field(default_factory=dict)
    projects: list[str] = msgspec.field(default_factory=list)
    qos_id: str = ""
    encryption: dict[str, str] = msgspec.field(default_factory=dict)
    """encryption_id, provider, cipher, key_size, control_location; empty: none."""


class DefaultType(Row, kw_only=True):
    """The default volume type of a project: `id` is the project's. Written by handlers."""

    __table__ = Table(name="volume_default_types", indexes=(("type_id",),))

    type_id: str


class QosSpec(Row, kw_only=True):
    """Limits of throughput, joined to volume types. Written by handlers."""

    __table__ = Table(name="volume_qos_specs", unique=(("name",),))

    name: str
    consumer: str = "back-end"
    """front-end, back-end or both."""
    specs: dict[str, str] = msgspec.field(default_factory=dict)


class Group(Row, kw_only=True):
    """Volumes that are snapshotted together. Written by handlers."""

    __table__ = Table(name="volume_groups", indexes=(("project_id",), ("group_type_id",)))

    project_id: str
    user_id: str = ""
    name: str | None = None
    description: str | None = None
    group_type_id: str = ""
    type_ids: list[str] = msgspec.field(default_factory=list)
    zone: str = "nova"
    status: str = "available"
    """available, deleting, error: its volumes' statuses are their own."""
    group_snapshot_id: str = ""
    source_group_id: str = ""


class GroupType(Row, kw_only=True):
    """A kind of group. Written by handlers."""

    __table__ = Table(name="volume_group_types", unique=(("name",),))

    name: str
    description: str | None = None
    is_public: bool = True
    specs: dict[str, str] = msgspec.field(default_factory=dict)


class GroupSnapshot(Row, kw_only=True):
    """Snapshots of a group's volumes at one moment. Written by handlers."""

    __table__ = Table(name="volume_group_snapshots", indexes=(("project_id",), ("group_id",)))

    project_id: str
    user_id: str = ""
    name: str | None = None
    description: str | None = None
    group_id: str = ""
    group_type_id: str = ""
    override: str = ""


class VolumeTransfer(Row, kw_only=True):
    """An offer of a volume to another project. Written by handlers."""

    __table__ = Table(name="volume_transfers", indexes=(("project_id",), ("volume_id",)))

    project_id: str
    """Who offers it."""
    volume_id: str
    name: str | None = None
    salt: str = ""
    key_hash: str = ""
    no_snapshots: bool = False
    destination_project_id: str = ""
    accepted: bool = False


class VolumeQuota(Row, kw_only=True):
    """Limits of a project, or of the class `class/default`, where they differ. Written by handlers."""

    __table__ = Table(name="volume_quotas")

    limits: dict[str, int] = msgspec.field(default_factory=dict)


class Message(Row, kw_only=True):
    """What went wrong with a resource, told to its user. Written by whoever failed."""

    __table__ = Table(name="volume_messages", indexes=(("project_id",), ("expires_at",)))

    project_id: str
    resource_type: str = "VOLUME"
    resource_uuid: str = ""
    action_id: str = "001"
    detail_id: str = "001"
    text: str = ""
    level: str = "ERROR"
    request_id: str = ""
    expires_at: int = 0


class BlockService(Row, kw_only=True):
    """A service of a node: `id` is `{binary}/{node id}`.

    Handlers write what an administrator says of it; the node of `cinder-volume` the figures of its pool.
    """

    __table__ = Table(name="block_services", indexes=(("node_id",),))

    node_id: str
    binary: str = "cinder-volume"
    disabled: bool = False
    reason: str | None = None
    frozen: bool = False

    # --- written by the node -------------------------------------------------------------------------------
    driver: str = ""
    total_gib: float = 0.0
    free_gib: float = 0.0
    allocated_gib: float = 0.0
    """Sizes of the volumes there, as they are shown: thin ones may be together larger than the disk."""
    shared: bool = False
    """Whether its volumes can be used on every node."""


class LeftData(Row, kw_only=True):
    """Data that a driver keeps and no row names: what `manage` can take over. Written by the node.

    `id` is `{node id}/{kind}/{reference}`.
    """

    __table__ = Table(name="volume_left_data", indexes=(("node_id",),))

    node_id: str
    kind: str = "volume"
    """volume or snapshot."""
    reference: str = ""
    size_gib: int = 0
    volume_id: str = ""
    """Of a snapshot: its volume."""
    driver: str = ""


class VolumeKey(Row, kw_only=True):
    """The passphrase of an encrypted volume; `id` names it in the volume. Written by the node."""

    __table__ = Table(name="volume_keys")

    project_id: str = ""
    secret: str = ""


ROW_TYPES: tuple[type[Row], ...] = (
    Volume,
    Snapshot,
    VolumeAttachment,
    Backup,
    VolumeType,
    DefaultType,
    QosSpec,
    Group,
    GroupType,
    GroupSnapshot,
    VolumeTransfer,
    VolumeQuota,
    Message,
    BlockService,
    LeftData,
    VolumeKey,
)
