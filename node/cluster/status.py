"""What a node says of its part in the log."""

import time

import msgspec

from node.cluster.member import Role
from node.cluster.raft import RaftNode


class Follower(msgspec.Struct, frozen=True, kw_only=True):
    """Another node as the log knows it. `match_index` is known on the leader only, 0 elsewhere."""

    node_id: str
    match_index: int
    contact_age_s: float | None
    """Since something last came from it; None: nothing ever."""
    is_connected: bool


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Where this node stands in the log."""

    role: Role
    term: int
    commit_index: int
    applied_index: int
    leader_id: str | None
    last_tick_age_s: float
    journal_entries: int
    journal_bytes: int
    disk_full: bool
    connections: int
    waiting: int
    fault: str
    is_voter: bool = True
    has_quorum: bool = True
    last_index: int = 0
    voters: tuple[Follower, ...] = ()
    """The other voters."""
    learners: tuple[Follower, ...] = ()
    """The connected nodes without a vote, as this node sees them."""


def followers(raft: RaftNode, node_ids: set[str]) -> tuple[Follower, ...]:
    """Return what is known of other nodes, in the order of their ids."""
    now_s = time.monotonic()
    heard_s = raft.links.heard_s
    return tuple(
        Follower(
            node_id=node_id,
            match_index=raft.match_index(node_id),
            contact_age_s=now_s - heard_s[node_id] if node_id in heard_s else None,
            is_connected=raft.links.wire.is_up(node_id),
        )
        for node_id in sorted(node_ids)
    )
