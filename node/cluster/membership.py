"""Who is a member and who votes, carried out: the leader's one thread that changes it, one change at a time.

What to do next is decided in `member_plan`; here the facts are gathered and the change is made. How long a node has
been away is known only to the leader that watched it: a new leader begins to count anew, which is late but never wrong.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from node.clock import Clock
from node.cluster.features import held_up, raise_ops
from node.cluster.member_plan import Change, MemberFacts, plan, size_wanted
from node.cluster.roster import MemberRow, member_row, member_rows
from node.cluster.tables import CLUSTER, ClusterRow, DepartedNode, WitnessRow
from node.cluster.witness_vote import is_witness
from node.control.placement import NodeRow
from node.errors import BadRequest, Conflict, NodeError, NotFound, Unavailable
from node.ids import Ids
from node.state.reader import Reader
from node.state.row import Row
from node.state.txn import (
    AnyOp,
    Applied,
    Txn,
    check,
    decode_outcome,
    delete,
    encode_txn,
    patch,
    put,
)
from node.types import Frozen

log = logging.getLogger("hedgerow.membership")

_WRITE_TIMEOUT_S = 5.0
_CHANGE_TIMEOUT_S = 15.0
_STOP_GRACE_S = 5.0


class FollowerView(Frozen):
    """What the leader knows of a node that it sends the log to."""

    match_index: int
    contact_age_s: float


class LogView(Frozen):
    """Where the log stands, as this node sees it."""

    is_leader: bool
    term: int
    last_index: int
    voters: frozenset[str]
    followers: Mapping[str, FollowerView] = {}
    """All other nodes, on the leader."""


class VoterLog(Protocol):
    """What is needed of the log."""

    def view(self) -> LogView:
        """Return where it stands."""

    def change_voter(
        self, verb: Literal["add", "rem"], node_id: str, callback: Callable[[str], None]
    ) -> None:
        """Give or take a vote; the callback gets an error, empty when it is agreed."""

    def transfer_leadership(self, node_id: str, callback: Callable[[str], None]) -> None:
        """Have another voter lead; the callback gets an error, empty when it was asked to."""


class MembershipRules(Frozen):
    """When a node counts as what."""

    most_voters: int = 5
    lost_after_s: float = 600.0
    """A voter that is away for so long is replaced."""
    live_within_s: float = 3.0
    near_entries: int = 256
    """A node whose log is so near the leader's may get a vote."""
    settle_s: float = 3.0
    """A new leader changes nothing for so long."""
    period_s: float = 0.5
    pause_after_error_s: float = 5.0


