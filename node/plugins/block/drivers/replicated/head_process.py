"""The process of one head on this node: all in-sync replicas behind one NBD export on a unix socket.

Crash-only: one process is one epoch over one fixed set; every change is the next process. The listening socket outlives
it, so a guest's connection attempts wait rather than fail; it lives in this process, in the head, or is taken out of a
running head again (pidfd_getfd) by a daemon that was started anew.

A replica of this node is opened by the head itself, the others over NBD. A write is acknowledged by all or not at all
(vote-threshold = number of children), and a child that is gone holds requests (reconnect-delay) rather than failing
them: who answers is decided by the next epoch, not by a head.
"""

import contextlib
import ctypes
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from node.plugins.block.drivers.replicated.layers import Layers
from node.plugins.block.drivers.replicated.process import StorageDaemon
from node.plugins.block.drivers.replicated.replica_process import tls_object, wait_gone
from node.sdk import Frozen

EXPORT = "vol"
PING = "ping"
"""An export of nothing: who answers it has a main loop that runs."""
SOCKET = "nbd.sock"
EVENTS, COPIES = "events", "copies"
"""Monitors of a head besides `qmp`: for who listens, and for who fills a replica."""
TOP = "top"
_PIDFD_GETFD = 438
_BACKLOG = 128
_PATH_BYTES = 108
_CONNECTED = "03"
_HOLD_S = 600


class Member(Frozen):
    """One replica of a head's set."""

    node_id: str
    port: int = 0
    """0: on this node, opened by the head itself."""
    host: str = ""


class Running(Frozen):
    """What a head was started with, on disk."""

    epoch: int
    members: tuple[Member, ...]
    layers: tuple[str, ...]
    size_bytes: int
    fd: int
    limits: dict[str, int] = {}
    read_only: bool = False


