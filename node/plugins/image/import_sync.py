"""Imports of URLs that are this node's to do.

An import is begun again after a crash, from its beginning. Whatever goes wrong with the source ends it: the image can
be imported again then, and says so.
"""

import logging
from collections.abc import Iterable
from typing import Any

from node.plugins.image import local_data, web_source
from node.plugins.image.data_store import DataStore, Stored, verify
from node.plugins.image.section import ImageSection
from node.plugins.image.tables import Image, ImageTask
from node.sdk import (
    AnyOp,
    BadRequest,
    Control,
    Count,
    DiskFull,
    Done,
    NodeError,
    Reconciler,
    Row,
    TooLarge,
    check,
    delete,
    patch,
    put,
)

log = logging.getLogger("hedgerow.image")

_GIB = 1 << 30
_OPEN = ("pending", "processing")


class ImageImportSync(Reconciler):
    """One key for each task that is not done."""

    name = "image_imports"
    watches = (ImageTask,)
    workers = 2

    def __init__(self, control: Control) -> None:
        super().__init__(control)
        self._store = DataStore(control.config.state_dir)
        self._section = control.config.section(ImageSection)

    def keys(self) -> Iterable[str]:
        """Return the tasks that are not done."""
        return [task.id for status in _OPEN for task in self.control.db.rows(ImageTask, status=status)]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the task itself."""
        del row_type
        return [id]

    def reconcile(self, key: str) -> Done:
        """Do one import, where its image is this node's."""
        task = self.control.db.get(ImageTask, key)
        if task is None or task.status not in _OPEN:
            return Done()
        image = self.control.db.get(Image, task.image_id)
        if image is None or image.want == "absent" or image.upload != task.id:
            return Done(ops=[self._ended(task, "failure", "The image was deleted")])
        if image.node_id != self.control.node_id:
            return Done()
        if task.status == "pending":
            self.control.commit([check(task), patch(ImageTask, task.id, status="processing")])
        try:
            stored, virtual_size = self._fetch(image, task)
        except (web_source.ImportFailed, BadRequest, TooLarge, DiskFull) as error:
            log.warning("image %s is not imported: %s", image.id, error.message)
            return Done(ops=self._failure(image, task, error))
        return Done(ops=self._success(image, task, stored, virtual_size))

    def _fetch(self, image: Image, task: ImageTask) -> tuple[Stored, int | None]:
        part = self._store.part(image.id, task.id)
        part.unlink(missing_ok=True)  # of a run that was cut off
        limit_bytes = self._section.max_image_gib * _GIB
        try:
            with web_source.opened(task.uri, self._section, self.control.stopping) as source:
                stored = self._store.receive(source, part, limit_bytes)
            virtual_size = verify(
                stored, image.disk_format, match=self._section.require_image_format_match
            )
            self._store.keep(part, self._store.path(image.id))
        finally:
            part.unlink(missing_ok=True)
        return stored, virtual_size

    def _success(
        self, image: Image, task: ImageTask, stored: Stored, virtual_size: int | None
    ) -> list[AnyOp]:
        facts: dict[str, Any] = {
            "status": "active",
            "upload": "",
            "failed_import": False,
            "size": stored.size,
            "virtual_size": virtual_size,
            "checksum": stored.checksum,
            "os_hash_value": stored.os_hash_value,
            "updated_at": self.control.clock.now_us(),
        }
        own = local_data.own_copy(self.control, image.id)
        return [check(image), patch(Image, image.id, **facts), put(own), self._ended(task, "success", "")]

    def _failure(self, image: Image, task: ImageTask, error: NodeError) -> list[AnyOp]:
        ended = self._ended(task, "failure", error.message)
        if task.type == "import":  # the task made the image, and takes it away
            quota = Count(f"quota:{image.project_id}:images", -1)
            return [check(image), delete(Image, image.id), quota, ended]
        now = self.control.clock.now_us()
        facts = {"status": "queued", "upload": "", "failed_import": True, "updated_at": now}
        return [check(image), patch(Image, image.id, **facts), ended]

    def _ended(self, task: ImageTask, status: str, message: str) -> AnyOp:
        now = self.control.clock.now_us()
        return patch(ImageTask, task.id, status=status, message=message, updated_at=now)