class Controller:
    """Keeps voters and members as they should be while this node leads."""

    def __init__(
        self,
        *,
        node_id: str,
        voter_log: VoterLog,
        db: Callable[[], Reader],
        propose: Callable[[bytes, float], bytes],
        clock: Clock,
        ids: Ids,
        rules: MembershipRules | None = None,
        row_types: Sequence[type[Row]] = (),
    ) -> None:
        self._node_id = node_id
        self._log = voter_log
        self._db = db
        self._propose = propose
        self._clock = clock
        self._ids = ids
        self._rules = rules or MembershipRules()
        self._held = [row_type for row_type in row_types if row_type.stays_with_node]
        self._away_since_s: dict[str, float] = {}
        self._term = 0
        self._leads_since_s = 0.0
        self._says = ""
        self._seen: list[MemberFacts] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; a change that is under way goes on by itself."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_GRACE_S)

    def _run(self) -> None:
        wait_s = self._rules.period_s
        while not self._stopping.wait(wait_s):
            wait_s = self._rules.period_s
            try:
                self.step()
            except NodeError as error:
                self._says = f"cannot be done now, again soon: {error.message}"
                log.warning("the members cannot be changed now: %s", error.message)
                wait_s = self._rules.pause_after_error_s
            except Exception:
                log.exception("the members cannot be looked at")
                wait_s = self._rules.pause_after_error_s

    def step(self) -> Change | None:
        """Make the one next change, if this node leads, and return it.

        Raises:
            NodeError: it could not be made.
        """
        view = self._log.view()
        if not self._leads(view):
            self._says, self._seen = "", []
            return None
        rows = member_rows(self._db())
        facts = self._seen = self._facts(view, rows)
        self._tell_roles(view, rows, facts)
        if self._clock.monotonic_s() - self._leads_since_s < self._rules.settle_s:
            return None
        self._raise_level()
        change = plan(self._node_id, view.voters, facts, most_voters=self._rules.most_voters)
        if change is None:
            self._says = ""
            return None
        self._says = f"{change.kind} {change.node_id}: {change.reason}"
        log.info("membership: %s", self._says)
        self._make(change)
        return change

    def health(self) -> tuple[str, bool, str]:
        """Return a line of `hedgerow status`."""
        view, facts = self._log.view(), self._seen
        if not facts:
            return "members", True, f"{len(view.voters)} nodes vote"
        wanted = size_wanted(facts, self._rules.most_voters, view.voters)
        away = [one.node_id for one in facts if not one.is_live and one.node_id in view.voters]
        nodes = sum(not one.is_witness for one in facts)
        witnesses = sum(map(is_witness, view.voters))
        detail = f"{len(view.voters) - witnesses} of {nodes} nodes vote"
        if witnesses:
            detail += ", and a witness"
        elif nodes == 2 and len(facts) == 2:
            detail += " (a witness on any third machine would let either of them fail)"
        if len(view.voters) != wanted:
            detail += f", {wanted} should"
        if away:
            detail += f", {', '.join(sorted(away))} away"
        for one in facts:
            held = {} if one.stays else self._holds(one.node_id)
            if held:
                what = ", ".join(f"{count} {name}" for name, count in sorted(held.items()))
                detail += f"; {one.node_id} goes once nothing is on it: move or delete {what}"
        waits = held_up(self._db().get(ClusterRow, CLUSTER), self._db().rows(NodeRow))
        detail += f"; {waits}" if waits else ""
        if self._says:
            detail += f"; {self._says}"
        return "members", not away, detail

    # -- what is known

    def _leads(self, view: LogView) -> bool:
        if not view.is_leader:
            self._term = 0
            return False
        if view.term != self._term:
            self._term, self._leads_since_s = view.term, self._clock.monotonic_s()
            self._away_since_s = {}
        return True

    def _facts(self, view: LogView, rows: Iterable[MemberRow]) -> list[MemberFacts]:
        now_s = self._clock.monotonic_s()
        found = []
        for row in rows:
            follower = view.followers.get(row.id)
            is_live = row.id == self._node_id or (
                follower is not None
                and follower.contact_age_s <= self._rules.live_within_s
                and (row.state != "down" or is_witness(row.id))
            )
            if is_live:
                self._away_since_s.pop(row.id, None)
                since_s = now_s
            else:
                since_s = self._away_since_s.setdefault(row.id, now_s)
            is_near = row.id == self._node_id or (
                follower is not None
                and follower.match_index + self._rules.near_entries >= view.last_index
                # A witness acknowledges nothing before it knows all who vote.
                and (follower.match_index > 0 or not is_witness(row.id))
            )
            found.append(
                MemberFacts(
                    node_id=row.id,
                    stays=row.want == "present",
                    is_drained=row.want == "present" or not self._holds(row.id),
                    is_live=is_live,
                    is_lost=now_s - since_s >= self._rules.lost_after_s,
                    is_caught_up=is_near,
                    failure_domain=row.failure_domain,
                    is_witness=is_witness(row.id),
                )
            )
        return found

    def _holds(self, node_id: str) -> dict[str, int]:
        """Return how many rows of which tables keep a node from being removed."""
        db = self._db()
        counts = {one.__table__.name: db.count(one, node_id=node_id) for one in self._held}
        return {name: count for name, count in counts.items() if count}

    # -- what is done

    def _tell_roles(
        self, view: LogView, rows: Iterable[MemberRow], facts: Iterable[MemberFacts]
    ) -> None:
        """Write who votes, and of witnesses, which have no lease, whether they are there."""
        now = self._clock.now_us()
        live = {one.node_id for one in facts if one.is_live}
        ops: list[AnyOp] = []
        for row in rows:
            fields = {"role": "voter" if row.id in view.voters else "learner"}
            if is_witness(row.id):
                fields["state"] = "up" if row.id in live else "down"
            if any(getattr(row, name) != value for name, value in fields.items()):
                ops += [check(row), patch(type(row), row.id, updated_at=now, **fields)]
        if ops:
            self._commit(ops)

    def _raise_level(self) -> None:
        """Have the cluster use what all its members know."""
        db, now = self._db(), self._clock.now_us()
        row, nodes = db.get(ClusterRow, CLUSTER), db.rows(NodeRow)
        ops = raise_ops(row, nodes, now)
        if ops and self._commit(ops):
            log.info("the cluster uses features of level %d", min(n.feature_level for n in nodes))

    def _make(self, change: Change) -> None:
        match change.kind:
            case "add":
                self._await(lambda done: self._log.change_voter("add", change.node_id, done))
            case "remove":
                self._await(lambda done: self._log.change_voter("rem", change.node_id, done))
            case "transfer":
                self._await(lambda done: self._log.transfer_leadership(change.node_id, done))
            case "forget":
                self._forget(change.node_id)

    def _await(self, ask: Callable[[Callable[[str], None]], None]) -> None:
        done = threading.Event()
        errors: list[str] = []

        def take(error: str) -> None:
            errors.append(error)
            done.set()

        ask(take)
        if not done.wait(_CHANGE_TIMEOUT_S):
            raise Unavailable("the voters did not agree in time")
        if errors[0]:
            raise Conflict(f"the log refuses: {errors[0]}")

    def _forget(self, node_id: str) -> None:
        row = member_row(self._db(), node_id)
        if row is None or row.want != "absent":
            return
        now = self._clock.now_us()
        departed = DepartedNode(
            id=node_id, name=row.name, reason="removed", created_at=now, updated_at=now
        )
        self._commit([check(row), delete(type(row), node_id), put(departed)])
        log.info("node %s (%s) is no member any more", node_id, row.name)

    def _commit(self, ops: list[AnyOp]) -> bool:
        return commit(self._propose, self._ids, ops)


