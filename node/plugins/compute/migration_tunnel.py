"""The way of a live migration: three sockets of the destination, reached through the nodes' own links.

libvirt moves a guest over a connection to the other libvirtd, one for the guest's memory and one for its disks. All
three are unix sockets here: on the source in this module, which passes them on over mutual TLS; on the destination
libvirtd's own, and those that QEMU listens on. The daemons' mount namespaces give both sides the same names for
different files.
"""

import contextlib
import logging
import os
import socket
import threading
from pathlib import Path
from typing import Self

from node.plugins.compute.names import instance_name
from node.plugins.compute.tables import Migration
from node.sdk import Control, NodeError, Reader, Stream

log = logging.getLogger("hedgerow.compute")

SERVICE = "live-migration"
OPEN = ("preparing", "running")
_CHUNK_BYTES = 1 << 18
_KINDS = ("libvirt", "memory", "disks")
_HEADER_BYTES = 256


def guest_socket(server_id: str, kind: str) -> str:
    """Return the name of a socket below /run/libvirt, as both QEMU processes see it."""
    return f"{instance_name(server_id)}.{kind}"


class Tunnel:
    """The source's side: listens as long as it is open, and passes on what connects."""

    def __init__(self, control: Control, root: Path, server_id: str, dest: str) -> None:
        """Take the destination's node and the directory of this node's libvirtd."""
        self._control = control
        self._server_id = server_id
        self._dest = dest
        self.control_path = root / f"{server_id[:8]}.away"
        """Where the other node's libvirtd is reached."""
        self._paths = {
            "libvirt": self.control_path,
            "memory": root / "run" / guest_socket(server_id, "memory"),
            "disks": root / "run" / guest_socket(server_id, "disks"),
        }
        self._listeners: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Listen."""
        for kind, path in self._paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listeners.append(listener)
            _bind(listener, path)
            path.chmod(0o600)
            listener.listen(8)
            threading.Thread(
                target=self._accept, args=(kind, listener), name="migrate", daemon=True
            ).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Listen no more; what is connected goes on until an end closes."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for path in self._paths.values():
            path.unlink(missing_ok=True)

    def _accept(self, kind: str, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._pass_on, args=(kind, near), name="migrate", daemon=True
            ).start()

    def _pass_on(self, kind: str, near: socket.socket) -> None:
        with near:
            try:
                far = self._control.streams.open(self._dest, SERVICE)
            except NodeError as error:
                log.warning("no way to node %s: %s", self._dest, error.message)
                return
            with contextlib.closing(far.socket):
                header = f"{kind} {self._server_id}\n".encode()
                with contextlib.suppress(OSError):
                    far.socket.sendall(header)
                    pump(near, far.socket)


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind below a directory whose path may be longer than a socket's name can be."""
    descriptor = os.open(path.parent, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{descriptor}/{path.name}")
    finally:
        os.close(descriptor)


def serve(control: Control, root: Path) -> None:
    """Let other nodes' migrations reach this node's libvirtd and guests."""

    def handle(stream: Stream) -> None:
        with contextlib.suppress(OSError, ValueError):
            kind, server_id = _header(stream.socket)
            if not allowed(control.db, stream.node_id, control.node_id, server_id):
                log.warning("node %s may not migrate server %s here", stream.node_id, server_id)
                return
            path = root / "run" / (
                "libvirt-sock" if kind == "libvirt" else guest_socket(server_id, kind)
            )
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as near:
                near.connect(str(path))
                pump(near, stream.socket)

    control.streams.serve(SERVICE, handle)


def allowed(db: Reader, source: str, dest: str, server_id: str) -> bool:
    """Say whether a node may just now move a server here."""
    return any(
        row.source_node == source and row.dest_node == dest and row.status in OPEN
        for row in db.rows(Migration, server_id=server_id)
    )


def _header(stream: socket.socket) -> tuple[str, str]:
    received = bytearray()
    while not received.endswith(b"\n"):
        data = stream.recv(1)
        if not data or len(received) > _HEADER_BYTES:
            raise ValueError("no header")
        received += data
    kind, server_id = received.decode("ascii").split()
    if kind not in _KINDS:
        raise ValueError(kind)
    return kind, server_id


def pump(one: socket.socket, other: socket.socket) -> None:
    """Pass on bytes both ways until both ends have closed."""
    back = threading.Thread(target=_copy, args=(other, one), name="migrate", daemon=True)
    back.start()
    _copy(one, other)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
    # A TLS stream has no half-closed state here: the end of one way is the end of both.
    for end in (source, target):
        with contextlib.suppress(OSError, ValueError):
            end.shutdown(socket.SHUT_RDWR)
