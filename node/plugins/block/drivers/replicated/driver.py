"""The driver `replicated`: volumes with a replica on several nodes, of which none that was acknowledged is lost.

On a cloud of one node a volume is a file that one process serves; with more nodes it is the same with more replicas.
Verbs change rows and files of members; what concerns a running head is wished in the VolumeSet, and done by the node
that has the head: here at once, elsewhere soon (the verb raises Unavailable and is called again).
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from node.plugins.block.drivers.driver import (
    Connection,
    Data,
    DriverError,
    PoolStats,
    QosLimits,
)
from node.plugins.block.drivers.replicated.data import NbdData
from node.plugins.block.drivers.replicated.engine import Engine, MakePeers
from node.plugins.block.drivers.replicated.head_process import EXPORT
from node.plugins.block.drivers.replicated.heads_sync import (
    CopySync,
    HeadSync,
    ReplicaSync,
    ScrubSync,
)
from node.plugins.block.drivers.replicated.layers import LayerError, layer_name
from node.plugins.block.drivers.replicated.nbd import ALLOCATION, NbdError
from node.plugins.block.drivers.replicated.peer_client import peers_of
from node.plugins.block.drivers.replicated.peers import Answer, Request, ask_all, in_order
from node.plugins.block.drivers.replicated.placing import homes
from node.plugins.block.drivers.replicated.removal import layers_to_go, leftovers
from node.plugins.block.replica_tables import FrozenSet, Leftover, VolumeSet
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import Snapshot, Volume
from node.sdk import (
    AnyOp,
    Conflict,
    Control,
    NodeError,
    NodeRow,
    NotFound,
    Reconciler,
    Unavailable,
    check,
    delete,
    insert,
    patch,
    put,
)

GIB = 1 << 30
_ATTEMPTS = 8


class ReplicatedDriver:
    """The driver of one node."""

    name = "replicated"

    def __init__(self, control: Control, make_peers: MakePeers = peers_of) -> None:
        self.control = control
        self.section = control.config.section(BlockSection)
        self.engine = Engine(control, make_peers)

    def reconcilers(self) -> list[Reconciler]:
        """Return what keeps heads and replicas of this node right."""
        of = self.control, self.engine
        return [HeadSync(*of), CopySync(*of), ScrubSync(*of), ReplicaSync(*of)]

    # -- volumes

    def create(self, volume: Volume) -> None:
        """Make a volume of zeros: equal on all nodes from the beginning."""
        size = volume.size_gib * GIB
        nodes = self._homes()
        self._made(volume.id, (layer_name(volume.id, is_overlay=False),), size, nodes, nodes)

    def create_from_file(self, volume: Volume, path: Path, disk_format: str) -> None:
        """Make a volume from an image: here first, other replicas are filled from this one."""
        if self._set(volume.id) is not None:
            return
        layer, size = layer_name(volume.id, is_overlay=False), volume.size_gib * GIB
        layers = self.engine.site.layers
        if layers.missing([layer]):
            try:
                layers.take(layer, path, disk_format, size)
            except LayerError as error:
                raise DriverError(f"The image cannot be read: {error}") from error
        if layers.size_bytes(layer) > size:
            layers.remove(layer)
            raise DriverError(f"The image is larger than {volume.size_gib} GiB")
        self._made(volume.id, (layer,), size, [self.control.node_id], self._homes())

    def clone(self, volume: Volume, source: Volume) -> None:
        """Make a volume on a frozen layer of another one."""
        if self._set(volume.id) is None:
            self._freeze(source.id, f"for-{volume.id}")
            self._on_frozen(volume, f"for-{volume.id}")
        self._forget_frozen(f"for-{volume.id}")

    def create_from_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Make a volume on the layers of a snapshot."""
        if self._set(volume.id) is None:
            self._on_frozen(volume, snapshot.id)

    def delete(self, volume: Volume) -> None:
        """Remove a volume: the row first, then what each node has."""
        row = self._set(volume.id)
        if row is None:
            return
        if row.use == "guest":
            raise DriverError(f"Volume {volume.id} is in use")
        if row.head_node == self.control.node_id:
            self.engine.close(volume.id)
            row = self.control.db.must(VolumeSet, volume.id)
        elif row.head_node:
            raise Unavailable(f"Volume {volume.id} is being copied")
        self._remove(
            row.id, row.layers, {*row.members, *row.wanted}, [check(row), delete(VolumeSet, row.id)]
        )

    def extend(self, volume: Volume, size_gib: int) -> None:
        """Make a volume larger."""
        size = size_gib * GIB
        if self._must(volume.id).size_bytes < size:
            self._wish(volume.id, lambda row: row.size_bytes >= size, next_size_bytes=size)

    def snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Freeze the layer that is written, and go on in a new one."""
        self._freeze(volume.id, snapshot.id)

    def delete_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        """Let go of a snapshot's layers; those that nothing rests on go."""
        del volume
        self._forget_frozen(snapshot.id)

    def revert(self, volume: Volume, snapshot: Snapshot) -> None:
        """Put the volume on its snapshot's layers, with nothing in the layer above."""
        frozen = self._frozen(snapshot.id)
        for _attempt in range(_ATTEMPTS):
            row = self._must(volume.id)
            if row.head_node:
                raise Unavailable(f"Volume {volume.id} is in use")
            layers = (*frozen.layers, layer_name(self.control.ids.uuid(), is_overlay=True))
            nodes = [node for node in row.members if node in frozen.members]
            done, failed = self._prepare(row.id, layers, row.size_bytes, nodes)
            if not done:
                raise next(iter(failed.values()), Unavailable("The snapshot has no replica"))
            fields = {"layers": layers, "members": in_order(done, row.members), "fault": ""}
            if self._commit(check(row), patch(VolumeSet, row.id, **fields)):
                self._remove("", row.layers, set(row.members), [])
                return
        raise Unavailable(f"Volume {volume.id} is being changed")

    # -- use

    def connect(self, volume: Volume, node_id: str, mode: str) -> Connection:
        """Run the volume's head on this node."""
        del node_id
        try:
            row = self.engine.open(volume.id, "guest", read_only=mode == "ro")
        except (NotFound, Conflict) as error:
            raise DriverError(str(error)) from error
        path = self.engine.head(volume.id).socket_path
        return Connection(socket=path, export=EXPORT, size_bytes=row.size_bytes)

    def disconnect(self, volume: Volume, node_id: str) -> None:
        """End the head on this node."""
        row = self._set(volume.id)
        if row is None or row.head_node != node_id or node_id != self.control.node_id:
            return
        self.engine.close(volume.id)

    @contextlib.contextmanager
    def export(self, what: Volume | Snapshot, *, writable: bool = False) -> Iterator[Data]:
        """Open a volume through a head of its own, or the one that runs here; a snapshot at one of its nodes."""
        opened = self._read_frozen(what.id) if isinstance(what, Snapshot) else self._opened(what.id)
        del writable
        try:
            with opened as data:
                yield data
        except NbdError as error:
            raise Unavailable(f"{what.id} cannot be opened now: {error}") from error

    def qos(self, volume: Volume, limits: QosLimits) -> None:
        """Put limits into the row; a head takes them over."""
        row = self._must(volume.id)
        found = _throttle(limits)
        if row.limits != found:
            if not self._commit(check(row), patch(VolumeSet, row.id, limits=found)):
                raise Unavailable(f"Volume {volume.id} is being changed")
            if row.head_node == self.control.node_id:
                self.engine.tend(volume.id)

    # -- the node

    def stats(self) -> PoolStats:
        """Return the size of the file system, and what is free beyond the reserve."""
        directory = self.engine.site.directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.statvfs(directory)
        total = found.f_blocks * found.f_frsize
        free = found.f_bavail * found.f_frsize - total * self.section.reserve_percent // 100
        return PoolStats(total_gib=total / GIB, free_gib=max(0, free) / GIB, shared=True)

    def manage(self, volume: Volume, reference: str) -> None:
        """Take a raw or qcow2 file over: by a copy where it is not one of our own."""
        if self._set(volume.id) is not None:
            return
        path = Path(reference) if reference.startswith("/") else self._left / reference
        if not path.is_file():
            raise DriverError(f"There is no file {reference}")
        with path.open("rb") as file:
            disk_format = "qcow2" if file.read(4) == b"QFI\xfb" else "raw"
        if path.parent == self._left and disk_format == "raw":
            layer = layer_name(volume.id, is_overlay=False)
            path.rename(self.engine.site.layers.path(layer))
        self.create_from_file(volume, path, disk_format)
        if path.parent == self._left:
            path.unlink(missing_ok=True)

    def unmanage(self, volume: Volume) -> None:
        """Leave the volume's contents as one raw file in the directory `left`."""
        row = self._set(volume.id)
        if row is None:
            return
        self._left.mkdir(mode=0o700, parents=True, exist_ok=True)
        layers, name = self.engine.site.layers, f"volume-{volume.id}.raw"
        if layers.missing(row.layers):
            raise DriverError(f"This node has no replica of volume {volume.id}")
        if row.layers == (layer_name(volume.id, is_overlay=False),):
            os.link(layers.path(row.layers[0]), self._left / name)
        else:
            layers.flatten(row.layers, self._left / name)
        self.delete(volume)

    def manageable(self) -> list[tuple[str, int]]:
        """Return the files in the directory `left`."""
        if not self._left.is_dir():
            return []
        return [(path.name, path.stat().st_size) for path in sorted(self._left.iterdir())]

    def used_by(self) -> list[str]:
        """Return the volumes of which this node has, or should have, a replica."""
        own = self.control.node_id
        rows = self.control.db.rows(VolumeSet, order_by=())
        return [row.id for row in rows if own in (*row.members, *row.wanted, row.head_node)]

    def teardown(self) -> None:
        """End every process of this node's volumes."""
        self.engine.stop()
        site = self.engine.site
        for volume_id in site.volumes():
            site.end(volume_id)

    # -- inside

    @property
    def _left(self) -> Path:
        return self.engine.site.directory / "left"

    def _set(self, volume_id: str) -> VolumeSet | None:
        return self.control.db.get(VolumeSet, volume_id)

    def _must(self, volume_id: str) -> VolumeSet:
        row = self._set(volume_id)
        if row is None:
            raise DriverError(f"There is no data of volume {volume_id}")
        return row

    def _frozen(self, snapshot_id: str) -> FrozenSet:
        row = self.control.db.get(FrozenSet, snapshot_id)
        if row is None:
            raise DriverError(f"There is no data of snapshot {snapshot_id}")
        return row

    def _commit(self, *ops: AnyOp, frees: bool = False) -> bool:
        return self.control.commit(ops, frees=frees)

    def _homes(self) -> list[str]:
        nodes = self.control.db.rows(NodeRow)
        return homes(nodes, self.section.replicas, self.control.node_id)

    def _prepare(
        self, volume_id: str, layers: Sequence[str], size: int, nodes: Sequence[str]
    ) -> tuple[dict[str, Answer], dict[str, NodeError]]:
        request = Request(layers=tuple(layers), size_bytes=size)
        return ask_all(
            nodes, lambda node: self.engine.peers.ask(node, "prepare", volume_id, request)
        )

    def _made(
        self,
        volume_id: str,
        layers: tuple[str, ...],
        size: int,
        members: Sequence[str],
        wanted: Sequence[str],
        *rests_on: AnyOp,
    ) -> None:
        if self._set(volume_id) is not None:
            return
        done, failed = self._prepare(volume_id, layers, size, members)
        if not done:
            raise next(iter(failed.values()), Unavailable("No node takes the volume"))
        now = self.control.clock.now_us()
        row = VolumeSet(
            id=volume_id,
            members=in_order(done, members),
            wanted=tuple(wanted),
            layers=layers,
            size_bytes=size,
            created_at=now,
            updated_at=now,
        )
        if not self._commit(*rests_on, insert(row)):
            raise Unavailable(f"Volume {volume_id} is being made by another")

    def _on_frozen(self, volume: Volume, frozen_id: str) -> None:
        frozen = self._frozen(frozen_id)
        layers = (*frozen.layers, layer_name(volume.id, is_overlay=True))
        size = max(volume.size_gib * GIB, frozen.size_bytes)
        members = frozen.members
        nodes = self.control.db.rows(NodeRow)
        wanted = homes(nodes, max(self.section.replicas, len(members)), members[0], members)
        self._made(volume.id, layers, size, members, wanted, check(frozen))

    def _freeze(self, volume_id: str, frozen_id: str) -> None:
        if self.control.db.get(FrozenSet, frozen_id) is not None:
            return

        def is_frozen(row: VolumeSet) -> bool:
            del row
            return self.control.db.get(FrozenSet, frozen_id) is not None

        layer = layer_name(self.control.ids.uuid(), is_overlay=True)
        self._wish(volume_id, is_frozen, next_layer=layer, next_snapshot=frozen_id)

    def _wish(self, volume_id: str, holds: Callable[[VolumeSet], bool], **wish: object) -> None:
        """Have the node with the head do something to the set; without a head this node does it."""
        for _attempt in range(_ATTEMPTS):
            row = self._must(volume_id)
            if holds(row):
                return
            if row.head_node == "":
                if self._rest(row, wish):
                    return
                continue
            busy = row.next_layer or row.next_size_bytes
            if not busy and not self._commit(check(row), patch(VolumeSet, row.id, **wish)):
                continue
            if row.head_node != self.control.node_id:
                raise Unavailable(f"Volume {volume_id} is changed by the node that uses it")
            self.engine.tend(volume_id)
        if not holds(self._must(volume_id)):
            raise Unavailable(f"Volume {volume_id} is being changed")

    def _rest(self, row: VolumeSet, wish: dict[str, object]) -> bool:
        """Change a set that nobody uses."""
        wished = msgspec.structs.replace(row, **wish)
        now = self.control.clock.now_us()
        fields: dict[str, object] = {"size_bytes": max(row.size_bytes, wished.next_size_bytes)}
        ops: list[AnyOp] = [check(row)]
        if wished.next_layer:
            layers = (*row.layers, wished.next_layer)
            done, failed = self._prepare(row.id, layers, row.size_bytes, row.members)
            if not done:
                raise next(iter(failed.values()), Unavailable())
            members = in_order(done, row.members)
            fields |= {"layers": layers, "members": members}
            frozen = FrozenSet(
                id=wished.next_snapshot,
                volume_id=row.id,
                layers=row.layers,
                size_bytes=row.size_bytes,
                members=members,
                created_at=now,
                updated_at=now,
            )
            ops.append(insert(frozen))
        return self._commit(*ops, patch(VolumeSet, row.id, updated_at=now, **fields))

    def _forget_frozen(self, frozen_id: str) -> None:
        row = self.control.db.get(FrozenSet, frozen_id)
        if row is not None:
            ops: list[AnyOp] = [check(row), delete(FrozenSet, row.id)]
            self._remove(row.id, row.layers, set(row.members), ops)

    def _remove(
        self, volume_id: str, layers: Sequence[str], nodes: set[str], ops: list[AnyOp]
    ) -> None:
        """Commit an end, with notes for all nodes of what they are to remove; do this node's part at once."""
        db = self.control.db
        gone = layers_to_go(db, layers, volume_id)
        tag = volume_id or self.control.ids.uuid()
        notes = leftovers(tag, volume_id, gone, nodes)
        if not notes and not ops:
            return
        if not self._commit(*ops, *(put(note) for note in notes), frees=True):
            raise Unavailable("It is being changed by another: try again")
        own = [note for note in notes if note.node_id == self.control.node_id]
        for note in own:
            if note.volume_id:
                self.engine.site.delete(note.volume_id, note.layers)
            for layer in note.layers:
                self.engine.site.layers.remove(layer)
            self._commit(delete(Leftover, note.id), frees=True)

    @contextlib.contextmanager
    def _opened(self, volume_id: str) -> Iterator[Data]:
        row = self._must(volume_id)
        is_here = row.head_node == self.control.node_id and row.use == "guest"
        try:
            row = self.engine.open(volume_id, "guest" if is_here else "upkeep")
        except Conflict as error:
            raise Unavailable(str(error)) from error
        try:
            with self.engine.connect(volume_id, [ALLOCATION]) as nbd:
                yield NbdData(nbd, row.size_bytes)
        finally:
            with self.engine.locked(volume_id):
                now = self._set(volume_id)
                if now is not None and now.use == "upkeep" and not is_here:
                    self.engine.close(volume_id)

    @contextlib.contextmanager
    def _read_frozen(self, frozen_id: str) -> Iterator[Data]:
        frozen = self._frozen(frozen_id)
        own = self.control.node_id
        request = Request(layers=frozen.layers)
        for node in sorted(frozen.members, key=lambda node: node != own):
            try:
                answer = self.engine.peers.ask(node, "read", frozen_id, request)
            except NodeError:
                continue
            try:
                with self.engine.dial(node, answer, [ALLOCATION]) as nbd:
                    yield NbdData(nbd, frozen.size_bytes)
            finally:
                with contextlib.suppress(NodeError):
                    self.engine.peers.ask(node, "close", frozen_id, Request())
            return
        raise Unavailable(f"No node with snapshot {frozen_id} can be reached")


def _throttle(limits: QosLimits) -> dict[str, int]:
    """Return limits by the names of QEMU's throttle groups."""
    found = {
        "iops-total": limits.total_iops,
        "iops-read": limits.read_iops,
        "iops-write": limits.write_iops,
        "bps-total": limits.total_bytes,
        "bps-read": limits.read_bytes,
        "bps-write": limits.write_bytes,
    }
    return {name: value for name, value in found.items() if value}


def make(control: Control) -> ReplicatedDriver:
    """Return the driver of this node."""
    return ReplicatedDriver(control)
