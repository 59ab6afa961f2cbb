"""The log as the membership controller sees it."""

import math
from collections.abc import Callable
from typing import Literal

from node.cluster.consensus import Consensus
from node.cluster.membership import FollowerView, LogView


class ConsensusView:
    """What `Controller` needs of a node's log."""

    def __init__(self, node_id: str, consensus: Consensus) -> None:
        self._node_id = node_id
        self._consensus = consensus
        self.change_voter: Callable[[Literal["add", "rem"], str, Callable[[str], None]], None] = (
            consensus.change_voter
        )
        self.transfer_leadership: Callable[[str, Callable[[str], None]], None] = (
            consensus.transfer_leadership
        )

    def view(self) -> LogView:
        """Return where the log stands."""
        found = self._consensus.status()
        own = {self._node_id} if found.is_voter else set()
        return LogView(
            is_leader=found.role == "leader",
            term=found.term,
            last_index=found.last_index,
            voters=frozenset(own | {one.node_id for one in found.voters}),
            followers={
                one.node_id: FollowerView(
                    match_index=one.match_index,
                    contact_age_s=math.inf if one.contact_age_s is None else one.contact_age_s,
                )
                for one in (*found.voters, *found.learners)
            },
        )