def commit(propose: Callable[[bytes, float], bytes], ids: Ids, ops: list[AnyOp]) -> bool:
    """Propose operations and say whether they held.

    Raises:
        Unavailable: 503, there is no answer.
    """
    txn = Txn(request_id=ids.uuid(), ops=tuple(ops))
    return isinstance(decode_outcome(propose(encode_txn(txn), _WRITE_TIMEOUT_S)), Applied)


def find(db: Reader, name: str) -> MemberRow:
    """Return the member, node or witness, with an id, the beginning of an id, or a name.

    Raises:
        NotFound: 404, there is none.
        BadRequest: 400, there are several.
    """
    rows = member_rows(db)
    found = [row for row in rows if row.id == name] or [row for row in rows if row.name == name]
    found = found or [row for row in rows if len(name) >= 4 and row.id.startswith(name)]
    if not found:
        raise NotFound(f"There is no node {name!r}: `hedgerow node list` shows them")
    if len(found) > 1:
        raise BadRequest(
            f"{name!r} may be any of {', '.join(row.id for row in found)}: give the id"
        )
    return found[0]


def remove(
    db: Reader, propose: Callable[[bytes, float], bytes], clock: Clock, ids: Ids, name: str
) -> MemberRow:
    """Have a node or witness drained and removed for good, and return its row. Asking twice is harmless.

    Raises:
        NotFound: 404, there is no such node.
        Conflict: 409, it is the only member, or its row changes all the time.
    """
    for _ in range(5):
        row = find(db, name)
        if row.want == "absent":
            return row
        now = clock.now_us()
        if isinstance(row, WitnessRow):
            if commit(
                propose, ids, [check(row), patch(WitnessRow, row.id, want="absent", updated_at=now)]
            ):
                return row
            continue
        others = [other for other in db.rows(NodeRow) if other.id != row.id]
        if not any(other.want == "present" and other.state != "down" for other in others):
            raise Conflict(f"Node {row.name} is the last one that works: it cannot be removed")
        fields = {"want": "absent", "maintenance": True, "updated_at": now}
        if commit(propose, ids, [check(row), patch(NodeRow, row.id, **fields)]):
            return row
    raise Conflict(f"The row of node {name} changes all the time: try again")
