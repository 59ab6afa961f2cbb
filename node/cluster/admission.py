"""A member at the door: who is let in, who waits, who is sent away.

A member's row, with the fingerprint of its key, is written before it gets its certificate; the same node asking again
gets a certificate again, so an answer that was lost costs nothing.
"""

import datetime as dt
import logging
from collections.abc import Callable
from typing import Protocol

from node.clock import Clock
from node.cluster.authority import Authority, fingerprint, load_spki, pem
from node.cluster.ballot import Accept, Prepare, Tell
from node.cluster.features import WITNESSES, level_of
from node.cluster.founding import authority_of
from node.cluster.join_messages import (
    Admitted,
    Ask,
    Code,
    Is,
    Join,
    JoinerSays,
    JoinWitness,
    MemberSays,
    Refusal,
    Waiting,
)
from node.cluster.proof import Claim, Standing
from node.cluster.roster import MemberRow, member_row, members
from node.cluster.tables import (
    CLUSTER,
    MAX_REQUESTS,
    ClusterRow,
    DepartedNode,
    JoinRequest,
    JoinToken,
    WitnessRow,
)
from node.cluster.token_rules import state_of
from node.cluster.witness_vote import is_witness
from node.control.placement import NodeRow
from node.errors import MachineFault, NodeError
from node.state.reader import Reader
from node.state.txn import (
    AnyOp,
    Applied,
    Check,
    Count,
    Outcome,
    check,
    delete,
    insert,
    patch,
)

log = logging.getLogger("hedgerow.admission")

REQUEST_COUNTER = "join_requests"
_TRIES = 3
_SEEN_US = 60_000_000
_STALE_US = 3_600_000_000
_REQUESTS_AN_ADDRESS = 8


class Propose(Protocol):
    """Commits operations of one transaction."""

    def __call__(self, *ops: AnyOp) -> Outcome:
        """Return the outcome; raises Unavailable when nobody leads."""


