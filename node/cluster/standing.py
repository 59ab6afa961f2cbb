"""What others say of this node: whether it is still a member, and whether the cluster began anew without it.

Hard part: a removed node is never told so by the log, and one of an earlier epoch hears nothing of the log at all. So
each node asks others from time to time, over a protocol that a former member may use too; whoever answers has shown
a certificate of the cluster. Only a node that follows a leader may say that another one was removed.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from node.cluster.join_messages import Member
from node.cluster.peers import Handler, Link
from node.cluster.recover import Later, generation
from node.cluster.roster import member_row, members
from node.cluster.tables import DepartedNode
from node.control.placement import NodeRow
from node.errors import NodeError
from node.state.reader import Reader
from node.types import Frozen

log = logging.getLogger("hedgerow.standing")

PROTOCOL = "hedgerow-standing"
Word = Literal["member", "removed", "unknown"]

_MAX_BYTES = 4096
_MAX_ANSWER_BYTES = 256 * 1024
_TIMEOUT_S = 2.0
_STOP_GRACE_S = 5.0


class Question(Frozen):
    """What a node asks, and what it says of itself."""

    node_id: str
    epoch: int
    voters: tuple[str, ...] = ()
    wants_members: bool = False
    """Whether the answer is to name the members: a witness has no rows that do."""


class Answer(Frozen):
    """What another node says."""

    epoch: int
    voters: tuple[str, ...]
    follows: bool
    """Whether it follows a leader, or leads: then its rows are the cluster's."""
    word: Word
    members: tuple[Member, ...] = ()


class LogStanding(Frozen):
    """Where this node's own log stands."""

    voters: tuple[str, ...]
    follows: bool


class Network(Protocol):
    """What is needed of the links."""

    def serve(self, protocol: str, handler: Handler, *, strangers: bool = False) -> None:
        """Have a handler called for each link of a protocol."""

    def dial(self, node_id: str, protocol: str, timeout_s: float = 1.0) -> Link:
        """Connect to a member."""


class StandingRules(Frozen):
    """How often others are asked."""

    ask_every_s: float = 5.0


class Standing:
    """Asks and answers.

    `on_later` is called once; it has this process start again. `evict` ends what links a removed node still has.
    """

    def __init__(
        self,
        *,
        node_id: str,
        epoch: int,
        network: Network,
        db: Callable[[], Reader],
        own: Callable[[], LogStanding],
        on_later: Callable[[Later], None],
        evict: Callable[[str], None] = lambda _node_id: None,
        rules: StandingRules | None = None,
    ) -> None:
        self._node_id = node_id
        self._epoch = epoch
        self._network = network
        self._db = db
        self._own = own
        self._on_later = on_later
        self._evict = evict
        self.look_around: Callable[[], None] = lambda: None
        """Called while this node follows nobody."""
        self._rules = rules or StandingRules()
        self._word: Word = "member"
        self._rival = ""
        self._gave_way = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standing", daemon=True)

    def serve(self) -> None:
        """Let others ask; before the links start."""
        self._network.serve(PROTOCOL, self._answer, strangers=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_GRACE_S)

    @property
    def is_removed(self) -> bool:
        """Return whether the cluster said that this node is no member any more."""
        return self._word == "removed"

    def health(self) -> list[tuple[str, bool, str]]:
        """Return what `hedgerow status` should say, nothing while all is well."""
        if self._rival:
            return [("recovery", False, self._rival)]
        if self._word == "removed":
            return [
                (
                    "membership",
                    False,
                    "this node was removed from the cluster: remove its state directory, then it may join anew",
                )
            ]
        if self._word == "unknown":
            return [
                (
                    "membership",
                    False,
                    "the cluster does not know this node: remove its state directory, then it may join anew",
                )
            ]
        return []

    # -- asking

    def _run(self) -> None:
        while not self._stopping.wait(self._rules.ask_every_s * random.uniform(0.5, 1.0)):
            try:
                self.look()
            except Exception:
                log.exception("others cannot be asked about this node")

    def look(self) -> None:
        """Ask one other node, all of them while this node follows nobody."""
        if self._db().get(DepartedNode, self._node_id) is not None:
            self._word = "removed"
            return
        own = self._own()
        if own.follows:
            for row in self._db().rows(DepartedNode):
                self._evict(row.id)
        else:
            self.look_around()
        others = [row.id for row in self._db().rows(NodeRow) if row.id != self._node_id]
        others += [voter for voter in own.voters if voter not in {*others, self._node_id}]
        random.shuffle(others)
        answers = [self._ask(other, own) for other in (others[:1] if own.follows else others)]
        heard = [answer for answer in answers if answer is not None]
        for answer in heard:
            self._compare(answer.epoch, answer.voters)
        told = [answer.word for answer in heard if answer.epoch == self._epoch and answer.follows]
        if own.follows:
            self._word = "member"
        elif told:
            self._word = told[0] if "member" not in told else "member"

    def _ask(self, node_id: str, own: LogStanding) -> Answer | None:
        question = Question(node_id=self._node_id, epoch=self._epoch, voters=own.voters)
        return ask(self._network, node_id, question)

    def _compare(self, epoch: int, voters: Sequence[str]) -> None:
        if epoch == self._epoch:
            return
        if generation(epoch) == generation(self._epoch):
            self._rival = (
                f"two nodes began the cluster anew apart from each other (epochs {self._epoch} and {epoch}): "
                "stop one, remove its state directory, and let it join the other"
            )
            return
        if not voters:
            return  # a witness, or a learner that knows nobody yet: whom to follow is told by others
        if epoch > self._epoch and self._gave_way.acquire(blocking=False):
            log.warning("the cluster began anew without this node: it takes over that state")
            self._on_later(Later(epoch=epoch, voters=tuple(voters)))

    # -- answering

    def _answer(self, link: Link) -> None:
        link.socket.settimeout(_TIMEOUT_S)
        try:
            question = msgspec.json.decode(_line(link), type=Question)
        except OSError:
            return  # one that only wanted to see who is here
        own = self._own()
        answer = Answer(
            epoch=self._epoch,
            voters=own.voters,
            follows=own.follows,
            word=self._word_on(question.node_id),
            # Whom a stranger may ask about is nobody's business but a member's.
            members=members(self._db()) if question.wants_members and link.node_id else (),
        )
        link.socket.sendall(msgspec.json.encode(answer) + b"\n")
        if link.node_id and link.node_id == question.node_id:
            self._compare(question.epoch, question.voters)

    def _word_on(self, node_id: str) -> Word:
        db = self._db()
        if member_row(db, node_id) is not None:
            return "member"
        return "removed" if db.get(DepartedNode, node_id) is not None else "unknown"


def ask(network: Network, node_id: str, question: Question) -> Answer | None:
    """Ask a node how one stands; None: it does not say."""
    try:
        link = network.dial(node_id, PROTOCOL, _TIMEOUT_S)
    except NodeError:
        return None
    try:
        link.socket.settimeout(_TIMEOUT_S)
        link.socket.sendall(msgspec.json.encode(question) + b"\n")
        return msgspec.json.decode(_line(link, _MAX_ANSWER_BYTES), type=Answer)
    except (OSError, msgspec.MsgspecError) as error:
        log.debug("node %s does not say how one stands: %s", node_id, error)
        return None
    finally:
        link.close()


def _line(link: Link, most_bytes: int = _MAX_BYTES) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        data = link.socket.recv(_MAX_BYTES)
        if not data or len(received) > most_bytes:
            raise OSError("the other side closed the link, or said too much")
        received += data
    return bytes(received)
