"""What plugins hand each other through first-result hooks, as plain data.

Plugins never import each other; these Structs are the whole of what they share.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from node.types import Frozen

if TYPE_CHECKING:
    from node.control.reconciler import Control
    from node.state.reader import Reader


class PortWish(Frozen):
    """One network interface that a server asks for."""

    network_id: str = ""
    port_id: str = ""
    """An existing port; then nothing else is given."""
    fixed_ip: str = ""
    tag: str = ""


class PortRequest(Frozen):
    """What `port_plan` gets."""

    server_id: str
    node_id: str
    """Where the ports will be bound."""
    project_id: str
    wishes: tuple[PortWish, ...] | None
    """None: automatic, one port on each network of the project (409 when it is ambiguous); empty: no interface."""
    security_groups: tuple[str, ...] = ()
    """Names or ids; empty: `default`."""
    availability_zone: str = "nova"
    hostname: str = ""
    first_slot: int = 0
    """Place of the first one among the server's interfaces: how many it has already."""


class PortPlan(Frozen):
    """What `port_plan` answers."""

    ops: tuple[Any, ...]
    """Operations for the caller's transaction, address allocations and quota counts included."""
    port_ids: tuple[str, ...]
    created: tuple[bool, ...]
    """Which of the ports were made for this server and go with it."""


class FixedIp(Frozen):
    """An address of a port with what a guest needs to configure it by hand."""

    address: str
    version: int
    subnet_id: str
    cidr: str
    gateway: str = ""
    dns: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    """(destination CIDR, next hop)."""
    dhcp: bool = True


class PortState(Frozen):
    """One interface of a server, as compute needs it."""

    id: str
    network_id: str
    network_name: str
    mac: str
    mtu_bytes: int
    fixed_ips: tuple[FixedIp, ...]
    floating_ips: tuple[str, ...] = ()
    floating_of: tuple[str, ...] = ()
    """The fixed address of each floating one."""
    tap: str = ""
    """Name of the tap device on the node, made and owned by the network plugin."""
    plugged: bool = False
    """Whether the tap exists on the port's node and its rules are in force: only then may the server start."""
    node_id: str = ""
    security_groups: tuple[str, ...] = ()
    """Names."""
    created_for_server: bool = True
    admin_up: bool = True
    tag: str = ""


class ServerMetadata(Frozen):
    """What the metadata service at 169.254.169.254 serves to one server, rendered whole."""

    files: dict[str, bytes]
    """Content by path below the root, no leading slash: `openstack/latest/meta_data.json`, `latest/meta-data/hostname`.

    Directory listings come from the paths, in their order. A path that ends in `/` is the listing of that directory,
    where the paths do not say it: `latest/meta-data/public-keys/` holds `0=mykey`.
    """
    accept: Callable[[str, bytes], tuple[int, Sequence[Any]]] | None = None
    """Called with path and body of what the guest posts; answers an HTTP status and the operations to commit."""


class ImageFacts(Frozen):
    """What compute must know of an image before it takes it."""

    id: str
    name: str
    status: str
    disk_format: str
    container_format: str
    size_bytes: int
    virtual_size_bytes: int
    min_disk_gib: int
    min_ram_mib: int
    project_id: str
    visibility: str
    checksum: str = ""
    properties: dict[str, str] = {}
    members: tuple[str, ...] = ()
    """Projects that a shared image is offered to."""


class ImageChange(Frozen):
    """What `Images.change` is to do."""

    path: Path | None = None
    """A local file, a copy of which becomes the image's data; None: delete the image."""
    disk_format: str = ""
    only_without_data: bool = True
    """Delete the image only while it has no data: what was to become its data will not come."""


class ImageSource(Frozen):
    """A local, complete, verified file with an image's data."""

    path: Path
    disk_format: str
    virtual_size_bytes: int
    release: Callable[[], None]
    """Call when the file is no longer read. Who needs it for longer (an overlay) makes a hard link first."""


class Images(Protocol):
    """The images of this cloud: what the hook `images` returns. Stateless; any thread may use it."""

    def facts(self, db: "Reader", image_id: str) -> ImageFacts | None:
        """Return what is to be known of an image before it is used; None: there is none."""

    def open(self, control: "Control", image_id: str) -> ImageSource | None:
        """Return a local file with the image's data, kept until released; None: there is no active image.

        Raises:
            NotFound: no node has the data.
            Unavailable: 503, it is on its way from another node: ask again soon.
        """

    def change(self, control: "Control", image_id: str, change: ImageChange) -> bool:
        """Give a registered image its data, or delete it.

        True when there is nothing more to do: it was done, or the image was deleted meanwhile.
        """


class NoImages:
    """Images of a cloud without an image service."""

    def facts(self, db: "Reader", image_id: str) -> ImageFacts | None:
        """Return None."""
        del db, image_id
        return None

    def open(self, control: "Control", image_id: str) -> ImageSource | None:
        """Return None."""
        del control, image_id
        return None

    def change(self, control: "Control", image_id: str, change: ImageChange) -> bool:
        """Return that there is nothing to do."""
        del control, image_id, change
        return True


def images_of(hook: Any) -> Images:
    """Return the images of the cloud whose hooks these are: `ctx.hook` or `control.hook`."""
    found: Images | None = hook.images()
    return found or NoImages()
