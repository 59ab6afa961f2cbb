"""Keeps the image files of this node in step with their rows.

Only `want="absent"` removes data. Files that no row explains are set aside, never erased; uploads whose worker
has died are given up, so that the image can be uploaded again.
"""

import logging
from collections.abc import Iterable

from node.plugins.image.data_store import DataStore
from node.plugins.image.tables import Image, ImageCopy, ImageTask
from node.sdk import AnyOp, Control, Done, NodeRow, Reconciler, Row, check, delete, patch

log = logging.getLogger("hedgerow.image")

_LIVE_CHECK_S = 5.0


class ImageSync(Reconciler):
    """One key for each image that has a row here or a file."""

    name = "images"
    watches = (Image, ImageCopy)
    workers = 1

    def __init__(self, control: Control) -> None:
        super().__init__(control)
        self._store = DataStore(control.config.state_dir)

    def keys(self) -> Iterable[str]:
        """Return the images of this node and the names of files."""
        db, own = self.control.db, self.control.node_id
        found = {image.id for image in db.rows(Image, node_id=own, order_by=())}
        found |= {copy.image_id for copy in db.rows(ImageCopy, node_id=own, order_by=())}
        found |= {image.id for image in db.rows(Image, want="absent", order_by=())}
        if self._store.directory.is_dir():
            found |= {path.name.partition(".")[0] for path in self._store.directory.glob("*.*")}
        return found

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the image itself."""
        return [id.partition("/")[0] if row_type is ImageCopy else id]

    def reconcile(self, key: str) -> Done:
        """Remove the data of a deleted image, give up a dead upload, set strange files aside."""
        image = self.control.db.get(Image, key)
        if image is None:
            self._set_aside(key)
            return Done()
        if image.want == "absent":
            return self._remove(image)
        if image.status not in ("saving", "uploading"):
            self._store.staged(key).unlink(missing_ok=True)  # imported, perhaps by another node
        return self._uploads(image) if self._is_mine(image) else Done()

    def _is_mine(self, image: Image) -> bool:
        """Return whether this node looks after the image: its data came here, or to a node that is no more."""
        if image.node_id in ("", self.control.node_id):
            return True
        return self.control.db.get(NodeRow, image.node_id) is None

    def _remove(self, image: Image) -> Done:
        """Remove this node's data of a deleted image; the last one removes the rows."""
        db, own = self.control.db, self.control.node_id
        self._store.remove(image.id)
        nodes = {node.id for node in db.rows(NodeRow)}
        copies = db.rows(ImageCopy, image_id=image.id)
        if not self._is_mine(image) or any(c.node_id in nodes - {own} for c in copies):
            mine = [copy for copy in copies if copy.node_id == own]
            return Done(ops=[delete(ImageCopy, copy.id) for copy in mine], frees=True)
        ops: list[AnyOp] = [check(image), delete(Image, image.id)]
        ops += [delete(ImageCopy, copy.id) for copy in copies]
        ops += [delete(ImageTask, task.id) for task in db.rows(ImageTask, image_id=image.id)]
        return Done(ops=ops, frees=True)

    def _uploads(self, image: Image) -> Done:
        """Look at an upload that is going on."""
        if image.status not in ("saving", "uploading") or not image.upload:
            return Done()
        if image.status == "uploading" and self._store.staged(image.id).exists():
            return Done()
        part = self._store.part(image.id, image.upload)
        age_s = (self.control.clock.now_us() - image.updated_at) / 1_000_000
        if self._store.is_alive(part) or age_s < _LIVE_CHECK_S:
            return Done(again_s=_LIVE_CHECK_S)
        log.warning("an upload of image %s has died, the image can be uploaded again", image.id)
        part.unlink(missing_ok=True)
        now = self.control.clock.now_us()
        return Done(
            ops=[check(image), patch(Image, image.id, status="queued", upload="", updated_at=now)]
        )

    def _set_aside(self, key: str) -> None:
        """Move files that no row explains out of the way: a stale store must not cost data."""
        for path in self._store.directory.glob(f"{key}.*"):
            if path.suffix == ".part":
                if not self._store.is_alive(path):
                    path.unlink(missing_ok=True)
            elif path.suffix in (".fetch", ".wanted"):
                path.unlink(missing_ok=True)
            else:
                log.warning("image file %s has no row and is set aside", path.name)
                self._store.set_aside(path)
