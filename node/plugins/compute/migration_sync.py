"""Live migration on its destination: makes room for a guest that runs elsewhere, and says so."""

import errno
import fcntl
import logging
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import msgspec

from node.plugins.compute import migration_tunnel
from node.plugins.compute.disk import DiskError
from node.plugins.compute.host import boot_id
from node.plugins.compute.migration_fetch import Fetch
from node.plugins.compute.migration_ops import stay_ops
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.tables import Migration, Server
from node.sdk import Control, Done, Reconciler, Row, check, patch

log = logging.getLogger("hedgerow.compute")

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
"""Source: linux/if_tun.h."""


class MigrationSync(Reconciler):
    """Prepares for guests that come; keys are ids of migrations."""

    name: ClassVar[str] = "live_migrations"
    watches: ClassVar[tuple[type[Row], ...]] = (Migration,)
    resync_s: ClassVar[float] = 30.0
    workers: ClassVar[int] = 2

    def __init__(
        self,
        control: Control,
        files: ServerFiles,
        builder: ServerBuilder,
        libvirt_root: Path,
        tap: Callable[[str, bool], None] | None = None,
    ) -> None:
        """Take the parts; `tap` makes a persistent tap, or lets it go."""
        super().__init__(control)
        self._tap = tap or persist_tap
        self._files = files
        self._builder = builder
        self._root = libvirt_root
        self._fetch = Fetch(control.data_port, files, control.config.state_dir, control.stopping)

    def start(self) -> None:
        """Let migrations reach this node's libvirtd."""
        migration_tunnel.serve(self.control, self._root)

    def keys(self) -> Iterable[str]:
        """Return the migrations that come here and wait."""
        rows = self.control.db.rows(Migration, dest_node=self.control.node_id, status="queued")
        return [row.id for row in rows]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the migration itself, if it comes here."""
        row = self.control.db.get(Migration, id) if row_type is Migration else None
        return [id] if row is not None and row.dest_node == self.control.node_id else []

    def reconcile(self, key: str) -> Done:
        """Prepare for one migration."""
        db = self.control.db
        row = db.get(Migration, key)
        if row is None or row.dest_node != self.control.node_id:
            return Done()
        server = db.get(Server, row.server_id)
        if row.status == "error" and server is not None and server.node_id == row.source_node:
            for port in self._builder.ports(server):
                self._tap(port.tap, False)
        if row.status != "queued":
            return Done()
        if server is None or not self.control.lease_valid():
            return Done(again_s=1.0)
        now = self.control.clock.now_us()
        try:
            self._prepare(server, row)
        except (DiskError, OSError) as error:
            log.warning("cannot take the server: %s", error, extra={"server": server.id})
            return Done(ops=[check(row), *stay_ops(db, server, now)])
        ready = {"status": "preparing", "dest_dir": str(self.control.config.state_dir)}
        return Done(ops=[check(row), patch(Migration, row.id, updated_at=now, **ready)])

    def _prepare(self, server: Server, row: Migration) -> None:
        self._fetch.prepare(server, row.source_node)
        ports = self._builder.ports(server)
        for port in ports:
            self._tap(port.tap, True)
        record = self._files.record(server.id)
        self._files.remember(
            server.id,
            msgspec.structs.replace(
                record,
                base="",
                disk_job=row.job,
                boot_id=boot_id(),
                ports=tuple(sorted(port.id for port in ports)),
            ),
        )


def persist_tap(name: str, keep: bool) -> None:  # noqa: FBT001 - it is what is asked
    """Make a persistent tap, which the network takes over when the guest is here, or let it go if nobody uses it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH22x", name.encode()[:15], _IFF_TAP | _IFF_NO_PI)
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, request)
        except OSError as error:
            if error.errno == errno.EBUSY:  # it is there, and in use
                return
            raise
        fcntl.ioctl(descriptor, _TUNSETPERSIST, int(keep))
    finally:
        os.close(descriptor)
