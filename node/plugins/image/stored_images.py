"""The images of this cloud as other plugins see them."""

from node.plugins.image import copy_rules, local_data
from node.plugins.image.data_store import DataStore
from node.plugins.image.tables import Image, ImageCopy, ImageMember
from node.sdk import (
    Control,
    ImageChange,
    ImageFacts,
    ImageSource,
    NodeRow,
    NotFound,
    Reader,
    Unavailable,
)


class StoredImages:
    """Images over rows and the files of the nodes."""

    def facts(self, db: Reader, image_id: str) -> ImageFacts | None:
        """Return what others must know of an image."""
        image = db.get(Image, image_id)
        if image is None or image.want == "absent":
            return None
        members: tuple[str, ...] = ()
        if image.visibility == "shared":
            members = tuple(member.member_id for member in db.rows(ImageMember, image_id=image_id))
        return ImageFacts(
            id=image.id,
            name=image.name or "",
            status=image.status,
            disk_format=image.disk_format or "",
            container_format=image.container_format or "",
            size_bytes=image.size or 0,
            virtual_size_bytes=image.virtual_size or 0,
            min_disk_gib=image.min_disk,
            min_ram_mib=image.min_ram,
            project_id=image.project_id,
            visibility=image.visibility,
            checksum=image.checksum or "",
            properties=image.properties,
            members=members,
        )

    def open(self, control: Control, image_id: str) -> ImageSource | None:
        """Return the file of an active image; one that this node does not have is sent for."""
        image = control.db.get(Image, image_id)
        if image is None or image.status != "active":
            return None
        store = DataStore(control.config.state_dir)
        path = store.path(image_id)
        if not path.exists():
            raise _sent_for(control, store, image)
        store.mark_used(image_id, control.clock.now_us())
        return ImageSource(
            path=path,
            disk_format=image.disk_format or "raw",
            virtual_size_bytes=image.virtual_size or image.size or 0,
            release=_nothing_to_release,
        )

    def change(self, control: Control, image_id: str, change: ImageChange) -> bool:
        """Make a local file the data of an image, or delete the image."""
        if change.path is not None:
            local_data.store(control, image_id, change.path, change.disk_format)
        elif change.only_without_data:
            local_data.drop(control, image_id, local_data.WITHOUT_DATA)
        else:
            local_data.drop(control, image_id, local_data.ANY)
        return True


def _sent_for(control: Control, store: DataStore, image: Image) -> NotFound | Unavailable:
    """Have an image fetched; say where it comes from, or that it comes from nowhere."""
    copies = control.db.rows(ImageCopy, image_id=image.id)
    nodes = copy_rules.sources(image.id, control.db.rows(NodeRow), copies, control.node_id)
    if not nodes:
        return NotFound(f"No node that holds the data of image {image.id} is up")
    from node.plugins.image.copy_sync import ImageCopySync

    store.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    store.wanted(image.id).touch()
    control.wake(ImageCopySync.name, image.id)
    return Unavailable(f"Image {image.id} is on its way from {nodes[0].name}")


def _nothing_to_release() -> None:
    """Do nothing: the file is local and stays until its image is deleted."""
