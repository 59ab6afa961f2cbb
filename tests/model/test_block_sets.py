"""Set changes against a model: whatever is cut, killed, or comes in between, no acknowledged write is lost.

The code under test is SetChanger with all that it decides; replicas, heads, rows and the network are a model, in which
another thing may happen at every request. Three promises are checked after each step:

* every member that the row names holds, block by block, what was acknowledged last, or what was sent after that;
* what a guest has read stays, until it or another writes again (the crash gap);
* a write is acknowledged only by the head of the newest epoch that ever served (never two that acknowledge).
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from node.errors import Conflict, NodeError, Unavailable
from node.plugins.block.drivers.replicated.head_process import Member
from node.plugins.block.drivers.replicated.nbd import Extent, NbdError
from node.plugins.block.drivers.replicated.peers import Answer, Request
from node.plugins.block.drivers.replicated.process import StorageDaemonError
from node.plugins.block.drivers.replicated.set_change import Change, SetChanger
from node.plugins.block.replica_tables import VolumeSet
from node.state.txn import AnyOp, Check, Put

NODES = ("a", "b", "c")
BLOCKS = 3
LIVES = 300
_BYTES = 512


class Replica:
    def __init__(self) -> None:
        self.fenced = 0
        self.serving = ""
        self.last = 0
        self.data = [0] * BLOCKS


class World:
    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        """Return a number from 0 up to, not including, the one given."""
        self.depth = 0
        self.told: list[str] = []
        """What happened, for who reads a failure."""
        self.busy: set[str] = set()
        self.replicas = {node: Replica() for node in NODES}
        self.row = VolumeSet(id="v", rev=1, members=NODES, wanted=NODES, size_bytes=BLOCKS * _BYTES)
        self.view = dict.fromkeys(NODES, self.row)
        self.minority: set[str] = set()
        self.cut: set[frozenset[str]] = set()
        self.heads: dict[str, tuple[int, tuple[str, ...]] | None] = dict.fromkeys(NODES)
        self.guests: dict[str, dict[int, int] | None] = dict.fromkeys(NODES)
        """What a living guest has sent and not heard of, by block."""
        self.held: dict[str, list[tuple[int, int]]] = {node: [] for node in NODES}
        """What a head has on some replicas only, and will have on all if it lives for long enough."""
        self.number = 0
        self.valid: list[set[int]] = [{0} for _ in range(BLOCKS)]
        self.newest = 0
        """The newest epoch that acknowledged anything."""

    # -- what may happen

    def pick(self, values: Sequence[object]) -> object:
        return values[self.choose(len(values))]

    def step(self) -> None:
        actions = (
            self.write, self.write, self.write, self.read, self.open, self.open, self.tend, self.join,
            self.settle, self.cut_off, self.heal, self.lose_majority, self.crash_replica,
            self.crash_head, self.crash_guest, self.crash_node,
        )  # fmt: skip
        action, node = self.pick(actions), self.pick(NODES)
        self.note(f"{action.__name__} {node}")  # type: ignore[attr-defined]
        action(node)  # type: ignore[operator]

    def note(self, text: str) -> None:
        self.told.append(". " * self.depth + text)

    def interrupt(self) -> None:
        """Let something else happen in the middle of a request."""
        if self.depth < 2 and self.choose(8) == 7:
            self.depth += 1
            try:
                self.step()
            finally:
                self.depth -= 1

    def maybe_lost(self, what: str) -> None:
        """Lose the answer to something that was done."""
        if self.choose(16) == 15:
            raise Unavailable(f"no answer to {what}")

    def reaches(self, one: str, other: str) -> bool:
        return one == other or frozenset((one, other)) not in self.cut

    def write(self, node: str) -> None:
        guest = self.guests[node]
        if guest is None:
            return
        block = self.choose(BLOCKS)
        if block not in guest:  # what is in flight is not written again before it is answered
            self.number += 1
            guest[block] = self.number
            self.valid[block].add(self.number)
        self._send(node, block)

    def _send(self, node: str, block: int) -> None:
        head, guest = self.heads[node], self.guests[node]
        if head is None or guest is None:
            return
        epoch, members = head
        done = True
        for member in members:
            replica = self.replicas[member]
            serves = member == node or replica.serving == f"e{epoch}"
            if serves and self.reaches(node, member) and self.choose(4) != 3:
                replica.data[block] = guest[block]
            else:
                done = False
        self.held[node] = [one for one in self.held[node] if one[0] != block]
        if not done:
            self.held[node].append((block, guest[block]))
        if done:
            assert epoch >= self.newest, "an epoch acknowledges after a newer one did"
            self.newest = epoch
            self.note(f"{node} acknowledges {guest[block]} in {block}, epoch {epoch}")
            self.valid[block] = {guest.pop(block)} | self._flying(block)

    def _flying(self, block: int) -> set[int]:
        """Return what living guests have in flight: it may land at any time, as long as no epoch ends."""
        return {guest[block] for guest in self.guests.values() if guest and block in guest}

    def read(self, node: str) -> None:
        head, guest = self.heads[node], self.guests[node]
        if head is None or guest is None:
            return
        epoch, members = head
        first = node if node in members else members[0]
        replica = self.replicas[first]
        others = [m for m in members if m != node]
        if any(self.replicas[m].serving != f"e{epoch}" for m in others):
            return  # somebody was fenced: what this head reads is not judged
        for block in range(BLOCKS):
            value = replica.data[block]
            assert value in self.valid[block], f"block {block} reads {value}, not {self.valid[block]}"
            if not self._flying(block):  # else it may change as often as it likes
                self.valid[block] = {value}

    def open(self, node: str) -> None:
        """Begin to use the volume on a node, as Engine.open does."""
        row = self.view[node]
        if node in self.busy:
            return
        if row.head_node != node:
            if node in self.minority:
                return
            row = self.row
            self.row = msgspec.structs.replace(row, rev=row.rev + 1, head_node=node)
            self.view[node] = row = self.row
        head = self.heads[node]
        goes_on = head is not None and head[0] == row.epoch
        is_new = row.epoch > row.opened and len(row.members) > 1
        self.guests[node] = None  # whoever was there is gone
        try:
            if not goes_on or is_new or not self.drain(node):
                self.advance(node, Change(has_guest=False))
        except NodeError:
            return
        if self.heads[node] is not None:
            self.guests[node] = {}

    def drain(self, node: str) -> bool:
        """Let the head finish what it accepted; say whether it could."""
        head = self.heads[node]
        assert head is not None
        epoch, members = head
        if not all(m == node or self._alive(node, m, epoch) for m in members):
            return False
        for block, value in self.held[node]:
            for member in members:
                self.replicas[member].data[block] = value
        self.held[node] = []
        return True

    def tend(self, node: str) -> None:
        """Repair a set, as Engine.tend does after something was lost."""
        row = self.view[node]
        if row.head_node != node:
            self.heads[node] = None
            return
        gone = frozenset(m for m in row.members if m != node and not self._alive(node, m, row.epoch))
        goes_on = bool(row.opened) and not row.clean
        try:
            self.advance(node, Change(lost=gone, has_guest=goes_on))
        except NodeError:
            return

    def _alive(self, node: str, member: str, epoch: int) -> bool:
        return self.reaches(node, member) and self.replicas[member].serving == f"e{epoch}"

    def advance(self, node: str, change: Change) -> None:
        if node in self.busy:  # one at a time on a node: Engine.locked
            raise Unavailable("busy")
        self.busy.add(node)
        try:
            rows, peers = Rows(self, node), Peers(self, node)
            can_serve = self._can_serve(node)
            changer = SetChanger(node, rows, peers, self.dial, can_serve, one_by_one)
            changer.advance("v", Head(self, node), change)
        finally:
            self.busy.discard(node)
        guest = self.guests[node]
        for block in list(guest or {}):
            self._send(node, block)

    def join(self, node: str) -> None:
        """Fill a replica that was left out and take it in, as resync does."""
        row, head = self.view[node], self.heads[node]
        if node in self.busy or row.head_node != node or head is None or head[0] != row.epoch:
            return
        missing = [n for n in NODES if n not in row.members and self.reaches(node, n)]
        source = node if node in row.members else row.members[0]
        if not missing or (source != node and not self._alive(node, source, row.epoch)):
            return
        target = self.replicas[missing[0]]
        if row.epoch <= max(target.fenced, target.last):
            return
        target.serving = ""
        target.data = list(self.replicas[source].data)
        try:
            self.advance(node, Change(joins=missing[0]))
        except NodeError:
            return

    def settle(self, node: str) -> None:
        """Note that the guest has sent everything again."""
        row, guest = self.view[node], self.guests[node]
        head = self.heads[node]
        may = row is self.row and row.head_node == node and node not in self.minority | self.busy
        if may and guest == {} and head is not None and head[0] == row.epoch:
            self.row = msgspec.structs.replace(row, rev=row.rev + 1, opened=row.epoch)
            self.view[node] = self.row

    def cut_off(self, node: str) -> None:
        other = self.pick([n for n in NODES if n != node])
        self.cut.add(frozenset((node, str(other))))

    def heal(self, node: str) -> None:
        self.cut.clear()
        self.minority.clear()
        self.view = dict.fromkeys(NODES, self.row)

    def lose_majority(self, node: str) -> None:
        self.minority.add(node)

    def crash_replica(self, node: str) -> None:
        self.replicas[node].serving = ""

    def crash_head(self, node: str) -> None:
        self.heads[node] = None

    def crash_guest(self, node: str) -> None:
        self.guests[node] = None

    def crash_node(self, node: str) -> None:
        self.crash_replica(node)
        self.crash_head(node)
        self.crash_guest(node)

    # -- what the code under test is given

    def dial(self, node: str, answer: Answer, contexts: Sequence[str]) -> "Disk":
        return Disk(self, node, answer.export)

    def _can_serve(self, own: str) -> Callable[[str, Answer, int], bool]:
        return lambda node, _answer, epoch: self._alive(own, node, epoch)

    def check(self) -> None:
        for node in self.row.members:
            for block, value in enumerate(self.replicas[node].data):
                assert value in self.valid[block], (
                    f"member {node} has {value} in block {block}, not one of {self.valid[block]}"
                )


def one_by_one(
    nodes: Sequence[str], call: Callable[[str], Answer]
) -> tuple[dict[str, Answer], dict[str, NodeError]]:
    done: dict[str, Answer] = {}
    failed: dict[str, NodeError] = {}
    for node in nodes:
        try:
            done[node] = call(node)
        except NodeError as error:
            failed[node] = error
    return done, failed


class Disk:
    """What a replica exports for comparison."""

    def __init__(self, world: World, node: str, export: str) -> None:
        self._world, self._node, self._export = world, node, export
        self.size_bytes = BLOCKS * _BYTES

    def _replica(self) -> Replica:
        self._world.interrupt()
        replica = self._world.replicas[self._node]
        if replica.serving != self._export:
            raise NbdError("there is no such export")
        return replica

    def extents(self, context: str) -> list[Extent]:
        self._replica()
        return [Extent(block * _BYTES, _BYTES, 0) for block in range(BLOCKS)]

    def read(self, offset: int, length: int) -> bytes:
        data = self._replica().data[offset // _BYTES : (offset + length) // _BYTES]
        return b"".join(value.to_bytes(8, "big") * 64 for value in data)

    def write(self, offset: int, data: bytes) -> None:
        replica = self._replica()
        for begin in range(0, len(data), _BYTES):
            replica.data[(offset + begin) // _BYTES] = int.from_bytes(data[begin : begin + 8], "big")

    def flush(self) -> None:
        return

    def close(self) -> None:
        return


class Peers:
    def __init__(self, world: World, own: str) -> None:
        self._world, self._own = world, own

    def address(self, node_id: str) -> str:
        return "127.0.0.1"

    def ask(self, node_id: str, verb: str, volume_id: str, request: Request) -> Answer:
        world = self._world
        world.interrupt()
        world.note(f"{self._own} asks {node_id}: {verb} {request.epoch}")
        if not world.reaches(self._own, node_id):
            raise Unavailable(f"{node_id} cannot be reached")
        replica = world.replicas[node_id]
        if verb == "fence":
            replica.fenced = max(replica.fenced, request.epoch)
            if replica.last <= request.epoch:
                replica.serving = ""
            head = world.heads[node_id]
            if head is not None and head[0] <= request.epoch:
                world.heads[node_id] = None
        elif request.epoch <= replica.fenced or request.epoch < replica.last:
            raise Conflict("that epoch is over")
        elif verb == "serve":
            replica.serving, replica.last = f"e{request.epoch}", request.epoch
        elif verb == "yield":
            replica.serving, replica.last = "", request.epoch
        elif request.epoch <= replica.last:
            raise Conflict("that epoch has begun")
        elif verb == "gap":
            replica.serving = f"gap-{request.epoch}-{self._own}"
        world.maybe_lost(verb)
        return Answer(port=1, export=replica.serving)


class Rows:
    def __init__(self, world: World, own: str) -> None:
        self._world, self._own = world, own

    def read(self, volume_id: str) -> VolumeSet | None:
        return self._world.view[self._own]

    def now_us(self) -> int:
        return 1

    def commit(self, *ops: AnyOp) -> bool:
        world = self._world
        world.interrupt()
        if self._own in world.minority:
            raise Unavailable("no majority")
        checked, changed = ops
        assert isinstance(checked, Check) and isinstance(changed, Put)
        held = checked.rev == world.row.rev
        if held:
            fresh = msgspec.json.decode(changed.doc, type=VolumeSet)
            assert fresh.epoch > world.row.epoch
            assert set(fresh.members) & set(world.row.members), "a set without a member of the last"
            world.row = msgspec.structs.replace(fresh, rev=world.row.rev + 1)
        world.view[self._own] = world.row
        world.note(f"{self._own} commits {world.row.epoch} {world.row.members} {held}")
        world.maybe_lost("a commit")
        world.interrupt()
        return held


class Head:
    def __init__(self, world: World, own: str) -> None:
        self._world, self._own = world, own

    def kill(self) -> None:
        self._world.heads[self._own] = None
        self._world.interrupt()

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
        world = self._world
        world.interrupt()
        if epoch <= world.replicas[self._own].fenced:
            raise Conflict("that epoch is over")
        for member in members:
            if member.port and not world._alive(self._own, member.node_id, epoch):
                raise StorageDaemonError(f"{member.node_id} does not serve")
        world.note(f"{self._own} starts {epoch}")
        world.held[self._own] = []
        world.heads[self._own] = (epoch, tuple(member.node_id for member in members))


def live(world: World, steps: int) -> None:
    """Let so many things happen.

    Raises:
        AssertionError: a promise was broken.
    """
    world.open("a")
    for _ in range(steps):
        world.step()
        world.check()


@pytest.mark.timeout(300)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_acknowledged_write_is_lost(data: st.DataObject) -> None:
    world = World(lambda count: data.draw(st.integers(0, count - 1)))
    try:
        live(world, data.draw(st.integers(1, 40)))
    except AssertionError:
        note("\n".join(world.told))
        raise


@pytest.mark.timeout(300)
def test_no_acknowledged_write_is_lost_in_long_lives() -> None:
    logging.disable(logging.WARNING)
    try:
        for seed in range(LIVES):
            world = World(random.Random(seed).randrange)
            try:
                live(world, 120)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(world.told)) from error
    finally:
        logging.disable(logging.NOTSET)
