"""Whether an election may begin: first ask, then stand.

Hard part: a node that comes back from a cut or a stall has missed heartbeats that were sent. In plain Raft it would
raise the term and depose a healthy leader. Here it asks the others first whether they too miss their leader and whether
its log would do; only with a majority the library's election deadline is let pass. Whoever hears its leader, says no.
"""

import random
from collections.abc import Callable

import msgspec

from node.cluster.filters import is_up_to_date
from node.cluster.messages import Message

_SUSPICION_S = (0.02, 0.4)
"""After the leader's link broke: early, and spread so that not all stand at once."""
_HOLD_BACK_ROUNDS = 4


class LogEnd(msgspec.Struct, frozen=True):
    """What a vote depends on."""

    term: int
    last_index: int
    last_term: int


class PreVotes:
    """Both sides of the question, for one node. `now_s` is monotonic."""

    def __init__(
        self,
        timeouts_s: tuple[float, float],
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._timeouts_s = timeouts_s
        self._spread = spread
        self._round = 0
        self._granted: set[str] = set()
        self._heard_leader_s = float("-inf")
        self.slow_until_s = 0.0
        """Until then this node stands only when nobody else does: its disk is slow."""

    def heard_leader(self, now_s: float) -> None:
        """Note a sign of life of the leader: what was asked is void."""
        self._heard_leader_s = now_s
        self._granted = set()

    def lost_leader(self, now_s: float) -> float:
        """Note that the leader's link broke; return the new election deadline."""
        self._heard_leader_s = min(self._heard_leader_s, now_s - self._timeouts_s[0])
        return now_s + self._spread(*_SUSPICION_S)

    def forget_leader(self) -> None:
        """Behave as if no leader had ever been heard."""
        self._heard_leader_s = float("-inf")

    def misses_leader(self, now_s: float) -> bool:
        """Say whether nothing came from a leader for the least election timeout."""
        return now_s - self._heard_leader_s >= self._timeouts_s[0]

    def ask(self, now_s: float, log: LogEnd) -> tuple[float, Message]:
        """Begin a round; return the next election deadline and the question to all voters."""
        self._round += 1
        self._granted = set()
        question = {
            "type": "pre_vote",
            "term": log.term + 1,
            "round": self._round,
            "last_log_index": log.last_index,
            "last_log_term": log.last_term,
        }
        return now_s + self._spread(*self._timeouts_s) / 2, question

    def holds_back(self, now_s: float) -> bool:
        """Say whether this node, being slow, still leaves it to the others to stand."""
        is_slow = now_s < self.slow_until_s
        return is_slow and now_s - self._heard_leader_s < _HOLD_BACK_ROUNDS * self._timeouts_s[1]

    def answer(self, message: Message, now_s: float, log: LogEnd, *, leads: bool) -> Message:
        """Answer a question of another node."""
        granted = (
            not leads
            and self.misses_leader(now_s)
            and message["term"] > log.term
            and is_up_to_date(message, log.last_index, log.last_term)
        )
        return {
            "type": "pre_vote_reply",
            "term": log.term,
            "round": message["round"],
            "granted": granted,
        }

    def take_reply(self, node_id: str, message: Message, voters: set[str]) -> bool:
        """Take an answer; say whether a majority of the voters (this node not among them) agrees now."""
        if message["round"] != self._round or not message["granted"] or node_id not in voters:
            return False
        self._granted.add(node_id)
        if 1 + len(self._granted & voters) <= (len(voters) + 1) / 2:
            return False
        self._round += 1  # later answers of this round change nothing
        self._granted = set()
        return True
