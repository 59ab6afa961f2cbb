"""Changes the set of a volume's replicas, losing nothing: the only place where an epoch ends and the next begins.

The order is what everything rests on, and it is the same for every reason:

1. The head is killed: nothing is acknowledged any more. (One that cannot be reached is stopped by 2.)
2. Every member that stays is *fenced*: it serves no epoch up to the present one again, and what the head was told to
   have written is on its disk. As a write is acknowledged only by all members, one fenced member ends the epoch.
3. Where the guest died too, the members are made equal (copying.py): what it had in flight nobody will send again.
4. {members, epoch + 1} is committed, if the row is still what this began with. Without the majority of the cluster
   this fails, and no head runs: a node that is cut off can acknowledge nothing that others do not know of.
5. Members serve the new epoch, and the next head is started on the same socket: guests send the rest again.

A crash in between leaves a set without a head, and whoever comes next begins at 1.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from node.plugins.block.drivers.replicated import copying
from node.plugins.block.drivers.replicated.head_process import Member
from node.plugins.block.drivers.replicated.nbd import NbdError
from node.plugins.block.drivers.replicated.peers import Answer, Peers, Request, ask_all, in_order
from node.plugins.block.drivers.replicated.process import StorageDaemonError
from node.plugins.block.replica_tables import FrozenSet, VolumeSet
from node.sdk import AnyOp, Conflict, Frozen, NodeError, Unavailable, check, insert, put

log = logging.getLogger("hedgerow.block")

_ATTEMPTS = 6


class AskAll(Protocol):
    """Calls for each node, at the same time or one after the other (see `peers.ask_all`)."""

    def __call__(
        self, nodes: Sequence[str], call: Callable[[str], Answer], /
    ) -> tuple[dict[str, Answer], dict[str, NodeError]]:
        """Return what came back, and what failed, by node."""


class Head(Protocol):
    """What a set change needs of the head's process (HeadProcess)."""

    def kill(self) -> None:
        """End the head at once, keeping the socket."""

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
        """Start the head of an epoch; raises StorageDaemonError."""


class Rows(Protocol):
    """What a set change needs of the rows."""

    def read(self, volume_id: str) -> VolumeSet | None:
        """Return the set as it is now."""

    def commit(self, *ops: AnyOp) -> bool:
        """Propose; say whether it held. Raises Unavailable without a majority."""

    def now_us(self) -> int:
        """Return the time."""


class Change(Frozen):
    """What is to be different in the next epoch, besides what the row wishes."""

    lost: frozenset[str] = frozenset()
    """Members to leave out."""
    joins: str = ""
    """A node whose replica has every acknowledged write: it got the last of them after the head's export ended."""
    has_guest: bool = True
    """Whether who used the last epoch goes on in this one, and sends again what was not answered."""


class _Lost(Exception):
    """Members failed after they were fenced."""

    def __init__(self, nodes: Collection[str], why: str) -> None:
        super().__init__(why)
        self.nodes = frozenset(nodes)


