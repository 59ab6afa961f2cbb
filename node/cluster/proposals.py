"""Transactions on their way into the log: queue, coalesce, answer.

All that wait become one log entry; a few entries may be under way. Whoever asked gets exactly one answer: the
outcome when the entry is applied on this node, or an error. Answers go by origin and batch number, not through
the library's callbacks, which get lost when a tick fails. What Raft hands back is proposed again: request ids make
that safe.
"""

import time
from collections import deque
from typing import Protocol

import msgspec

from node.cluster.raft import RaftNode
from node.cluster.settings import RaftSettings
from node.cluster.space import SpaceGuard
from node.cluster.wire import Code

_EXPIRY_PERIOD_S = 0.25
_ENTRY_OVERHEAD_BYTES = 5

_encode = msgspec.msgpack.Encoder().encode


class Sink(Protocol):
    """Takes the answers of one asker; called in the loop thread."""

    def resolve(self, tag: int, outcome: bytes) -> None:
        """Take the outcome of the transaction that was offered with this tag."""

    def reject(self, tag: int, code: Code, message: str) -> None:
        """Take the reason why there is no outcome."""


class Head(msgspec.Struct, frozen=True):
    """What this layer reads of a transaction."""

    request_id: str
    frees: bool = False


_head_decoder = msgspec.msgpack.Decoder(Head)


class Proposal:
    """One transaction and who waits for it."""

    __slots__ = ("deadline_s", "sink", "tag", "txn")

    def __init__(self, txn: bytes, sink: Sink, tag: int, deadline_s: float) -> None:
        self.txn = txn
        self.sink: Sink | None = sink
        self.tag = tag
        self.deadline_s = deadline_s

    def resolve(self, outcome: bytes) -> None:
        """Answer with the outcome, unless there was an answer before."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.resolve(self.tag, outcome)

    def reject(self, code: Code, message: str) -> None:
        """Answer with an error, unless there was an answer before."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.reject(self.tag, code, message)


class Proposals:
    """All proposals of one node. Used from the loop thread only."""

    def __init__(self, settings: RaftSettings, space: SpaceGuard) -> None:
        self._settings = settings
        self._space = space
        self._waiting: deque[Proposal] = deque()
        self._under_way: dict[int, list[Proposal]] = {}
        self._next_number = 0
        self._next_expiry_s = 0.0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Return how many transactions are in no log entry yet."""
        return len(self._waiting)

    @property
    def can_flush(self) -> bool:
        """Say whether a flush would propose an entry."""
        return bool(self._waiting) and len(self._under_way) < self._settings.max_entries_in_flight

    def offer(self, txn: bytes, sink: Sink, tag: int) -> None:
        """Take one transaction; its sink is called once, perhaps at once."""
        proposal = Proposal(txn, sink, tag, time.monotonic() + self._settings.proposal_timeout_s)
        if self._closed:
            proposal.reject("shutting_down", "The core process is stopping: repeat the request")
        elif len(txn) > self._settings.max_txn_bytes:
            limit = self._settings.max_txn_bytes
            proposal.reject(
                "too_large", f"A transaction of {len(txn)} bytes is over the limit of {limit}"
            )
        elif not self._space.is_full or self._admit_when_full(proposal):
            self._waiting.append(proposal)

    def _admit_when_full(self, proposal: Proposal) -> bool:
        try:
            frees = _head_decoder.decode(proposal.txn).frees
        except msgspec.MsgspecError:
            frees = False
        if not frees:
            proposal.reject(
                "disk_full", "The disk of this node is full: delete something or make room"
            )
        return frees

    def flush(self, raft: RaftNode) -> None:
        """Propose what waits, as far as the log may take more entries."""
        if self._space.is_full and self._waiting:
            self._waiting = deque(p for p in self._waiting if self._admit_when_full(p))
        while self._waiting and len(self._under_way) < self._settings.max_entries_in_flight:
            batch = self._next_batch()
            number = self._next_number = self._next_number + 1
            self._under_way[number] = batch
            raft.propose(number, _encode([p.txn for p in batch]))

    def _next_batch(self) -> list[Proposal]:
        room = self._settings.batch_max_bytes
        batch: list[Proposal] = []
        while self._waiting and len(batch) < self._settings.batch_max_txns:
            size = len(self._waiting[0].txn) + _ENTRY_OVERHEAD_BYTES
            if batch and size > room:
                break
            room -= size
            batch.append(self._waiting.popleft())
        return batch

    def delivered(self, number: int, outcomes: list[bytes]) -> None:
        """Answer the askers of an entry that was applied."""
        batch = self._under_way.pop(number, None)
        for proposal, outcome in zip(batch or (), outcomes, strict=False):
            proposal.resolve(outcome)

    def failed(self, number: int) -> None:
        """Propose the transactions of an entry again: the log may or may not hold it."""
        batch = self._under_way.pop(number, None) or []
        self._waiting.extendleft(p for p in reversed(batch) if p.sink is not None)

    def expire(self) -> None:
        """Give up what has waited too long."""
        now_s = time.monotonic()
        if now_s < self._next_expiry_s:
            return
        self._next_expiry_s = now_s + _EXPIRY_PERIOD_S
        hurry_s = 0.0
        if self._space.is_full:
            settings = self._settings
            hurry_s = max(0.0, settings.proposal_timeout_s - settings.full_timeout_s)
        late = [p for p in self._waiting if p.deadline_s - hurry_s <= now_s]
        if late:
            self._waiting = deque(p for p in self._waiting if p.deadline_s - hurry_s > now_s)
        for proposal in late:
            if self._space.is_full:
                proposal.reject("disk_full", "The disk of this node has no room left: make room")
            else:
                proposal.reject("no_quorum", "The cluster has no leader or quorum: repeat this")
        for number, batch in list(self._under_way.items()):
            if batch[-1].deadline_s <= now_s:  # the youngest: its answer may be lost for good
                del self._under_way[number]
                for proposal in batch:
                    proposal.reject(
                        "timeout", "No answer in time, perhaps it was applied: repeat it"
                    )

    def close(self) -> None:
        """Refuse everything from now on, also what waits."""
        self._closed = True
        batches = [list(self._waiting), *self._under_way.values()]
        self._waiting.clear()
        self._under_way = {}
        for proposal in (p for batch in batches for p in batch):
            proposal.reject("shutting_down", "The core process is stopping: repeat the request")