class HeadProcess:
    """The head of one volume on this node."""

    def __init__(self, directory: Path, layers: Layers) -> None:
        self.directory = directory
        self.daemon = StorageDaemon(directory, "head", ("qmp", EVENTS, COPIES))
        self.tls: Path | None = None
        """Directory of the certificates for replicas of other nodes; None: plain, on loopback."""
        self._layers = layers
        self._listener: socket.socket | None = None

    @property
    def socket_path(self) -> Path:
        """Return where guests connect."""
        return self.directory / SOCKET

    def running(self) -> Running | None:
        """Return what runs here, None when nothing does."""
        if self.daemon.pid() is None:
            return None
        return self._recorded()

    def listen(self) -> None:
        """Hold the listening socket: the one that we have, that of a running head, or a new one."""
        if self._listener is not None:
            return
        pid, recorded = self.daemon.pid(), self._recorded()
        if pid is not None and recorded is not None:
            with contextlib.suppress(OSError):
                self._listener = _taken(pid, recorded.fd)
                return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        directory = os.open(self.directory, os.O_PATH | os.O_CLOEXEC)
        path = str(self.socket_path)
        try:
            self.socket_path.unlink(missing_ok=True)
            fits = len(os.fsencode(path)) < _PATH_BYTES
            made.bind(path if fits else f"/proc/self/fd/{directory}/{SOCKET}")
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
        finally:
            os.close(directory)
        self._listener = made

    def age_s(self) -> float:
        """Return for how long the present head, or the last one, is there."""
        with contextlib.suppress(OSError):
            return max(0.0, time.time() - self.daemon.pid_file.stat().st_mtime)
        return 0.0

    def clients(self) -> int:
        """Return how many connections the head has on its socket. Source: proc_net(5)."""
        path, found = str(self.socket_path), 0
        for line in Path("/proc/net/unix").read_text("utf-8", "replace").splitlines()[1:]:
            fields = line.split(maxsplit=7)
            found += len(fields) == 8 and fields[7] == path and fields[5] == _CONNECTED
        return found

    def kill(self) -> None:
        """End the head at once, keeping the socket: what it did not answer, guests ask again."""
        self.listen()
        self.daemon.kill()

    def start(
        self,
        epoch: int,
        members: Sequence[Member],
        layers: Sequence[str],
        size_bytes: int,
        *,
        limits: Mapping[str, int] | None = None,
        read_only: bool = False,
        timeout_s: float = 5.0,
    ) -> None:
        """Start the head of an epoch.

        Raises:
            StorageDaemonError: it did not start: a replica cannot be reached.
        """
        self.listen()
        assert self._listener is not None
        fd = self._listener.fileno()
        arguments: list[str] = []
        if self.tls is not None and any(member.port for member in members):
            arguments += ["--object", tls_object(self.tls, "client")]
        for blockdev in self._graph(epoch, members, layers, limits or {}, read_only=read_only):
            kind = "--object" if "qom-type" in blockdev else "--blockdev"
            arguments += [kind, json.dumps(blockdev)]
        server = f"addr.type=fd,addr.str={fd},max-connections=0"
        arguments += ["--nbd-server", server]
        for export in (
            _volume(layers, read_only=read_only),
            _export(PING, PING, is_writable=False),
        ):
            arguments += ["--export", json.dumps(export)]
        self._record(
            Running(
                epoch=epoch,
                members=tuple(members),
                layers=tuple(layers),
                size_bytes=size_bytes,
                fd=fd,
                limits=dict(limits or {}),
                read_only=read_only,
            )
        )
        os.set_inheritable(fd, True)
        try:
            self.daemon.start(arguments, fds=[fd], timeout_s=timeout_s)
        finally:
            os.set_inheritable(fd, False)

    def drain(self) -> None:
        """Finish what was accepted; nobody must be connected but who may be cut off.

        Raises:
            QmpLost: it does not finish in time: a replica hangs.
            QmpError: it has no export.
        """
        running = self.running()
        with self.daemon.qmp() as qmp:
            qmp.ask("block-export-del", {"id": EXPORT, "mode": "hard"})
            wait_gone(qmp, EXPORT)
            if running is not None:
                qmp.ask("block-export-add", _volume(running.layers, read_only=running.read_only))

    def shut_out(self, epoch: int) -> None:
        """End a head of an epoch up to this one: another node takes the volume over, or this one goes on."""
        recorded = self._recorded()
        if recorded is None or recorded.epoch <= epoch:
            self.daemon.kill()

    def give_file(self) -> None:
        """End a head that has this node's replica open; one over other nodes' replicas alone goes on."""
        recorded = self._recorded()
        if recorded is None or any(not member.port for member in recorded.members):
            self.daemon.kill()

    def close(self) -> bool:
        """End the head after it finished what it accepted, and nobody can connect any more.

        False: there was none, or it hung and was killed; what it accepted is on some replicas and not on others.
        """
        ended = self.daemon.end()
        self.let_go()
        self.socket_path.unlink(missing_ok=True)
        return ended

    def let_go(self) -> None:
        """Close this process's copy of the socket; a running head goes on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    # -- inside

    def _graph(
        self,
        epoch: int,
        members: Sequence[Member],
        layers: Sequence[str],
        limits: Mapping[str, int],
        *,
        read_only: bool,
    ) -> list[dict[str, Any]]:
        top = "limited" if limits else TOP
        found: list[dict[str, Any]] = []
        names = [top] if len(members) == 1 else [f"m{place}" for place in range(len(members))]
        for name, member in zip(names, members, strict=True):
            found.append(self._child(name, member, epoch, layers, read_only=read_only))
        if len(members) > 1:
            found.append(
                {
                    "driver": "quorum",
                    "node-name": top,
                    "children": names,
                    "vote-threshold": len(names),
                    "read-pattern": "fifo",
                    "discard": "unmap",
                }
            )
        if limits:
            group = {"qom-type": "throttle-group", "id": "limits", "limits": dict(limits)}
            found.insert(0, group)
            found.append(
                {
                    "driver": "throttle",
                    "node-name": TOP,
                    "file": top,
                    "throttle-group": "limits",
                    "discard": "unmap",
                }
            )
        found.append({"driver": "null-co", "node-name": PING, "size": 4096, "read-zeroes": True})
        return found

    def _child(
        self, name: str, member: Member, epoch: int, layers: Sequence[str], *, read_only: bool
    ) -> dict[str, Any]:
        if not member.port:
            return self._layers.node(layers, name, writable=not read_only)
        child: dict[str, Any] = {
            "driver": "nbd",
            "node-name": name,
            "server": {"type": "inet", "host": member.host, "port": str(member.port)},
            "export": f"e{epoch}",
            "reconnect-delay": _HOLD_S,
            "discard": "unmap",  # without it a request to zero would keep the space
        }
        if self.tls is not None:
            child |= {"tls-creds": "tls", "tls-hostname": member.node_id}
        return child

    def _recorded(self) -> Running | None:
        try:
            return msgspec.json.decode((self.directory / "head.json").read_bytes(), type=Running)
        except FileNotFoundError:
            return None

    def _record(self, running: Running) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self.directory / "head.json.new"
        aside.write_bytes(msgspec.json.encode(running))
        aside.rename(self.directory / "head.json")


def _volume(layers: Sequence[str], *, read_only: bool) -> dict[str, Any]:
    """Return the guest's export.

    A raw file is as complete in the page cache as on the disk when its process is killed; a qcow2 file is not, for its
    tables are in the process: each write must have them written before it is answered.
    """
    export = _export(TOP, EXPORT, is_writable=not read_only)
    return {**export, "writethrough": len(layers) > 1 and not read_only}


def _export(node: str, name: str, *, is_writable: bool) -> dict[str, Any]:
    return {"type": "nbd", "id": name, "node-name": node, "name": name, "writable": is_writable}


def _taken(pid: int, fd: int) -> socket.socket:
    """Return a copy of another process's socket.

    Raises:
        OSError: it is gone, or that is no socket of it.
    """
    handle = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copy = libc.syscall(_PIDFD_GETFD, handle, fd, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "cannot take the socket of a running head")
        return socket.socket(fileno=copy)
    finally:
        os.close(handle)
