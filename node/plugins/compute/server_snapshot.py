"""Makes an image of a server's root disk.

A running guest stands still while its overlay is copied (QEMU writes everything out when it stops the guest), so the
image is what the disk held at one moment; the rest is done beside the running guest.
"""

from pathlib import Path

from node.plugins.compute import disk, names
from node.plugins.compute.disk import DiskError
from node.plugins.compute.drivers.hypervisor import Hypervisor
from node.plugins.compute.server_volume_ops import root_of, volumes_of_server
from node.plugins.compute.tables import Server
from node.sdk import Control, ImageChange, images_of


class ServerSnapshots:
    """Makes images of this node's servers."""

    def __init__(self, control: Control, hypervisor: Hypervisor) -> None:
        self._control = control
        self._hypervisor = hypervisor

    def take(self, server: Server) -> None:
        """Make the server's disk the data of the image that its job names.

        Raises:
            DiskError: it cannot be done; the image is given up.
        """
        whole = names.disk_path(self._control.config.state_dir, server.id).with_name("snapshot")
        try:
            if not whole.exists():
                self._flatten(server, whole)
            self._change(server, ImageChange(path=whole, disk_format="qcow2"))
        except DiskError:
            self.give_up(server)
            raise
        finally:
            self._go_on(server)
        whole.unlink(missing_ok=True)
        for image_id in filter(None, server.job_data.get("rotated", "").split(",")):
            whole_gone = ImageChange(only_without_data=False)
            images_of(self._control.hook).change(self._control, image_id, whole_gone)

    def give_up(self, server: Server) -> None:
        """Delete the image that the server's job names: its data will not come."""
        self._change(server, ImageChange())

    def drop(self, server: Server) -> None:
        """Delete the image of a server that was shelved and lives from a disk again."""
        self._change(server, ImageChange(only_without_data=False))

    def _change(self, server: Server, change: ImageChange) -> None:
        image_id = server.job_data.get("image_id", "")
        images_of(self._control.hook).change(self._control, image_id, change)

    def _flatten(self, server: Server, whole: Path) -> None:
        root = names.disk_path(self._control.config.state_dir, server.id)
        if root_of(volumes_of_server(self._control.db, server.id)) is not None:
            whole.touch()  # the image only names snapshots of volumes, which the request made
            return
        still = whole.with_name("snapshot.overlay")
        self._hypervisor.pause(server.id)
        try:
            disk.copy_file(root, still)
        finally:
            self._go_on(server)
        try:
            disk.convert(still, "qcow2", whole, "qcow2")
        finally:
            still.unlink(missing_ok=True)

    def _go_on(self, server: Server) -> None:
        """Let the guest run on, if it ran: also after a crash in the middle of an earlier try."""
        if server.have == "active" and server.job_kind == "snapshot":
            self._hypervisor.unpause(server.id)
