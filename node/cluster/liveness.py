"""Leases at work: this node asks for its own, and grants those of others while it leads.

Three threads: one asks, one watches this node's lease end, one keeps the claim and writes what changed. The rules, and
why they are safe, are in `lease`.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from node.clock import Clock
from node.cluster.lease import (
    CLAIM_ID,
    USUAL,
    LeaseClaim,
    LeaseHolder,
    LeaseKeeper,
    LeaseTimes,
    Transition,
)
from node.cluster.rpc import Answer, RpcReply, RpcRequest
from node.control.placement import NodeRow
from node.errors import NodeError, Unavailable
from node.ids import Ids
from node.state.reader import Reader
from node.state.txn import (
    AnyOp,
    Applied,
    Check,
    Outcome,
    Txn,
    decode_outcome,
    encode_txn,
    patch,
    put,
)
from node.types import Frozen

log = logging.getLogger("hedgerow.liveness")

PATH = "/lease"
_RETRY_S = 0.25
_ASK_TIMEOUT_S = 1.5
_CONFIRM_TIMEOUT_S = 1.0
_WRITE_TIMEOUT_S = 5.0
_WATCH_EVERY_S = 1.0


class Asking(Protocol):
    """The part of Rpc that leases need."""

    def route(self, method: str, path: str, answer: Answer) -> None:
        """Serve a path."""

    def call(self, node_id: str, method: str, path: str, *, timeout_s: float) -> RpcReply:
        """Ask a member."""


class LogAccess(Frozen):
    """What leases need of the log."""

    leader: Callable[[], str | None]
    """Returns who leads, as far as this node knows."""
    confirm: Callable[[float], bool]
    """Returns whether reads of this node now see all that was acknowledged before the call; waits at most so long."""
    propose: Callable[[bytes, float], bytes]
    db: Callable[[], Reader]
    """Returns the calling thread's reader."""


class LeaseAnswer(Frozen):
    """The answer to a request."""

    granted: bool
    reason: str = ""


class _Claim:
    """The claim that this node holds, with what it knows by it."""

    def __init__(self, token: str, rev: int, rules: LeaseKeeper) -> None:
        self.token = token
        self.rev = rev
        self.rules = rules
        self.unsure: tuple[Txn, list[Transition]] | None = None
        """A transaction whose answer got lost: it is proposed again, as it is, until it is known."""


