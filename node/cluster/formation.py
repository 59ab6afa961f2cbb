"""How a fresh node comes into its cluster, or founds it with others of its token.

With a token: knock wherever a node may be, join the first member that proves the token, and meanwhile vote with the
other fresh nodes for one founder. Without one: ask to be let in and wait for approval, unless the configuration says
that this node makes a cluster of its own. It blocks until this node is a member: nothing else can run before.
"""

import contextlib
import logging
import random
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from node.clock import Clock
from node.cluster.address_book import AddressBook, Sighting
from node.cluster.ballot import Election, Reply, Request
from node.cluster.discovery import cluster_digest
from node.cluster.door import Door
from node.cluster.fresh import Fresh
from node.cluster.join import Acquaintance, Turned, knock
from node.cluster.join_messages import (
    Admitted,
    Join,
    JoinWitness,
    Member,
    MemberSays,
    Refusal,
    Waiting,
)
from node.cluster.peers import Address, PeerNetwork
from node.cluster.pending import Pin
from node.cluster.proof import Claim
from node.cluster.self_claim import claim_of, name_of, seeds_of
from node.cluster.token import Token, read
from node.cluster.trust import Trust
from node.cluster.vow_file import VowFile
from node.config import ClusterSection, Config
from node.errors import BadRequest, Conflict, NodeError
from node.ids import Ids
from node.types import Frozen

log = logging.getLogger("hedgerow.formation")

_ROUND_S = 0.4
_ROUND_LIMIT_S = 20.0
_AT_ONCE = 8
_MOST_PLACES = 64
_PAUSE_S = 1.0
_LONG_PAUSE_S = 10.0
_POLL_S = 3.0
_FRESH_S = 3.0
Check = tuple[str, bool, str]
T = TypeVar("T")


class Membership(Frozen):
    """What this node is a member of."""

    cluster_id: str
    is_founder: bool
    token: Token | None = None
    """What it was founded or joined with; a founder stores its row."""
    members: tuple[Member, ...] = ()


