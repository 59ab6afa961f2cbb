"""Settings of the consensus part of one node."""

import msgspec


class RaftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one node takes part. `first_peers` counts only for an empty data directory."""

    node_id: str
    first_peers: tuple[str, ...] = ()
    proposal_timeout_s: float = 15.0
    full_timeout_s: float = 4.0
    """The same on a full disk: shorter than askers wait, so that they hear of the reason."""
    max_txn_bytes: int = 200 * 1024
    batch_max_txns: int = 256
    batch_max_bytes: int = 256 * 1024
    max_entries_in_flight: int = 4
    compaction_min_entries: int = 2000
    compaction_min_time_s: float = 300.0
    compaction_max_bytes: int = 16 * 1024 * 1024
    tail_entries: int = 256
    """Entries kept behind a compaction, for followers that lag a little."""
    reserve_bytes: int = 32 * 1024 * 1024
    floor_bytes: int = 64 * 1024 * 1024
    """Free bytes below which only transactions that free space are taken."""
    idle_poll_s: float = 1.0
    first_voter: bool = True
    """No: begin as a learner, which follows the log of `first_peers` without a vote. For an empty directory only."""
    election_min_s: float = 0.8
    election_max_s: float = 1.4
    heartbeat_s: float = 0.1
    leader_fallback_s: float = 1.6
    """After so long without a majority's answers a leader is none any more."""
    stall_s: float = 1.0
    """A sync of the log that takes longer makes this node leave the leadership to others for a while."""
    hand_over_s: float = 2.5
    """How long a leader tries to have another one lead, and takes no proposals meanwhile."""
    read_patience_s: float = 5.0
    """How long a read waits for a leader before it is told that it may be old."""
    direct_learners: int = 20
    """To so many learners a leader sends the log itself; those feed the others."""
    feed_period_s: float = 0.25
    """How often a learner that feeds others shows that it, and the leader, are there."""
    witness_patience_s: float = 0.8
    """A voter with rows that takes longer to acknowledge is not waited for while a witness makes a majority."""
    epoch: int = 0
    """Nodes of different epochs exchange nothing: a recovery from a lost majority begins a new one."""
