"""Rows of the image service.

An image's data comes to the node in `node_id`, whose API worker writes the data and then `status`; from there other
nodes fetch copies. An ImageCopy row says that a node holds a whole, verified copy. Deletion is in two phases:
`want="absent"` hides the image, each node removes its file and then its ImageCopy, the last one the image's row: a
node that is down meanwhile does it when it is back.
"""

from typing import Any

from node.sdk import Resource, Row, Table


class Image(Resource, kw_only=True):
    """One image: what is said of it, and what is known of its data."""

    __table__ = Table(
        name="images",
        indexes=(("project_id",), ("visibility",), ("want",), ("status",), ("node_id",)),
    )

    name: str | None = None
    status: str = "queued"
    """queued, saving, uploading, importing, active or deactivated."""
    visibility: str = "shared"
    """public, community, shared or private."""
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    """GiB."""
    min_ram: int = 0
    """MiB."""
    protected: bool = False
    os_hidden: bool = False
    tags: list[str] = []
    properties: dict[str, str] = {}
    size: int | None = None
    """Bytes of the data."""
    virtual_size: int | None = None
    """Bytes that a guest sees, where the format says it."""
    checksum: str | None = None
    """MD5, hexadecimal."""
    os_hash_value: str | None = None
    """SHA-512, hexadecimal."""
    upload: str = ""
    """Name of the upload, or id of the task, that may finish this image; another one has lost."""
    failed_import: bool = False
    """Whether the last import failed."""


class ImageCopy(Row, kw_only=True):
    """A whole, verified copy of an image's data on a node. The id is `image/node`. Written by that node."""

    __table__ = Table(name="image_copies", indexes=(("image_id",), ("node_id",)))

    image_id: str
    node_id: str


class ImageMember(Row, kw_only=True):
    """A project that a shared image is offered to. The id is `image/project`."""

    __table__ = Table(name="image_members", indexes=(("image_id",), ("member_id",)))

    image_id: str
    member_id: str
    status: str = "pending"
    """pending, accepted or rejected."""


class ImageTask(Row, kw_only=True):
    """One import of an image. One of a URL is done by the node in the image's `node_id`, which then writes `status`."""

    __table__ = Table(name="image_tasks", indexes=(("image_id",), ("status",)))

    image_id: str
    project_id: str
    user_id: str
    request_id: str
    status: str = "pending"
    """pending, processing, success or failure."""
    message: str = ""
    method: str = "glance-direct"
    uri: str = ""
    """Where a web-download comes from."""
    type: str = "api_image_import"
    """api_image_import; or import, of the tasks API, whose image goes again when it fails."""
    input: dict[str, Any] = {}
    """What was asked of the tasks API."""


class MetadefNamespace(Row, kw_only=True):
    """Metadata definitions of one subject, with all that is in it. `id` is the namespace's name."""

    __table__ = Table(name="metadef_namespaces", indexes=(("owner",),))

    owner: str = ""
    display_name: str | None = None
    description: str | None = None
    visibility: str = "private"
    """public or private."""
    protected: bool = False
    properties: dict[str, dict[str, Any]] = {}
    """Definitions by name, as they are shown."""
    objects: dict[str, dict[str, Any]] = {}
    """By name: description, required, properties, created_at, updated_at (µs)."""
    tags: dict[str, dict[str, int]] = {}
    """By name: created_at, updated_at."""
    resource_types: dict[str, dict[str, Any]] = {}
    """By name: prefix, properties_target, created_at, updated_at."""
