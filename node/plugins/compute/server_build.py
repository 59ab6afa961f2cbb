"""Makes what a server needs before it can run: its disks, its config drive, its domain.

Each step looks first whether its result is there and makes it whole or not at all: a build that was cut off anywhere
is simply run again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from node.plugins.compute import disk, names
from node.plugins.compute.config_drive import make_config_drive
from node.plugins.compute.disk import DiskError, ImageError
from node.plugins.compute.domain_xml import DiskPlan, DomainPlan
from node.plugins.compute.host import architecture
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.metadata_facts import facts_of
from node.plugins.compute.metadata_render import config_drive_files
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_plan import domain_plan, flavor_of, root_size_bytes
from node.plugins.compute.server_volume_ops import root_of, volumes_of_server
from node.plugins.compute.tables import FlavorFacts, Server
from node.sdk import Control, ImageSource, NotFound, PortState, images_of

_GIB, _MIB = 2**30, 2**20


class ServerBuilder:
    """Builds servers of one node."""

    def __init__(self, control: Control, files: ServerFiles, section: HypervisorSection) -> None:
        self._control = control
        self._files = files
        self._section = section
        self.state_dir: Path = control.config.state_dir

    def ports(self, server: Server) -> Sequence[PortState]:
        """Return the server's interfaces in their order."""
        found: Mapping[str, Sequence[PortState]] | None = self._control.hook.port_states(
            db=self._control.db, server_ids=[server.id]
        )
        return (found or {}).get(server.id, ())

    def plan(
        self,
        server: Server,
        ports: Sequence[PortState],
        virt_type: str,
        volumes: Sequence[DiskPlan] = (),
    ) -> DomainPlan:
        """Return what the server's domain is made of."""
        return domain_plan(
            server,
            ports,
            self.properties(server),
            self._section,
            state_dir=self.state_dir,
            virt_type=virt_type,
            arch=architecture(),
            volumes=volumes,
        )

    def make_disks(self, server: Server) -> None:
        """Make the disks and the config drive that are missing.

        Raises:
            DiskError: one cannot be made; the message names it.
        """
        self._files.directory(server.id)
        flavor = flavor_of(server)
        root = names.disk_path(self.state_dir, server.id)
        if not root.exists() and not self.boots_from_volume(server):
            self._make_root(server, flavor, root)
        extra = root.with_name("disk.eph0")
        if flavor.ephemeral_gib and not extra.exists():
            disk.make_ephemeral(extra, flavor.ephemeral_gib * _GIB)
        swap = root.with_name("disk.swap")
        if flavor.swap_mib and not swap.exists():
            disk.make_swap(swap, flavor.swap_mib * _MIB)
        drive = names.config_drive_path(self.state_dir, server.id)
        if server.config_drive and not drive.exists():
            make_config_drive(drive, self._metadata(server))

    def boots_from_volume(self, server: Server) -> bool:
        """Return whether a server has no root disk of its own."""
        return root_of(volumes_of_server(self._control.db, server.id)) is not None

    def make_rescue_disk(self, server: Server, image_id: str) -> None:
        """Make the disk that a server in rescue boots from, a whole copy of an image.

        Raises:
            DiskError: it cannot be made.
            Unavailable: 503, the image is on its way from another node.
        """
        target = names.rescue_path(self.state_dir, server.id)
        source = self._open_image(image_id)
        if source is None:
            raise DiskError(f"image {image_id} cannot be found")
        try:
            disk.inspect(source.path, source.disk_format)
            disk.convert(source.path, source.disk_format, target, "qcow2")
        finally:
            source.release()

    def forget_disks(self, server: Server) -> None:
        """Remove the disks of a server that is rebuilt from an image."""
        base = self._files.record(server.id).base
        self._files.remove_disks(server.id)
        record = self._files.record(server.id)
        self._files.remember(
            server.id, msgspec.structs.replace(record, base="", disk_job=server.job)
        )
        self._files.drop_base(base)

    def _make_root(self, server: Server, flavor: FlavorFacts, root: Path) -> None:
        image_id = _image_of(server)
        if not image_id:
            raise ImageError(f"server {server.id} has neither an image nor a volume to boot from")
        source = None if self._files.find_base(image_id) else self._open_image(image_id)
        try:
            base, facts = self._files.keep_base(server.id, image_id, source)
        except DiskError as error:
            message = f"Image {image_id} cannot be used: {error.message}"
            raise type(error)(message) from error
        finally:
            if source is not None:
                source.release()
        size_bytes = root_size_bytes(flavor, facts.virtual_size_bytes)
        disk.make_overlay(root, base, facts.format, size_bytes)

    def _open_image(self, image_id: str) -> ImageSource | None:
        try:
            return images_of(self._control.hook).open(self._control, image_id)
        except NotFound as error:
            raise DiskError(f"Image {image_id} cannot be used: {error.message}") from error

    def properties(self, server: Server) -> Mapping[str, str]:
        """Return the properties of a server's image."""
        if not server.image_id:
            return {}
        facts = images_of(self._control.hook).facts(self._control.db, server.image_id)
        return facts.properties if facts is not None else {}

    def _metadata(self, server: Server) -> Mapping[str, bytes]:
        found = facts_of(self._control.db, self._control.hook, server.id)
        if found is None:
            raise DiskError(f"there is no metadata of server {server.id} for its config drive")
        return config_drive_files(found)


def _image_of(server: Server) -> str:
    """Return the image that the root disk begins as: of a server that was shelved its own."""
    own = server.job_data.get("image_id", "") if server.job_kind == "unshelve" else ""
    return own or server.image_id