class SetChanger:
    """Changes sets for which this node is the head's."""

    def __init__(
        self,
        node_id: str,
        rows: Rows,
        peers: Peers,
        dial: copying.Dial,
        can_serve: Callable[[str, Answer, int], bool],
        ask_all: AskAll = ask_all,
    ) -> None:
        self._node_id = node_id
        self._ask_all = ask_all
        self._rows = rows
        self._peers = peers
        self._dial = dial
        self._can_serve = can_serve

    def advance(self, volume_id: str, head: Head, change: Change) -> VolumeSet:
        """End the present epoch and begin the next; return the set as it is then.

        Raises:
            Conflict: 409, the volume is not this node's to change, or is being changed by another.
            Unavailable: 503, no member can be reached, or the cluster has no majority: try again.
        """
        lost = change.lost
        for _attempt in range(_ATTEMPTS):
            row = self._rows.read(volume_id)
            if row is None or row.head_node != self._node_id:
                raise Conflict(f"Volume {volume_id} is not used by this node")
            head.kill()
            try:
                began = self._begin(row, lost, change)
                if began is None:
                    continue
                self._serve(began, head, change.joins)
            except _Lost as error:
                log.warning("replicas of %s are lost: %s", volume_id, error)
                lost |= error.nodes
                continue
            return began
        raise Conflict(f"The set of volume {volume_id} does not come to rest")

    # -- steps 2 to 4

    def _begin(self, row: VolumeSet, lost: frozenset[str], change: Change) -> VolumeSet | None:
        stay = self._fenced(row, lost)
        if len(stay) > 1 and not row.clean and not change.has_guest:
            self._equalise(row, stay)
        joins = [change.joins] if change.joins and change.joins not in lost else []
        layers, size = self._wished(row)
        stay, joins = self._prepared(row, stay, joins, layers, size)
        now = self._rows.now_us()
        members = (*stay, *(node for node in joins if node not in stay))
        fresh = msgspec.structs.replace(
            row,
            epoch=row.epoch + 1,
            members=members,
            layers=layers,
            size_bytes=size,
            next_layer="",
            next_snapshot="",
            next_size_bytes=0,
            clean=False,
            opened=row.opened if change.has_guest and row.opened else row.epoch + 1,
            lost_at={n: row.lost_at.get(n, now) for n in row.wanted if n not in members},
            updated_at=now,
        )
        ops: list[AnyOp] = [check(row), put(fresh)]
        if row.next_snapshot:
            frozen = FrozenSet(
                id=row.next_snapshot,
                volume_id=row.id,
                layers=row.layers,
                size_bytes=row.size_bytes,
                members=members,
                created_at=now,
                updated_at=now,
            )
            ops.append(insert(frozen))
        return fresh if self._rows.commit(*ops) else None

    def _fenced(self, row: VolumeSet, lost: frozenset[str]) -> tuple[str, ...]:
        """Fence all members that are not given up; return those that answered. Never none: data would be lost."""
        asked = [node for node in row.members if node not in lost]
        request = Request(epoch=row.epoch)
        done, failed = self._ask_all(
            asked, lambda node: self._peers.ask(node, "fence", row.id, request)
        )
        if not done:
            why = "; ".join(error.message for error in failed.values()) or "all of them failed"
            raise Unavailable(f"No replica of volume {row.id} that is in sync can be used: {why}")
        return in_order(done, row.members)

    def _equalise(self, row: VolumeSet, members: tuple[str, ...]) -> None:
        request = Request(epoch=row.epoch + 1, layers=row.layers, opened=row.opened)
        gaps, failed = self._ask_all(members, lambda node: self._peers.ask(node, "gap", row.id, request))
        if failed:
            raise _Lost(failed, "; ".join(error.message for error in failed.values()))
        try:
            differed = copying.equalise(
                {node: gaps[node] for node in members}, self._dial
            )
        except NbdError as error:
            raise Unavailable(f"Replicas of volume {row.id} cannot be compared: {error}") from error
        if differed:
            log.warning("volume %s: %d pieces differed after a crash", row.id, differed)

    def _wished(self, row: VolumeSet) -> tuple[tuple[str, ...], int]:
        layers = (*row.layers, row.next_layer) if row.next_layer else row.layers
        return layers, max(row.size_bytes, row.next_size_bytes)

    def _prepared(
        self,
        row: VolumeSet,
        stay: tuple[str, ...],
        joins: list[str],
        layers: tuple[str, ...],
        size: int,
    ) -> tuple[tuple[str, ...], list[str]]:
        """Have all make the layer that is new; return who did."""
        if layers == row.layers:
            return stay, joins
        request = Request(layers=layers, size_bytes=size)
        done, failed = self._ask_all(
            [*stay, *joins], lambda node: self._peers.ask(node, "prepare", row.id, request)
        )
        stay = in_order(done, stay)
        if not stay:
            raise next(iter(failed.values()), Unavailable())
        return stay, [node for node in joins if node in done]

    # -- step 5

    def _serve(self, row: VolumeSet, head: Head, joins: str) -> None:
        request = Request(epoch=row.epoch, layers=row.layers, size_bytes=row.size_bytes)

        def serve(node: str) -> Answer:
            asked = msgspec.structs.replace(request, joins=node == joins)
            return self._peers.ask(node, "serve", row.id, asked)

        others = [node for node in row.members if node != self._node_id]
        served, failed = self._ask_all(others, serve)
        if self._node_id in row.members:
            self._ready_here(row, failed)
        if failed:
            raise _Lost(failed, "; ".join(error.message for error in failed.values()))
        members = [Member(node_id=self._node_id)] if self._node_id in row.members else []
        members += [
            Member(node_id=node, host=self._peers.address(node), port=served[node].port)
            for node in others
        ]
        try:
            head.start(
                row.epoch,
                members,
                row.layers,
                row.size_bytes,
                limits=row.limits,
                read_only=row.read_only,
            )
        except StorageDaemonError as error:
            dead = [node for node in others if not self._can_serve(node, served[node], row.epoch)]
            if dead:
                raise _Lost(dead, str(error)) from error
            raise Unavailable(str(error)) from error

    def _ready_here(self, row: VolumeSet, failed: dict[str, NodeError]) -> None:
        """Leave this node's file to the head, which opens it itself."""
        request = Request(epoch=row.epoch, layers=row.layers, size_bytes=row.size_bytes)
        try:
            self._peers.ask(self._node_id, "yield", row.id, request)
        except NodeError as error:
            failed[self._node_id] = error
