"""Data of an image that comes from this node itself: a server's disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.plugins.image.data_store import DataStore, verify
from node.plugins.image.section import ImageSection
from node.plugins.image.tables import Image, ImageCopy
from node.sdk import AnyOp, Control, Count, Unavailable, check, patch, put

_GIB = 1 << 30
_ATTEMPTS = 5
WITHOUT_DATA = ("queued", "saving")
ANY = (*WITHOUT_DATA, "active", "deactivated")


def store(control: Control, image_id: str, path: Path, disk_format: str) -> None:
    """Make a copy of a file the data of an image. To be repeated until it returns.

    Raises:
        Unavailable: 503, the image is being changed: try again.
        DiskFull: 507.
    """
    upload = control.ids.hex()
    claim = {"status": "saving", "upload": upload, "node_id": control.node_id}
    if not _change(control, image_id, ("queued", "saving"), claim, ()):
        return
    data = DataStore(control.config.state_dir)
    part = data.part(image_id, upload)
    limit_bytes = control.config.section(ImageSection).max_image_gib * _GIB
    with path.open("rb") as source:
        stored = data.receive(source, part, limit_bytes)
    virtual_size = verify(stored, disk_format)
    data.keep(part, data.path(image_id))
    own = own_copy(control, image_id)
    facts = {
        "status": "active",
        "upload": "",
        "disk_format": disk_format,
        "size": stored.size,
        "virtual_size": virtual_size,
        "checksum": stored.checksum,
        "os_hash_value": stored.os_hash_value,
    }
    _change(control, image_id, ("saving",), facts, (put(own),))


def own_copy(control: Control, image_id: str) -> ImageCopy:
    """Return the row that says that this node has an image's data."""
    now = control.clock.now_us()
    return ImageCopy(
        id=f"{image_id}/{control.node_id}",
        image_id=image_id,
        node_id=control.node_id,
        created_at=now,
        updated_at=now,
    )


def drop(control: Control, image_id: str, statuses: tuple[str, ...]) -> None:
    """Delete an image that has one of the statuses.

    Raises:
        Unavailable: 503, the image is being changed: try again.
    """
    image = control.db.get(Image, image_id)
    if image is not None:
        quota = Count(f"quota:{image.project_id}:images", -1)
        fields = {"want": "absent", "upload": ""}
        _change(control, image_id, statuses, fields, (quota,))


def _change(
    control: Control,
    image_id: str,
    statuses: tuple[str, ...],
    fields: Mapping[str, Any],
    more: tuple[AnyOp, ...],
) -> bool:
    """Change an image that has one of the statuses; False when it has another, or is gone."""
    for _attempt in range(_ATTEMPTS):
        image = control.db.get(Image, image_id)
        if image is None or image.want == "absent" or image.status not in statuses:
            return False
        changes = {**fields, "updated_at": control.clock.now_us()}
        if control.commit([check(image), patch(Image, image_id, **changes), *more]):
            return True
    raise Unavailable(f"Image {image_id} is being changed: try again")