class Admission:
    """Answers strangers for a cluster. Thread-safe."""

    def __init__(self, *, db: Callable[[], Reader], propose: Propose, clock: Clock) -> None:
        self._db = db
        self._propose = propose
        self._clock = clock

    @property
    def standing(self) -> Standing:
        """Return that this node is a member."""
        return "member"

    @property
    def cluster_id(self) -> str:
        """Return the cluster's id, empty before its row is there."""
        row = self._db().get(ClusterRow, CLUSTER)
        return row.cluster_id if row else ""

    def key_of(self, token_id: str) -> bytes | None:
        """Return the key of a token, also of one that has ended: its bearer is told so."""
        row = self._db().get(JoinToken, token_id)
        return bytes.fromhex(row.key) if row and row.key else None

    def takes_strangers(self) -> bool:
        """Return True: they may wait for approval."""
        return True

    def answer(self, claim: Claim, token_id: str, request: JoinerSays) -> MemberSays:
        """Answer a node that has signed its claim, and has proved the token if `token_id` is one."""
        own = fingerprint(claim.public_key)
        try:
            if isinstance(request, Prepare | Accept | Tell):
                return _no("refused", "The cluster is founded: join it")
            if isinstance(request, Ask):
                return self._ask(claim, own)
            if isinstance(request, JoinWitness) is not is_witness(claim.node_id):
                return _no("refused", "A witness has an id of a witness, and a node has none")
            if is_witness(claim.node_id) and not token_id:
                return _no("refused", "A witness joins with a token only")
            if (old := self._too_old(claim)) is not None:
                return old
            assert isinstance(request, Join | JoinWitness)
            return self._by_token(claim, own, token_id) if token_id else self._by_hand(claim, own)
        except MachineFault as error:
            log.error("nobody can be admitted: %s", error.message)
            return _no("busy", "The cluster cannot admit now; its log says why")
        except NodeError as error:
            return _no("busy", f"The cluster cannot admit now: {error.message}")

    def _too_old(self, claim: Claim) -> Refusal | None:
        """Return the answer to one that lacks what the members use, or whose kind they do not all know; else None."""
        level = level_of(self._db())
        if is_witness(claim.node_id):
            if level < WITNESSES:
                return _no("busy", "Not all nodes know witnesses yet: install the newer version everywhere")
        elif claim.feature_level < level:
            return _no(
                "refused",
                f"The cluster uses features of level {level}, this node's version has level "
                f"{claim.feature_level}: install the version of the cluster",
            )
        return None

    def _ask(self, claim: Claim, own: str) -> Is:
        row = member_row(self._db(), claim.node_id)
        if row is not None and row.fingerprint == own and row.want != "absent":
            return Is(standing="member")
        is_waiting = self._db().get(JoinRequest, own) is not None
        return Is(standing="pending" if is_waiting else "unknown")

    def _by_token(self, claim: Claim, own: str, token_id: str) -> MemberSays:
        def plan() -> MemberSays | list[AnyOp]:
            row = self._db().get(JoinToken, token_id)
            state = state_of(row, self._clock.now_us()) if row else "gone"
            if row is None or state != "valid":
                return _no("token_ended", f"The token is {state}: ask for a new one")
            now = self._clock.now_us()
            return [
                check(row),
                patch(JoinToken, row.id, joined=row.joined + 1, updated_at=now),
            ]

        return self._admit(claim, own, plan)

    def _by_hand(self, claim: Claim, own: str) -> MemberSays:
        row = self._db().get(JoinRequest, own)
        if row is not None and row.is_approved and row.node_id == claim.node_id:
            approved = row
            return self._admit(
                claim,
                own,
                lambda: [
                    check(approved),
                    delete(JoinRequest, own, must_exist=True),
                    Count(REQUEST_COUNTER, -1),
                ],
            )
        known = self._known(claim, own)
        if known is not None:
            return known
        return self._note(claim, own, row)

    def _admit(
        self, claim: Claim, own: str, plan: Callable[[], MemberSays | list[AnyOp]]
    ) -> MemberSays:
        """Write the member's row with what the plan wants beside it, and issue its certificate."""
        for _ in range(_TRIES):
            planned = plan()
            if not isinstance(planned, list):
                return planned
            known = self._known(claim, own)
            if known is not None:
                return known
            ops = (never_left(claim.node_id), insert(self._member(claim, own)), *planned)
            if isinstance(self._propose(*ops), Applied):
                log.info("node %s (%s) at %s is admitted", claim.name, claim.node_id, claim.address)
                return self._issue(claim)
        return _no("busy", "Too much happens at a time: ask again")

    def _known(self, claim: Claim, own: str) -> MemberSays | None:
        """Return the answer to one whose row is there already, None for one without."""
        if self._db().get(DepartedNode, claim.node_id) is not None:
            return _no(
                "removed",
                f"Node {claim.node_id} was removed from the cluster for good: empty its state "
                "directory, and it joins as another node",
            )
        row = member_row(self._db(), claim.node_id)
        if row is None:
            return None
        if row.fingerprint != own:
            return _no("taken", f"Another node has the id {claim.node_id}: give this one its own")
        if row.want == "absent":
            return _no("removed", "This node is being removed from the cluster")
        if row.role == "voter":
            # It votes, and comes without its log: what it had promised is forgotten.
            return _no(
                "lost",
                f"Node {claim.node_id} voted in this cluster and has lost its log: empty its state "
                "directory, so that it comes back as another node, and remove the old one",
            )
        return self._issue(claim)

    def _issue(self, claim: Claim) -> MemberSays:
        db = self._db()
        authority = authority_of(db)
        cluster = db.get(ClusterRow, CLUSTER)
        if authority is None or cluster is None:
            return _no("busy", "The cluster is being founded: ask again")
        return Admitted(
            cluster_id=cluster.cluster_id,
            ca=authority.certificate_pem,
            certificate=self._certificate(authority, claim),
            members=members(db),
        )

    def _certificate(self, authority: Authority, claim: Claim) -> bytes:
        now = dt.datetime.fromtimestamp(self._clock.now_us() / 1_000_000, dt.UTC)
        return pem(authority.issue_node(claim.node_id, load_spki(claim.public_key), now))

    def _member(self, claim: Claim, own: str) -> MemberRow:
        now = self._clock.now_us()
        if is_witness(claim.node_id):
            return WitnessRow(
                id=claim.node_id,
                name=claim.name,
                address=claim.address,
                cluster_port=claim.cluster_port,
                failure_domain=claim.failure_domain,
                version=claim.version,
                fingerprint=own,
                created_at=now,
                updated_at=now,
            )
        return NodeRow(
            id=claim.node_id,
            name=claim.name,
            address=claim.address,
            cluster_port=claim.cluster_port,
            data_port=claim.data_port,
            api_port=claim.api_port,
            failure_domain=claim.failure_domain,
            feature_level=claim.feature_level,
            fingerprint=own,
            role="learner",
            created_at=now,
            updated_at=now,
        )

    # -- nodes without a token

    def _note(self, claim: Claim, own: str, row: JoinRequest | None) -> MemberSays:
        """Write down that a node waits; what was written a minute ago stays as it is."""
        now = self._clock.now_us()
        fields = {
            "node_id": claim.node_id,
            "name": claim.name,
            "address": claim.address,
            "cluster_port": claim.cluster_port,
            "version": claim.version,
        }
        if row is not None:
            is_new = any(getattr(row, name) != value for name, value in fields.items())
            if is_new or now - row.seen_at > _SEEN_US:
                # One that says something else of itself is not the one that was approved.
                approved = row.is_approved and not is_new
                self._propose(
                    check(row),
                    patch(
                        JoinRequest,
                        own,
                        seen_at=now,
                        updated_at=now,
                        is_approved=approved,
                        **fields,
                    ),
                )
            return Waiting()
        waiting = self._db().rows(JoinRequest)
        stale = [old for old in waiting if now - old.seen_at > _STALE_US]
        if sum(old.address == claim.address for old in waiting) >= _REQUESTS_AN_ADDRESS:
            return _no("full", "Too many nodes of this address wait for approval")
        if len(waiting) - len(stale) >= MAX_REQUESTS:
            return _no("full", f"{MAX_REQUESTS} nodes wait for approval: use a token")
        self._propose(
            *(delete(JoinRequest, old.id, must_exist=True) for old in stale),
            Count(REQUEST_COUNTER, -len(stale)),
            Count(REQUEST_COUNTER, 1, MAX_REQUESTS),
            insert(JoinRequest(id=own, created_at=now, updated_at=now, seen_at=now, **fields)),  # type: ignore[arg-type]
        )
        return Waiting()


def never_left(node_id: str) -> Check:
    """Return the condition that a node was not removed for good."""
    return Check(DepartedNode.__table__.name, node_id, 0)


def _no(code: Code, message: str) -> Refusal:
    return Refusal(code=code, message=message)
