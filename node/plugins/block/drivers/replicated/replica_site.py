"""What a node does for the heads of other nodes, and for its own: keep replicas, serve an epoch, shut out another.

Called by the core process and by API workers (peer_api.py), for each volume one at a time: a lock on a file. What must
outlive a crash is in `replica.json`: above all which epochs may never be served again.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from node.plugins.block.drivers.replicated.head_process import HeadProcess
from node.plugins.block.drivers.replicated.layers import Layers
from node.plugins.block.drivers.replicated.process import StorageDaemonError
from node.plugins.block.drivers.replicated.qmp import Qmp, QmpError, QmpLost
from node.plugins.block.drivers.replicated.replica_process import Place, ReplicaProcess
from node.sdk import Conflict, Frozen, NotFound, Unavailable

_FENCE_S = 3.0
_LOST = (QmpLost, QmpError, StorageDaemonError)


class Served(Frozen):
    """State of a replica, on disk."""

    fenced: int = 0
    """No epoch up to this one is served any more."""
    epoch: int = 0
    """The epoch that was served last."""
    port: int = 0
    pid: int = 0
    layers: tuple[str, ...] = ()
    log_from: int = 0
    """The log holds all that was written since this epoch began; 0: there is none."""
    joined: int = 0
    """The epoch in which this replica became one of the set, equal to another."""


class Gap(Frozen):
    """How a replica can be compared with others."""

    port: int
    export: str
    bitmaps: tuple[str, ...]
    """What may differ; meaningless without `has_log`."""
    has_log: bool


class ReplicaSite:
    """The replicas of this node."""

    def __init__(self, directory: Path, place: Place) -> None:
        self.directory = directory
        self.layers = Layers(directory / "layers")
        self.place = place

    def home(self, volume_id: str) -> Path:
        """Return the directory of a volume's processes."""
        return self.directory / "volumes" / volume_id

    def volumes(self) -> list[str]:
        """Return the volumes that have something here."""
        with contextlib.suppress(OSError):
            return sorted(os.listdir(self.directory / "volumes"))
        return []

    def served(self, volume_id: str) -> Served:
        """Return the state of a replica."""
        try:
            return msgspec.json.decode(self._state(volume_id).read_bytes(), type=Served)
        except FileNotFoundError:
            return Served()

    def fence(self, volume_id: str, epoch: int) -> None:
        """Have no head of an epoch up to this one reach the replica, ever again.

        What such a head was told to have written is on the disk when this returns.
        """
        with self._locked(volume_id):
            served = self.served(volume_id)
            if epoch > served.fenced:
                served = self._save(volume_id, msgspec.structs.replace(served, fenced=epoch))
            HeadProcess(self.home(volume_id), self.layers).shut_out(epoch)
            process = ReplicaProcess(self.home(volume_id), self.layers)
            if process.daemon.pid() is None or served.epoch > epoch:
                return  # nobody is served, or a newer epoch: who asks knows old rows
            try:
                with process.daemon.qmp(_FENCE_S) as qmp:
                    process.shut(qmp)
            except _LOST:
                process.daemon.kill()

    def prepare(self, volume_id: str, layers: Sequence[str], size_bytes: int) -> None:
        """Make the last layer, where it is missing, with all below it here.

        Raises:
            NotFound: 404, a layer below is not here.
        """
        with self._locked(volume_id):
            self.layers.make(layers, size_bytes)

    def serve(
        self, volume_id: str, epoch: int, layers: Sequence[str], size_bytes: int, *, joins: bool
    ) -> int:
        """Export the replica to the head of an epoch; return the port.

        Raises:
            NotFound: 404, the replica is not here.
            Conflict: 409, the epoch is over.
            Unavailable: 503, the process does not do as it is told.
        """
        with self._locked(volume_id):
            served = self._may_serve(volume_id, epoch, layers)
            self.layers.freeze(layers)
            process, served = self._running(volume_id, served, layers, size_bytes, epoch)
            name = f"e{epoch}"
            with self._asking(process) as qmp:
                if any(export["id"] == name for export in qmp.ask("query-block-exports")):
                    return served.port
                process.shut(qmp)
                process.resize(qmp, size_bytes)
                if joins or not process.logs(qmp):
                    process.forget(qmp)
                changes = {"epoch": epoch, **({"joined": epoch} if joins else {})}
                served = self._save(volume_id, msgspec.structs.replace(served, **changes))
                process.export(qmp, name)
            return served.port

    def gap(self, volume_id: str, epoch: int, layers: Sequence[str], opened: int) -> Gap:
        """Export the replica for comparison, under the name of an epoch that will not be used for anything else.

        `opened` is the epoch since which replicas may differ.

        Raises:
            NotFound: 404, the replica is not here.
            Conflict: 409, the epoch is over.
            Unavailable: 503, the process does not do as it is told.
        """
        with self._locked(volume_id):
            served = self._may_serve(volume_id, epoch, layers)
            if epoch <= served.epoch:
                raise Conflict(f"Epoch {epoch} of volume {volume_id} has begun")
            size_bytes = self.layers.size_bytes(layers[-1])
            process, served = self._running(volume_id, served, layers, size_bytes, 0)
            name = f"gap-{epoch}"
            with self._asking(process) as qmp:
                process.shut(qmp)
                bitmaps = process.freeze(qmp)
                process.export(qmp, name, bitmaps=bitmaps)
            has_log = bool(bitmaps) and 0 < served.log_from <= max(opened, served.joined)
            return Gap(port=served.port, export=name, bitmaps=tuple(bitmaps), has_log=has_log)

    def yield_to_head(
        self, volume_id: str, epoch: int, layers: Sequence[str], size_bytes: int
    ) -> None:
        """Leave the replica's file to this node's head, grown as wished.

        Raises:
            NotFound: 404, the replica is not here.
            Conflict: 409, the epoch is over.
        """
        with self._locked(volume_id):
            served = self._may_serve(volume_id, epoch, layers)
            self.layers.freeze(layers)
            ReplicaProcess(self.home(volume_id), self.layers).daemon.kill()
            self.layers.grow(layers[-1], size_bytes)
            self._save(volume_id, msgspec.structs.replace(served, epoch=epoch, pid=0))

    @contextlib.contextmanager
    def while_open(self, volume_id: str, epoch: int) -> Iterator[None]:
        """Hold off who wants to fence an epoch.

        Raises:
            Conflict: 409, somebody did: the epoch is over.
        """
        with self._locked(volume_id):
            fenced = self.served(volume_id).fenced
            if epoch <= fenced:
                raise Conflict(f"Epoch {epoch} of volume {volume_id} is over: {fenced} is fenced")
            yield

    def receive(
        self, volume_id: str, epoch: int, layers: Sequence[str], size_bytes: int
    ) -> tuple[int, str]:
        """Make the replica empty and export it to who fills it; it was left out of this epoch. Return port and export.

        Raises:
            NotFound: 404, a layer below is not here.
            Conflict: 409, the replica belongs to this epoch, or the epoch is over.
            Unavailable: 503, the process does not do as it is told.
        """
        with self._locked(volume_id):
            served = self.served(volume_id)
            if epoch <= max(served.fenced, served.epoch):
                raise Conflict(f"The replica of volume {volume_id} is not one to be filled")
            HeadProcess(self.home(volume_id), self.layers).give_file()
            ReplicaProcess(self.home(volume_id), self.layers).daemon.kill()
            self.layers.remove(layers[-1])
            self.layers.make(layers, size_bytes)
            process, served = self._running(volume_id, served, layers, size_bytes, 0)
            name = f"sync-{epoch}-{served.pid}"
            with self._asking(process) as qmp:
                process.export(qmp, name)
            return served.port, name

    def read(self, frozen_id: str, layers: Sequence[str]) -> tuple[int, str]:
        """Export frozen layers to be read, under their own id; return port and export.

        Raises:
            NotFound: 404, a layer is not here.
            Unavailable: 503, the process does not do as it is told.
        """
        with self._locked(frozen_id):
            served = self._may_serve(frozen_id, 1, layers)
            process = ReplicaProcess(self.home(frozen_id), self.layers)
            if process.daemon.pid() != served.pid or not served.pid:
                process.daemon.kill()
                port = process.start(layers, self.place, writable=False)
                pid = process.daemon.pid() or 0
                served = self._save(frozen_id, Served(port=port, pid=pid, layers=tuple(layers)))
                with self._asking(process) as qmp:
                    process.export(qmp, "read", writable=False)
            return served.port, "read"

    def rotate(self, volume_id: str) -> bool:
        """Let the log go on to its next interval, where there is one; say whether the replica is served."""
        with self._locked(volume_id):
            process = ReplicaProcess(self.home(volume_id), self.layers)
            if process.daemon.pid() is None:
                return False
            with contextlib.suppress(*_LOST), process.daemon.qmp(1.0) as qmp:
                if any(one["id"].startswith("e") for one in qmp.ask("query-block-exports")):
                    process.rotate(qmp)
            return True

    def close(self, volume_id: str, epoch: int) -> None:
        """End the process of a replica that nobody uses since this epoch."""
        if not self.home(volume_id).is_dir():
            return
        with self._locked(volume_id):
            if self.served(volume_id).epoch > epoch:
                return  # somebody does, and the caller does not know yet
            ReplicaProcess(self.home(volume_id), self.layers).daemon.end()

    def end(self, volume_id: str) -> None:
        """End all processes of a volume; its data stay."""
        with self._locked(volume_id):
            HeadProcess(self.home(volume_id), self.layers).daemon.kill()
            ReplicaProcess(self.home(volume_id), self.layers).daemon.kill()

    def delete(self, volume_id: str, layers: Sequence[str]) -> None:
        """End all processes of a volume and remove its directory and these layers."""
        with self._locked(volume_id):
            HeadProcess(self.home(volume_id), self.layers).daemon.kill()
            ReplicaProcess(self.home(volume_id), self.layers).daemon.kill()
            for layer in layers:
                self.layers.remove(layer)
            shutil.rmtree(self.home(volume_id), ignore_errors=True)

    # -- inside

    def _may_serve(self, volume_id: str, epoch: int, layers: Sequence[str]) -> Served:
        served = self.served(volume_id)
        if epoch <= served.fenced or epoch < served.epoch:
            over = max(served.fenced, served.epoch - 1)
            raise Conflict(f"Epoch {epoch} of volume {volume_id} is over, as is {over}")
        if lost := self.layers.missing(layers):
            raise NotFound(f"Layer {lost[0]} of volume {volume_id} is not on this node")
        return served

    def _running(
        self, volume_id: str, served: Served, layers: Sequence[str], size_bytes: int, log_from: int
    ) -> tuple[ReplicaProcess, Served]:
        """Return the process over these layers, started where another or none runs."""
        process = ReplicaProcess(self.home(volume_id), self.layers)
        pid = process.daemon.pid()
        if pid is not None and pid == served.pid and served.layers == tuple(layers):
            return process, served
        HeadProcess(self.home(volume_id), self.layers).give_file()
        process.daemon.kill()
        if self.layers.size_bytes(layers[-1]) < size_bytes:
            self.layers.grow(layers[-1], size_bytes)
        try:
            port = process.start(layers, self.place)
        except StorageDaemonError as error:
            raise Unavailable(str(error)) from error
        fresh = msgspec.structs.replace(
            served,
            port=port,
            pid=process.daemon.pid() or 0,
            layers=tuple(layers),
            log_from=log_from,
        )
        return process, self._save(volume_id, fresh)

    @contextlib.contextmanager
    def _asking(self, process: ReplicaProcess) -> Iterator[Qmp]:
        try:
            with process.daemon.qmp() as qmp:
                yield qmp
        except _LOST as error:
            process.daemon.kill()  # it may have done half of it: the next one begins afresh
            raise Unavailable(f"A replica does not do as it is told: {error}") from error

    def _state(self, volume_id: str) -> Path:
        return self.home(volume_id) / "replica.json"

    def _save(self, volume_id: str, served: Served) -> Served:
        path = self._state(volume_id)
        aside = path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(served))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        return served

    @contextlib.contextmanager
    def _locked(self, volume_id: str) -> Iterator[None]:
        home = self.home(volume_id)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (home / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