class Formation:
    """Brings a fresh node into a cluster. Runs once, in one thread; its status may be read from others."""

    def __init__(
        self,
        *,
        config: Config,
        node_id: str,
        trust: Trust,
        peers: PeerNetwork,
        book: AddressBook,
        door: Door | None,
        clock: Clock,
        ids: Ids,
    ) -> None:
        """Take what is needed; nothing is read and nobody is answered before `run`.

        Without a door this is a witness: it founds nothing.
        """
        self._config = config
        self._section = config.section(ClusterSection)
        self._node_id = node_id
        self._trust = trust
        self._peers = peers
        self._book = book
        self._door = door
        self._clock = clock
        self._ids = ids
        self._pin = Pin(config.state_dir)
        self._token: Token | None = None
        self._seeds: tuple[Address, ...] = ()
        self._known: dict[Address, Acquaintance] = {}
        self._met_s: dict[Address, float] = {}
        self._again_s: dict[Address, float] = {}
        self._refusals: dict[Address, str] = {}
        self._own: set[Address] = set()
        self._lock = threading.Lock()
        self._election: Election | None = None

    @property
    def cluster_id(self) -> str:
        """Return the cluster that the token names; empty without one that can be read."""
        with contextlib.suppress(BadRequest):
            token = self.token()
            return token.cluster_id if token else ""
        return ""

    def token(self) -> Token | None:
        """Return the configured token, None when there is none.

        Raises:
            BadRequest: 400, its file cannot be used; says why.
        """
        return read(Path(self._section.token_file)) if self._section.token_file else None

    def run(self, stopping: threading.Event) -> Membership | None:
        """Return the membership once there is one; None when this node is to stop first.

        Only for a node without a log: as a member it has no voice in the founding of anything.

        Raises:
            BadRequest: 400, the token's file or the seeds cannot be used; says why.
            Conflict: 409, the file of this node's vow cannot be read.
        """
        self._prepare()
        again = self._trust.founded()
        if again is not None:  # it founded, and went down before its log began
            return self._found(again.cluster_id or self._ids.uuid())
        if self._token is None and self._section.alone:
            return self._found(self._ids.uuid())
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="formation") as pool:
            try:
                while not stopping.is_set():
                    membership = self._round(pool)
                    if membership is not None:
                        return membership
                    stopping.wait(_ROUND_S)
            finally:
                for one in self._known.values():
                    one.close()
        return None

    def _prepare(self) -> None:
        self._token = self.token()
        self._seeds = seeds_of(self._section)
        if self._door is None:
            if self._token is None:
                raise BadRequest("A witness joins with a token only: set [cluster] token_file")
            return
        has_voice = self._token is not None and self._token.has_voice(name_of(self._config))
        if self._token is not None and has_voice:
            vows = VowFile(self._config.state_dir)
            self._election = Election(
                self._node_id,
                self._token.founders,
                vows.read(self._token.token_id),
                vows.keep,
                random.Random(),
                self._clock.monotonic_s(),
            )
        self._door.open(Fresh(self._token, self._answer, has_voice=has_voice))

    def status(self) -> list[Check]:
        """Return what is waited for, for `hedgerow status`."""
        own = f"this node's fingerprint is {self._trust.fingerprint}"
        lines: list[Check] = [("cluster", False, f"{self._waiting_for()}; {own}")]
        for address, reason in sorted(self._refusals.copy().items()):
            lines.append((f"node at {address[0]}:{address[1]}", False, reason))
        return lines

    # -- one look around

    def _round(self, pool: ThreadPoolExecutor) -> Membership | None:
        self._meet(pool)
        for address, one in list(self._known.items()):
            if one.challenge.standing == "member" and self._is_due(address):
                membership = self._join(address, one)
                if membership is not None:
                    return membership
        if self._election is None or self._has_expired():
            return None
        self._vote(pool, self._election)
        if self._token is not None and self._election.decided == self._node_id:
            return self._found(self._token.cluster_id)
        return None

    def _meet(self, pool: ThreadPoolExecutor) -> None:
        """Knock wherever nobody is known yet; a fresh node is met anew now and then, as it may be a member by now."""
        now_s = self._clock.monotonic_s()
        for place, one in list(self._known.items()):
            if one.challenge.standing != "member" and now_s - self._met_s[place] > _FRESH_S:
                self._drop(place, None)
        places = [p for p in self._places() if p not in self._known and self._is_due(p)]
        asked = {pool.submit(self._knock, place): place for place in places}
        for done in _finished(asked):
            place = asked[done]
            try:
                one = done.result()
            except NodeError as error:
                self._later(place, error)
                continue
            if one.node_id == self._node_id:
                self._own.add(place)
                one.close()
                continue
            self._refusals.pop(place, None)
            self._known[place] = one
            self._met_s[place] = now_s
            self._book.see(
                Sighting(
                    node_id=one.node_id,
                    host=place[0],
                    port=place[1],
                    digest=cluster_digest(one.challenge.cluster_id),
                    ca=one.ca_fingerprint[:16],
                )
            )

    def _places(self) -> list[Address]:
        """Return where to knock, those first that announce our cluster."""
        wanted = cluster_digest(self._token.cluster_id) if self._token else ""
        seen = self._book.candidates()
        seen.sort(key=lambda one: one.digest != wanted)
        places = [*self._seeds, *((one.host, one.port) for one in seen)]
        return [p for p in dict.fromkeys(places) if p not in self._own][:_MOST_PLACES]

    def _knock(self, place: Address) -> Acquaintance:
        claim = claim_of(self._config, self._node_id, self._trust)  # its address may have come
        return knock(
            self._peers, place, claim, self._trust, self._token,
            expects=self._pin.check if self._token is None else lambda _challenge: None,
        )  # fmt: skip

    def _join(self, address: Address, one: Acquaintance) -> Membership | None:
        try:
            answer = one.ask(JoinWitness() if self._door is None else Join())
        except NodeError as error:
            self._drop(address, error)
            return None
        if isinstance(answer, Admitted):
            return self._admitted(answer)
        if isinstance(answer, Waiting):
            # It hangs up meanwhile: many may wait, and links of strangers are few.
            self._drop(address, None)
            self._again_s[address] = self._clock.monotonic_s() + _POLL_S * random.uniform(0.8, 1.6)
            self._refusals[address] = (
                f"waits for `hedgerow node approve {self._trust.fingerprint[:16]}` there"
            )
        elif isinstance(answer, Refusal):
            self._drop(address, Turned(answer))
        return None

    def _admitted(self, answer: Admitted) -> Membership:
        if self._token is not None and answer.cluster_id != self._token.cluster_id:
            raise Conflict(f"The cluster {answer.cluster_id} is not the one of this node's token")
        self._trust.join(answer.ca, answer.certificate)
        self._book.remember(answer.members)
        log.info("this node is admitted to cluster %s", answer.cluster_id)
        return Membership(
            cluster_id=answer.cluster_id,
            is_founder=False,
            token=self._token,
            members=answer.members,
        )

    def _found(self, cluster_id: str) -> Membership:
        self._trust.found(cluster_id)
        log.info("this node founds cluster %s", cluster_id)
        return Membership(cluster_id=cluster_id, is_founder=True, token=self._token)

    # -- voting

    def _vote(self, pool: ThreadPoolExecutor, election: Election) -> None:
        fresh = {o.node_id: a for a, o in self._known.items() if o.challenge.standing == "fresh"}
        with self._lock:
            requests = election.requests(self._clock.monotonic_s(), fresh)
        asked: dict[Future[MemberSays], tuple[str, Request]] = {}
        for node_id, request in requests.items():
            asked[pool.submit(self._known[fresh[node_id]].ask, request)] = (node_id, request)
        for done in _finished(asked):
            node_id, request = asked[done]
            try:
                reply = done.result()
            except NodeError as error:
                self._drop(fresh[node_id], error)
                continue
            if isinstance(reply, Reply):
                with self._lock:
                    election.take(node_id, request, reply)
            else:  # it is a member by now: it must show its certificate
                self._drop(fresh[node_id], None)

    def _answer(self, claim: Claim, request: Request) -> MemberSays:
        """Answer another fresh node, and find it again where it says it is."""
        if self._election is None or self._token is None or not self._token.has_voice(claim.name):
            return Refusal(code="refused", message="The token lets one of the two found no cluster")
        with self._lock:
            reply = self._election.answer(claim.node_id, request)
        if claim.address and claim.cluster_port:
            self._book.see(
                Sighting(node_id=claim.node_id, host=claim.address, port=claim.cluster_port)
            )
        return reply

    # -- who answers when

    def _is_due(self, place: Address) -> bool:
        return self._clock.monotonic_s() >= self._again_s.get(place, 0.0)

    def _later(self, place: Address, error: NodeError) -> None:
        pause_s = _PAUSE_S
        if isinstance(error, Turned):
            self._refusals[place] = error.message
            if error.refusal.code not in ("busy", "fresh", "token_unknown"):
                pause_s = _LONG_PAUSE_S
        elif self._refusals.get(place) != error.message:
            log.info("%s:%s: %s", *place, error.message)
            self._refusals[place] = error.message
        self._again_s[place] = self._clock.monotonic_s() + pause_s * random.uniform(0.8, 1.6)

    def _drop(self, place: Address, error: NodeError | None) -> None:
        self._known.pop(place).close()
        if error is not None:
            self._later(place, error)

    def _has_expired(self) -> bool:
        return self._token is not None and self._token.is_expired(self._clock.now_us())

    def _waiting_for(self) -> str:
        if self._token is None:
            return f"in no cluster, waiting for approval{self._pin.told()}"
        election = self._election
        if election is None:
            others = f"; its founders are {', '.join(self._token.names)}" if self._token.names else ""
            return f"looking for cluster {self._token.cluster_id}, which its token names{others}"
        if self._has_expired():
            return "by this node's clock its token has expired: it founds no cluster any more"
        if election.decided:
            return (
                f"waiting to be admitted by node {election.decided}, which founds the cluster (if "
                "that machine is lost for good before it has, give all a new token)"
            )
        met = len(election.met)
        return (
            f"looking for cluster {self._token.cluster_id}, or for {election.majority} of "
            f"{max(self._token.founders, met)} nodes that found it; met {met} with this one"
        )


def _finished(asked: Iterable[Future[T]]) -> set[Future[T]]:
    """Return those that are done; whatever hangs is left to its own time limits."""
    return wait(asked, _ROUND_LIMIT_S).done
