"""Keeps copies of images on as many nodes as wished, and on those that run servers from them.

A copy is whole and verified before its row says so; the row goes before the file does. Each node looks after its own
copy only: which nodes should have one, all of them decide alike (copy_rules).
"""

import logging
import os
from collections.abc import Iterable, Sequence

from node.plugins.image import copy_data, copy_rules
from node.plugins.image.data_store import DataStore
from node.plugins.image.section import ImageSection
from node.plugins.image.tables import Image, ImageCopy
from node.sdk import AnyOp, Control, Done, NodeRow, Reconciler, Row, check, delete, insert

log = logging.getLogger("hedgerow.image")

_HOUR_S = 3600.0
_ATTEMPTS = 5
HELD = ("active", "deactivated")


class ImageCopySync(Reconciler):
    """One key for each image."""

    name = "image-copies"
    watches = (Image, ImageCopy)
    resync_s = 120.0
    workers = 2

    def __init__(self, control: Control) -> None:
        super().__init__(control)
        self._store = DataStore(control.config.state_dir)
        self._section = control.config.section(ImageSection)

    def keys(self) -> Iterable[str]:
        """Return all images that have data."""
        return [image.id for image in self.control.db.rows(Image, status=list(HELD), order_by=())]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the image."""
        return [id.partition("/")[0] if row_type is ImageCopy else id]

    def reconcile(self, key: str) -> Done:
        """Make, adopt, or let go of this node's copy of one image."""
        image = self.control.db.get(Image, key)
        if image is None or image.want == "absent" or image.status not in HELD:
            return Done()  # the files are ImageSync's
        copies = self.control.db.rows(ImageCopy, image_id=key)
        nodes = self.control.db.rows(NodeRow)
        own = self._own_id(key)
        if any(copy.id == own for copy in copies):
            return self._keep(image, copies, nodes)
        if self._store.path(key).exists():
            return self._adopt(image)
        wanted = self._store.wanted(key)
        short = copy_rules.short_of(
            key, nodes, copies, self._section.copies, self.control.clock.now_us()
        )
        if copies and (wanted.exists() or self.control.node_id in short):
            return self._fetch(image, copies, nodes)
        self._store.fetching(key).unlink(missing_ok=True)
        return Done()

    def _own_id(self, image_id: str) -> str:
        return f"{image_id}/{self.control.node_id}"

    def _fetch(self, image: Image, copies: Sequence[ImageCopy], nodes: list[NodeRow]) -> Done:
        part = self._store.fetching(image.id)
        found = copy_rules.sources(image.id, nodes, copies, self.control.node_id)
        path = copy_data.copy_path(image.id)
        copy_data.fetch(
            self.control.data_port, image, found, path, part, lambda: self._useless(image.id)
        )
        now_us = self.control.clock.now_us()
        os.utime(part, (now_us / 1e6, now_us / 1e6))
        self._store.keep(part, self._store.path(image.id))
        log.info("image fetched", extra={"image": image.id, "bytes": image.size})
        return self._note(image.id)

    def _useless(self, image_id: str) -> bool:
        """Return whether a fetch may end: the node goes down or the image was deleted."""
        image = None if self.control.stopping() else self.control.db.get(Image, image_id)
        return image is None or image.want == "absent"

    def _note(self, image_id: str) -> Done:
        """Say that this node has a whole copy; drop the file where the image went meanwhile."""
        now = self.control.clock.now_us()
        row = ImageCopy(
            id=self._own_id(image_id),
            image_id=image_id,
            node_id=self.control.node_id,
            created_at=now,
            updated_at=now,
        )
        for _attempt in range(_ATTEMPTS):
            image = self.control.db.get(Image, image_id)
            if image is None or image.want == "absent":
                self._store.remove(image_id)
                return Done()
            if self.control.commit([check(image), insert(row)]):
                self._store.wanted(image_id).unlink(missing_ok=True)
                break
        return Done()

    def _adopt(self, image: Image) -> Done:
        """Take a file without its row: a fetch that was cut off at its very end, or from before there were rows."""
        path = self._store.path(image.id)
        if copy_data.digest(path) == image.os_hash_value:
            return self._note(image.id)
        log.error("the copy of image %s is damaged and is set aside", image.id)
        self._store.set_aside(path)
        return Done(again_s=1.0)

    def _keep(self, image: Image, copies: Sequence[ImageCopy], nodes: list[NodeRow]) -> Done:
        known = {node.id for node in nodes}
        ops: list[AnyOp] = []
        if known:
            ops = [
                delete(ImageCopy, copy.id) for copy in copies if copy.node_id not in known | {""}
            ]
        path = self._store.path(image.id)
        if not path.exists():
            log.error("the copy of image %s is gone from this node's disk", image.id)
            return Done(ops=[delete(ImageCopy, self._own_id(image.id))])
        if ops:
            return Done(ops=ops)
        kept = copy_rules.may_go(
            image.id, nodes, copies, self._section.copies, self.control.node_id
        )
        unused_s = self.control.clock.now_us() / 1e6 - path.stat().st_mtime
        if not kept or unused_s < self._section.cache_hours * _HOUR_S:
            return Done()
        rests_on: list[AnyOp] = [check(copy) for copy in kept]
        if self.control.commit([*rests_on, delete(ImageCopy, self._own_id(image.id))], frees=True):
            log.info("image let go: other nodes keep it", extra={"image": image.id})
            self._store.remove(image.id)
        return Done()
