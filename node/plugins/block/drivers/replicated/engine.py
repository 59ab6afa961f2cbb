"""The replicated volumes that this node uses: their heads, who watches them, and how they are opened and closed.

One object for a node, shared by the driver and the reconcilers. What concerns one volume is done one at a time, under
its lock; what must be right however that goes wrong is `set_change` and `replica_site`.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from node.plugins.block.drivers.replicated.dialling import dial
from node.plugins.block.drivers.replicated.head_process import (
    EVENTS,
    EXPORT,
    PING,
    HeadProcess,
    Member,
)
from node.plugins.block.drivers.replicated.nbd import Nbd, NbdError
from node.plugins.block.drivers.replicated.peers import Answer, Peers, Request, ask_all
from node.plugins.block.drivers.replicated.placing import place_of
from node.plugins.block.drivers.replicated.probes import Probes
from node.plugins.block.drivers.replicated.process import StorageDaemonError
from node.plugins.block.drivers.replicated.qmp import QmpError, QmpLost, connect_unix
from node.plugins.block.drivers.replicated.replica_process import Place
from node.plugins.block.drivers.replicated.replica_site import ReplicaSite
from node.plugins.block.drivers.replicated.set_change import Change, SetChanger
from node.plugins.block.replica_tables import VolumeSet
from node.sdk import (
    AnyOp,
    Conflict,
    Control,
    NodeRow,
    NodeTls,
    NotFound,
    Unavailable,
    check,
    patch,
)

log = logging.getLogger("hedgerow.block")

HEADS = "block.heads"
"""Name of the reconciler that is woken when something of a volume is lost."""
_CONNECT_S = 5.0
_ALIVE_S = 3.0
_HEAD = "head"
_SETTLED_S = 5.0
MakePeers = Callable[["Control", ReplicaSite], Peers]


class Engine:
    """Heads of this node."""

    def __init__(self, control: Control, make_peers: MakePeers, *, deadline_s: float = 3.0) -> None:
        self.control = control
        self.tls = NodeTls(control.config.state_dir / "tls")
        self.site = ReplicaSite(control.config.state_dir / "block", Place())
        self.peers = make_peers(control, self.site)
        self.probes = Probes(deadline_s)
        self._changer = SetChanger(
            control.node_id, _Rows(control), self.peers, self.dial, self._can_serve
        )
        self._heads: dict[str, HeadProcess] = {}
        self._locks: dict[str, threading.RLock] = {}
        self._lost: dict[str, set[str]] = {}
        self._guard = threading.Lock()

    # -- opening and closing

    def open(self, volume_id: str, use: str, *, read_only: bool = False) -> VolumeSet:
        """Use a volume on this node: take it, if nobody else has it, and run its head.

        Raises:
            NotFound: 404, there is no such volume.
            Conflict: 409, another node uses it.
            Unavailable: 503, not now: replicas cannot be reached, or the cluster has no majority.
        """
        with self.locked(volume_id):
            row = self._taken(volume_id, use, read_only=read_only)
            running = self._head(volume_id).running()
            goes_on = running is not None and running.epoch == row.epoch
            # A guest that comes after a change may not be the one that was there before it.
            is_new = row.epoch > row.opened and len(row.members) > 1 and row.use == use
            if goes_on and not is_new and not self._drained(row):
                is_new = True
            return self._ensured(row, has_guest=goes_on and not is_new)

    def close(self, volume_id: str) -> None:
        """Use a volume no longer on this node.

        Raises:
            Unavailable: 503, the cluster has no majority: the head has ended all the same.
        """
        with self.locked(volume_id):
            row = self.control.db.get(VolumeSet, volume_id)
            head = self._head(volume_id)
            self.probes.forget(volume_id)
            ended = head.close()
            if row is None or row.head_node != self.control.node_id:
                return
            clean = row.clean or ended or len(row.members) == 1
            others = [node for node in row.members if node != self.control.node_id]
            request = Request(epoch=row.epoch)
            ask_all(others, lambda node: self.peers.ask(node, "close", volume_id, request))
            self._commit(row, head_node="", use="", clean=clean, read_only=False)

    @contextlib.contextmanager
    def in_use(self, volume_id: str) -> Iterator[None]:
        """Do something with a volume through its head: the one that runs here, or one for as long as this takes.

        Raises:
            as `open`.
        """
        row = self.control.db.get(VolumeSet, volume_id)
        if row is not None and row.head_node == self.control.node_id:
            yield
            return
        self.open(volume_id, "upkeep")
        try:
            yield
        finally:
            with self.locked(volume_id):
                row = self.control.db.get(VolumeSet, volume_id)
                if row is not None and row.use == "upkeep":  # else a guest came meanwhile
                    self.close(volume_id)

    def tend(self, volume_id: str) -> VolumeSet | None:
        """Make a volume that this node uses as its row says, without those replicas that were lost."""
        with self.locked(volume_id):
            row = self.control.db.get(VolumeSet, volume_id)
            if row is None or row.head_node != self.control.node_id:
                self._leave(volume_id)
                return row
            row = self._ensured(row, has_guest=True)
            if row.epoch > row.opened and self._has_guest(row):
                self._commit(row, opened=row.epoch)  # it has sent again what was not answered
            return row

    def change(self, volume_id: str, change: Change) -> VolumeSet:
        """Begin the next epoch of a volume that this node uses, whatever the present one is like."""
        with self.locked(volume_id):
            self.prepare()
            head = self._head(volume_id)
            head.tls = self.site.place.tls
            self.probes.forget(volume_id)
            row = self._changer.advance(volume_id, _Opening(head, self.site, volume_id), change)
            self._watch(row, head)
            return row

    # -- what others use

    @contextlib.contextmanager
    def locked(self, volume_id: str) -> Iterator[None]:
        """Do something with a volume's head alone."""
        with self._guard:
            lock = self._locks.setdefault(volume_id, threading.RLock())
        with lock:
            yield

    def head(self, volume_id: str) -> HeadProcess:
        """Return the head of a volume, running or not."""
        with self.locked(volume_id):
            return self._head(volume_id)

    def connect(self, volume_id: str, contexts: Sequence[str] = (), export: str = EXPORT) -> Nbd:
        """Open what a head of this node exports.

        Raises:
            NbdError: it does not answer.
        """
        return _at_socket(self._head(volume_id).socket_path, export, contexts, 30.0)

    def dial(
        self, node_id: str, answer: Answer, contexts: Sequence[str], timeout_s: float = 10.0
    ) -> Nbd:
        """Open what a replica exports, here or elsewhere.

        Raises:
            NbdError: it cannot be reached.
        """
        host, tls = self.peers.address(node_id), self.tls if self.site.place.tls else None
        return dial(
            node_id,
            host,
            answer.port,
            answer.export,
            contexts=contexts,
            tls=tls,
            timeout_s=timeout_s,
        )

    def prepare(self) -> None:
        """Find out where replicas of this node listen, and with which certificates."""
        own = self.control.db.get(NodeRow, self.control.node_id)
        self.site.place = place_of(own, self.control.config.state_dir)

    def stop(self) -> None:
        """Let go of what is held here; heads and replicas go on."""
        self.probes.stop()
        with self._guard:
            heads = list(self._heads.values())
        for head in heads:
            head.let_go()

    # -- inside

    def _taken(self, volume_id: str, use: str, *, read_only: bool) -> VolumeSet:
        db, own = self.control.db, self.control.node_id
        row = db.get(VolumeSet, volume_id)
        if row is None:
            raise NotFound(f"There is no volume {volume_id}")
        if row.head_node == own and use in (row.use, "upkeep"):
            return row
        if row.head_node not in ("", own):
            other = db.get(NodeRow, row.head_node)
            gone = other is None or other.state == "down"
            if not (gone or (row.use == "upkeep" and use == "guest")):
                raise Conflict(f"Volume {volume_id} is used by node {row.head_node}")
        fields = {"head_node": own, "use": use, "read_only": read_only}
        self._commit(row, **fields)
        return db.must(VolumeSet, volume_id)

    def _commit(self, row: VolumeSet, **fields: object) -> None:
        now = self.control.clock.now_us()
        if not self.control.commit(
            [check(row), patch(VolumeSet, row.id, updated_at=now, **fields)]
        ):
            raise Unavailable(f"Volume {row.id} is being changed by another: try again")

    def _ensured(self, row: VolumeSet, *, has_guest: bool) -> VolumeSet:
        with self._guard:
            lost = self._lost.pop(row.id, set())
        head = self._head(row.id)
        running = head.running()
        wished = row.next_layer or row.next_size_bytes > row.size_bytes
        if (
            running is not None
            and has_guest
            and not lost
            and not wished
            and running.epoch == row.epoch
            and (running.limits, running.read_only) == (row.limits, row.read_only)
        ):
            if not self.probes.watched(row.id):
                head.listen()
                self._watch(row, head)
            return row
        gone = frozenset(lost & set(row.members))
        # A head that died by itself is missed by a guest that goes on: it waits at the socket.
        goes_on = has_guest and bool(row.opened) and not row.clean
        try:
            return self.change(row.id, Change(lost=gone, has_guest=goes_on))
        except Unavailable:
            with self._guard:
                self._lost.setdefault(row.id, set()).update(lost)
            raise

    def _has_guest(self, row: VolumeSet) -> bool:
        """Return whether somebody is connected to the present head for a while."""
        head = self._head(row.id)
        return head.age_s() > _SETTLED_S and head.clients() > 1  # one is our probe

    def _drained(self, row: VolumeSet) -> bool:
        """Have a head finish what a guest that is gone sent it: the next one must not read what may yet be lost."""
        head = self._head(row.id)
        if len(row.members) == 1 or head.clients() > 1:
            return True
        try:
            head.drain()
        except (QmpError, QmpLost):
            return False
        return True

    def _leave(self, volume_id: str) -> None:
        """End what is left here of a head: the volume is not this node's any more."""
        self.probes.forget(volume_id)
        head = self._head(volume_id)
        if head.running() is not None or head.socket_path.exists():
            head.daemon.kill()
            head.close()
        with self._guard:
            self._heads.pop(volume_id, None)
            self._lost.pop(volume_id, None)

    def _head(self, volume_id: str) -> HeadProcess:
        with self._guard:
            if volume_id not in self._heads:
                self._heads[volume_id] = HeadProcess(self.site.home(volume_id), self.site.layers)
            return self._heads[volume_id]

    def _watch(self, row: VolumeSet, head: HeadProcess) -> None:
        running = head.running()
        if running is None:
            self._missed(row.id, _HEAD, "it ended at once")
            return
        for member in running.members:
            if member.port:
                self._probe(row.id, member, running.epoch)
        try:
            ping = _at_socket(head.socket_path, PING, (), _CONNECT_S)
        except NbdError as error:
            self._missed(row.id, _HEAD, str(error))
            return
        self.probes.watch(row.id, _HEAD, ping, lambda why: self._missed(row.id, _HEAD, why))
        if len(running.members) > 1:
            self._listen(row.id, head, running.members)

    def _listen(self, volume_id: str, head: HeadProcess, members: Sequence[Member]) -> None:
        """Hear which replica fails requests (a full or broken disk): its guest has got an error."""

        def failed(block_node: str) -> None:
            place = block_node.removeprefix("m")
            if place.isdigit() and int(place) < len(members):
                self._missed(volume_id, members[int(place)].node_id, "it fails requests")

        try:
            monitor = head.daemon.qmp(_ALIVE_S, EVENTS).detach()
        except QmpLost as error:
            self._missed(volume_id, _HEAD, str(error))
            return
        self.probes.listen(
            volume_id, EVENTS, monitor, failed, lambda why: self._missed(volume_id, _HEAD, why)
        )

    def _probe(self, volume_id: str, member: Member, epoch: int) -> None:
        node_id = member.node_id
        try:
            answer = Answer(port=member.port, export=f"e{epoch}")
            nbd = self.dial(node_id, answer, (), _ALIVE_S)
        except NbdError as error:
            self._missed(volume_id, node_id, str(error))
            return
        self.probes.watch(
            volume_id, node_id, nbd, lambda why: self._missed(volume_id, node_id, why)
        )

    def _missed(self, volume_id: str, name: str, why: str) -> None:
        log.warning("volume %s loses %s: %s", volume_id, name, why)
        with self._guard:
            self._lost.setdefault(volume_id, set()).add(name)
        self.control.wake(HEADS, volume_id)

    def _can_serve(self, node_id: str, answer: Answer, epoch: int) -> bool:
        del epoch
        try:
            self.dial(node_id, answer, (), _ALIVE_S).close()
        except NbdError:
            return False
        return True


