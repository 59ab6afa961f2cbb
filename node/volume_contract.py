"""What the block plugin gives to compute: the Volumes that the hook `volumes` returns, and its plain data.

An attachment joins one volume to one server. Its life: `plan_attach` reserves the volume in the transaction of the
request; the server's node calls `connect` (again while that raises Unavailable), plugs the link into the guest, and
commits `attached_ops`. To end it the request commits `plan_detach`; the node takes the disk out of the guest,
calls `disconnect`, and commits `detached_ops`. All of it may be repeated after a crash at any point.
"""
# ruff: noqa: ARG002 - NoVolumes has no use for its arguments

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from node.errors import NotFound
from node.types import Frozen

if TYPE_CHECKING:
    from node.api.context import Context
    from node.control.reconciler import Control
    from node.state.reader import Reader


class VolumeFacts(Frozen):
    """What compute must know of a volume."""

    id: str
    name: str
    project_id: str
    status: str
    """Cinder's: available, in-use, creating, error, …"""
    size_gib: int
    bootable: bool = False
    multiattach: bool = False
    encrypted: bool = False
    zone: str = ""
    node_id: str = ""
    """The only node that can use it; empty: every node can."""
    type_id: str = ""
    image: Mapping[str, str] = {}
    """Metadata of the image that it was made from: `image_id`, `min_ram`, properties."""


class VolumeSnapshotFacts(Frozen):
    """What compute must know of a snapshot of a volume."""

    id: str
    name: str
    project_id: str
    volume_id: str
    status: str
    size_gib: int


class AttachWish(Frozen):
    """An attachment that is asked for."""

    attachment_id: str
    server_id: str
    node_id: str = ""
    """Where the server is; empty: not known yet."""
    device: str = ""
    """As the guest sees it: /dev/vdb."""
    read_only: bool = False


class VolumeWish(Frozen):
    """A volume that is made for a server."""

    project_id: str
    size_gib: int
    """0: as large as its source."""
    name: str = ""
    image_id: str = ""
    snapshot_id: str = ""
    """At most one source; none: a blank volume."""
    type: str = ""
    """Name or id of its volume type; empty: the default."""
    zone: str = ""
    node_id: str = ""
    """Where the server is."""


class VolumePlan(Frozen):
    """What `plan_create` and `plan_snapshot` answer."""

    id: str
    ops: tuple[Any, ...]
    """For the caller's transaction; quota counts are among them."""


class VolumeLink(Frozen):
    """How the node that uses a volume reaches its data: NBD on a local socket."""

    socket: Path
    export: str
    size_bytes: int
    read_only: bool = False
    shared: bool = False
    """Whether other guests use it too."""


class AttachmentState(Frozen):
    """One attachment of a server."""

    id: str
    volume_id: str
    server_id: str
    status: str
    """reserved, attaching, attached or detaching."""
    device: str = ""


class Volumes(Protocol):
    """The volumes of this cloud. Stateless; any thread may use it."""

    def facts(self, db: "Reader", volume_id: str) -> VolumeFacts | None:
        """Return what is to be known of a volume; None: there is none."""

    def snapshot_facts(self, db: "Reader", snapshot_id: str) -> VolumeSnapshotFacts | None:
        """Return what is to be known of a snapshot; None: there is none."""

    def attachments(
        self, db: "Reader", server_ids: Sequence[str]
    ) -> Mapping[str, list[AttachmentState]]:
        """Return the attachments of servers by server id; every id given is a key."""

    def plan_create(
        self, ctx: "Context", wish: VolumeWish, attach: AttachWish | None = None
    ) -> VolumePlan:
        """Plan a new volume, reserved for a server at once where `attach` says which.

        Raises:
            BadRequest: 400.
            NotFound: 404, the source is not there.
        """

    def plan_attach(self, ctx: "Context", volume_id: str, wish: AttachWish) -> Sequence[Any]:
        """Return the operations that reserve a volume for a server; they check the volume's row.

        Raises:
            NotFound: 404, no volume of the caller's has that id.
            BadRequest: 400, its status does not allow it.
        """

    def plan_detach(self, db: "Reader", attachment_id: str, now_us: int) -> Sequence[Any]:
        """Return the operations that begin to end an attachment; none where it is ending already."""

    def plan_snapshot(self, ctx: "Context", volume_id: str, name: str) -> VolumePlan:
        """Plan a snapshot of a volume, in use or not."""

    def connect(self, control: "Control", attachment_id: str) -> VolumeLink:
        """Make the volume's data reachable on this node.

        Raises:
            Unavailable: 503, not yet: ask again soon.
            Conflict: 409, it never will be; the message says why.
        """

    def disconnect(self, control: "Control", attachment_id: str) -> None:
        """Let go of what `connect` made; no guest of this node uses it through this attachment any more."""

    def attached_ops(
        self, db: "Reader", attachment_id: str, node_id: str, now_us: int
    ) -> Sequence[Any]:
        """Return the operations by which a node reports that the guest has the volume."""

    def detached_ops(
        self, db: "Reader", attachment_id: str, now_us: int, *, delete: bool = False
    ) -> Sequence[Any]:
        """Return the operations that end an attachment; with `delete` the volume goes too once nobody uses it."""


class NoVolumes:
    """Volumes of a cloud without a block storage service."""

    def facts(self, db: "Reader", volume_id: str) -> VolumeFacts | None:
        """Return None."""
        del db, volume_id
        return None

    def snapshot_facts(self, db: "Reader", snapshot_id: str) -> VolumeSnapshotFacts | None:
        """Return None."""
        del db, snapshot_id
        return None

    def attachments(
        self, db: "Reader", server_ids: Sequence[str]
    ) -> Mapping[str, list[AttachmentState]]:
        """Return that no server has any."""
        del db
        return {server_id: [] for server_id in server_ids}

    def plan_create(
        self, ctx: "Context", wish: VolumeWish, attach: AttachWish | None = None
    ) -> VolumePlan:
        """Refuse."""
        raise NotFound("This cloud has no block storage service.")

    def plan_attach(self, ctx: "Context", volume_id: str, wish: AttachWish) -> Sequence[Any]:
        """Refuse."""
        raise NotFound(f"Volume {volume_id} could not be found.")

    def plan_detach(self, db: "Reader", attachment_id: str, now_us: int) -> Sequence[Any]:
        """Return no operations."""
        return ()

    def plan_snapshot(self, ctx: "Context", volume_id: str, name: str) -> VolumePlan:
        """Refuse."""
        raise NotFound(f"Volume {volume_id} could not be found.")

    def connect(self, control: "Control", attachment_id: str) -> VolumeLink:
        """Refuse."""
        raise NotFound(f"Attachment {attachment_id} could not be found.")

    def disconnect(self, control: "Control", attachment_id: str) -> None:
        """Do nothing."""

    def attached_ops(
        self, db: "Reader", attachment_id: str, node_id: str, now_us: int
    ) -> Sequence[Any]:
        """Return no operations."""
        return ()

    def detached_ops(
        self, db: "Reader", attachment_id: str, now_us: int, *, delete: bool = False
    ) -> Sequence[Any]:
        """Return no operations."""
        return ()


def volumes_of(hook: Any) -> Volumes:
    """Return the volumes of the cloud whose hooks these are: `ctx.hook` or `control.hook`."""
    found: Volumes | None = hook.volumes()
    return found or NoVolumes()
