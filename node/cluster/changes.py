"""Changes of who votes and who leads: one at a time, each with one answer. Used from the loop thread only.

Hard part: the library takes several changes at once, and a node that is added before it follows the log halts all
writes.
"""

import time
from collections.abc import Callable
from typing import Literal

from pysyncobj.config import FAIL_REASON
from pysyncobj.node import Node

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.raft import RaftNode
from node.cluster.voters import Verb
from node.cluster.witness_vote import is_witness

ChangeError = Literal["", "not_leader", "busy", "unreachable", "denied", "timeout"]
Callback = Callable[[ChangeError], None]

_CHANGE_TIMEOUT_S = 15.0
_REASONS: dict[int, ChangeError] = {
    FAIL_REASON.SUCCESS: "",
    FAIL_REASON.NOT_LEADER: "not_leader",
    FAIL_REASON.MISSING_LEADER: "not_leader",
    FAIL_REASON.REQUEST_DENIED: "denied",
}


class VoterChanges:
    """The one change that may be under way, and the one transfer."""

    def __init__(self, raft: RaftNode) -> None:
        self._raft = raft
        self._change: tuple[Callback, float] | None = None
        self._transfer: tuple[Callback, float, str | None] | None = None

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is under way."""
        return self._change is None and self._transfer is None

    def change(self, verb: Verb, node_id: str, callback: Callback) -> None:
        """Give a node a vote, or take it; the callback gets an empty string once that is committed."""
        raft = self._raft
        if not raft.leads:
            callback("not_leader")
        elif self._change is not None or self._transfer is not None or not raft.leads_surely:
            callback("busy")
        elif verb == "add" and node_id not in raft.links.learners:
            callback("denied" if node_id in {*raft.voters, raft.node_id} else "unreachable")
        elif verb == "rem" and node_id not in raft.voters:
            callback("denied")
        else:
            self._change = callback, time.monotonic() + _CHANGE_TIMEOUT_S
            raft.change_voter(verb, node_id, self._changed)

    def _changed(self, reason: int) -> None:
        change, self._change = self._change, None
        if change is not None:
            change[0](_REASONS.get(reason, "timeout"))

    def transfer(self, node_id: str | None, callback: Callback) -> None:
        """Have another voter lead (None: whoever has most); an empty string once this node does not any more."""
        heirs = [voter for voter in self._raft.voters if not is_witness(voter)]
        if not self._raft.leads:
            callback("not_leader")
        elif not self.is_idle:
            callback("busy")
        elif not heirs or (node_id and node_id not in heirs):
            callback("denied")
        elif not any(map(self._raft.links.wire.is_up, heirs)):
            callback("unreachable")
        else:
            self._transfer = callback, time.monotonic() + self._raft.settings.hand_over_s, node_id
            self._raft.is_handing_over = True

    def tick(self) -> None:
        """Go on with what is under way, and give up what takes too long."""
        now_s = time.monotonic()
        if self._change is not None and self._change[1] <= now_s:
            self._changed(-1)
        if self._transfer is None:
            return
        callback, deadline_s, node_id = self._transfer
        if self._raft.leads and now_s < deadline_s:
            self._raft.transferLeadership(None if node_id is None else Node(node_id))
            return
        self._transfer, self._raft.is_handing_over = None, False
        callback("timeout" if self._raft.leads else "")
