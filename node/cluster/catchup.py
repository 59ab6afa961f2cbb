"""How a node catches up whom the log cannot help any more: the seam to whoever moves snapshots."""

from typing import Any, Protocol

import msgspec


class LogStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a log begins with whose state was taken over at an index."""

    index: int
    term: int
    command: bytes
    """The entry at the index itself: this node may have to send it on."""
    previous_term: int
    voters: tuple[str, ...]
    """All voters as of the index."""


class Snapshots(Protocol):
    """Moves snapshots out of band. Called in the loop thread: must not block, must not raise."""

    def offer(self, node_id: str) -> dict[str, Any] | None:
        """Return what to offer a follower that needs a snapshot; None while there is nothing yet.

        Called on the leader, again and again until the follower has caught up.
        """

    def take(self, leader_id: str, offer: dict[str, Any]) -> None:
        """Take an offer of the leader; called again with each offer until the node has caught up."""
