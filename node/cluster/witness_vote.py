"""A vote without rows: all that a witness knows of the log, and what it promises by it.

Hard part: a third voter that holds no log must still never help a node to lead that lacks what was acknowledged. A
witness therefore acknowledges as other voters do, but keeps of all entries only the term and index of the last one (the
mark), and votes for nobody whose log ends before it. Marks are never taken back: a leader of a later term ends its log
with an entry of that term, which is beyond any mark of an earlier one. A mark, a vote and a term are on the disk before
anyone hears of them. Who leads decides which entries a witness hears of (`marks`); nothing here depends on that.
"""

import logging
import time
from collections.abc import Callable, Sequence

from node.cluster.filters import answer, is_up_to_date
from node.cluster.messages import Message
from node.cluster.prevote import LogEnd, PreVotes
from node.types import Frozen

PREFIX = "witness-"
"""How the ids of all witnesses begin: whoever knows the voters knows which of them hold no rows."""

FROM_WITNESS = frozenset(
    {
        "next_node_idx", "response_vote", "pre_vote_reply", "leader_check_reply", "stale_term", "ping",
    }
)  # fmt: skip
"""What a node takes from a witness: answers, never a proposal."""

log = logging.getLogger("hedgerow.witness")


def is_witness(node_id: str) -> bool:
    """Say whether an id is one of a witness."""
    return node_id.startswith(PREFIX)


class Promise(Frozen):
    """What a witness has promised."""

    epoch: int = 0
    term: int = 0
    vote: str = ""
    """Whom it voted for in the term."""
    mark_term: int = 0
    """Term of the last entry that it has acknowledged."""
    mark_index: int = 0


class Witness:
    """One witness behind its links. Used from one thread only."""

    def __init__(
        self,
        promise: Promise,
        keep: Callable[[Promise], None],
        send: Callable[[str, Message], bool],
        prevotes: PreVotes,
        unknown: Callable[[Sequence[str]], bool] = lambda _voters: False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what was promised before. `keep` stores a promise durably, or raises.

        `unknown` says whether one of these voters could not reach this witness, which does not know its key.
        """
        self._unknown = unknown
        self._promise = promise
        self._kept = promise
        self._keep = keep
        self._send = send
        self._prevotes = prevotes
        self._now_s = now_s
        self._held: dict[str, Message] = {}
        self.leader_id = ""
        """Who leads the term, as far as this witness knows."""

    @property
    def promise(self) -> Promise:
        """Return what it has promised."""
        return self._promise

    @property
    def follows(self) -> bool:
        """Say whether a leader was heard a moment ago."""
        return bool(self.leader_id) and not self._prevotes.misses_leader(self._now_s())

    # -- what the links call

    def link_up(self, node_id: str) -> None:
        """Do nothing: whoever leads speaks first."""

    def link_down(self, node_id: str, *, broken: bool) -> None:
        """Expect an election when the leader is gone."""
        self._held.pop(node_id, None)
        if broken and node_id == self.leader_id:
            self.leader_id = ""
            self._prevotes.lost_leader(self._now_s())

    def choked(self, node_id: str, *, choked: bool) -> None:
        """Do nothing: answers are small."""

    def received(self, node_id: str, message: Message) -> None:
        """Take a message; the answer to a mark waits for `drained`."""
        match message["type"]:
            case "mark":
                self._take_mark(node_id, message)
            case "request_vote":
                self._take_candidate(node_id, message)
            case "pre_vote":
                said = self._promise
                end = LogEnd(said.term, said.mark_index, said.mark_term)
                self._send(
                    node_id,
                    self._prevotes.answer(message, self._now_s(), end, leads=False),
                )
            case "leader_check":
                self._take_check(node_id, message)
            case _:
                log.debug("node %s says %s, which is not for a witness", node_id, message["type"])

    def drained(self) -> None:
        """Store what was promised, then say so."""
        self._store()
        held, self._held = self._held, {}
        for node_id, message in held.items():
            self._send(node_id, {"term": self._promise.term, **message})

    def forget_leader(self) -> None:
        """Behave as after a long silence of the leader."""
        self._prevotes.forget_leader()

    # -- the messages

    def _take_mark(self, node_id: str, message: Message) -> None:
        if message["term"] < self._promise.term:
            self._say_term(node_id)
            return
        self._adopt(message["term"])
        if self.leader_id not in ("", node_id):
            log.error(
                "node %s leads term %d, and so does %s", node_id, message["term"], self.leader_id
            )
            return
        self.leader_id = node_id
        self._prevotes.heard_leader(self._now_s())
        index = message["index"]
        if not index or self._unknown(message.get("voters", ())):
            # Nothing may rest on a witness that could not help all of them.
            self._held.setdefault(node_id, answer(1))
            return
        said = self._promise
        if (message["log_term"], index) > (said.mark_term, said.mark_index):
            self._promise = Promise(
                epoch=said.epoch,
                term=said.term,
                vote=said.vote,
                mark_term=message["log_term"],
                mark_index=index,
            )
        self._held[node_id] = answer(index + 1, success=True)

    def _take_candidate(self, node_id: str, message: Message) -> None:
        self._adopt(message["term"])
        said = self._promise
        if message["term"] < said.term:
            self._say_term(node_id)
            return
        is_free = said.vote in ("", node_id)
        if not (is_free and is_up_to_date(message, said.mark_index, said.mark_term)):
            self._store()
            return
        self._promise = Promise(
            epoch=said.epoch,
            term=said.term,
            vote=node_id,
            mark_term=said.mark_term,
            mark_index=said.mark_index,
        )
        self._store()
        self._send(node_id, {"type": "response_vote", "term": said.term})

    def _take_check(self, node_id: str, message: Message) -> None:
        if message["term"] < self._promise.term:
            self._say_term(node_id)
        elif message["term"] == self._promise.term:
            self._store()
            reply = {"type": "leader_check_reply", "round": message["round"]}
            self._send(node_id, {"term": self._promise.term, **reply})

    def _say_term(self, node_id: str) -> None:
        self._store()
        self._send(node_id, {"type": "stale_term", "term": self._promise.term})

    def _adopt(self, term: int) -> None:
        said = self._promise
        if term > said.term:
            self._promise = Promise(
                epoch=said.epoch, term=term, mark_term=said.mark_term, mark_index=said.mark_index
            )
            self._held.clear()
            self.leader_id = ""

    def _store(self) -> None:
        if self._promise != self._kept:
            self._keep(self._promise)
            self._kept = self._promise