class _Opening:
    """A head as set changes start it: not in an epoch that somebody fenced meanwhile."""

    def __init__(self, head: HeadProcess, site: ReplicaSite, volume_id: str) -> None:
        self._process = head
        self._site = site
        self._volume_id = volume_id

    def kill(self) -> None:
        self._process.kill()

    def start(
        self,
        epoch: int,
        members: list[Member],
        layers: tuple[str, ...],
        size_bytes: int,
        *,
        limits: Mapping[str, int],
        read_only: bool,
    ) -> None:
        with self._site.while_open(self._volume_id, epoch):
            self._process.start(
                epoch, members, layers, size_bytes, limits=limits, read_only=read_only
            )


class _Rows:
    """The rows of sets, through a Control."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def read(self, volume_id: str) -> VolumeSet | None:
        return self._control.db.get(VolumeSet, volume_id)

    def commit(self, *ops: AnyOp) -> bool:
        return self._control.commit(ops)

    def now_us(self) -> int:
        return self._control.clock.now_us()


def _at_socket(path: Path, export: str, contexts: Sequence[str], timeout_s: float) -> Nbd:
    try:
        return Nbd(connect_unix(path, timeout_s), export, contexts)
    except (OSError, StorageDaemonError) as error:
        raise NbdError(f"{path.name} of {path.parent.name}: {error}") from error
