"""What `hedgerow status` says of the log."""

import msgspec

from node.cluster.status import Follower, Status
from node.core_status import core_status, log_gauges

FOLLOWING = Status(
    role="follower", term=1, commit_index=7, applied_index=7, leader_id="b", last_tick_age_s=0.0,
    journal_entries=7, journal_bytes=70, disk_full=False, connections=0, waiting=0, fault="",
    voters=tuple(
        Follower(node_id=one, match_index=0, contact_age_s=0.1, is_connected=True) for one in "bc"
    ),
)  # fmt: skip


def said(status: Status) -> dict[str, tuple[bool, str]]:
    return {name: (ok, text) for name, ok, text in core_status(status, ())}


def test_a_voter_counts_itself_and_a_learner_does_not() -> None:
    assert said(FOLLOWING)["quorum"] == (True, "a majority of 3 voters answers")
    learner = said(msgspec.structs.replace(FOLLOWING, is_voter=False))
    assert learner["quorum"] == (True, "a majority of 2 voters answers")
    assert learner["log"] == (True, "learner, entry 7")


def test_what_is_wrong_is_said() -> None:
    bad = msgspec.structs.replace(
        FOLLOWING, has_quorum=False, disk_full=True, fault="the disk failed", last_tick_age_s=9.0
    )
    assert not any(ok for ok, _text in said(bad).values())
    assert log_gauges(bad)["log_has_quorum"] == 0
    assert core_status(None, ()) == []
