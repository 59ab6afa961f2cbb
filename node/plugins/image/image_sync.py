"""Keeps the image files of this node in step with their rows.

Only `want="absent"` removes data. Files that no row explains are set aside, never erased; uploads whose worker
has died are given up, so that the image can be uploaded again.
"""

import logging
from collections.abc import Iterable

from node.plugins.image.data_store import DataStore
from node.plugins.image.tables import Image, ImageTask
from node.sdk import AnyOp, Control, Done, Reconciler, Row, check, delete, patch

log = logging.getLogger("hedgerow.image")

_LIVE_CHECK_S = 5.0


class ImageSync(Reconciler):
    """One key for each image that has a row here or a file."""

    name = "images"
    watches = (Image,)
    workers = 1

    def __init__(self, control: Control) -> None:
        super().__init__(control)
        self._store = DataStore(control.config.state_dir)

    def keys(self) -> Iterable[str]:
        """Return the images of this node and the names of files."""
        found = {image.id for image in self.control.db.rows(Image, node_id=self.control.node_id)}
        if self._store.directory.is_dir():
            found |= {path.name.partition(".")[0] for path in self._store.directory.glob("*.*")}
        return found

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the image itself."""
        del row_type
        return [id]

    def reconcile(self, key: str) -> Done:
        """Remove the data of a deleted image, give up a dead upload, set strange files aside."""
        image = self.control.db.get(Image, key)
        if image is None:
            self._set_aside(key)
            return Done()
        if image.node_id not in ("", self.control.node_id):
            return Done()
        if image.want == "absent":
            self._store.remove(key)
            tasks = self.control.db.rows(ImageTask, image_id=key)
            ops: list[AnyOp] = [check(image), delete(Image, key)]
            return Done(ops=[*ops, *(delete(ImageTask, task.id) for task in tasks)], frees=True)
        return self._uploads(image)

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
        quarantine = self._store.directory / "quarantine"
        for path in self._store.directory.glob(f"{key}.*"):
            if path.suffix == ".part":
                if not self._store.is_alive(path):
                    path.unlink(missing_ok=True)
                continue
            quarantine.mkdir(mode=0o700, exist_ok=True)
            log.warning("image file %s has no row and is set aside", path.name)
            path.rename(quarantine / path.name)
