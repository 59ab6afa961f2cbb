"""Between the library and the links: filters what comes in, completes what goes out.

Hard part: most cures of the library's faults are here (see `filters` and docs/adr/0002). Nothing that promises
something about the log leaves before the log is on the disk: acknowledgements are held until all that came with them
was taken in, then one sync serves them all. A follower that needs a snapshot, or takes too little, is shown to the
library as disconnected for a while (parked), since the library would flood it inside its tick. A witness is shown so
all the time: it gets marks instead of entries (`marks`).
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from pysyncobj.config import FAIL_REASON
from pysyncobj.node import Node
from pysyncobj.transport import Transport

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster import filters
from node.cluster.catchup import LogStart, Snapshots
from node.cluster.feeding import FEEDING, Feeding
from node.cluster.journal import JournalFull
from node.cluster.library import MAX_ENTRY_BYTES, Diverged
from node.cluster.messages import Message
from node.cluster.seams import Member, Wire
from node.cluster.settings import RaftSettings
from node.cluster.witness_vote import FROM_WITNESS, is_witness

_PARKED_S = 0.3
_LOOK_AROUND_S = 3.0

_log = logging.getLogger(__name__)


class RaftTransport(Transport):  # type: ignore[misc]
    """The library's transport of one node."""

    def __init__(self, wire: Wire, settings: RaftSettings) -> None:
        super().__init__(None, None, [])
        self.wire = wire
        self.heard_s: dict[str, float] = {}
        """When something last came from a node, monotonic."""
        self.witnesses: set[str] = set()
        """The witnesses that are linked, whether or not they vote."""
        self.stirred = False
        """Whether a message came in since the last step."""
        self.snapshots: Snapshots | None = None
        self.members: Callable[[], Iterable[str]] | None = None
        """Returns all nodes that may know the leader, for a node whose list of voters has grown old."""
        self.feeding = Feeding(self, settings.direct_learners, settings.feed_period_s)
        self.shown: set[str] = set()
        """The learners that the library sends the log to."""
        self._also: set[str] = set()
        self._wanted_next: int | None = None
        self._is_fed = False
        self._look_around_s = 0.0
        self._member: Member | None = None
        self._voters: set[str] = set()
        self._learners: set[str] = set()
        self._parked: dict[str, float] = {}
        self._choked: set[str] = set()
        self._held: list[tuple[str, Message]] = []
        self._voted: set[tuple[int, str]] = set()

    def bind(self, member: Member, voters: set[str]) -> None:
        """Begin to serve a node."""
        self._member = member
        self._voters = set(voters)
        self.wire.want(self._voters)
        self.wire.start(self)

    @property
    def member(self) -> Member:
        """Return the node that is served."""
        assert self._member is not None
        return self._member

    @property
    def learners(self) -> set[str]:
        """Return the connected nodes that have no vote."""
        return set(self._learners)

    def tick(self, now_s: float, *, eager: bool) -> None:
        """Let parked nodes back in, keep the links, send what was held."""
        self.stirred = False
        for node_id, until_s in list(self._parked.items()):
            if now_s >= until_s:
                del self._parked[node_id]
                if self.wire.is_up(node_id) and node_id not in self._choked:
                    self._show(Node(node_id))
        if now_s >= self._look_around_s:
            self._look_around_s = now_s + _LOOK_AROUND_S
            self.wire.want(self._voters | self._also | self._strays())
        self.wire.tick(now_s, eager=eager)
        self.feeding.tick(now_s)
        self.drained()

    def _strays(self) -> set[str]:
        """Return whom else to ask when no voter that this node knows leads."""
        if self.members is None or self.member.leader_id is not None:
            return set()
        try:
            return set(self.members())
        except Exception:  # noqa: BLE001 - the voters that are known are still tried
            _log.debug("The members cannot be looked up", exc_info=True)
            return set()

    # -- what the library calls

    def addNode(self, node: Node) -> None:  # noqa: N802
        """Take a node as a voter."""
        self._voters.add(node.id)
        self.wire.want(self._voters | self._also)
        self._learners.discard(node.id)
        if self.wire.is_up(node.id):
            self._show(node)

    def dropNode(self, node: Node) -> None:  # noqa: N802
        """Take a node as a learner."""
        self._voters.discard(node.id)
        self.wire.want(self._voters | self._also)
        self._onNodeDisconnected(node)
        if self.wire.is_up(node.id):
            self._take_learner(str(node.id))

    def _show(self, node: Node) -> None:
        """Have the library send the log to a voter."""
        if not is_witness(str(node.id)):
            self._onNodeConnected(node)

    def _take_learner(self, node_id: str) -> None:
        self._learners.add(node_id)
        if self.feeding.has_room(node_id):
            self.show_learner(node_id)

    def show_learner(self, node_id: str) -> None:
        """Have the library send the log to a learner, and know of a witness."""
        self.shown.add(node_id)
        self._onReadonlyNodeConnected(Node(node_id))
        if is_witness(node_id):
            self._onNodeDisconnected(Node(node_id))

    def hide_learner(self, node_id: str) -> None:
        """Have the library forget a learner."""
        if node_id in self.shown:
            self.shown.discard(node_id)
            self._onReadonlyNodeDisconnected(Node(node_id))

    def forget_learner(self, node_id: str) -> None:
        """Forget a learner that is about to be added as a voter, or gone."""
        self._learners.discard(node_id)
        self.hide_learner(node_id)

    def want_also(self, node_ids: set[str]) -> None:
        """Keep links to these nodes too."""
        if node_ids != self._also:
            self._also = set(node_ids)
            self.wire.want(self._voters | self._also)

    def append(self, leader_id: str, message: Message) -> int:
        """Have the library take what another learner has of the leader's log; return the index that it wants next."""
        self._is_fed, self._wanted_next = True, None
        try:
            self._take_append(Node(leader_id), message)
        finally:
            self._is_fed = False
        wanted: int | None = self._wanted_next
        return self.member.journal.last_index + 1 if wanted is None else wanted

    def send(self, node: Node, message: Message) -> bool:
        """Send one of the library's messages, as soon as the log bears it out."""
        node_id = str(node.id)
        if message["type"] == "append_entries":
            if "serialized" in message:
                return self._park(node_id)
            return self.wire.send(node_id, message)
        message = {"term": self.member.term, **message}
        if self._is_fed:  # who feeds this node is told instead
            if message["type"] == "next_node_idx":
                self._wanted_next = message["next_node_idx"]
            return True
        if message["type"] == "next_node_idx":
            self._held.append((node_id, message))
            return True
        if message["type"] in {"request_vote", "response_vote"}:
            try:
                self.member.journal.sync()
            except JournalFull:
                return False  # a promise that would not outlast this process; the next step makes room
        return self.wire.send(node_id, message)

    def tell(self, node_id: str, message: Message) -> bool:
        """Send a message of our own that promises nothing about the log."""
        return self.wire.send(node_id, {"term": self.member.term, **message})

    def destroy(self) -> None:
        """End all links."""
        self.wire.close()

    def _park(self, node_id: str) -> bool:
        heartbeat = {"type": "append_entries", "term": self.member.term, "commit_index": 0}
        self.wire.send(node_id, heartbeat)
        self._parked[node_id] = time.monotonic() + _PARKED_S
        self._onNodeDisconnected(Node(node_id))
        offer = self._offer(node_id)
        if offer is not None:
            self.tell(node_id, {"type": "snapshot_offer", "offer": offer})
        return True

    def _offer(self, node_id: str) -> dict[str, Any] | None:
        if self.snapshots is None:
            return None
        try:
            return self.snapshots.offer(node_id)
        except Exception:  # noqa: BLE001 - the log goes on without it
            _log.exception("No snapshot can be offered to node %s", node_id)
            return None

    # -- what the wire calls

    def link_up(self, node_id: str) -> None:
        """Show a node to the library."""
        self.heard_s[node_id] = time.monotonic()
        self.stirred = True
        self._parked.pop(node_id, None)
        self._choked.discard(node_id)
        if node_id in self._voters:
            self._show(Node(node_id))
        else:
            self._take_learner(node_id)
        if is_witness(node_id):
            self.witnesses.add(node_id)
        self.member.greet(node_id)

    def link_down(self, node_id: str, *, broken: bool) -> None:
        """Hide a node from the library."""
        self.stirred = True
        self._parked.pop(node_id, None)
        self._choked.discard(node_id)
        self._held = [held for held in self._held if held[0] != node_id]
        self.witnesses.discard(node_id)
        self.feeding.gone(node_id)
        if node_id in self._learners:
            self.forget_learner(node_id)
        else:
            self._onNodeDisconnected(Node(node_id))
        if node_id == self.member.leader_id:
            self.member.leader_link_lost(broken=broken)

    def choked(self, node_id: str, *, choked: bool) -> None:
        """Send a node nothing more of the log until it has taken what it has."""
        if choked:
            self._choked.add(node_id)
            self._onNodeDisconnected(Node(node_id))
        else:
            self._choked.discard(node_id)
            if node_id not in self._parked:
                self._show(Node(node_id))

    def drained(self) -> None:
        """Send the acknowledgements that were held, after the log is on the disk."""
        if not self._held:
            return
        try:
            self.member.journal.sync()
        except JournalFull:
            self._held.clear()  # the next step says so and makes room
            return
        held, self._held = self._held, []
        for node_id, message in held:
            self.wire.send(node_id, message)

    def received(self, node_id: str, message: Message) -> None:
        """Judge a message and hand it on."""
        self.stirred = True
        self.heard_s[node_id] = time.monotonic()
        if is_witness(node_id) and message["type"] not in FROM_WITNESS:
            _log.warning("Witness %s says %s, which is not its business", node_id, message["type"])
        elif message["type"] in FEEDING:
            self.feeding.received(node_id, message)
        else:
            self._take(node_id, message)

    def _take(self, node_id: str, message: Message) -> None:
        member = self.member
        node = Node(node_id)
        match message["type"]:
            case "append_entries":
                self._take_append(node, message)
            case "next_node_idx":
                self._take_acknowledgement(node, message)
            case "request_vote":
                member.voting(lambda: self._onMessageReceived(node, message))
            case "response_vote":
                vote = (message["term"], node_id)
                if node_id in self._voters and vote not in self._voted:
                    self._voted = {one for one in self._voted if one[0] == message["term"]} | {vote}
                    self._onMessageReceived(node, message)
            case "apply_command" if member.is_handing_over:
                refusal = {"request_id": message["request_id"], "error": FAIL_REASON.NOT_LEADER}
                self.tell(node_id, {"type": "apply_command_response", **refusal})
            case "apply_command":
                if filters.is_proposal(message, MAX_ENTRY_BYTES):
                    self._onMessageReceived(node, message)
                else:
                    _log.warning("Node %s proposed what is no transaction", node_id)
            case "apply_command_response" | "timeout_now":
                self._onMessageReceived(node, message)
            case "snapshot_offer":
                self._take_offer(node, message)
            case _:
                member.other(node_id, message)

    def _take_offer(self, node: Node, message: Message) -> None:
        """Take a snapshot's offer, or tell the leader that the log goes on behind the snapshot already."""
        member = self.member
        if self.snapshots is None or message["term"] < member.term:
            return
        try:
            start = msgspec.convert(message["offer"]["start"], LogStart)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            _log.warning("Node %s offers what is no snapshot: %s", node.id, error)
            return
        held = member.journal.term_at(start.index) == start.term
        if held or start.index <= member.raftCommitIndex:
            self.send(node, filters.answer(start.index + 1, success=True, reset=True))
        else:
            self.snapshots.take(node.id, message["offer"])

    def _take_append(self, node: Node, message: Message) -> None:
        member = self.member
        if message["term"] < member.term:
            if not self._is_fed:
                self.tell(node.id, {"type": "stale_term"})
            return
        if member.is_alone or (message["term"] == member.term and member.leads):
            self._meet_second_leader(node, message)
            return
        member.heard_leader()
        if not self._is_fed:
            self.feeding.heard_leader()
        if member.is_installing:
            message = {"type": "append_entries", "term": message["term"]}
        verdict = filters.incoming_append(message, member.journal, member.raftCommitIndex)
        if verdict.conflict is not None and verdict.conflict <= member.raftCommitIndex:
            raise Diverged(
                f"Node {node.id} leads with another entry {verdict.conflict} than the one that was committed here: "
                "this node's log is damaged, let it join anew"
            )
        if verdict.message is not None:
            self._onMessageReceived(node, verdict.message)
        if verdict.reply is not None:
            self.send(node, verdict.reply)

    def _meet_second_leader(self, node: Node, message: Message) -> None:
        """Stop one of two leaders that cannot both be: the one that committed less.

        Raises:
            Diverged: it is this node.
        """
        member = self.member
        own, theirs = (
            (member.raftCommitIndex, member.node_id),
            (message["commit_index"], str(node.id)),
        )
        if own < theirs:
            raise Diverged(
                f"Node {node.id} leads in term {message['term']}, this node in term {member.term}, and neither had "
                "the vote of the other: there are two clusters; let this node join anew"
            )
        _log.critical("Node %s leads in term %d, which cannot be", node.id, message["term"])

    def _take_acknowledgement(self, node: Node, message: Message) -> None:
        member = self.member
        if message["term"] > member.term:
            member.adopt_term(message["term"])
        elif (
            member.leads
            and member.follows(node.id)
            and filters.counts_as_ack(message, member.term, member.journal.last_index)
        ):
            member.acknowledged(
                node.id,
                lambda: self._onMessageReceived(node, message),
                reset=message["reset"],
            )