class Liveness:
    """Leases of one node. `on_change` is told, from a thread of its own, that the lease was lost or regained."""

    def __init__(
        self,
        *,
        node_id: str,
        access: LogAccess,
        rpc: Asking,
        clock: Clock,
        ids: Ids,
        on_change: Callable[[bool], None],
        lease_clock: Callable[[], float],
        times: LeaseTimes = USUAL,
    ) -> None:
        """Take the parts. `lease_clock` counts seconds, also those that the machine sleeps."""
        self.node_id = node_id
        self.holder = LeaseHolder(lease_clock, times)
        self._times = times
        self._lease_clock = lease_clock
        self._access = access
        self._rpc = rpc
        self._db = access.db
        self._clock = clock
        self._ids = ids
        self._on_change = on_change
        self._claim: _Claim | None = None
        self._reason = "not asked for yet"
        self._stopping = threading.Event()
        self._granted = threading.Event()
        work = {
            "lease-ask": self._ask_forever,
            "lease-watch": self._watch,
            "lease-keep": self._keep_forever,
        }
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True) for name, target in work.items()
        ]
        rpc.route("POST", PATH, self._answer)

    def start(self) -> None:
        """Begin to ask, and to grant when this node leads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; the lease runs out by itself."""
        self._stopping.set()
        self._granted.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_WRITE_TIMEOUT_S + 1)

    def is_valid(self) -> bool:
        """Return whether this node may act as a member of the cluster."""
        return self.holder.is_valid()

    def health(self) -> tuple[str, bool, str]:
        """Return the entry of `hedgerow status`."""
        left_s = self.holder.left_s()
        if left_s > 0:
            return ("lease", True, f"runs for {left_s:.1f} s more")
        return (
            "lease",
            False,
            f"none ({self._reason}): this node starts nothing new until the leader grants one; it asks every second",
        )

    # -- this node's own lease

    def _ask_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                granted = self._ask()
            except Exception:  # of the store: this thread must outlast whatever it is
                log.exception("the lease cannot be asked for")
                granted = False
            self._stopping.wait(self._times.ask_every_s if granted else _RETRY_S)

    def _ask(self) -> bool:
        leader = self._access.leader()
        if leader is None:
            self._reason = "nobody leads"
            return False
        sent_s = self.holder.request()
        try:
            if leader == self.node_id:
                answer = self._grant(self.node_id)
            else:
                reply = self._rpc.call(leader, "POST", PATH, timeout_s=_ASK_TIMEOUT_S)
                answer = msgspec.json.decode(reply.body, type=LeaseAnswer)
        except NodeError as error:
            self._reason = error.message
            return False
        except msgspec.MsgspecError as error:
            self._reason = f"the leader's answer cannot be read: {error}"
            return False
        if answer.granted:
            self.holder.granted(sent_s)
            self._granted.set()
        else:
            self._reason = answer.reason
        return answer.granted

    def _watch(self) -> None:
        was_valid = False
        while not self._stopping.is_set():
            is_valid = self.holder.is_valid()
            if is_valid != was_valid:
                was_valid = is_valid
                if is_valid:
                    log.info("this node has a lease")
                else:
                    log.warning("this node has lost its lease: %s", self._reason)
                self._tell(is_valid)
            if is_valid:
                self._stopping.wait(min(max(self.holder.left_s(), 0.0), _WATCH_EVERY_S))
            elif self._granted.wait(_WATCH_EVERY_S):
                self._granted.clear()

    def _tell(self, is_valid: bool) -> None:  # noqa: FBT001 - it is the news itself
        try:
            self._on_change(is_valid)
        except Exception:
            log.exception("a change of the lease could not be told")

    # -- the leases of all

    def _answer(self, request: RpcRequest) -> RpcReply:
        return RpcReply(body=msgspec.json.encode(self._grant(request.node_id)))

    def _grant(self, node_id: str) -> LeaseAnswer:
        claim = self._claim
        if claim is None:
            return LeaseAnswer(
                granted=False, reason="the leader has not begun yet, or leads no more"
            )
        if not claim.rules.heard(node_id):
            return LeaseAnswer(
                granted=False, reason="the log calls this node down; it is being called up"
            )
        if not self._access.confirm(_CONFIRM_TIMEOUT_S):
            return LeaseAnswer(granted=False, reason="the leader does not reach a majority")
        db = self._db()
        row = db.get(LeaseClaim, CLAIM_ID)
        if row is None or row.token != claim.token:
            return LeaseAnswer(granted=False, reason="another node grants leases now")
        if db.get(NodeRow, node_id) is None:
            return LeaseAnswer(granted=False, reason="this node is no member")
        return LeaseAnswer(granted=True)

    def _keep_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                self._keep()
            except NodeError as error:
                log.info("the states of nodes cannot be written now: %s", error.message)
            except Exception:
                log.exception("the states of nodes cannot be kept")
            self._stopping.wait(self._times.review_every_s)

    def _keep(self) -> None:
        if self._access.leader() != self.node_id:
            self._claim = None
            return
        row = self._db().get(LeaseClaim, CLAIM_ID)
        if self._claim is None or row is None or row.token != self._claim.token:
            self._claim = None
            self._claim = self._make_claim(row)
        elif self._claim.unsure is not None:
            self._write(self._claim, *self._claim.unsure)
        else:
            self._review(self._claim)

    def _make_claim(self, row: LeaseClaim | None) -> _Claim | None:
        token = self._ids.uuid()
        txn = self._txn(row.rev if row else 0, token)
        outcome = self._propose(txn)
        if not isinstance(outcome, Applied):
            return None
        nodes = self._db().rows(NodeRow)
        down = [node.id for node in nodes if node.state == "down"]
        log.info("this node grants the leases of the cluster now")
        return _Claim(token, outcome.seq, LeaseKeeper(self._lease_clock, down, self._times))

    def _review(self, claim: _Claim) -> None:
        nodes = {node.id: node for node in self._db().rows(NodeRow)}
        transitions = claim.rules.review({node.id: node.state for node in nodes.values()})
        while transitions:
            ops = [self._change(nodes[one.node_id], one) for one in transitions]
            refused = self._write(claim, self._txn(claim.rev, claim.token, *ops), transitions)
            if refused is None:
                return
            del transitions[refused]  # that node has been removed meanwhile

    def _write(self, claim: _Claim, txn: Txn, transitions: list[Transition]) -> int | None:
        """Write transitions; return the number of one that has no row any more."""
        claim.unsure = (txn, transitions)
        outcome = self._propose(txn)
        claim.unsure = None
        if isinstance(outcome, Applied):
            claim.rev = outcome.seq
            for one in transitions:
                claim.rules.written(one)
                log.warning("node %s is %s", one.node_id, one.state)
        elif outcome.op >= _OPS_OF_CLAIM:
            return outcome.op - _OPS_OF_CLAIM
        else:
            self._claim = None
        return None

    def _change(self, node: NodeRow, transition: Transition) -> AnyOp:
        epoch = node.lease_epoch + (transition.state == "down")
        now = self._clock.now_us()
        return patch(NodeRow, node.id, state=transition.state, lease_epoch=epoch, updated_at=now)

    def _txn(self, rev: int, token: str, *ops: AnyOp) -> Txn:
        """Return a transaction that holds only under a claim's revision, and raises it."""
        now = self._clock.now_us()
        claim = LeaseClaim(
            id=CLAIM_ID, node_id=self.node_id, token=token, created_at=now, updated_at=now
        )
        held = Check(LeaseClaim.__table__.name, CLAIM_ID, rev)
        return Txn(request_id=self._ids.uuid(), ops=(held, put(claim), *ops))

    def _propose(self, txn: Txn) -> Outcome:
        """Raise Unavailable when there is no answer."""
        return decode_outcome(self._access.propose(encode_txn(txn), _WRITE_TIMEOUT_S))


_OPS_OF_CLAIM = 2


def confirm_by_log(propose: Callable[[bytes, float], bytes], ids: Ids) -> Callable[[float], bool]:
    """Return a `confirm` that sends an empty transaction through the log."""

    def confirm(timeout_s: float) -> bool:
        try:
            propose(encode_txn(Txn(request_id=ids.uuid(), ops=())), timeout_s)
        except Unavailable:
            return False
        return True

    return confirm
